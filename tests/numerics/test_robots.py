"""Robots: the official Gymnasium classes byte by byte, tasks' models, and families' rewards and splits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
import pytest

from kshot import registry, seeding
from kshot.envs import ant_goal, cheetah_dir, cheetah_vel
from kshot.envs._robots import parameters, simulation
from kshot.envs._robots.simulation import ANT, CHEETAH, HOPPER, WALKER, Robot, RobotVectorEnv
from kshot.types import Array, Task

FAMILIES = ("cheetah_vel", "cheetah_dir", "ant_goal", "hopper_rand_params", "walker_rand_params")
OFFICIAL: dict[str, tuple[str, dict[str, Any]]] = {
    "cheetah_vel": ("HalfCheetah-v5", {"ctrl_cost_weight": 0.05}),
    "cheetah_dir": ("HalfCheetah-v5", {"ctrl_cost_weight": 0.05}),
    "ant_goal": (
        "Ant-v5",
        {
            "ctrl_cost_weight": 0.1,
            "exclude_current_positions_from_observation": False,
            "terminate_when_unhealthy": False,
        },
    ),
    "hopper_rand_params": ("Hopper-v5", {}),
    "walker_rand_params": ("Walker2d-v5", {}),
}
"""Official classes, whose numbers the families' rewards are made of."""
STEPS = 60


def build(name: str, **settings: Any) -> Any:
    module = registry.load("envs", name)
    return module.build(module.Settings(**settings))


def official_reward(name: str, task: Task, env: Any, reward: float, info: dict[str, Any]) -> float:
    """The family's reward of a step from what the official class says of it."""
    if name == "cheetah_vel":
        return float(-abs(info["x_velocity"] - task["speed"]) + info["reward_ctrl"])
    if name == "cheetah_dir":
        return float(task["direction"] * info["x_velocity"] + info["reward_ctrl"])
    if name == "ant_goal":
        place = env.data.body("torso").xpos[:2]
        return float(-np.abs(place - task["goal"]).sum() - (-info["reward_ctrl"] - info["reward_contact"]))
    return reward


@pytest.mark.parametrize("name", FAMILIES)
def test_steps_are_the_official_ones_bit_for_bit(name: str) -> None:
    """Observations, rewards and ends of two episodes of all sub-environments, one by one, reset noise included."""
    family = build(name)
    tasks, copies = family.tasks("train", 2, 0), 2
    seeds = [11, 12, 13, 14]
    env = family.vector_env(tasks, copies)
    rng = np.random.default_rng(0)
    official, kwargs = OFFICIAL[name]
    lone = [gym.make(official, **kwargs).unwrapped for _ in range(4)]
    for i, other in enumerate(lone):
        for table, factor in parameters.multipliers(env.robot, tasks[i // copies]).items() if "rand" in name else ():
            getattr(other.model, table)[:] *= factor
        if "rand" in name:
            mujoco.mj_setConst(other.model, mujoco.MjData(other.model))
    streams = seeding.split(np.array(seeds, dtype=np.uint64), 0)
    for episode in range(2):
        obs, _ = env.reset(seed=seeds if episode == 0 else None)
        keys = seeding.split(streams, episode)
        for i, other in enumerate(lone):
            assert np.array_equal(other.reset(seed=int(keys[i]))[0], obs[i])
        going = np.ones(4, dtype=bool)
        for _ in range(STEPS):
            actions = rng.uniform(-1, 1, (4, *env.single_action_space.shape)).astype(np.float32)
            obs, reward, terminated, _, info = env.step(actions)
            for i in np.flatnonzero(going):
                other = lone[i]
                seen, earned, ended, _, said = other.step(actions[i])
                assert np.array_equal(seen, obs[i])
                assert official_reward(name, tasks[i // copies], other, earned, said) == reward[i]
                assert ended == terminated[i]
            going &= ~terminated
            assert not info["unstable"].any()
    for other in lone:
        other.close()


@pytest.mark.parametrize("name", ["cheetah_vel", "ant_goal", "hopper_rand_params"])
def test_bytes_do_not_depend_on_threads_or_company(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    family = build(name)
    tasks = family.tasks("test", 3, 0)
    actions = np.random.default_rng(1).uniform(-1, 1, (20, 9, *family.vector_env(tasks, 1).single_action_space.shape))

    def played(threads: int, chosen: slice) -> list[bytes]:
        monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
        env = family.vector_env(tasks[chosen], 3)
        rows = slice(3 * (chosen.start or 0), 3 * (chosen.start or 0) + env.num_envs)
        out = [env.reset(seed=list(range(9))[rows])[0][-3:].tobytes()]
        for action in actions[:, rows]:
            obs, reward, *_ = env.step(action)
            out += [obs[-3:].tobytes(), reward[-3:].tobytes()]
        return out

    assert played(1, slice(0, 3)) == played(3, slice(0, 3)) == played(2, slice(2, 3))


@pytest.mark.parametrize("robot", [HOPPER, WALKER])
def test_multipliers_are_those_of_the_official_model_however_often_they_are_set(robot: Robot) -> None:
    """And with all of them 1, nothing of the model changes, by what is derived anew neither."""
    name = "hopper_rand_params" if robot is HOPPER else "walker_rand_params"
    original = {table: getattr(robot.model, table).copy() for table in parameters.BASES}
    tasks = build(name).tasks("train", 5, 0)
    for _ in range(3):
        for task in tasks:
            parameters._MODELS.clear()
            model = parameters.model_of(robot, task)
            for table, factor in parameters.multipliers(robot, task).items():
                assert np.array_equal(getattr(model, table), original[table] * factor)
                assert np.array_equal(getattr(robot.model, table), original[table])
    ones = tuple((table, (1.0,) * values.size) for table, values in original.items())
    same = parameters.model_of(robot, Task(name, "train", 0, ones))
    buffers = []
    for model in (same, robot.model):
        buffers.append(np.empty(mujoco.mj_sizeModel(model), dtype=np.uint8))
        mujoco.mj_saveModel(model, None, buffers[-1])
    assert np.array_equal(*buffers)


@pytest.mark.parametrize("name", ["hopper_rand_params", "walker_rand_params"])
def test_parameters_are_within_their_ranges(name: str) -> None:
    inside, outside = build(name), build(name, test_tasks="outside")
    for family, splits, reach in (
        (inside, ("train", "validation", "test"), 3.0),
        (outside, ("test",), 4.0),
    ):
        for split in splits:
            tasks = family.tasks(split, parameters.SPLITS["outside" if reach == 4.0 else split], 0)
            for table, base in parameters.BASES.items():
                exponents = np.log([task[table] for task in tasks]) / np.log(base)
                assert np.abs(exponents).max() <= reach + 1e-9
                assert exponents.min() < -0.9 * reach and exponents.max() > 0.9 * reach
                # Uniform: the mean is 0 within four standard errors.
                assert abs(exponents.mean()) < 4.0 * reach / np.sqrt(3.0 * exponents.size)
    drawn = [{task.params for task in inside.tasks(split, 20, 0)} for split in ("train", "validation", "test")]
    drawn.append({task.params for task in outside.tasks("test", 20, 0)})
    assert len(set.union(*drawn)) == 80
    with pytest.raises(ValueError, match=f"{name}: 41 tasks asked for, the train split has 40"):
        inside.tasks("train", 41, 0)


def test_tasks_outside_the_training_range_are_outside() -> None:
    speeds = [task["speed"] for task in build("cheetah_vel", test_tasks="outside").tasks("test", 500, 0)]
    assert 3.0 < min(speeds) < 3.05 and 3.95 < max(speeds) < 4.0
    inside = [task["speed"] for task in build("cheetah_vel").tasks("test", 500, 0)]
    assert 0.0 < min(inside) < 0.05 and 2.95 < max(inside) < 3.0
    for where, inner, outer in (("inside", 0.0, 3.0), ("outside", 3.0, 4.0)):
        goals = np.array([task["goal"] for task in build("ant_goal", test_tasks=where).tasks("test", 2000, 0)])
        radius = np.sqrt((goals**2).sum(axis=1))
        assert inner <= radius.min() and radius.max() <= outer
        # Uniform by area: half of the goals are within the circle that halves the area.
        assert (radius < np.sqrt((inner**2 + outer**2) / 2)).mean() == pytest.approx(0.5, abs=0.05)
        assert np.abs(goals.mean(axis=0)).max() < 0.2


def test_success_is_the_mean_speed_of_the_last_hundred_steps() -> None:
    """A cheetah on ice: its path is written into the environment's states instead of simulated."""
    task = Task("cheetah_vel", "test", 0, (("speed", 2.0),))
    env = cheetah_vel.CheetahVelVectorEnv([task], 1, 200)
    env.reset(seed=[0])
    for seconds_at, speed, expected in ((100, 0.0, False), (200, 2.15, True)):
        while env.elapsed < seconds_at:
            before = env.state()
            after = replace(before, position=before.position + speed * CHEETAH.step_seconds)
            env.states[:, 1 : 1 + CHEETAH.model.nq] = after.position
            env.elapsed += 1
            _, _, info = env.outcome(before, after, np.zeros((1, 6), np.float32))
            if env.elapsed < 100:
                assert not info["success"].any()
        assert info["success"].tolist() == [expected]


class Constant(RobotVectorEnv):
    """Cheetahs whose reward a test decides."""

    value: Any = 0.0

    def outcome(self, before: Any, after: Any, action: Array) -> Any:
        return np.asarray(self.value), np.zeros(self.num_envs, dtype=bool), {"success": np.zeros(self.num_envs, bool)}


def test_what_is_not_finite_or_has_another_shape_is_named() -> None:
    tasks = build("cheetah_vel").tasks("train", 2, 0)
    env = Constant(CHEETAH, tasks, 1, 10)
    action = np.zeros((2, 6), dtype=np.float32)
    with pytest.raises(ValueError, match=r"cheetah_vel: step before reset"):
        env.step(action)
    env.reset(seed=[1, 2])
    env.value = [0.0, np.nan]
    with pytest.raises(FloatingPointError, match=rf"cheetah_vel: task {tasks[1].id}: reward \[nan\] is not finite"):
        env.step(action)
    env.value = [0.0, 1.0, 2.0]
    with pytest.raises(ValueError, match=r"cheetah_vel: observations \(2, 17\) and rewards \(3,\) of 2"):
        env.step(action)
    env.value = [0.0, 0.0]
    with pytest.raises(ValueError, match=r"cheetah_vel: actions have the shape \(2, 5\), not \(2, 6\)"):
        env.step(action[:, :5])
    action[0, 3] = np.inf
    with pytest.raises(FloatingPointError, match=rf"cheetah_vel: task {tasks[0].id}: action .* is not finite"):
        env.step(action)


def test_a_simulation_that_diverges_is_reset_and_said_to_be_unstable() -> None:
    env = Constant(CHEETAH, build("cheetah_vel").tasks("train", 2, 0), 1, 10)
    env.value = [0.0, 0.0]
    env.reset(seed=[1, 2])
    env.step(np.zeros((2, 6), dtype=np.float32))
    env.states[1, 5] = 1e12
    _, _, _, _, info = env.step(np.zeros((2, 6), dtype=np.float32))
    assert info["unstable"].tolist() == [False, True]


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("cheetah_vel", (("speed", 12.0),), "the speed must be between 0 and 10.0 m/s, got 12.0"),
        ("cheetah_vel", (("speed", float("nan")),), "the speed must be between 0 and 10.0 m/s, got nan"),
        ("cheetah_dir", (("direction", 0),), "the direction must be 1 or -1, got 0.0"),
        ("ant_goal", (("goal", (30.0, 0.0)),), r"the goal must be within 20.0 m, got \(.*30.0"),
        (
            "hopper_rand_params",
            (("body_mass", (1.0, 1.0, 0.0, 1.0, 1.0)),),
            "multipliers must be positive numbers, but number 2 of body_mass is 0.0",
        ),
        ("walker_rand_params", (("body_mass", (1.0, 1.0)),), "body_mass has 8 multipliers, got 2"),
    ],
)
def test_tasks_that_cannot_be_are_refused(name: str, params: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: task .*{message}"):
        build(name).vector_env([Task(name, "train", 0, params)], 1)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("cheetah_vel", {"horizon": 0}, "horizon must be at least 1, got 0"),
        ("cheetah_vel", {"fastest": -1.0}, "fastest must be above 0 and at most 7.5 m/s, got -1.0"),
        ("cheetah_dir", {"episodes_per_trial": 0}, "episodes_per_trial must be at least 1"),
        ("ant_goal", {"radius": 16.0}, "radius must be above 0 and at most 15.0 m, got 16.0"),
        ("hopper_rand_params", {"test_tasks": "ood"}, "test_tasks must be 'inside' or 'outside', got 'ood'"),
    ],
)
def test_settings_out_of_range_are_refused(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: {message}"):
        build(name, **settings)


def test_the_direction_to_a_goal_turns_with_the_ant() -> None:
    obs = np.zeros((1, 3, ANT.observation_dim))
    for i, yaw in enumerate((0.0, np.pi / 2, -np.pi / 2)):
        obs[0, i, 3], obs[0, i, 6] = np.cos(yaw / 2), np.sin(yaw / 2)
    asked = ant_goal.towards(np.array([[2.0, 0.0]]))(obs)
    assert np.allclose(asked[0], [[1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])
    assert np.allclose(ant_goal.towards(np.array([[0.1, 0.0]]))(obs)[0, 0], [0.2, 0.0])


@pytest.mark.parametrize("name", ["hopper_rand_params", "walker_rand_params"])
def test_success_is_most_of_what_the_best_gait_earns(name: str) -> None:
    """By playing all gaits one by one: the oracle is the best of them, and succeeds where it does not fall."""
    family = build(name)
    tasks = family.tasks("test", 3, 0)
    chosen, earned = family.best_gaits(tasks)
    n = parameters._RESETS
    seeds = [int(seeding.split(seeding.key(name, "oracle"), i) >> np.uint64(1)) for i in range(n)]
    for t, task in enumerate(tasks):
        alone = []
        for gait in range(len(family.gaits.weights)):
            env = family.plain_env([task], n)
            alone.append(parameters.episode_returns(env, family.walks(np.array([gait])), n, seeds).mean())
        assert (int(np.argmax(alone)), max(alone)) == (chosen[t], earned[t])
    env = family.vector_env(tasks, 1)
    obs, _ = env.reset(seed=[1, 2, 3])
    policy, total = family.references["oracle"](tasks), np.zeros(3)
    memory, fell = policy.start(3, 1), np.zeros(3, dtype=bool)
    info: dict[str, Any] = {"success": fell}
    for _ in range(family.settings.horizon):
        assert not info["success"].any()
        action, _, memory = policy.act(obs[:, None], memory, None)
        obs, reward, terminated, _, info = env.step(action[:, 0])
        memory = policy.observe(memory, action, reward[:, None], terminated[:, None])
        total, fell = total + reward, fell | terminated
    assert info["success"].tolist() == (~fell & (total >= 0.8 * earned)).tolist()


def test_there_are_two_directions_and_all_splits_hold_both() -> None:
    family = build("cheetah_dir")
    assert family.spec.shared_tasks
    for split in ("train", "validation", "test"):
        assert {task["direction"] for task in family.tasks(split, 2, 5)} == {1, -1}
    with pytest.raises(ValueError, match="cheetah_dir: 3 tasks asked for, there are two"):
        family.tasks("train", 3, 0)
    assert cheetah_dir.directions(family.tasks("train", 2, 0)).tolist() == [1.0, -1.0]
    assert simulation.CHEETAH.observation_dim == 17
