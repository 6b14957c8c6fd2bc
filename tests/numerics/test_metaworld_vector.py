"""The vector environments' interface: what Gymnasium and Metaworld's wrappers promise, goals, and wrong use."""

from __future__ import annotations

import pickle
import time
from typing import Any

import gymnasium as gym
import metaworld
import numpy as np
import pytest
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit, TransformObservation
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from metaworld.wrappers import AutoTerminateOnSuccessWrapper, RNNBasedMetaRLWrapper

import kshot.environments  # noqa: F401  (registers the environments)
from kshot.envs.metaworld import _goals
from kshot.envs.metaworld._goals import Source, goals
from kshot.envs.metaworld._tasks import Goal, official_task
from kshot.envs.metaworld._vector import MetaWorldVectorEnv
from kshot.envs.metaworld.engine import INFO_KEYS
from kshot.types import Array, Split
from tests.parity import Report, compare_benchmark, compare_vectors, official_info, players

FEW = 3
UNUSED_SEED = 1_000_007
"""Goals are kept by seed: short lists of them need a seed that no other test asks for."""


def goals_of(name: str, n: int = 1) -> list[Goal]:
    return list(goals(Source("ML1", name, 0), "train")[:n])


def push_and_reach(**settings: Any) -> MetaWorldVectorEnv:
    return MetaWorldVectorEnv(goals_of("push-v3") + goals_of("reach-v3"), autoreset_mode="Disabled", **settings)


def official_vector(chosen: list[Goal], mode: AutoresetMode, horizon: int, recurrent: bool) -> SyncVectorEnv:
    """Official environments in Gymnasium's own vector environment, ending at success and after ``horizon`` steps."""

    def make(goal: Goal) -> gym.Env[Any, Any]:
        env: Any = ALL_V3_ENVIRONMENTS[goal[0]]()
        env.set_task(official_task(goal))
        env = AutoTerminateOnSuccessWrapper(TimeLimit(env, horizon))
        if recurrent:
            # The official wrapper declares float32, to which the vector environment would round.
            env = TransformObservation(RNNBasedMetaRLWrapper(env), lambda obs: obs, Box(-np.inf, np.inf, (45,), float))
        return env

    return SyncVectorEnv([lambda goal=goal: make(goal) for goal in chosen], autoreset_mode=mode)


@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_episodes_end_and_begin_as_in_gymnasium(mode: AutoresetMode, recurrent: bool) -> None:
    """A reward counted twice, or an observation of the wrong episode, would pass for a property of the learner."""
    chosen = goals_of("reach-v3", 3) + goals_of("push-v3")
    settings = {"terminate_on_success": True, "recurrent_info": recurrent, "lost_final_step": recurrent}
    ours = MetaWorldVectorEnv(chosen, horizon=45, threads=2, autoreset_mode=mode, **settings)
    theirs = official_vector(chosen, mode, 45, recurrent)
    ours.reset()
    theirs.reset()
    report = Report(str(mode))
    act = players(chosen, ("expert", "noisy", "random", "random"), 0)
    terminated, truncated = compare_vectors(report, ours, theirs, act, 100)
    assert min(terminated, truncated) >= 2
    assert report.mismatches == 0, report.first
    ours.close()
    theirs.close()


def test_a_recurrent_policy_sees_the_end_of_the_episode() -> None:
    """Metaworld's wrapper hides the last reward from it; everything else is the same."""
    settings = {"horizon": 5, "threads": 1, "recurrent_info": True}
    whole, lost = (MetaWorldVectorEnv(goals_of("push-v3", 2), lost_final_step=x, **settings) for x in (False, True))
    assert np.array_equal(whole.reset()[0], lost.reset()[0])
    rng = np.random.default_rng(0)
    for t in range(12):
        action = rng.uniform(-1, 1, (2, 4))
        obs, reward, *_ = whole.step(action)
        other = lost.step(action)[0]
        ends = t in (4, 9)
        assert np.array_equal(obs[:, 39:], np.column_stack([action, reward / 10.0, np.full(2, float(ends))]))
        assert np.array_equal(obs[:, :39], other[:, :39])
        assert np.array_equal(other[:, 39:], np.zeros((2, 6)) if ends else obs[:, 39:])


@pytest.mark.parametrize("each_episode", [False, True])
def test_a_benchmark_draws_goals_in_the_official_order(each_episode: bool) -> None:
    """With the defect "shared-seed" a run of other people's code can be repeated, goal by goal."""
    settings = {"num_envs": 2, "horizon": 25, "new_goal_each_episode": each_episode}
    report = compare_benchmark("ML1", steps=60, seed=5, **settings)
    assert report.steps == 120
    assert report.mismatches == 0, report.first


SOURCES = {
    "ML1": (lambda: metaworld.ML1("push-v3", seed=UNUSED_SEED), Source("ML1", "push-v3", UNUSED_SEED)),
    "ML10": (lambda: metaworld.ML10(seed=UNUSED_SEED), Source("ML10", seed=UNUSED_SEED)),
    "ML25": (lambda: metaworld.ML25(seed=UNUSED_SEED), Source("ML25", seed=UNUSED_SEED, keep_seen_classes=True)),
    "ML45": (lambda: metaworld.ML45(seed=UNUSED_SEED), Source("ML45", seed=UNUSED_SEED)),
    "custom": (
        lambda: metaworld.CustomML(["push-v3", "soccer-v3"], ["reach-v3"], seed=UNUSED_SEED),
        Source("custom", "", UNUSED_SEED, ("push-v3", "soccer-v3"), ("reach-v3",)),
    ),
}


@pytest.mark.parametrize("benchmark", SOURCES)
def test_goals_are_those_of_the_benchmark_object(benchmark: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn with a few goals per class: that runs through the same stream, class after class, in a tenth of the time.

    Numpy's global generator, which the official benchmarks seed, belongs to the caller.
    """
    monkeypatch.setattr(metaworld, "_N_GOALS", FEW)
    monkeypatch.setattr(_goals, "GOALS_PER_CLASS", FEW)
    build, source = SOURCES[benchmark]
    before = np.random.get_state()[1].tobytes()
    drawn = {split: goals(source, split) for split in ("train", "test")}
    assert np.random.get_state()[1].tobytes() == before
    official = build()
    for split, tasks in (("train", official.train_tasks), ("test", official.test_tasks)):
        assert len(tasks) == FEW * len(source.classes(split))
        assert drawn[split] == tuple((t.env_name, tuple(pickle.loads(t.data)["rand_vec"].tolist())) for t in tasks)


def test_goals_that_come_first_do_not_depend_on_what_else_is_drawn() -> None:
    """A benchmark's environments must hold the goals of its split whatever was made before in the process."""
    splits: tuple[Split, ...] = ("validation", "test", "train")
    source = Source("ML1", "door-open-v3", UNUSED_SEED + 1)
    first = {split: goals(source, split) for split in splits}
    for cached in (goals, _goals._draw):
        cached.cache_clear()
    assert {split: goals(source, split) for split in reversed(splits)} == first
    assert len(set().union(*first.values())) == 150


def official_steps(env: Any, goal: Goal, actions: Array, goal_observable: bool) -> tuple[list[Any], list[Any]]:
    """Observations, and rewards with info."""
    env.set_task(official_task(goal, goal_observable))
    seen, gained = [env.reset()[0]], []
    for action in actions:
        obs, reward, _, _, info = env.step(action)
        seen.append(obs)
        gained.append([float(reward), *official_info(info)])
    return seen, gained


@pytest.mark.parametrize(("version", "observable"), [("v2", True), ("v1", False), ("v1", True)])
def test_other_versions_equal_the_official_ones(version: Any, observable: bool) -> None:
    """A visible goal changes the observation, and with it the rewards that are computed from the observation."""
    backend = "engine" if version == "v2" else "official"
    settings = {"goal_observable": observable, "reward_version": version, "backend": backend}
    env = push_and_reach(**settings)
    actions = np.random.default_rng(1).uniform(-1, 1, (25, 2, 4))
    seen, gained = [env.reset()[0]], []
    for action in actions:
        obs, reward, _, _, info = env.step(action)
        seen.append(obs)
        gained.append(np.column_stack([reward, *(info[key] for key in INFO_KEYS)]))
    low, high = env.single_observation_space.low, env.single_observation_space.high
    assert all(((row >= low) & (row <= high)).all() for row in seen)
    assert seen[0][:, -3:].any() == observable
    for i, goal in enumerate(env.goals):
        official = ALL_V3_ENVIRONMENTS[goal[0]](reward_function_version=version)
        expected = official_steps(official, goal, actions[:, i], observable)
        assert np.array(seen)[:, i].tobytes() == np.array(expected[0]).tobytes()
        assert np.array(gained, dtype=float)[:, i].tolist() == expected[1]
    env.close()


def test_reward_v1_is_another_reward_and_the_engine_refuses_it() -> None:
    rewards = []
    for version in ("v1", "v2"):
        env = push_and_reach(backend="official", reward_version=version)
        env.reset()
        rewards.append(env.step(np.zeros((2, 4)))[1])
        env.close()
    assert (rewards[0] != rewards[1]).all()
    with pytest.raises(ValueError, match='v1 needs backend="official"'):
        push_and_reach(reward_version="v1")


def test_only_objects_that_do_not_matter_are_masked() -> None:
    """In reach-v3 the object names the goal; in push-v3 it is the task."""
    plain, masked = push_and_reach(), push_and_reach(mask_irrelevant_objects=True)
    objects = [*range(4, 18), *range(22, 36)]
    rng = np.random.default_rng(2)
    seen = [(plain.reset()[0], masked.reset()[0])]
    for _ in range(5):
        action = rng.uniform(-1, 1, (2, 4))
        (obs, reward, *_), (hidden, same_reward, *_) = plain.step(action), masked.step(action)
        assert np.array_equal(reward, same_reward)
        seen.append((obs, hidden))
    for obs, hidden in seen:
        assert obs[1, objects].any() and not hidden[1, objects].any()
        rest = np.delete(np.arange(39), objects)
        assert np.array_equal(obs[1, rest], hidden[1, rest]) and np.array_equal(obs[0], hidden[0])


PUSH = (0.0, 0.6, 0.02)


@pytest.mark.parametrize(
    ("goal", "message"),
    [
        (("reech-v3", (0.0,)), r"unknown task 'reech-v3' \(did you mean 'reach-v3'\?\)"),
        (("push-v3", PUSH), "a goal of push-v3 is 6 finite numbers"),
        (("push-v3", (*PUSH, 0.0, 0.8, np.nan)), "a goal of push-v3 is 6 finite numbers"),
        (("push-v3", PUSH + PUSH), "cannot be placed: its object and its target are closer"),
        (["push-v3", PUSH], "a goal is a pair"),
    ],
)
@pytest.mark.parametrize("backend", ["engine", "official"])
def test_a_goal_that_does_not_exist_is_refused(goal: Any, message: str, backend: str) -> None:
    """The official reset would look for a place for the fourth one for ever."""
    begin = time.monotonic()
    with pytest.raises(ValueError, match=message):
        MetaWorldVectorEnv([goal], backend=backend).reset()
    assert time.monotonic() - begin < 10


def test_a_refused_goal_leaves_the_environment_as_it_was() -> None:
    """Otherwise one typing error would cost a session its environment."""
    env, other = push_and_reach(), push_and_reach()
    env.reset()
    other.reset()
    kept = list(env.goals)
    for wrong, message in [
        (kept[::-1], "sub-environment 0 is of class push-v3, got a goal of reach-v3"),
        (kept[:1], "1 goals for 2 sub-environments"),
    ]:
        with pytest.raises(ValueError, match=message):
            env.set_goals(wrong)
    env.set_goals([("push-v3", PUSH + PUSH), kept[1]])
    with pytest.raises(ValueError, match="cannot be placed"):
        env.reset()
    env.set_goals(kept)
    assert np.array_equal(env.reset()[0], other.reset()[0])
    action = np.ones((2, 4))
    assert np.array_equal(env.step(action)[0], other.step(action)[0])


@pytest.mark.parametrize(
    ("actions", "error", "message"),
    [
        (np.zeros((4, 2)), ValueError, r"must have the shape \(2, 4\), got \(4, 2\)"),
        (np.zeros(4), ValueError, r"got \(4,\)"),
        (np.full((2, 4), "up"), ValueError, "must be numbers"),
        (np.zeros((2, 4), dtype=complex), ValueError, "must be numbers"),
        (np.array([[0.0] * 4, [0, np.inf, 0, 0]]), FloatingPointError, "of sub-environment 1 is not finite"),
    ],
)
def test_bad_actions_are_refused_before_anything_moves(actions: Any, error: Any, message: str) -> None:
    """MuJoCo answers NaN by resetting the simulation in the middle of the episode."""
    env, other = push_and_reach(), push_and_reach()
    env.reset()
    other.reset()
    with pytest.raises(error, match=message):
        env.step(actions)
    assert np.array_equal(env.step(np.ones((2, 4)))[0], other.step(np.ones((2, 4), dtype=np.int64))[0])


def test_a_finished_episode_cannot_go_on() -> None:
    """Steps beyond the horizon would be counted to no episode."""
    env = push_and_reach(horizon=2)
    with pytest.raises(ValueError, match="sub-environment 0 has finished its episode"):
        env.step(np.zeros((2, 4)))
    env.reset()
    env.step(np.zeros((2, 4)))
    assert env.step(np.zeros((2, 4)))[3].all()
    with pytest.raises(ValueError, match="sub-environment 0 has finished"):
        env.step(np.zeros((2, 4)))
    env.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(ValueError, match="sub-environment 1 has finished"):
        env.step(np.zeros((2, 4)))


@pytest.mark.parametrize("mask", [np.zeros(2, dtype=bool), np.ones(3, dtype=bool), np.array([0, 1])])
def test_a_mask_that_selects_nothing_or_something_else_is_refused(mask: Array) -> None:
    env = push_and_reach()
    env.reset()
    with pytest.raises(ValueError, match="reset_mask must be 2 booleans"):
        env.reset(options={"reset_mask": mask})


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("ML10-train", {"num_envs": 7}, "10 classes: num_envs must be a multiple, got 7"),
        ("ML1-train", {"num_envs": 10}, "kshot/ML1-train is of one class, and env_name says which"),
        ("MT1", {"num_envs": 10}, "kshot/MT1 is of one class, and env_name says which"),
        ("ML1-train", {"num_envs": 1, "env_name": "reach"}, r"did you mean 'reach-v3'\?"),
        ("ML1-train", {"num_envs": 1, "env_name": "reach-v3", "defects": ["shared-sed"]}, "mean 'shared-seed'"),
        ("ML1-train", {"num_envs": 1, "env_name": "reach-v3", "backend": "officia"}, "did you mean 'official'"),
        ("ML1-train", {"num_envs": 1, "env_name": "reach-v3", "horizon": 501}, "horizon must be between 1 and 500"),
        ("ML1-train", {"num_envs": 1, "env_name": "reach-v3", "threads": 0}, "threads must be at least 1"),
        ("ML1-train", {"num_envs": 1, "env_name": "reach-v3", "render_mode": "human"}, "render_mode must be"),
        ("custom-train", {"num_envs": 1}, "needs train_classes and test_classes"),
    ],
)
def test_wrong_settings_are_named(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gym.make_vec(f"kshot/{name}", **settings)


@pytest.mark.parametrize("each_episode", [False, True])
def test_a_seeded_reset_begins_the_same_order_of_goals_at_any_time(each_episode: bool) -> None:
    env: Any = gym.make_vec("kshot/ML1-train", env_name="reach-v3", num_envs=3, new_goal_each_episode=each_episode)
    env.reset(seed=5)
    first = list(env.goals)
    env.reset()
    assert (list(env.goals) != first) is each_episode
    env.reset(seed=5)
    assert list(env.goals) == first
    env.close()
