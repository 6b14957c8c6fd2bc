"""A vector environment that is copied, sent to another process, forked or closed behaves as those of Gymnasium do."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ClosedEnvironmentError
from gymnasium.wrappers.vector import NormalizeObservation, NormalizeReward

import kshot.environments  # noqa: F401  # registers them
from kshot.envs.metaworld import MetaWorldVectorEnv
from kshot.envs.metaworld._goals import Source, goals
from kshot.places import ROOT

pytestmark = pytest.mark.numerics

NAMES = ("reach-v3", "door-open-v3", "push-v3")


def make(n: int = 3, **settings: Any) -> MetaWorldVectorEnv:
    chosen = [goals(Source("ML1", NAMES[i % 3]), "train")[i] for i in range(n)]
    return MetaWorldVectorEnv(chosen, horizon=30, threads=2, **settings)


def actions(step: int, n: int = 3) -> np.ndarray:
    return np.random.default_rng(step).uniform(-1, 1, (n, 4)).astype(np.float32)


def play(env: Any, first: int, last: int) -> list[np.ndarray]:
    found = []
    for step in range(first, last):
        obs, reward, terminated, truncated, info = env.step(actions(step))
        found += [obs, reward, terminated, truncated, info["success"]]
    return found


def same(one: list[np.ndarray], other: list[np.ndarray]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def elsewhere(data: bytes, pipe: Any) -> None:
    pipe.send(play(pickle.loads(data), 20, 45))


@pytest.mark.parametrize("stepped", [0, 20])
def test_a_copy_goes_on_bit_for_bit(stepped: int) -> None:
    env = make()
    env.reset()
    play(env, 0, stepped)
    copies = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    expected = play(env, 20, 45)  # over the end of an episode
    for other in copies:
        same(play(other, 20, 45), expected)
        assert other.goals == env.goals
    untouched = copy.deepcopy(make())
    same([untouched.reset()[0]], [env.reset()[0]])


def test_official_environments_are_not_copied_in_a_state_that_they_were_not_in() -> None:
    env = make(backend="official")
    for duplicate in (copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="official environments lose their state when they are copied"):
            duplicate(env)


def test_a_copy_goes_on_in_another_process() -> None:
    env = make()
    env.reset()
    play(env, 0, 20)
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=elsewhere, args=(pickle.dumps(env), there))
    process.start()
    there.close()  # the only one left is the other process's: where it fails, so does recv
    same(here.recv(), play(env, 20, 45))
    process.join()
    assert process.exitcode == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_fork_while_another_thread_steps_can_step() -> None:
    busy, own = make(), make()
    busy.reset(), own.reset()
    expected = play(copy.deepcopy(own), 0, 10)
    stop = threading.Event()

    def work() -> None:
        step = 0
        while not stop.is_set():
            busy.step(actions(step))
            step += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(10):
            child = os.fork()
            if child == 0:
                signal.alarm(60)  # one that hangs is killed
                try:
                    same(play(own, 0, 10), expected)
                except BaseException:
                    os._exit(1)
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        thread.join()


def test_after_it_is_closed_nothing_can_be_asked_of_it() -> None:
    env = make(render_mode="rgb_array")
    env.reset()
    env.close()
    for ask in (lambda: env.step(actions(0)), env.reset, env.render):
        with pytest.raises(ClosedEnvironmentError, match=r"^metaworld: this environment is closed"):
            ask()


def ml1(num_envs: int, **settings: Any) -> Any:
    return gym.make_vec("kshot/ML1-train", num_envs=num_envs, env_name="reach-v3", **settings)


def test_seeds_as_gymnasium_has_them() -> None:
    first, second = (ml1(2, seed=None) for _ in range(2))
    assert first.unwrapped.goals != second.unwrapped.goals  # two draws of one goal in 50 each, out of other sets
    env = ml1(3, seed=1)
    env.reset(seed=[5, None, 7])
    chosen = list(env.unwrapped.goals)
    again = ml1(3, seed=1)
    again.reset()
    assert again.unwrapped.goals[1] == chosen[1]
    again.reset(seed=5)
    assert again.unwrapped.goals[0] == chosen[0] and again.unwrapped.goals[1:] != chosen[1:]
    env.reset(seed=[None] * 3)
    assert list(env.unwrapped.goals) == chosen
    with pytest.raises(ValueError, match="2 seeds for 3 sub-environments"):
        env.reset(seed=[1, 2])


def test_more_sub_environments_than_goals_share_them() -> None:
    env = ml1(120, seed=1)
    counts = [env.unwrapped.goals.count(goal) for goal in set(env.unwrapped.goals)]
    assert len(counts) == 50 and sorted(counts) == [2] * 30 + [3] * 20
    assert env.reset()[0].shape == (120, 39)
    few = ml1(4, seed=1, goals_per_class=3)
    assert len(set(few.unwrapped.goals)) == 3


def test_wrappers_of_gymnasium_normalise_in_the_mode_that_they_ask_for() -> None:
    env = NormalizeReward(NormalizeObservation(ml1(4, seed=1, horizon=20, autoreset_mode="NextStep")))
    env.reset()
    seen = [env.step(actions(step, 4))[0] for step in range(60)]
    assert np.abs(np.mean(seen, axis=(0, 1))).max() < 1.5 and np.isfinite(seen).all()
    with pytest.raises(ValueError, match="NEXT_STEP or DISABLED"):
        NormalizeObservation(ml1(4, seed=1))


NOWHERE = """
import numba.core.caching

numba.core.caching.CacheImpl._locator_classes = []  # what Numba is left with where no folder can be written
from tests.numerics.test_metaworld_copies import make, play

env = make()
env.reset()
print(len(play(env, 0, 3)))
"""


def test_without_a_folder_for_compiled_code_it_does_without() -> None:
    """As in a container that is read-only and whose user has no home."""
    command = [sys.executable, "-c", NOWHERE]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "15\n"), done.stderr
