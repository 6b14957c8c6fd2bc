"""Gymnasium's environments as families: tasks against slow references, and what is refused, in which words."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import gymnasium
import numpy as np
import pytest

from kshot import seeding
from kshot.envs import gymnasium as family_module
from kshot.envs.gymnasium import GymFamily, Settings, Success, build, cartpole, parameters, pendulum
from kshot.errors import ConfigError
from kshot.running.rollout import rollout
from kshot.types import Array, Task

LINE = "tests.numerics.odd_environments:line"
PACE = {"attributes": {"pace": [1, 2]}}
CHEETAH = {"environment": "HalfCheetah-v5"}


def settings(**values: Any) -> Settings:
    return Settings(**({"environment": LINE, "horizon": 40} | values))


def slow_cartpole(state: Array, actions: list[int], length: float, gravity: float, force: float) -> list[list[float]]:
    """States after each action, from the equations of motion; pole 0.1 kg, cart 1 kg, Euler steps of 0.02 s."""
    x, v, angle, turn = map(float, state)
    found = []
    for action in actions:
        push = force if action == 1 else -force
        inner = (-push - 0.1 * length * turn**2 * math.sin(angle)) / 1.1
        turning = (gravity * math.sin(angle) + math.cos(angle) * inner) / (
            length * (4 / 3 - 0.1 * math.cos(angle) ** 2 / 1.1)
        )
        moving = (push + 0.1 * length * (turn**2 * math.sin(angle) - turning * math.cos(angle))) / 1.1
        x, v, angle, turn = x + 0.02 * v, v + 0.02 * moving, angle + 0.02 * turn, turn + 0.02 * turning
        found.append([x, v, angle, turn])
    return found


def test_cartpole_moves_by_the_equations_of_each_task() -> None:
    family = build(Settings())
    tasks = family.tasks("train", 30, 0)
    played = rollout(family, cartpole.oracle(tasks), tasks, seeding.split(3, np.arange(30)), 1)
    for i, task in enumerate(tasks):
        length, gravity, force = (task[f"attributes.{name}"] for name in ("length", "gravity", "force_mag"))
        n = min(int(played.lengths[i, 0]), 40)
        expected = slow_cartpole(played.obs[i, 0, 0], played.action[i, 0, : n - 1].tolist(), length, gravity, force)
        np.testing.assert_allclose(played.obs[i, 0, 1:n], expected, rtol=2e-3, atol=2e-4)
    assert len({task["attributes.force_mag"] for task in tasks}) == 2


def test_a_batch_is_what_bare_environments_do() -> None:
    """With the same seeds, for every task, also after an episode of another length and in environments used again."""
    family = build(Settings(environment="CartPole-v1", task={"attributes": {"length": [0.25, 1.0]}}, horizon=60))
    tasks = family.tasks("test", 3, 0)
    for _ in range(2):  # the second time in environments that had other tasks
        env = family.vector_env(tasks, 2)
        seeds = np.arange(6) + 5
        rng = np.random.default_rng(0)
        keys = seeding.split(np.arange(6, dtype=np.uint64) + np.uint64(5), 0)
        for episode in range(2):
            obs, _ = env.reset(seed=seeds.tolist() if episode == 0 else None)  # type: ignore[arg-type]
            actions = rng.integers(0, 2, (60, 6))
            seen = [obs.copy()]
            ends = np.full(6, 60)
            for t in range(60):
                obs, _, terminated, truncated, _ = env.step(actions[t])
                seen.append(obs.copy())
                ends = np.where((terminated | truncated) & (ends == 60), t + 1, ends)
            for i in range(6):
                bare: Any = gymnasium.make("CartPole-v1").unwrapped
                bare.length = tasks[i // 2]["attributes.length"]
                bare.polemass_length = bare.masspole * bare.length
                first, _ = bare.reset(seed=int(seeding.split(keys[i : i + 1], episode)[0] >> np.uint64(33)))
                assert np.array_equal(seen[0][i], first)
                for t in range(ends[i]):
                    assert np.array_equal(seen[t + 1][i], bare.step(int(actions[t, i]))[0])
        env.close()
        tasks = list(reversed(tasks))


def test_the_regulator_solves_the_riccati_equation_of_the_environment_itself() -> None:
    """Linearised by differences of its steps, and solved by iterating the recursion."""
    env: Any = gymnasium.make("CartPole-v1").unwrapped
    env.length, env.gravity = 0.8, 12.0
    cartpole.keep_consistent(env)
    assert env.polemass_length == pytest.approx(0.08)

    def after(state: Array, force: float) -> Array:
        env.reset(seed=0)
        env.state, env.force_mag = state, force
        env.step(1)
        return np.asarray(env.state)

    step = 1e-5
    a = np.stack([(after(step * row, 0.0) - after(-step * row, 0.0)) / (2 * step) for row in np.eye(4)], axis=1)
    b = ((after(np.zeros(4), step) - after(np.zeros(4), -step)) / (2 * step))[:, None]
    cost = cartpole.COST
    for _ in range(5000):
        gains = np.linalg.solve(0.1 + b.T @ cost @ b, b.T @ cost @ a)
        cost = cartpole.COST + a.T @ cost @ (a - b @ gains)
    found = cartpole._gains(12.0, 1.0, 0.1, 0.8, 10.0, 0.02)
    np.testing.assert_allclose(found, -gains[0], rtol=1e-4)
    np.testing.assert_allclose(cartpole._gains(12.0, 1.0, 0.1, 0.8, -10.0, 0.02), gains[0], rtol=1e-4)


def test_the_oracle_never_drops_the_pole() -> None:
    family = build(Settings())
    ends = {"length": (0.25, 1.0), "gravity": (5.0, 15.0), "force_mag": (-10.0, 10.0)}
    tasks = [
        Task(
            "gymnasium", "test", i, tuple((f"attributes.{name}", ends[name][i >> j & 1]) for j, name in enumerate(ends))
        )
        for i in range(8)
    ]
    played = rollout(family, cartpole.oracle(tasks), tasks, seeding.split(1, np.arange(8)), 2)
    assert (played.returns == 500).all()


def test_multipliers_of_a_model_never_compound() -> None:
    bare: Any = gymnasium.make("HalfCheetah-v5").unwrapped
    mass, friction = bare.model.body_mass.copy(), bare.model.geom_friction.copy()
    env: Any = gymnasium.make("HalfCheetah-v5").unwrapped
    for factor in (2.0, 0.5, 3.0):
        parameters.apply(env, {"model.body_mass": factor, "model.geom_friction[ffoot]": 3 * factor})
        np.testing.assert_allclose(env.model.body_mass, factor * mass)
        changed = np.argwhere((env.model.geom_friction != friction).any(axis=1)).ravel()
        assert [env.model.geom(i).name for i in changed] == ["ffoot"]
        assert env.model.body_subtreemass[0] == pytest.approx(factor * mass.sum())  # derived, so computed anew
    parameters.apply(env, {"model.body_mass": 1.0, "model.geom_friction[ffoot]": 1.0})
    for name in ("body_mass", "geom_friction", "body_invweight0", "dof_invweight0", "body_subtreemass"):
        np.testing.assert_allclose(getattr(env.model, name), getattr(bare.model, name), rtol=1e-12)
    rng = np.random.default_rng(0)
    first = [one.reset(seed=3)[0] for one in (env, bare)]
    assert np.array_equal(*first)
    for action in rng.uniform(-1, 1, (20, 6)):
        seen = [one.step(action)[0] for one in (env, bare)]
        np.testing.assert_allclose(*seen, rtol=1e-9, atol=1e-9)


def test_actions_of_a_box_span_its_bounds() -> None:
    family = build(Settings(environment="Pendulum-v1", task={"make": {"g": [8.0, 12.0]}, "attributes": {"m": 1.0}}))
    tasks = family.tasks("train", 1, 0)
    env = family.vector_env(tasks, 1)
    obs = env.reset(seed=[4])[0][0]  # type: ignore[arg-type]
    reward = env.step(np.array([[0.5]]))[1][0]
    angle = math.atan2(obs[1], obs[0])
    assert reward == pytest.approx(-(angle**2 + 0.1 * obs[2] ** 2 + 0.001 * 1.0**2), rel=1e-5)  # a torque of half of 2
    gravity = tasks[0]["make.g"]
    speed = obs[2] + (3 * gravity / 2 * math.sin(angle) + 3 * 1.0) * 0.05
    env.reset(seed=[4])  # type: ignore[arg-type]
    assert env.step(np.array([[0.5]]))[0][0, 2] == pytest.approx(np.clip(speed, -8, 8), rel=1e-5)


def test_options_make_and_attributes_reach_the_environment() -> None:
    task = {
        "make": {"pace": {"values": [2.0, 3.0]}},
        "options": {"offset": {"values": [100, 200]}},
        "attributes": {"bonus": 7},
    }
    family = build(settings(task=task, drop=(1,)))
    assert family.spec.shared_tasks and family.spec.observation_dim == 1
    tasks = sorted(family.tasks("test", 4, 0), key=lambda task: task.index)
    env = family.vector_env(tasks, 1)
    begun = env.reset(seed=[1] * 4)[0][:, 0]  # type: ignore[arg-type]
    obs, reward, *_ = env.step(np.ones(4))
    assert np.allclose(obs[:, 0] - begun, [2, 2, 3, 3]) and np.allclose(begun - begun[0], [0, 100, 0, 100])
    assert np.allclose(reward, obs[:, 0] + 7) and 90 < begun[0] < 110
    with pytest.raises(ValueError, match=r"gymnasium: the test split has 4 tasks, fewer than 5"):
        family.tasks("test", 5, 0)


def test_held_out_and_out_of_distribution_tasks() -> None:
    values = {"attributes": {"bonus": {"values": [1, 2, 3, 4, 5]}}}
    family = build(settings(task=values, held_out=2))
    splits = {
        split: {task["attributes.bonus"] for task in family.tasks(split, n, 0)}
        for split, n in (("train", 1), ("validation", 2), ("test", 2))
    }
    assert set.union(*splits.values()) == {1, 2, 3, 4, 5} and not family.spec.shared_tasks
    far = build(settings(task={"attributes": {"bonus": [0, 1], "pace": [1, 2]}}, ood={"attributes": {"bonus": [5, 6]}}))
    for split, low in (("train", 0), ("validation", 0), ("test", 5)):
        tasks = far.tasks(split, 50, 0)
        assert all(low <= task["attributes.bonus"] <= low + 1 and 1 <= task["attributes.pace"] <= 2 for task in tasks)


@pytest.mark.parametrize("kind", ["ranges", "values"])
def test_the_order_in_which_parameters_are_written_decides_nothing(kind: str) -> None:
    """It is not in the fingerprint of a run, and a record does not keep it."""
    ends: dict[str, Any] = {"pace": [1, 2], "bonus": [0, 1]}
    written = ends if kind == "ranges" else {name: {"values": values} for name, values in ends.items()}
    turned = dict(reversed(written.items()))
    one, other = (build(settings(task={"attributes": names})) for names in (written, turned))
    for split in ("train", "validation", "test"):
        assert one.tasks(split, 4, 0) == other.tasks(split, 4, 0)


def test_success_by_info_and_by_return() -> None:
    for success in ({"info": "is_success"}, {"return": 3.0}):
        family = build(settings(success=success, first="success_last", horizon=8))
        assert family_module.headline(settings(success=success, first="success_last")) == "success_last"
        env = family.vector_env(family.tasks("test", 1, 0), 5)
        obs, _ = env.reset(seed=list(range(5)))  # type: ignore[arg-type]
        total = np.zeros(5)
        for t in range(8):
            obs, reward, terminated, truncated, info = env.step(np.array([0, 1, 1, 0, 1]) if t % 3 else np.ones(5))
            total += reward
            assert np.array_equal(info["success"], obs[:, 0] > 0 if "info" in success else total >= 3.0)
            assert not terminated.any() and truncated.all() == (t == 7)


def test_a_gear_turns_the_motor_backwards() -> None:
    task = {"make": {"gear": {"values": [-1.0, 1.0]}}}
    family = build(Settings(environment="kshot.envs.gymnasium.pendulum:geared", task=task))
    tasks = sorted(family.tasks("test", 2, 0), key=lambda task: task.index)
    env = family.vector_env(tasks, 1)
    action = np.array([[0.7], [-0.7]])
    env.reset(seed=[3, 3])  # type: ignore[arg-type]
    obs, reward, *_ = env.step(action)
    assert np.array_equal(obs[0], obs[1]) and reward[0] == reward[1]
    assert not np.array_equal(obs[0], env.step(action[::-1])[0][0]) and family.spec.horizon == 200


def test_the_oracle_swings_every_pendulum_up_and_holds_it() -> None:
    """Upright and at rest in the end; its torque at rest is what gravity asks for, with the other sign."""
    tasks = [
        Task("gymnasium", "test", i, (("make.gear", gear), ("attributes.m", m), ("attributes.l", length)))
        for i, (gear, m, length) in enumerate(product((-1.0, 1.0), (0.5, 1.5), (0.5, 1.0)))
    ]
    varied = {"make": {"gear": {"values": [-1.0, 1.0]}}, "attributes": {"m": [0.5, 1.5], "l": [0.5, 1.0]}}
    family = build(Settings(environment="kshot.envs.gymnasium.pendulum:geared", task=varied))
    played = rollout(family, pendulum.oracle(tasks), tasks, seeding.split(2, np.arange(8)), 3)
    assert (played.final_obs[..., 0] > 0.999).all() and (np.abs(played.final_obs[..., 2]) < 0.1).all()
    assert (played.returns > -600).all()


def test_the_cheetah_is_paid_for_its_velocity() -> None:
    """By the places of its torso in the bare environment."""
    task = {"make": {"velocity": {"values": [0.5, 2.0]}}}
    family = build(Settings(environment="kshot.envs.gymnasium.half_cheetah:target_velocity", task=task))
    tasks = sorted(family.tasks("test", 2, 0), key=lambda task: task.index)
    env = family.vector_env(tasks, 1)
    env.reset(seed=[8, 8])  # type: ignore[arg-type]
    bare: Any = gymnasium.make("HalfCheetah-v5").unwrapped
    seed = int(seeding.split(seeding.split(np.array([8], dtype=np.uint64), 0), 0)[0] >> np.uint64(33))
    bare.reset(seed=seed)
    for action in np.random.default_rng(1).uniform(-1, 1, (5, 6)):
        before = bare.data.qpos[0]
        shown = bare.step(action.astype(np.float32))[0]
        velocity = (bare.data.qpos[0] - before) / 0.05
        obs, reward, *_ = env.step(np.tile(action, (2, 1)))
        expected = -np.abs(velocity - np.array([0.5, 2.0])) - 0.05 * (action**2).sum()
        np.testing.assert_allclose(reward, expected, rtol=1e-6)
        assert np.array_equal(obs[0], shown) and np.array_equal(obs[1], shown)
    assert family.spec.horizon == 1000


def test_a_family_in_python() -> None:
    family = GymFamily(
        "mine",
        make=lambda task: gymnasium.make("CartPole-v1"),
        sample=lambda split, rng: {"length": float(rng.uniform(0.25, 1.0))},
        apply=lambda env, task: setattr(env.unwrapped, "length", task["length"]),
        success=Success(threshold=20.0),
    )
    assert family.spec.horizon == 500 and family.spec.name == "mine" and set(family.references) == {"random"}
    tasks = family.tasks("train", 5, 1)
    played = rollout(family, family.references["random"](tasks), tasks, seeding.split(0, np.arange(5)), 2)
    assert np.array_equal(played.success_last, played.returns >= 20)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"environment": "CartPol-v1"}, r"no environment 'CartPol-v1' .*registry \(did you mean 'CartPole-v1'"),
        ({"environment": "tests.numerics.odd_environments:lime"}, r"has no function 'lime' \(did you mean 'line'\?\)"),
        ({"environment": "no_such_module:line"}, "no_such_module does not import: ModuleNotFoundError"),
        ({"task": {"attributes": {"pace": [2.0, 1.0]}}}, r"task\.attributes\.pace: the range \[2\.0, 1\.0\] is upside"),
        ({"task": {"attribute": {"pace": [1, 2]}}}, r"task: unknown place 'attribute' \(did you mean 'attributes'\?\)"),
        ({"task": {"attributes": {"pace": [1, 2, 3]}}}, r"expected a range \[low, high\] of two numbers, got"),
        ({"task": {"attributes": {"pace": {"value": [1]}}}}, r"expected \[low, high\] or \{values: \[...\]\}"),
        ({"task": PACE, "ood": {"attributes": {"pace_": [3, 4]}}}, "pace_ is no parameter of task .*'attributes.pace'"),
        ({"task": PACE, "ood": {"attributes": {"pace": [1.5, 4]}}}, "overlaps with what is trained on"),
        ({"task": {"attributes": {"pace": [1, 2]}}, "held_out": 1}, "held_out is for tasks without a range"),
        ({"task": {"attributes": {"pace": {"values": [1, 2]}}}, "held_out": 1}, "held_out must be between 0 and 0 of"),
        ({"success": {"key": "x"}}, r"success: expected \{info: KEY\} or \{return: NUMBER\}, got \{'key': 'x'\}"),
        ({"first": "success_last"}, "success does not say what counts as one"),
        ({"make": {"pace": 1.0}, "task": {"make": {"pace": [1, 2]}}}, "task.make.pace varies, but make sets it"),
        ({"environment": "", "task": {"attributes": {"pace": [1, 2]}}}, "task is given, but no environment"),
        ({"horizon": 0}, "horizon must be at least 1, got 0"),
    ],
)  # fmt: skip
def test_impossible_settings_are_refused_in_one_line(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        settings(**values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"task": {"attributes": {"pace_": [1, 2]}}}, r"\(attributes\.pace_ = 1\.0\): .*'pace_' \(did you mean 'pace'"),
        ({"task": {"model": {"body_mass": [1, 2]}}}, "Line has no MuJoCo model to vary"),
        ({"task": {"make": {"pace_": [1, 2]}}}, "it cannot be made: TypeError: .*pace_"),
        ({"make": {"fault": "nan"}}, r"task \(the only one\): its observation after reset is not finite: \[nan, nan\]"),
        ({"make": {"fault": "nan reward"}}, "its reward after step 1 is not finite: nan"),
        ({"make": {"fault": "shape"}}, r"its observation has the shape \(1,\), declared is \(2,\)"),
        ({"make": {"fault": "dtype"}}, "its observation is of float64, declared is float32"),
        ({"make": {"fault": "list"}}, "its observation is a list, declared is an array"),
        ({"make": {"fault": "old reset"}}, r"reset does not return \(observation, info\)"),
        ({"make": {"fault": "old step"}}, "step does not return the five values"),
        ({"make": {"fault": "needs a display"}}, r"No available video device \(.* without a display"),
        ({"make": {"render_mode": "human"}}, "render_mode 'human' opens a window"),
        ({"make": {"fault": "unbounded"}}, "have no finite real bounds"),
        ({"make": {"fault": "several actions"}}, "are neither Discrete nor a Box"),
        ({"make": {"fault": "text"}}, "cannot be made a list of numbers"),
        ({"make": {"fault": "forgets the seed"}}, r"two episodes .* with the same seed and actions differ"),
        ({"make": {"fault": "global generator"}}, "it draws from the global generator of numpy or Python"),
        ({"horizon": None}, "it names no time limit; set the family's horizon"),
        ({"drop": (2,)}, "drop has 2, but observations have 2 entries, 0 to 1"),
        ({"drop": (0, 1)}, "drop leaves nothing of the 2 entries"),
        ({"make": {"fault": "silent"}, "success": {"info": "success_"}, "horizon": 5}, r"no 'success_', .* 'success'"),
        (CHEETAH | {"task": {"model": {"body_mas": [1, 2]}}}, r"no array 'body_mas' \(did you mean 'body_mass'\?\)"),
        (CHEETAH | {"task": {"model": {"body_mass[torsa]": [1, 2]}}}, r"no body 'torsa' \(did you mean 'torso'\?\)"),
    ],
)  # fmt: skip
def test_environments_that_would_spoil_results_are_refused_in_one_line(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        build(settings(**values))
    assert "\n" not in str(caught.value) and str(caught.value).startswith("gymnasium: task (")


def test_what_happens_later_names_the_task_and_the_step() -> None:
    family = build(settings(make={"fault": "late"}, task={"attributes": {"bonus": {"values": [1, 2]}}}, horizon=310))
    tasks = family.tasks("test", 2, 0)
    with pytest.raises(
        ConfigError, match=r"task \(attributes\.bonus = [12]\): its reward after step 300 is not finite: nan"
    ):
        rollout(family, family.references["random"](tasks), tasks, seeding.split(0, np.arange(2)), 2)


def test_results_know_the_files_of_functions(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fingerprint of the settings changes with the file; with another file than was read, nothing is played."""
    file = tmp_path / "my_envs.py"
    file.write_text("import gymnasium\ndef make():\n    return gymnasium.make('CartPole-v1')\n")
    monkeypatch.setenv("KSHOT_PATH", str(tmp_path))
    chosen = Settings(environment="my_envs:make", horizon=9)
    assert build(chosen).spec.horizon == 9
    file.write_text(file.read_text() + "# changed\n")
    assert Settings(environment="my_envs:make", horizon=9).code != chosen.code != ""
    with pytest.raises(ValueError, match="a file behind my_envs:make has changed since the suite was read"):
        build(chosen)
