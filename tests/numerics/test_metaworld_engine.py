"""The batched engine: every bit as Metaworld's own classes, for any number of threads, order of operations and state.

``python -m tests.parity`` does the same for every class with whole episodes, more goals and both types of action.
"""

from __future__ import annotations

import ast
import functools
import multiprocessing
import time
import warnings
from collections import defaultdict
from itertools import permutations
from pathlib import Path
from threading import Event, current_thread
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
import pytest

import kshot.environments  # noqa: F401  (registers the environments)
from kshot.envs.metaworld import MetaWorldVectorEnv, _vector
from kshot.envs.metaworld._goals import Source, goals
from kshot.envs.metaworld._tasks import Goal
from kshot.envs.metaworld.engine import exactness, kernel, library, prototypes, rewriting
from kshot.envs.metaworld.engine.symbols import Unsupported
from kshot.types import Array
from tests.parity import CLASSES, Report, compare_class, interleave

CAGED = ("push-v3", "pick-place-v3", "dial-turn-v3")
"""Rewards that depend on the action, so that its type reaches their last digits."""
MIXED = ("push-v3", "reach-v3", "drawer-open-v3", "dial-turn-v3")


def first_goals(names: tuple[str, ...], n: int = 1) -> list[Goal]:
    return [goal for name in names for goal in goals(Source("ML1", name, 0), "train")[:n]]


@pytest.mark.parametrize("other", [np.nextafter(1.0, 2.0), -0.0, np.nan])
def test_the_comparison_sees_every_bit(other: float) -> None:
    """All tests below rest on it."""
    ours, report = np.array([[1.0, 0.0], [1.0, 0.0]]), Report("numbers")
    report.compare({"obs": ours}, {"obs": ours.copy()}, "here", "step")
    assert report.mismatches == 0
    theirs = ours.copy()
    theirs[1, int(other == 0)] = other
    report.compare({"obs": ours}, {"obs": theirs}, "here", "step")
    assert report.mismatches == 1 and report.first.startswith("here, step 1, obs: ours [1. 0.], official")


@pytest.mark.parametrize("name", CLASSES)
def test_equal_to_the_official_class(name: str) -> None:
    """One wrong instruction in one class's translation would change what is learned there, and nothing would fail."""
    dtypes = ("float32", "float64") if name in CAGED else ("float32",)
    report = compare_class(name, tasks=1, steps=60, modes=("random", "noisy"), dtypes=dtypes)
    assert report.steps == 4 * 60 * len(dtypes)
    assert report.mismatches == 0, report.first


@pytest.mark.parametrize("seed", [0, 1])
def test_equal_after_any_order_of_resets_new_goals_and_steps(seed: int) -> None:
    """Sub-environments swap states through shared simulations: what one leaves behind would show in another."""
    report = interleave(MIXED, operations=120, seed=seed, horizon=25)
    assert report.steps > 300
    assert report.mismatches == 0, report.first


def test_a_placement_does_not_depend_on_what_was_stepped_before() -> None:
    """Classes with the same model file share simulations, and some move a body that the others leave where it is.

    Where it stands shows in no observation before something touches it.
    """
    sharing: defaultdict[str, list[str]] = defaultdict(list)
    for name in CLASSES:
        sharing[prototypes.prototype(name, False).model_file].append(name)
    groups = [names for names in sharing.values() if len(names) > 1]
    assert len(groups) > 5
    for names in groups:
        fresh = {name: prototypes.Prototype(name, False) for name in names}
        unplaced = {name: iter(goals(Source("ML1", name, 1), "train")) for name in names}
        for stepped, placed in permutations(names, 2):
            env = MetaWorldVectorEnv([next(unplaced[stepped])], threads=1, autoreset_mode="Disabled")
            env.reset()
            env.step(np.zeros((1, 4), dtype=np.float32))
            goal = next(unplaced[placed])
            ours, expected = prototypes.prototype(placed, False).snapshot(goal), fresh[placed].snapshot(goal)
            for part in ("positions", "state", "obs", "params"):
                assert getattr(ours, part).tobytes() == getattr(expected, part).tobytes(), (placed, stepped, part)


def test_the_number_of_threads_is_not_part_of_the_result() -> None:
    """Otherwise a run could not be repeated on a machine with more cores."""

    def play(threads: int) -> list[bytes]:
        env: Any = gym.make_vec("kshot/ML10-train", num_envs=20, seed=1, threads=threads, autoreset_mode="Disabled")
        rng = np.random.default_rng(2)
        seen = [env.reset()[0].tobytes()]
        for t in range(40):
            if t % 8 == 5:
                seen.append(env.reset(options={"reset_mask": rng.random(20) < 0.4})[0].tobytes())
            obs, reward, _, _, info = env.step(rng.uniform(-1.5, 1.5, (20, 4)))
            seen += [obs.tobytes(), reward.tobytes(), info["obj_to_target"].tobytes(), info["success"].tobytes()]
        env.close()
        return seen

    alone = play(1)
    assert len(set(alone)) > 100  # things do change from step to step
    assert play(2) == alone
    assert play(4) == alone


class Disturbed:
    """Sub-environments of one backend, of which one's simulation is broken after ten of twenty steps."""

    def __init__(self, backend: str, component: str = "", value: float = 0.0, victim: int = 1) -> None:
        self.env = MetaWorldVectorEnv(first_goals(MIXED), backend=backend, threads=2, autoreset_mode="Disabled")
        self.env.reset()
        actions = np.random.default_rng(3).uniform(-1, 1, (20, len(MIXED), 4))
        self.obs, self.reward, self.unstable = [], [], []
        for t in range(20):
            if t == 10 and component:
                self._break(component, value, victim)
            obs, reward, _, _, info = self.env.step(actions[t])
            self.obs.append(obs)
            self.reward.append(reward)
            self.unstable.append(info["unstable"])
        self.env.close()

    def of(self, i: int) -> tuple[bytes, bytes]:
        return np.array(self.obs)[:, i].tobytes(), np.array(self.reward)[:, i].tobytes()

    def _break(self, component: str, value: float, victim: int) -> None:
        backend: Any = self.env._backend
        if self.env.backend_name == "engine":
            model = backend._prototypes[victim].env.model
            self._spoil(model, backend._state[victim], component, value)
            return
        official = backend._envs[victim]
        state = np.empty(mujoco.mj_stateSize(official.model, kernel.STATE))
        mujoco.mj_getState(official.model, official.data, state, kernel.STATE)
        self._spoil(official.model, state, component, value)
        mujoco.mj_setState(official.model, official.data, state, kernel.STATE)

    @staticmethod
    def _spoil(model: Any, state: Array, component: str, value: float) -> None:
        before = int(getattr(mujoco.mjtState, f"mjSTATE_{component}")) - 1  # the components that come first
        state[mujoco.mj_stateSize(model, kernel.STATE & before)] = value


@pytest.mark.parametrize(("component", "value"), [("QPOS", np.nan), ("QVEL", 1e12), ("QVEL", np.nan)])
def test_a_diverged_simulation_is_reported_and_stays_alone(
    component: str, value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The simulation is shared: without a clean restart, one broken state would break the next sub-environment's."""
    monkeypatch.chdir(tmp_path)  # MuJoCo writes its warnings into a file in the current folder
    calm, broken, official = Disturbed("engine"), *(Disturbed(b, component, value) for b in ("engine", "official"))
    assert not np.any(calm.unstable)
    assert broken.unstable[10].tolist() == [False, True, False, False]
    assert not np.any(broken.unstable[:10])
    assert np.array_equal(broken.unstable, official.unstable)
    assert [broken.of(i) == calm.of(i) for i in range(4)] == [True, False, True, True]
    assert broken.of(1) == official.of(1)


@pytest.mark.parametrize("thread", ["physics-1", "MainThread"])
def test_an_error_in_a_thread_reaches_the_caller_and_leaves_nothing_behind(
    thread: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lost error would return old numbers as new; a thread still at work would write into the next step's."""
    chosen = first_goals(MIXED)
    env, fresh = (MetaWorldVectorEnv(chosen, threads=2, autoreset_mode="Disabled") for _ in range(2))
    env.reset()
    actions = np.random.default_rng(4).uniform(-1, 1, (5, 4, 4))
    simulate, failing, busy = kernel.simulate, Event(), Event()
    failing.set()

    def patched(*arguments: Any) -> None:
        if failing.is_set() and current_thread().name == thread:
            raise RuntimeError("injected")
        if current_thread().name == "MainThread":
            return simulate(*arguments)
        busy.set()
        time.sleep(0.05)
        simulate(*arguments)
        busy.clear()

    monkeypatch.setattr(kernel, "simulate", patched)
    with pytest.raises(RuntimeError, match="injected"):
        env.step(actions[0])
    failing.clear()
    assert env.reset()[0].tobytes() == fresh.reset()[0].tobytes()
    for action in actions:
        found = env.step(action)
        assert not busy.is_set()
        expected = fresh.step(action)
        assert found[0].tobytes() == expected[0].tobytes() and found[1].tobytes() == expected[1].tobytes()


def test_a_forked_process_steps_too() -> None:
    """Threads do not survive a fork: without new ones the child would wait for them for ever."""
    env = MetaWorldVectorEnv(goals(Source("ML1", "reach-v3"), "train")[:4], threads=2, autoreset_mode="Disabled")
    env.reset()
    env.step(np.zeros((4, 4)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads around is what is tested
        child = multiprocessing.get_context("fork").Process(target=env.step, args=(np.zeros((4, 4)),))
        child.start()
    child.join(60)
    alive = child.is_alive()
    child.kill()
    assert not alive and child.exitcode == 0


def test_threads_do_not_parse_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.11 counts the depth of syntax trees per process: at times two threads at once end in a SystemError."""
    parse, inside, overlaps = ast.parse, [], []

    def watched(*arguments: Any, **settings: Any) -> Any:
        overlaps.append(len(inside))
        inside.append(None)
        time.sleep(0.001)
        try:
            return parse(*arguments, **settings)
        finally:
            inside.pop()

    monkeypatch.setattr(prototypes, "prototype", functools.cache(prototypes.Prototype))
    monkeypatch.setattr(ast, "parse", watched)
    rewriting._code.cache_clear()
    prototypes.place_all(first_goals(MIXED), False, threads=4)
    assert len(overlaps) > 20 and not any(overlaps)


def test_a_machine_that_computes_differently_gets_the_official_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers that are almost right would go unnoticed: the check has to see the last bit of a sum."""
    assert exactness.why_inexact() is None
    norm = library.norm
    monkeypatch.setattr(library, "norm", lambda x: norm(x) * (1.0 + 2.0**-52))
    assert exactness.why_inexact.__wrapped__() == "the norm of 2 numbers differs from numpy's"
    monkeypatch.undo()
    names = ("push-v3", "pick-place-v3")

    actions = np.random.default_rng(5).uniform(-1, 1, (10, 2, 4))

    def play() -> list[bytes]:
        env = MetaWorldVectorEnv(first_goals(names), autoreset_mode="Disabled")
        env.reset()
        results = [env.step(action)[:2] for action in actions]
        env.close()
        assert env.backend_name == expected
        return [part.tobytes() for result in results for part in result]

    expected = "engine"
    exact = play()
    monkeypatch.setattr(_vector, "why_inexact", lambda: "a norm differs")
    expected = "official"
    with pytest.warns(RuntimeWarning, match=r"not be exact on this machine \(a norm differs\)"):
        assert play() == exact


def test_a_class_that_cannot_be_translated_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an update of metaworld, say: the user must learn which class it is and what still steps it."""

    def refused(env: Any, single: bool) -> None:
        raise Unsupported("np.einsum")

    monkeypatch.setattr(prototypes, "translate", refused)
    with pytest.raises(Unsupported, match=r"cannot step reach-v3 exactly \(np\.einsum\); the official backend can"):
        prototypes.Prototype("reach-v3", False).snapshot(goals(Source("ML1", "reach-v3"), "train")[0])
