"""Scripted policies without learning, from which families make their reference policies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from gymnasium import spaces
from scipy.special import ndtr

from kshot.types import Array, Memory

Rule = Callable[[Array, Array, "Array | None"], Array]
"""(obs [T, C, D], step [T, C], noise [T, C, action_dim] or None) -> action [T, C, A] or [T, C] int64."""


@dataclass(frozen=True)
class Scripted:
    """A ``kshot.types.Policy`` that follows a rule; its memory is the number of steps taken in the episode.

    It reports 0 as the log-probability of every action.
    """

    rule: Rule

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        return {"step": np.zeros((n_tasks, n_copies), dtype=np.int64)}

    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        return self.rule(obs, memory["step"], noise), np.zeros(obs.shape[:2]), memory

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        return {"step": np.where(done, 0, memory["step"] + 1)}


def constant_action(actions: Array) -> Scripted:
    """Always take action ``actions[t]`` on task ``t``; ``actions`` is [T] int."""
    return Scripted(lambda obs, step, noise: np.broadcast_to(actions[:, None].astype(np.int64), obs.shape[:2]).copy())


def uniform_random(space: spaces.Box | spaces.Discrete) -> Scripted:
    """Uniformly random actions, a function of the noise.

    Without noise (mean mode) they are the middle of a box, or action 0, the first of the equally probable ones.
    """
    if isinstance(space, spaces.Discrete):
        return Scripted(
            lambda obs, step, noise: (
                np.zeros(obs.shape[:2], dtype=np.int64) if noise is None else noise.argmax(axis=-1).astype(np.int64)
            )
        )
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)

    def rule(obs: Array, step: Array, noise: Array | None) -> Array:
        # The normal distribution function turns standard normal noise into a uniform number in (0, 1).
        uniform = np.full((*obs.shape[:2], *low.shape), 0.5) if noise is None else ndtr(noise)
        return low + (high - low) * uniform

    return Scripted(rule)
