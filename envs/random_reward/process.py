"""The two controlled Markov processes whose rewards are random: a table of states, and a plane of cells."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.special import gammaincinv

from kshot import seeding
from kshot.envs import _experts as experts
from kshot.envs import _mdps as mdps
from kshot.envs._mdps import MDP
from kshot.types import Array, Dynamics

CONCENTRATION = 0.1
"""Of the Dirichlet distribution of the table's next states: most actions nearly always lead to the same state."""
STEP = 0.1
"""Distance of neighbouring cells of the plane."""
MOVES = np.array([(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)])
"""[9, 2] of the plane; a move off it is not made."""


class Process(NamedTuple):
    """States and dynamics, the same for all tasks.

    Attributes:
        observations: [S, D] what is seen in each state.
        start: the state in which episodes begin.
        dynamics: as planners may know them.
        cumulative: [S, A, S] cumulative probabilities of the next state; empty where it is certain.
        successor: [S, A] the next state, where it is certain; else empty.
    """

    observations: Array
    start: int
    dynamics: Dynamics
    cumulative: Array
    successor: Array

    @property
    def n_states(self) -> int:
        return len(self.observations)

    @property
    def n_actions(self) -> int:
        return int((self.successor if self.successor.size else self.cumulative).shape[1])

    def optimal_return(self, reward: Array, horizon: int) -> Array:
        """[B] the best returns possible with rewards [B, S] of the states that steps lead to; exact (Bellman 1957)."""
        values = self._values(reward, horizon)[0, :, self.start]
        return values - reward[:, self.start] if self.successor.size else values

    def optimal_actions(self, reward: Array, horizon: int) -> Array:
        """[H, B, S] an optimal action in each state at each step; the first of several."""
        values = self._values(reward, horizon)
        if not self.successor.size:
            return mdps.greedy_actions(self._with(reward), values)
        return np.stack([value[:, self.successor].argmax(axis=-1) for value in values[1:]])

    def _values(self, reward: Array, horizon: int) -> Array:
        """[H + 1, B, S] optimal values; in the plane the reward of the state one is in counts, too."""
        if not self.successor.size:
            return mdps.optimal_values(self._with(reward), horizon)
        side = round(self.n_states**0.5)
        return experts.box_values(reward.reshape(-1, side, side), horizon)

    def random(self, reward: Array, horizon: int) -> Array:
        """[B] expected returns of uniform random actions with rewards [B, S]."""
        return np.asarray(
            np.einsum("bs,s->b", reward, self._visits(np.full(self.n_actions, 1 / self.n_actions), horizon))
        )

    def repeated(self, reward: Array, action: int, horizon: int) -> Array:
        """[B] expected returns of one action always, with rewards [B, S]."""
        return np.asarray(np.einsum("bs,s->b", reward, self._visits(np.eye(self.n_actions)[action], horizon)))

    def _visits(self, chance: Array, horizon: int) -> Array:
        """[S] how often an episode is expected to come to each state if actions have probabilities ``chance`` [A]."""
        at, visits = np.eye(self.n_states)[self.start], np.zeros(self.n_states)
        for _ in range(horizon):
            if self.dynamics.probability is None:
                at = np.bincount(self.successor.ravel(), np.outer(at, chance).ravel(), self.n_states)
            else:
                at = np.einsum("s,a,san->n", at, chance, self.dynamics.probability)
            visits += at
        return visits

    def _with(self, reward: Array) -> MDP:
        """MDPs with rewards [B, S] of the states that steps lead to, and a reward of pairs as their mean."""
        probability = self.dynamics.probability
        assert probability is not None
        pairs = np.einsum("san,bn->bsa", probability, reward)
        return MDP(np.broadcast_to(probability, (len(reward), *probability.shape)), pairs)

    def demonstrated(self, reward: Array, horizon: int, n: int, keys: Array) -> tuple[Array, Array]:
        """States [B, n, H + 1] and actions [B, n, H] of experts who are soft-optimal for rewards [B, S]."""
        if not self.successor.size:
            return experts.sampled_paths(
                self._with(reward), experts.soft_optimal_policy(self._with(reward), horizon, 1.0), n, keys
            )
        side = round(self.n_states**0.5)
        values = experts.box_values(reward.reshape(-1, side, side), horizon, combine=np.logaddexp)
        episode_keys = seeding.split(np.asarray(keys, dtype=np.uint64)[:, None], np.arange(n))
        starts = np.full(episode_keys.shape, self.start)
        assert self.dynamics.successor is not None
        return experts.soft_paths(self.dynamics.successor, values, starts, episode_keys)


@cache
def table(states: int, actions: int) -> Process:
    """Random dynamics, drawn once and for all; the state is seen one-hot, episodes begin in state 0."""
    key = np.array(seeding.key("random_reward", "table"), dtype=np.uint64)
    uniform = seeding.uniform(key, np.arange(states * actions * states)).reshape(states, actions, states)
    weight = gammaincinv(CONCENTRATION, uniform)  # gamma numbers divided by their sum are Dirichlet
    probability = weight / weight.sum(axis=-1, keepdims=True)
    none = np.zeros((0, 0), dtype=np.int64)
    return Process(np.eye(states), 0, Dynamics(probability=probability), probability.cumsum(axis=-1), none)


@cache
def plane(side: int) -> Process:
    """``side`` times ``side`` cells, ``STEP`` apart, around the start in the middle; the position is seen."""
    cells = np.array([(x, y) for x in range(side) for y in range(side)])
    after = cells[:, None] + MOVES
    inside = ((after >= 0) & (after < side)).all(axis=-1)
    number = after @ np.array([side, 1])
    middle = side // 2
    return Process(
        observations=STEP * (cells - middle),
        start=middle * side + middle,
        dynamics=Dynamics(successor=np.where(inside, number, -1), box=(side, side)),
        cumulative=np.zeros((0, 0, 0)),
        successor=np.where(inside, number, np.arange(side * side)[:, None]),
    )
