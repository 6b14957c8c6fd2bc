"""What users of Meta-World get besides the environments: states, multi-task benchmarks, evaluators, cameras."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import re
import textwrap
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium as gym
import metaworld
import numpy as np
import pytest
from gymnasium.error import ClosedEnvironmentError
from metaworld import evaluation
from metaworld.policies import ENV_POLICY_MAP

import kshot.environments  # noqa: F401  # registers them
from benchmarks import ppo
from kshot.envs.metaworld import MetaWorldVectorEnv, _goals
from kshot.envs.metaworld._goals import Source, goals
from kshot.envs.metaworld._tasks import CLASSES
from kshot.envs.metaworld.engine import prototype
from kshot.metaworld import multitask, states
from kshot.metaworld.cameras import CAMERAS, Views
from kshot.metaworld.evaluator import for_evaluator
from kshot.metaworld.states import get_state, set_state
from kshot.places import ROOT
from kshot.running.provenance import source_files
from tests.numerics.test_metaworld_pictures import result

FEW = 3
HORIZON = 64
"""By then the noisy expert has pressed about half of the buttons."""
UNUSED_SEED = 1_000_011
"""Goals are kept by seed: short lists of them need a seed that no other test asks for."""
MT10 = {"num_envs": 10, "seed": 1, "goals_per_class": 4}


def play(env: Any, steps: int, seed: int = 0, doubles: bool = True) -> bytes:
    """Everything that comes of ``steps`` random actions, float32 and (translated by itself) float64 by turns."""
    rng, found = np.random.default_rng(seed), []
    for step in range(steps):
        action = rng.uniform(-1, 1, (env.num_envs, 4)).astype(np.float64 if doubles and step % 3 == 0 else np.float32)
        obs, reward, terminated, truncated, info = env.step(action)
        found += [obs, reward, terminated, truncated, info["success"], info["in_place_reward"], info["grasp_success"]]
    return b"".join(np.ascontiguousarray(part).tobytes() for part in found)


@cache
def all_classes(second: bool) -> list[Any]:
    return [(name, prototype(name, False).draw(2, np.random.RandomState(0))[second]) for name in CLASSES]


def test_all_classes_go_on_from_their_states_bit_for_bit(tmp_path: Path) -> None:
    """In the same batch, in one that was never reset and in one that plays other goals; from a file."""
    options: Any = {"horizon": 20, "threads": 2}
    env = MetaWorldVectorEnv(all_classes(False), **options)
    env.reset()
    play(env, 8, 1, doubles=False)
    (tmp_path / "state").write_bytes(pickle.dumps(get_state(env)))
    expected = play(env, 15, doubles=False)  # over the end of an episode
    state = pickle.loads((tmp_path / "state").read_bytes())
    never, elsewhere = (MetaWorldVectorEnv(all_classes(second), **options) for second in (False, True))
    elsewhere.reset()
    play(elsewhere, 3, doubles=False)
    for other in (env, never, elsewhere):
        set_state(other, state)
        assert play(other, 15, doubles=False) == expected
    assert {prototype(name, False).env.model.ncam for name in CLASSES} == {len(CAMERAS)}
    models = [prototype(name, False).env.model for name in CLASSES]
    assert all({model.camera(i).name for i in range(model.ncam)} == set(CAMERAS) for model in models)


@pytest.fixture
def few_goals(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A few goals per class, of kshot's benchmarks; those of other tests are drawn again."""
    monkeypatch.setattr(_goals, "GOALS_PER_CLASS", FEW)
    monkeypatch.setattr(multitask, "GOALS_PER_CLASS", FEW)
    cached = (_goals.goals, _goals._draw, multitask.goals)
    for function in cached:
        function.cache_clear()
    yield
    for function in cached:
        function.cache_clear()


@pytest.mark.usefixtures("few_goals")
def test_what_the_page_says_to_write_makes_environments() -> None:
    """Every expression in the right column of the table in docs/metaworld-users.md."""
    page = (ROOT / "docs" / "metaworld-users.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("|")]
    ours = {code for line in rows for code in re.findall(r"`([^`]+)`", line) if "kshot/" in code}
    assert len(ours) >= 13
    for code in sorted(ours):
        env = eval(code, {"gym": gym})
        assert env.num_envs >= 2
        env.close()


@pytest.mark.parametrize("name", ["kshot/custom-train", "kshot/MT1"])
def test_benchmarks_go_on_with_the_same_goals(name: str) -> None:
    """Orders of goals, goals that wait and what a recurrent policy is shown belong to the state."""
    named: Any = {"train_classes": ["reach-v3", "door-open-v3"], "test_classes": ["push-v3"]}
    options: Any = {"num_envs": 4, "horizon": 7, "new_goal_each_episode": True, "recurrent_info": True}
    options |= {"env_name": "reach-v3"} if name == "kshot/MT1" else named
    env, other = (gym.make_vec(name, seed=seed, threads=1 + seed, goals_per_class=3, **options) for seed in (0, 1))
    unborn = get_state(env)
    first = env.reset()[0]
    play(env, 5, seed=1)
    env.unwrapped.sample_goals()
    play(env, 3, seed=2)
    state = get_state(env)
    expected = play(env, 60), env.reset(seed=4)[0].tobytes(), play(env, 20)
    set_state(other, state)
    assert (play(other, 60), other.reset(seed=4)[0].tobytes(), play(other, 20)) == expected
    set_state(other, unborn)
    with pytest.raises(ValueError, match="call reset\\(\\) first"):
        play(other, 1)
    np.testing.assert_array_equal(other.reset()[0], first)


def test_a_state_stays_as_it_was_and_nothing_of_an_environment_is_forgotten() -> None:
    env = gym.make_vec("kshot/MT1", num_envs=2, env_name="reach-v3", horizon=5)
    env.reset()
    state = get_state(env)
    before = pickle.dumps(state)
    set_state(env, state)
    play(env, 12)
    assert pickle.dumps(state) == before
    decided = {"names", "num_envs", "render_mode", "backend_name", "metadata", "_mask_objects", "_one_hot", "spec"}
    decided |= {name for name in vars(env.unwrapped) if name.endswith("_space")} | {"_backend", "_cameras"}
    kept = {*states.CHANGING, *states.DRAWING, *states.OPTIONS.values()}
    assert set(vars(env.unwrapped)) - decided == kept
    assert set(state.engine) == set(env.unwrapped._backend.__getstate__()) - {"threads"}


def test_a_state_that_does_not_fit_is_refused_in_one_line() -> None:
    reach, push = (list(goals(Source("ML1", name), "train")[:2]) for name in ("reach-v3", "push-v3"))
    env = MetaWorldVectorEnv(reach)
    env.reset()
    state, obs = get_state(env), env._obs.copy()
    for other, told in (
        (MetaWorldVectorEnv(reach[:1]), "the state is of 2 sub-environments, this environment has 1"),
        (MetaWorldVectorEnv([reach[0], push[0]]), "sub-environment 1 is of class reach-v3, here it is push-v3"),
        (MetaWorldVectorEnv(reach, horizon=30), "with horizon=500, this one has horizon=30: make it with the same"),
        (MetaWorldVectorEnv(reach, goal_observable=True), "goal_observable=False, this one has goal_observable=True"),
        (MetaWorldVectorEnv(reach, backend="official"), "official environments have no state"),
    ):
        with pytest.raises(ValueError, match=told):
            set_state(other, state)
    for name in ("format", "mujoco", "metaworld"):
        old = dataclasses.replace(state, versions=dict(state.versions) | {name: "0.1"})
        with pytest.raises(ValueError, match=r"the state was made by .* 0\.1, here is .*: take it anew"):
            set_state(env, old)
    with pytest.raises(TypeError, match="a state is what get_state returns, got dict"):
        set_state(env, {})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="of Meta-World have states, got CartPoleVectorEnv"):
        get_state(gym.make_vec("CartPole-v1"))
    np.testing.assert_array_equal(env._obs, obs)
    env.close()
    with pytest.raises(ClosedEnvironmentError):
        get_state(env)


def test_multi_task_goals_are_those_of_the_benchmark_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metaworld, "_N_GOALS", FEW)
    monkeypatch.setattr(multitask, "GOALS_PER_CLASS", FEW)
    for name, official in (
        ("MT10", metaworld.MT10(seed=UNUSED_SEED)),
        ("MT1", metaworld.MT1("soccer-v3", UNUSED_SEED)),
    ):
        expected = [(t.env_name, tuple(pickle.loads(t.data)["rand_vec"].tolist())) for t in official.train_tasks]
        assert list(multitask.goals(name, "soccer-v3" if name == "MT1" else "", UNUSED_SEED)) == expected
    assert [len(multitask.classes(name, "reach-v3")) for name in multitask.BENCHMARKS] == [1, 10, 25, 50]


def test_mt10_steps_as_the_official_vector_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same goals in both; the official one-hot wrapper declares float32, to which observations are rounded."""
    monkeypatch.setattr(metaworld, "_N_GOALS", FEW)
    theirs: Any = metaworld.make_mt_envs("MT10", seed=1, use_one_hot=True, max_episode_steps=12)
    theirs.call("toggle_sample_tasks_on_reset", False)
    first = np.stack([obs for obs, _ in theirs.call("sample_tasks")])
    ours: Any = gym.make_vec("kshot/MT10", horizon=12, new_goal_each_episode=False, **MT10)
    placed = [tuple(vec.tolist()) for vec in theirs.get_attr("_last_rand_vec")]
    ours.unwrapped.set_goals(list(zip(ours.unwrapped.names, placed, strict=True)))
    np.testing.assert_array_equal(ours.reset()[0], first)
    assert ours.single_observation_space.contains(first[0])
    rng = np.random.default_rng(0)
    for _ in range(20):  # over the end of an episode
        action = rng.uniform(-1, 1, (10, 4)).astype(np.float32)
        obs, reward, terminated, truncated, info = ours.step(action)
        obs_2, reward_2, terminated_2, truncated_2, info_2 = theirs.step(action)
        np.testing.assert_array_equal(obs.astype(np.float32), obs_2)
        np.testing.assert_array_equal(reward, reward_2)
        np.testing.assert_array_equal((terminated, truncated), (terminated_2, truncated_2))
        for i in np.flatnonzero(truncated):
            np.testing.assert_array_equal(info["final_obs"][i], info_2["final_obs"][i])
    np.testing.assert_array_equal(obs[:, 39:], np.eye(10))
    theirs.close()


def test_what_multi_task_environments_cannot_be() -> None:
    for named, told in (
        ({"id": "kshot/MT10", "num_envs": 4}, "MT10 has 10 classes: num_envs must be a multiple, got 4"),
        ({"id": "kshot/MT1", "env_name": "reach-v2"}, "unknown task 'reach-v2' .did you mean 'reach-v3'"),
        ({"id": "kshot/MT1", "env_name": "reach-v3", "seed": -1}, "seed of the goals must not be negative, got -1"),
    ):
        with pytest.raises(ValueError, match=told):
            gym.make_vec(**named)
    with pytest.raises(ValueError, match="unknown benchmark 'MT11'"):
        multitask.classes("MT11")
    env = gym.make_vec("kshot/MT1", num_envs=2, env_name="reach-v3", one_hot=False, seed=None)
    assert env.reset()[0].shape == (2, 39)


class Expert:
    """Metaworld's scripted policy with noise, as its evaluators ask for it."""

    def __init__(self, names: list[str]) -> None:
        self._policies = [ENV_POLICY_MAP[name]() for name in names]
        self._rng = np.random.default_rng(0)

    def nothing(self, *_: Any) -> None: ...

    init = adapt = step = reset = nothing

    def adapt_action(self, obs: Any) -> tuple[Any, dict[str, Any]]:
        return self.eval_action(obs), {}

    def eval_action(self, obs: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            chosen = [policy.get_action(row[:39]) for policy, row in zip(self._policies, obs, strict=True)]
        return np.clip(chosen + self._rng.normal(0, 0.3, (len(obs), 4)), -1, 1).astype(np.float32)


def test_metaworlds_evaluators_measure_the_same() -> None:
    """Successes, returns and their order, through goals that are drawn and episodes that success ends."""
    names = ["button-press-topdown-v3"] * 3
    theirs: Any = metaworld.make_ml_envs_test(names[0], seed=3, meta_batch_size=5, max_episode_steps=HORIZON)
    options: Any = {"env_name": names[0], "num_envs": 5, "horizon": HORIZON, "seed": 3, "defects": ("shared-seed",)}
    env = gym.make_vec("kshot/ML1-test", new_goal_each_episode=True, **options)
    ours = for_evaluator(env)
    names = names * 2
    theirs.call("toggle_sample_tasks_on_reset", True)
    found = [evaluation.evaluation(Expert(names[:5]), envs, num_episodes=9) for envs in (ours, theirs)]
    assert found[0] == found[1] and 0 < found[0][0] < 1
    how = {"num_evals": 2, "adaptation_episodes": 1, "evaluation_episodes": 3}
    found = [evaluation.metalearning_evaluation(Expert(names[:5]), envs, **how) for envs in (ours, theirs)]
    assert found[0] == found[1]
    assert [len(of_env) for of_env in ours.get_attr("tasks")] == [10] * 5
    with pytest.raises(AttributeError, match="the evaluators do not ask for 'x'"):
        ours.get_attr("x")
    with pytest.raises(AttributeError, match="the evaluators do not call 'x'"):
        ours.call("x")
    with pytest.raises(TypeError, match="need an environment of make_vec, got MetaWorldVectorEnv"):
        for_evaluator(MetaWorldVectorEnv(list(goals(Source("ML1", "reach-v3"), "train")[:2])))
    with pytest.raises(ValueError, match="SameStep"):
        for_evaluator(gym.make_vec("kshot/ML1-test", env_name="reach-v3", autoreset_mode="Disabled"))
    theirs.close()


VIEWS = textwrap.dedent("""
    import json
    import gymnasium as gym
    import numpy as np
    import kshot.environments
    from kshot.metaworld.cameras import Views

    options = dict(num_envs=2, env_name="drawer-open-v3", seed=1, render_mode="rgb_array", camera_name="corner2")
    env = gym.make_vec("kshot/ML1-train", **options)
    env.reset()
    for _ in range(10):
        env.step(np.tile(np.array([0.3, 0.5, -0.5, 1.0], dtype=np.float32), (2, 1)))
    with Views(env, ["gripperPOV", "corner2"]) as views:
        pictures = views.pictures()
    whole = [bool((pictures[1, 1] == env.unwrapped.render(1)).all()), list(pictures.shape), str(pictures.dtype)]
    with Views(env, ["corner2"], height=30, width=40) as views:
        small = views.pictures([1])
    different = float((pictures[0, 0] != pictures[0, 1]).mean())
    print(json.dumps([*whole, list(small.shape), different > 0.1, 0 < int(small.mean()) < 255]))
""")


def test_several_cameras_show_what_one_shows() -> None:
    expected = [True, [2, 2, 480, 480, 3], "uint8", [1, 1, 30, 40, 3], True, True]
    assert result(VIEWS) == expected


def test_what_cameras_cannot_show() -> None:
    env = MetaWorldVectorEnv(list(goals(Source("ML1", "reach-v3"), "train")[:2]))
    for cameras, size, told in (
        (["corner", "conrer2"], 9, "no camera 'conrer2' .did you mean 'corner2'"),
        ([], 9, "at least one name, none twice"),
        (["corner", "corner"], 9, "at least one name, none twice"),
        ("corner", 9, "at least one name"),
        (["corner"], 0, "positive height and width, got 0 and 0"),
    ):
        with pytest.raises(ValueError, match=told):
            Views(env, cameras, size, size)
    with pytest.raises(TypeError, match="cameras look at kshot's vector environments"):
        Views(gym.make_vec("CartPole-v1"), ["corner"])
    views = Views(env, ["corner"])
    with pytest.raises(ValueError, match="call reset"):
        views.pictures()
    env.reset()
    with pytest.raises(IndexError, match="no sub-environment 2, only 0 to 1"):
        views.pictures([0, 2])
    env.close()
    with pytest.raises(ClosedEnvironmentError):
        views.pictures()


def test_the_loop_of_ppo_is_measured_on_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metaworld, "_N_GOALS", FEW)
    envs = ppo.contenders(10, 1)
    found = ppo.measure(envs, rounds=1, updates=1, steps=4)
    assert set(found) == {"official", "kshot"} and min(found.values()) > 0
    for env in envs.values():
        env.close()


def test_the_modules_here_are_in_no_result() -> None:
    """What is added for users of the environments outdates no result of learners."""
    files = source_files("rl2", "metaworld")
    assert "kshot.envs.metaworld" in files
    assert not [name for name in files if name.startswith("kshot.metaworld")]


def test_a_copy_of_a_multi_task_environment_goes_on() -> None:
    env = gym.make_vec("kshot/MT1", num_envs=2, env_name="reach-v3").unwrapped
    env.reset()
    assert play(copy.deepcopy(env), 4) == play(env, 4)
