"""Meta-World with other physics: family metaworld at factors of 1, and official classes with the same changed model."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
import pytest
from metaworld.env_dict import ALL_V3_ENVIRONMENTS

from kshot.envs import metaworld
from kshot.envs import metaworld_physics as family_module
from kshot.envs.metaworld._tasks import Goal
from kshot.envs.metaworld.engine import prototype
from kshot.envs.metaworld.engine.prototypes import reset_to
from kshot.envs.metaworld_physics._engine import PhysicsVectorEnv
from kshot.envs.metaworld_physics._models import Physics, difference
from kshot.types import Array, Task

CLASSES = ("push-v3", "door-open-v3")
STEPS = 90


def goals_of(tasks: list[Task]) -> list[Goal]:
    return [(task["env_name"], task["rand_vec"]) for task in tasks]


def expert_actions(family: Any, tasks: list[Task], noise: float = 0.3) -> Array:
    """[STEPS, T, 4] of experts in the family, with noise: they touch the object and move it."""
    policy = family.references["oracle"](tasks)
    env, memory = family.vector_env(tasks, 1), policy.start(len(tasks), 1)
    rng, obs, actions = np.random.default_rng(0), env.reset()[0], []
    for _ in range(STEPS):
        action, _, memory = policy.act(obs[:, None], memory, None)
        actions.append(np.clip(action[:, 0] + noise * rng.standard_normal((len(tasks), 4)), -1, 1).astype(np.float32))
        obs = env.step(actions[-1])[0]
    return np.array(actions)


@pytest.mark.parametrize("name", CLASSES)
def test_factors_of_one_are_family_metaworld_byte_for_byte(name: str) -> None:
    plain = metaworld.build(metaworld.Settings(task=name, horizon=STEPS))
    tasks = plain.tasks("train", 2, 0)
    one, other = PhysicsVectorEnv(goals_of(tasks), [Physics()] * 2, STEPS), plain.vector_env(tasks, 1)
    assert np.array_equal(one.reset()[0], other.reset()[0])
    for action in expert_actions(plain, tasks):
        first, second = one.step(action), other.step(action)
        assert all(np.array_equal(a, b) for a, b in zip(first[:4], second[:4], strict=True))
        assert all(np.array_equal(first[4][key], second[4][key]) for key in second[4])


@pytest.mark.parametrize(("name", "where"), [("push-v3", "inside"), ("door-open-v3", "outside")])
def test_steps_are_those_of_the_official_class_with_the_same_model(name: str, where: Any) -> None:
    """Whose model is changed here number by number; and other than in Meta-World, since experts touch the object."""
    family = family_module.build(family_module.Settings(task=name, horizon=STEPS, test_tasks=where))
    tasks = family.tasks("test", 2, 0)
    actions = expert_actions(family, tasks)
    env = family.vector_env(tasks, 1)
    plain = metaworld.build(metaworld.Settings(task=name, horizon=STEPS)).vector_env(tasks, 1)
    obs, _ = env.reset()
    plain.reset()
    official = []
    for i, task in enumerate(tasks):
        lone = ALL_V3_ENVIRONMENTS[name]()
        model = lone.model
        body, joints = (33, range(7)) if name == "push-v3" else (35, [9])
        assert model.body(body).name == {"push-v3": "obj", "door-open-v3": "door_link"}[name]
        model.body_mass[body] = task["mass"] * model.body_mass[body]
        model.body_inertia[body] = task["mass"] * model.body_inertia[body]
        model.geom_friction[:] = task["friction"] * model.geom_friction
        for joint in joints:
            address = model.jnt_dofadr[joint]
            model.dof_damping[address] = task["damping"] * model.dof_damping[address]
        mujoco.mj_setConst(model, mujoco.MjData(model))
        assert np.array_equal(reset_to(lone, goals_of(tasks)[i], False), obs[i])
        official.append(lone)
    differs = np.zeros(2, dtype=bool)
    for action in actions:
        obs, reward, _, _, info = env.step(action)
        differs |= (plain.step(action)[0] != obs).any(axis=1)
        for i, lone in enumerate(official):
            seen, earned, _, _, said = lone.step(action[i])
            assert np.array_equal(seen, obs[i]) and earned == reward[i]
            assert bool(said["success"]) == info["success"][i]
    assert differs.all()


def test_factors_never_compound_and_leave_the_official_model_alone() -> None:
    proto = prototype("push-v3", False)
    before = {name: getattr(proto.env.model, name).copy() for name in ("body_mass", "geom_friction", "dof_damping")}
    heavy = Physics(mass=2.0, friction=0.5)
    first = difference(proto, heavy).arrays["body_mass"].copy()
    family = family_module.build(family_module.Settings(horizon=5))
    for seed in range(3):
        env = family.vector_env(family.tasks("train", 3, seed), 1)
        env.reset()
        env.step(np.zeros((3, 4), dtype=np.float32))
        family_module._models._DIFFERENCES.clear()
        again = difference(proto, heavy).arrays
        assert np.array_equal(again["body_mass"], first) and first[33] == 2.0 * before["body_mass"][33]
        assert np.array_equal(again["geom_friction"], 0.5 * before["geom_friction"])
        assert all(np.array_equal(getattr(proto.env.model, name), value) for name, value in before.items())


def test_bytes_do_not_depend_on_threads_or_company() -> None:
    family = family_module.build(family_module.Settings(horizon=STEPS))
    tasks = family.tasks("train", 3, 0)
    physics = [Physics(task["mass"], task["friction"], task["damping"]) for task in tasks]
    actions = expert_actions(family, tasks)[:30]

    def played(threads: int, chosen: slice) -> list[bytes]:
        env = PhysicsVectorEnv(goals_of(tasks)[chosen], physics[chosen], 30, threads=threads)
        out = [env.reset()[0][-1].tobytes()]
        for action in actions[:, chosen]:
            obs, reward, *_ = env.step(action)
            out += [obs[-1].tobytes(), reward[-1:].tobytes()]
        return out

    assert played(1, slice(0, 3)) == played(2, slice(0, 3)) == played(2, slice(2, 3))


@pytest.mark.parametrize("name", CLASSES)
def test_physics_are_within_their_ranges_and_splits_are_disjoint(name: str) -> None:
    inside = family_module.build(family_module.Settings(task=name))
    outside = family_module.build(family_module.Settings(task=name, test_tasks="outside"))
    drawn: dict[str, Array] = {}
    for split in ("train", "validation", "test"):
        drawn[split] = np.array([[t["mass"], t["friction"], t["damping"]] for t in inside.tasks(split, 50, 0)])
        exponents = np.log2(drawn[split])
        assert np.abs(exponents).max() <= 1.0 and exponents.min() < -0.9 and exponents.max() > 0.9
    test = outside.tasks("test", 50, 0)
    drawn["outside"] = np.array([[t["mass"], t["friction"], t["damping"]] for t in test])
    exponents = np.log2(drawn["outside"])
    assert np.abs(exponents).min() > 1.0 and np.abs(exponents).max() <= 2.0
    assert (exponents < 0).any() and (exponents > 0).any()
    assert len(np.unique(np.concatenate(list(drawn.values())), axis=0)) == 200
    assert goals_of(test) == goals_of(inside.tasks("test", 50, 0))
    assert (
        len({goal for split in ("train", "validation", "test") for goal in goals_of(inside.tasks(split, 50, 0))}) == 150
    )


def test_what_cannot_be_is_refused() -> None:
    family = family_module.build(family_module.Settings(horizon=5))
    task = family.tasks("train", 1, 0)[0]
    params = tuple((name, 0.0 if name == "mass" else value) for name, value in task.params)
    bad = Task("metaworld_physics", "train", 0, params)
    with pytest.raises(
        ValueError, match=rf"metaworld_physics: mass must be a positive factor, got 0.0, in task {bad.id}"
    ):
        family.vector_env([bad], 1)
    with pytest.raises(ValueError, match=r"metaworld_physics: unknown task 'reach-v3'"):
        family_module.Settings(task="reach-v3")
    with pytest.raises(ValueError, match="test_tasks must be 'inside' or 'outside', got 'real'"):
        family_module.Settings(test_tasks="real")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="horizon must be between 1 and 500, got 501"):
        family_module.Settings(horizon=501)
