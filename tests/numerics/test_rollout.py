"""Rollouts: quotas, memory over episodes, early ends, keyed randomness, on a family made for the purpose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import VectorEnv

from kshot import seeding
from kshot.running.rollout import rollout
from kshot.types import Array, Episodes, FamilySpec, Memory, Policy, Task

HORIZON = 6


class CountdownEnv(VectorEnv[Array, Array, Array]):
    """Sub-environment i ends after ``length[i]`` steps; observation = (steps taken, episode), reward = step number."""

    def __init__(self, lengths: Array) -> None:
        self.lengths, self.num_envs, self.episode = lengths, len(lengths), -1
        self.closed_by_caller = False

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Array, dict[str, Any]]:
        if seed is not None:
            self.seeds, self.episode = list(seed), -1
        self.episode += 1
        self.t = 0
        return self._obs(), {}

    def _obs(self) -> Array:
        return np.stack([np.full(self.num_envs, self.t), np.full(self.num_envs, self.episode)], axis=1).astype(float)

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        self.t += 1
        terminated = self.t >= self.lengths
        success = self.t == np.minimum(self.lengths, 3)
        return self._obs(), np.full(self.num_envs, float(self.t)), terminated, terminated & False, {"success": success}


class Countdown:
    """A family whose task is the length of its episodes."""

    spec = FamilySpec("countdown", 2, spaces.Discrete(3), horizon=HORIZON, episodes_per_trial=2)

    def __init__(self) -> None:
        self.envs: list[CountdownEnv] = []

    def vector_env(self, tasks: Sequence[Task], copies: int) -> CountdownEnv:
        self.envs.append(CountdownEnv(np.repeat([task["length"] for task in tasks], copies)))
        return self.envs[-1]


class Counting:
    """A policy whose memory counts its own steps and adds up rewards; the action is argmax of the noise."""

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        return {"steps": np.zeros((n_tasks, n_copies)), "sum": np.zeros((n_tasks, n_copies))}

    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        action = np.zeros(obs.shape[:2], dtype=np.int64) if noise is None else noise.argmax(axis=-1)
        return action, memory["steps"].copy(), {**memory, "steps": memory["steps"] + 1}

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        return {**memory, "sum": memory["sum"] + reward}


def tasks(*lengths: int) -> list[Task]:
    return [Task("countdown", "test", i, (("length", length),)) for i, length in enumerate(lengths)]


def play(chosen: list[Task], keys: Array, **options: Any) -> Episodes:
    policy: Policy = Counting()
    return rollout(Countdown(), policy, chosen, keys, **options)  # type: ignore[arg-type]


KEYS = seeding.split(seeding.key("rollout"), np.arange(3))


def test_every_task_plays_its_quota_to_its_own_end() -> None:
    episodes = play(tasks(2, 6, 4), KEYS, copies=2, episodes=3)
    assert episodes.reward.shape == (3, 6, HORIZON)
    np.testing.assert_array_equal(episodes.lengths, np.repeat([[2], [6], [4]], 6, axis=1))
    np.testing.assert_array_equal(episodes.returns[:, 0], [1 + 2, 21, 10])
    np.testing.assert_array_equal(episodes.final_obs[:, 0, 0], [2, 6, 4])
    assert episodes.terminated.sum() == 18 and not episodes.truncated.any()
    assert episodes.steps == 6 * (2 + 6 + 4)


def test_success_is_counted_at_any_step_at_the_last_and_by_its_first_step() -> None:
    episodes = play(tasks(2, 6, 3), KEYS, copies=1)
    assert episodes.success_any[:, 0].tolist() == [True, True, True]
    assert episodes.success_last[:, 0].tolist() == [True, False, True]
    assert episodes.first_success[:, 0].tolist() == [2, 3, 3]


def test_memory_is_carried_over_a_trial_and_waits_for_longer_episodes() -> None:
    """log_prob shows the step counter in memory: 2 steps per episode for the short task, whatever the others do."""
    episodes = play(tasks(2, 6), KEYS[:2], copies=2, episodes=2)
    short = episodes.log_prob[0][episodes.mask[0]].reshape(2, 4)
    np.testing.assert_array_equal(short, [[0, 1, 2, 3]] * 2)
    long = episodes.log_prob[1][episodes.mask[1]].reshape(2, 12)
    np.testing.assert_array_equal(long, [np.arange(12)] * 2)
    np.testing.assert_array_equal(episodes.obs[0, :, 0, 1], [0, 1, 0, 1])  # episode number within the trial


def test_a_task_plays_the_same_alone_and_in_company() -> None:
    together = play(tasks(2, 6, 4), KEYS, copies=2, episodes=2)
    alone = play(tasks(2, 6, 4)[1:2], KEYS[1:2], copies=2, episodes=2)
    np.testing.assert_array_equal(together.action[1], alone.action[0])
    assert len(np.unique(together.action[1].reshape(4, -1), axis=0)) == 4, "copies and episodes must differ"


def test_seeds_are_distinct_and_noise_is_off_for_mean_actions() -> None:
    family = Countdown()
    episodes = rollout(family, Counting(), tasks(2, 6, 4), KEYS, copies=5, mode="mean")  # type: ignore[arg-type]
    assert not episodes.action.any()
    assert len(set(family.envs[0].seeds)) == 15
    assert family.envs[0].closed


@pytest.mark.parametrize("field", ["reward", "mask", "final_obs"])
def test_episodes_refuse_wrong_shapes(field: str) -> None:
    episodes = play(tasks(2), KEYS[:1], copies=1)
    arrays = {name: getattr(episodes, name) for name in episodes.__dataclass_fields__}
    with pytest.raises(ValueError, match=field):
        Episodes(**{**arrays, field: arrays[field][:, :, :-1]})


def test_episodes_refuse_a_step_after_the_end() -> None:
    episodes = play(tasks(2), KEYS[:1], copies=1)
    arrays = {name: getattr(episodes, name) for name in episodes.__dataclass_fields__}
    broken = arrays["mask"].copy()
    broken[0, 0, 4] = True
    with pytest.raises(ValueError, match="prefix"):
        Episodes(**{**arrays, "mask": broken})


class Staged(CountdownEnv):
    """Goes back to stage 0 after every second step, and knows that 7.5 is the most that can be earned."""

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Array, dict[str, Any]]:
        return super().reset(seed=seed)[0], {"optimal_return": np.full(self.num_envs, 7.5 + self.episode)}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        *rest, info = super().step(actions)
        return *rest, {**info, "stage": np.full(self.num_envs, self.t if self.t % 2 else 0)}


def test_stages_and_best_returns_are_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    family = Countdown()
    monkeypatch.setattr(family, "vector_env", lambda tasks, copies: Staged(np.repeat([2, 6], copies)))
    episodes = rollout(family, Counting(), tasks(2, 6), KEYS[:2], copies=1, episodes=2)  # type: ignore[arg-type]
    np.testing.assert_array_equal(episodes.stage, [[1, 1], [5, 5]])  # the furthest, and none after the end
    np.testing.assert_array_equal(episodes.optimal_return, [[7.5, 8.5]] * 2)
    without = play(tasks(2, 6), KEYS[:2], copies=1)
    assert (without.stage == -1).all() and np.isnan(without.optimal_return).all()
    chosen = episodes.select(slice(1, 2), np.array([1]))
    assert chosen.stage.tolist() == [[5]] and chosen.optimal_return.tolist() == [[8.5]]
    seen = episodes.for_training()
    assert (seen.stage == -1).all() and np.isnan(seen.optimal_return).all()
    np.testing.assert_array_equal(seen.reward, episodes.reward)
