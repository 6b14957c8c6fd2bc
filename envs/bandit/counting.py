"""Scripted learners for Bernoulli bandits: they count over a trial and need no training.

The rules of the authors of RL^2 (Duan et al. 2016, arXiv 1611.02779, table 1), as in the script in
florensacc/rllab-curriculum, sandbox/rocky/neural_learner, that wrote their tables; ties go to the first arm, as there.
``kshot.envs.bandit`` is the family they belong to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

from kshot.types import Array, Memory

Index = Callable[[Array, Array, "Array | None"], Array]
"""(won [T, C, k], pulled [T, C, k], noise [T, C, k] or None) -> [T, C, k]; the arm with the largest one is pulled."""
MANY_PULLS = 30
UCB_WIDTHS = (0.1, 0.2)
"""The width of ``ucb1`` for trials of up to ``MANY_PULLS`` pulls and for longer ones.

The best of 0, .1, ..., .6 on 20,000 validation tasks of seed 0: .1 at 10 pulls and .2 at 100, for 5, 10 and 50 arms
alike (50 arms and 100 pulls: 10,000 tasks). The border is halfway between on a logarithmic scale.
"""


@dataclass(frozen=True)
class Counting:
    """Pull the arm with the largest index of the wins and pulls so far."""

    index: Index
    arms: int

    @property
    def trial_memory(self) -> bool:
        return True

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        return {name: np.zeros((n_tasks, n_copies, self.arms)) for name in ("won", "pulled")}

    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        arm = self.index(memory["won"], memory["pulled"], noise).argmax(axis=-1)
        return arm.astype(np.int64), np.zeros(arm.shape), memory

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        pulled = np.arange(self.arms) == action[..., None]
        return {"won": memory["won"] + pulled * reward[..., None], "pulled": memory["pulled"] + pulled}


def thompson(arms: int) -> Counting:
    """Thompson sampling: a mean for each arm from its posterior Beta(1 + won, 1 + lost), then the best of them.

    Gumbel noise g is turned into the uniform number exp(-exp(-g)), and that into a Beta number by the inverse of the
    distribution function. Without noise each arm's posterior median stands for the draw.
    """

    def index(won: Array, pulled: Array, noise: Array | None) -> Array:
        share = np.full(won.shape, 0.5) if noise is None else np.exp(-np.exp(-noise))
        return np.asarray(betaincinv(1.0 + won, 1.0 + pulled - won, share))

    return Counting(index, arms)


def greedy(arms: int) -> Counting:
    """The largest mean, every arm counting as pulled twice with one win before: the posterior mean of Beta(1, 1)."""
    return Counting(lambda won, pulled, noise: (won + 1.0) / (pulled + 2.0), arms)


def ucb1(arms: int, width: float) -> Counting:
    """UCB1 with an adjustable width c: mean + c sqrt(2 ln t / m) after t pulls, with the counts of ``greedy``."""

    def index(won: Array, pulled: Array, noise: Array | None) -> Array:
        made = np.maximum(pulled.sum(axis=-1, keepdims=True), 1.0)  # the logarithm's 0 also for the very first pull
        return np.asarray((won + 1.0) / (pulled + 2.0) + width * np.sqrt(2.0 * np.log(made) / (pulled + 2.0)))

    return Counting(index, arms)
