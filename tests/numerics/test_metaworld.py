"""The Meta-World family: equality with official environments, and the integrity of goals and splits."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import replace
from itertools import product
from typing import Any, Literal

import metaworld
import numpy as np
import pytest
from metaworld.env_dict import ALL_V3_ENVIRONMENTS, ML25_V3

from kshot import seeding
from kshot.envs import metaworld as family_module
from kshot.envs.metaworld import MetaWorldFamily, Settings, _goals, _observations, _record_observations, _references
from kshot.envs.metaworld._goals import Source
from kshot.envs.metaworld._tasks import Goal, official_task
from kshot.envs.metaworld._vector import OBJECT_ENTRIES
from kshot.envs.metaworld.engine import prototype
from kshot.running.rollout import rollout
from kshot.types import Array, Split, Task
from tests.parity import replay

ML1: Any = metaworld.ML1  # untyped upstream
TWO = ("door-close-v3", "reach-v3")
FAKE_SEED = 1_000_003
"""Goals are cached by seed: a seed of their own keeps the stand-ins below away from the other tests."""


@pytest.fixture(scope="module")
def reach() -> MetaWorldFamily:
    return family_module.build(Settings(horizon=100))


def play(family: MetaWorldFamily, name: str, tasks: list[Task]) -> tuple[Array, Array, Array]:
    """Returns [T], success at some step [T] and success at the last step [T] of a scripted policy without noise."""
    policy = family.references[name](tasks)
    env = family.vector_env(tasks, 1)
    obs, _ = env.reset()
    memory = policy.start(len(tasks), 1)
    returns, ever = np.zeros(len(tasks)), np.zeros(len(tasks), dtype=bool)
    for _ in range(family.spec.horizon):
        action, _, memory = policy.act(obs[:, None], memory, None)
        obs, reward, terminated, truncated, info = env.step(action[:, 0])
        memory = policy.observe(memory, action, reward[:, None], (terminated | truncated)[:, None])
        returns += reward
        ever |= info["success"]
    env.close()
    return returns, ever, info["success"]


@pytest.mark.parametrize("backend", ["engine", "official"])
@pytest.mark.parametrize("name", ["reach-v3", "push-v3"])
def test_equal_to_freshly_built_official_environments(name: str, backend: Literal["engine", "official"]) -> None:
    """Learners' actions are clipped and cast as the action space says; everything else is Metaworld's.

    The official classes clip the movement but not the gripper's effort, so a family that forgot to would differ.
    """
    family = family_module.build(Settings(task=name, horizon=100, backend=backend))
    tasks = family.tasks("test", 2, 0)
    env = family.vector_env(tasks, 2)
    # The expert's hand goes to the object, so that the contact terms of push's reward are reached as well.
    expert = family.references["oracle"](tasks)
    actions = np.random.default_rng(0).uniform(-1.5, 1.5, (100, 4, 4))
    first, _ = env.reset()
    obs, memory, trace = first, expert.start(2, 2), []
    for t in range(100):
        actions[t, ::2] = expert.act(obs.reshape(2, 2, -1), memory, None)[0].reshape(4, 4)[::2]
        obs, reward, terminated, truncated, info = env.step(actions[t])
        assert not terminated.any() and truncated.all() == (t == 99)
        trace.append((obs, reward, info["success"]))
    env.close()
    for i in range(4):
        cast = np.clip(actions[:, i].astype(np.float32), -1.0, 1.0)
        goal = (name, tasks[i // 2]["rand_vec"])
        expected, expected_first = replay(ALL_V3_ENVIRONMENTS[name](), goal, cast)
        assert np.array_equal(first[i], expected_first)
        for k, key in enumerate(("obs", "reward", "success")):
            assert np.array_equal([step[k][i] for step in trace], expected[key])


def test_an_episode_can_be_repeated_in_place(reach: MetaWorldFamily) -> None:
    env = reach.vector_env(reach.tasks("train", 2, 0), 1)
    actions = np.random.default_rng(1).uniform(-1, 1, (20, 2, 4))
    runs = []
    for _ in range(2):
        first, _ = env.reset()
        runs.append([first, *(env.step(a)[0] for a in actions)])
    env.close()
    assert np.array_equal(runs[0], runs[1])


def test_the_type_of_the_action_does_not_change_the_result(reach: MetaWorldFamily) -> None:
    tasks = reach.tasks("train", 1, 0)
    actions = np.random.default_rng(1).uniform(-2, 2, (20, 1, 4)).astype(np.float32)
    results = []
    for cast in (np.float32, np.float64):
        env = reach.vector_env(tasks, 1)
        env.reset()
        results.append([(obs.tobytes(), reward.tobytes()) for obs, reward, *_ in map(env.step, actions.astype(cast))])
        env.close()
    assert results[0] == results[1]


def test_a_bad_action_is_refused(reach: MetaWorldFamily) -> None:
    env = reach.vector_env(reach.tasks("train", 1, 0), 1)
    env.reset()
    with pytest.raises(FloatingPointError, match="not finite"):
        env.step(np.full((1, 4), np.nan))
    env.close()


def test_official_objects_are_reused_when_closed_and_never_shared(reach: MetaWorldFamily) -> None:
    """They cost 20 MB each: an evaluation that built its own would fill the memory, a shared one mix two episodes."""
    family = family_module.build(replace(reach.settings, backend="official"))
    tasks = family.tasks("train", 2, 0)

    def objects(env: Any) -> set[int]:
        return set(map(id, env._backend._envs))

    first, second = family.vector_env(tasks, 1), family.vector_env(tasks, 1)
    mine, yours = objects(first), objects(second)
    assert len(mine) == len(yours) == 2 and not mine & yours
    first.close()
    third = family.vector_env(tasks, 1)
    assert objects(third) == mine
    second.close()
    third.close()


def test_goals_are_the_benchmarks_own(reach: MetaWorldFamily) -> None:
    source = ML1("reach-v3", seed=0)
    splits: tuple[tuple[Split, Any], ...] = (("train", source.train_tasks), ("test", source.test_tasks))
    for split, official in splits:
        ours = sorted(reach.tasks(split, 50, 9), key=lambda task: task.index)
        for task, theirs in zip(ours, official, strict=True):
            rebuilt = official_task((task["env_name"], task["rand_vec"]))
            mine, data = pickle.loads(rebuilt.data), pickle.loads(theirs.data)
            assert rebuilt.env_name == theirs.env_name and mine.keys() == data.keys()
            assert mine["env_cls"] is data["env_cls"] and mine["partially_observable"] is data["partially_observable"]
            assert np.array_equal(mine["rand_vec"], data["rand_vec"])


def test_goals_depend_on_the_goal_seed_alone(reach: MetaWorldFamily) -> None:
    other = family_module.build(Settings(horizon=100, goal_seed=7))
    own = {task["rand_vec"] for task in reach.tasks("test", 50, 0)}
    assert own == {task["rand_vec"] for task in reach.tasks("test", 50, 1)}
    assert not own & {task["rand_vec"] for task in other.tasks("test", 50, 0)}


def test_the_goal_is_hidden(reach: MetaWorldFamily) -> None:
    env = reach.vector_env(reach.tasks("test", 4, 0), 1)
    obs, _ = env.reset()
    after = env.step(np.ones((4, 4)))[0]
    env.close()
    assert not obs[:, -3:].any() and not after[:, -3:].any()


def test_every_split_has_50_goals_per_class_and_no_more(reach: MetaWorldFamily) -> None:
    for split in ("train", "validation", "test"):
        assert len(reach.tasks(split, 50, 0)) == 50
    with pytest.raises(ValueError, match="51 test tasks asked for, ML1 has 50"):
        reach.tasks("test", 51, 0)


@pytest.mark.parametrize("split", ["test", "validation"])
def test_a_leak_between_splits_stops_whoever_asks_for_them(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training goal among the test goals would count as success on an unseen task."""
    first = {"train": 0, "test": 100, "validation": 200} | {split: 49}

    def leaking(source: Source, wanted: Split) -> tuple[Goal, ...]:
        return tuple((source.task, (float(first[wanted] + i),)) for i in range(50))

    monkeypatch.setattr(_goals, "_draw", leaking)
    with pytest.raises(RuntimeError, match="1 goals are in two splits"):
        family_module.build(Settings(goal_seed=FAKE_SEED + len(split))).tasks(split, 1, 0)


class FakePrototype:
    """Draws placements in no time."""

    def __init__(self, name: str, goal_observable: bool) -> None:
        pass

    def draw(self, n: int, stream: np.random.RandomState) -> list[tuple[float, ...]]:
        return [(float(x),) for x in stream.random_sample(n)]


def test_classes_trained_on_leave_the_test_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """Success on them says nothing about unseen classes; the goals of the other classes stay the official ones."""
    assert set(ML25_V3["train"]) & set(ML25_V3["test"]) == {"basketball-v3"}
    monkeypatch.setattr(_goals, "prototype", FakePrototype)
    family = family_module.build(Settings(benchmark="ML25", horizon=10, goal_seed=FAKE_SEED))
    test = family.tasks("test", 200, 0)
    assert {task.group for task in test} == set(ML25_V3["test"]) - {"basketball-v3"}
    official = _goals.goals(Source("ML25", seed=FAKE_SEED, keep_seen_classes=True), "test")
    assert {(task.group, task["rand_vec"]) for task in test} == {g for g in official if g[0] != "basketball-v3"}
    # A smaller draw is spread over the classes, whatever the seed.
    for seed in range(5):
        groups = [task.group for task in family.tasks("test", 6, seed)]
        assert sorted(map(groups.count, set(groups))) == [1, 1, 2, 2]
    assert {task.group for task in family.tasks("validation", 25, 0)} == set(ML25_V3["train"])


@pytest.mark.parametrize("name", ["reach-v3", "door-close-v3"])
def test_recorded_observations_are_those_of_the_training_goals(name: str) -> None:
    """The command that wrote the file writes the same again; other processors differ in the last digits."""
    recorded = json.loads(_observations.FILE.read_text())
    assert sorted(recorded) == sorted(ALL_V3_ENVIRONMENTS)
    np.testing.assert_allclose(_record_observations.record(name), recorded[name], rtol=1e-3, atol=1e-4)


def test_the_command_that_records_is_imported_by_no_family() -> None:
    """Else ``python -m`` would warn of a module that it finds imported before it runs it."""
    module = "kshot.envs.metaworld._record_observations"
    code = f"import sys, kshot.envs.metaworld, kshot.envs.metaworld_hand; assert {module!r} not in sys.modules"
    subprocess.run([sys.executable, "-W", "error::RuntimeWarning", "-c", code], check=True)


def test_a_family_pools_its_training_classes_and_no_other() -> None:
    """Start and root mean square distance from it of the mixture of classes, by definition: within and between them."""
    family = family_module.build(Settings(benchmark="custom", train_classes=TWO, test_classes=("push-v3",)))
    recorded = [np.array(json.loads(_observations.FILE.read_text())[name]) for name in TWO]
    for moments in recorded:
        moments[:, -3:] = 0.0  # the target is hidden
    center = np.mean([start for start, _, _ in recorded], axis=0)
    within = [square - mean**2 for _, mean, square in recorded]
    away = [(mean - center) ** 2 for _, mean, _ in recorded]
    np.testing.assert_allclose(family.spec.observation_center, center, atol=1e-9)
    distance = np.sqrt(np.maximum(np.mean(within, axis=0) + np.mean(away, axis=0), 0))
    expected = np.maximum(distance, _observations.MIN_SCALE)
    np.testing.assert_allclose(family.spec.observation_scale, expected, rtol=1e-5)
    other = family_module.build(Settings(benchmark="custom", train_classes=TWO, test_classes=("drawer-open-v3",)))
    assert np.array_equal(other.spec.observation_scale, family.spec.observation_scale)


def test_networks_see_zeros_where_episodes_start() -> None:
    """Up to where other goals of the class put their objects."""
    for task in ("reach-v3", "door-close-v3"):
        family = family_module.build(Settings(task=task))
        env = family.vector_env(family.tasks("train", 20, 0), 1)
        seen = family.spec.normalise(env.reset()[0])
        env.close()
        assert np.abs(seen[:, :4]).max() < 1e-6  # hand and gripper start at one place
        assert np.abs(seen.mean(axis=0)).max() < 0.15


def test_raw_observations_are_not_touched() -> None:
    raw = family_module.build(Settings(observations="raw")).spec
    obs = np.random.default_rng(0).normal(size=(3, 39))
    assert np.array_equal(raw.normalise(obs), obs)


def test_what_is_masked_stays_zero_and_a_shown_target_has_a_scale_of_its_own() -> None:
    masked = family_module.build(Settings(mask_irrelevant_objects=True))
    tasks = masked.tasks("test", 2, 0)
    env = masked.vector_env(tasks, 1)
    seen = masked.spec.normalise(env.reset()[0])
    env.close()
    assert (seen[:, OBJECT_ENTRIES] == 0).all() and (np.abs(seen[:, :3]) > 0).all()
    shown = family_module.build(Settings(goal_observable=True))
    env = shown.vector_env(shown.tasks("train", 50, 0), 1)
    targets = shown.spec.normalise(env.reset()[0])[:, -3:]
    env.close()
    assert (np.abs(targets.mean(axis=0)) < 0.5).all()
    assert (targets.std(axis=0) > 0.2).all() and (targets.std(axis=0) < 1.5).all()
    assert (shown.spec.observation_center[:-3] == family_module.build(Settings()).spec.observation_center[:-3]).all()


def test_no_expert_meets_the_bound_of_normalised_observations() -> None:
    """Whichever class or benchmark was trained on: at most 1 % of any entry of any class's expert is cut off."""
    wide = {name: family_module.build(Settings(benchmark=name)).spec for name in ("ML10", "ML25", "ML45")}
    alone = {name: family_module.build(Settings(task=name)) for name in ALL_V3_ENVIRONMENTS}
    tasks = [family.tasks("test", 1, 0)[0] for family in alone.values()]
    player = alone["reach-v3"]  # the tasks say which class they are of
    keys = seeding.split(seeding.key("bound"), np.arange(len(tasks)))
    obs = rollout(player, player.references["oracle"](tasks), tasks, keys, copies=1).obs
    for spec in (*wide.values(), *(family.spec for family in alone.values())):
        cut = np.abs(obs - spec.observation_center) >= spec.observation_clip * spec.observation_scale
        assert cut.mean(axis=(1, 2)).max() <= 0.01


def test_the_sweep_covers_the_goal_box() -> None:
    env = ALL_V3_ENVIRONMENTS["reach-v3"]()
    assert env.goal_space is not None
    np.testing.assert_array_equal(_references.REACH_GOAL_BOX, (env.goal_space.low, env.goal_space.high))
    control = _references.reach_sweep(horizon=500)
    # A hand exactly at the point it is sent to answers with a zero action: recover the points from the controller.
    start = np.zeros(39)
    start[:3] = (0.0, 0.85, 0.2)
    points = []
    for step in range(500):
        hand = start.copy()
        for _ in range(200):
            hand[:3] += 0.01 * control(hand, step)[:3]
        points.append(hand[:3] - (0, 0, 0.045))
    low, high = env.goal_space.low, env.goal_space.high
    places = [low + (high - low) * np.array(share) for share in product(np.linspace(0, 1, 7), repeat=3)]
    distances = [np.linalg.norm(np.array(points) - place, axis=1).min() for place in places]
    assert max(distances) < 0.05


def test_the_sweep_begins_again_with_every_episode(reach: MetaWorldFamily) -> None:
    policy = reach.references["sweep"](reach.tasks("test", 1, 0))
    obs, done = np.tile(reach.spec.observation_center, (1, 2, 1)), np.array([[True, False]])
    memory = policy.start(1, 2)
    first = policy.act(obs, memory, None)[0]
    for _ in range(60):
        memory = policy.observe(memory, first, np.zeros((1, 2)), np.zeros((1, 2), dtype=bool))
    later = policy.act(obs, memory, None)[0]
    again = policy.act(obs, policy.observe(memory, later, np.zeros((1, 2)), done), None)[0]
    assert not np.array_equal(first, later)
    assert np.array_equal(again[0, 0], first[0, 0]) and not np.array_equal(again[0, 1], first[0, 1])


def test_reference_policies_on_reach() -> None:
    """The expert solves every unseen goal; the sweep passes most; waiting in the middle earns more."""
    family = family_module.build(Settings(horizon=200))
    tasks = family.tasks("test", 10, 0)
    oracle, sweep, blind, mean = (play(family, name, tasks) for name in ("oracle", "sweep", "task_blind", "mean_goal"))
    assert oracle[2].all() and 1800 < oracle[0].mean() < 1900
    assert sweep[1].mean() >= 0.7 and sweep[2].mean() <= 0.2
    assert oracle[0].mean() > blind[0].mean() > sweep[0].mean()
    for one, other in zip(blind, mean, strict=True):
        np.testing.assert_array_equal(one, other)  # the object says nothing of reach's target


def test_the_floor_predicts_the_target_where_the_object_tells_it() -> None:
    """The button is where it is seen: nothing is hidden in this class. Memory holds the prediction for an episode."""
    family = family_module.build(Settings(task="button-press-v3", horizon=10))
    tasks = family.tasks("test", 3, 0)
    env = family.vector_env(tasks, 1)
    obs = env.reset()[0][:, None]
    env.close()
    goals = [(task["env_name"], task["rand_vec"]) for task in tasks]
    targets = np.array([[prototype(name, False).snapshot((name, place)).target] for name, place in goals])
    policy = family.references["task_blind"](tasks)
    memory = policy.act(obs, policy.start(3, 1), None)[2]
    np.testing.assert_allclose(memory["target"], targets, atol=1e-6)
    later = policy.observe(memory, np.zeros((3, 1, 4)), np.zeros((3, 1)), np.zeros((3, 1), dtype=bool))
    np.testing.assert_array_equal(policy.act(obs + 1.0, later, None)[2]["target"], memory["target"])
    middle = family.references["mean_goal"](tasks).act(obs, policy.start(3, 1), None)[2]["target"]
    assert np.abs(middle - targets).max() > 0.02


def test_expert_is_told_the_goal_on_a_private_copy(reach: MetaWorldFamily) -> None:
    tasks = reach.tasks("test", 2, 0)
    obs = np.tile(reach.spec.observation_center, (2, 1, 1))
    before = obs.copy()
    policy = reach.references["oracle"](tasks)
    action = policy.act(obs, policy.start(2, 1), None)[0]
    assert np.array_equal(obs, before)
    goals = np.array([task["rand_vec"][-3:] for task in tasks])
    np.testing.assert_allclose(action[:, 0, :3], 5.0 * (goals - obs[:, 0, :3]), rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"task": "raech-v3"}, r"unknown task 'raech-v3' \(did you mean 'reach-v3'\?\)"),
        ({"benchmark": "ML11"}, r"unknown benchmark 'ML11' \(did you mean 'ML1'\?\)"),
        ({"horizon": 501}, "horizon must be between 1 and 500, got 501"),
        ({"episodes_per_trial": 0}, "episodes_per_trial must be at least 1"),
        ({"goal_seed": -1}, "the seed of the goals must not be negative"),
    ],
)
def test_settings_are_checked(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings(**values)
