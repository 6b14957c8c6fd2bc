"""Finite-horizon dynamic programming on B tabular MDPs side by side.

S states, A actions, H steps. Values and policies are of every step and start with the first.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kshot.types import Array


class MDP(NamedTuple):
    """Next-state probabilities [B, S, A, S] and mean rewards [B, S, A]."""

    probability: Array
    reward: Array


def optimal_values(model: MDP, horizon: int) -> Array:
    """[H + 1, B, S] the largest expected return from each state and step on (Bellman 1957); 0 after the last step."""
    values = [np.zeros(model.reward.shape[:2])]
    for _ in range(horizon):
        values.append(action_values(model, values[-1]).max(axis=-1))
    return np.stack(values[::-1])


def optimal_actions(model: MDP, horizon: int) -> Array:
    """[H, B, S] an optimal action at every step; the first of several."""
    return greedy_actions(model, optimal_values(model, horizon))


def greedy_actions(model: MDP, values: Array) -> Array:
    """[H, B, S] the action that is best by the values [H + 1, B, S] of the next states; the first of several."""
    return np.stack([action_values(model, next_values).argmax(axis=-1) for next_values in values[1:]])


def expected_return(model: MDP, policy: Array) -> Array:
    """[B, S] expected return from each first state of a policy [H, B, S, A] of action probabilities."""
    value = np.zeros(model.reward.shape[:2])
    for probability in policy[::-1]:
        value = (probability * action_values(model, value)).sum(axis=-1)
    return value


def action_values(model: MDP, next_values: Array) -> Array:
    """[B, S, A] mean reward plus expected value of the next state, whose values are [B, S]."""
    return np.asarray(model.reward + np.einsum("bsan,bn->bsa", model.probability, next_values))
