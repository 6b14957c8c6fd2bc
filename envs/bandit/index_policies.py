"""Index policies for Bernoulli bandits: scripted, without training, they learn from their counts over a trial.

Each is a rule of the authors of RL^2 (Duan et al. 2016, arXiv 1611.02779, table 1), as in the script in
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
"""(wins [T, C, k], pulls [T, C, k], noise [T, C, k] or None) -> index of every arm [T, C, k]."""
LONG_TRIAL = 30
UCB_WIDTHS = (0.1, 0.2)
"""The width of ``ucb1`` for trials of up to ``LONG_TRIAL`` pulls and for longer ones.

The best of 0, .1, ..., .6 on 20,000 validation tasks of seed 0: .1 at 10 pulls and .2 at 100, for 5, 10 and 50 arms
alike (50 arms and 100 pulls: 10,000 tasks). The border is halfway between on a logarithmic scale.
"""


@dataclass(frozen=True)
class IndexPolicy:
    """Pull the arm with the largest index, which depends on the wins and pulls of each arm so far.

    Attributes:
        index: the rule.
        arms: k.
    """

    index: Index
    arms: int

    @property
    def trial_memory(self) -> bool:
        return True

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        return {name: np.zeros((n_tasks, n_copies, self.arms)) for name in ("wins", "pulls")}

    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        arm = self.index(memory["wins"], memory["pulls"], noise).argmax(axis=-1)
        return arm.astype(np.int64), np.zeros(arm.shape), memory

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        pulled = np.arange(self.arms) == action[..., None]
        return {"wins": memory["wins"] + pulled * reward[..., None], "pulls": memory["pulls"] + pulled}


def thompson(arms: int) -> IndexPolicy:
    """Thompson sampling: the index is a sample from the arm's posterior Beta(1 + wins, 1 + losses).

    Gumbel noise g becomes the uniform number exp(-exp(-g)), and that a Beta sample by the inverse distribution
    function. Without noise the index is the posterior median.
    """

    def index(wins: Array, pulls: Array, noise: Array | None) -> Array:
        uniform = np.full(wins.shape, 0.5) if noise is None else np.exp(-np.exp(-noise))
        return np.asarray(betaincinv(1.0 + wins, 1.0 + pulls - wins, uniform))

    return IndexPolicy(index, arms)


def greedy(arms: int) -> IndexPolicy:
    """The index is the posterior mean under Beta(1, 1): as if every arm had one win in two pulls more."""
    return IndexPolicy(lambda wins, pulls, noise: (wins + 1.0) / (pulls + 2.0), arms)


def ucb1(arms: int, width: float) -> IndexPolicy:
    """UCB1 with an adjustable width c: the index of ``greedy`` + c sqrt(2 ln t / (m + 2)), for m of t pulls."""

    def index(wins: Array, pulls: Array, noise: Array | None) -> Array:
        total = np.maximum(pulls.sum(axis=-1, keepdims=True), 1.0)  # the logarithm is 0 before the very first pull, too
        return np.asarray((wins + 1.0) / (pulls + 2.0) + width * np.sqrt(2.0 * np.log(total) / (pulls + 2.0)))

    return IndexPolicy(index, arms)
