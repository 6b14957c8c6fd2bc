"""Finite-horizon dynamic programming on tabular MDPs, many at once.

B is any number of MDPs, S states, A actions, H steps.
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
    """[H + 1, B, S] the largest expected return from every step on (Bellman 1957)."""
    values = [np.zeros(model.reward.shape[:2])]
    for _ in range(horizon):
        values.append(action_values(model, values[-1]).max(axis=-1))
    return np.stack(values[::-1])


def optimal_actions(model: MDP, horizon: int) -> Array:
    """[H, B, S] the best action at every step; the first of equals."""
    return actions_by(model, optimal_values(model, horizon))


def actions_by(model: MDP, values: Array) -> Array:
    """[H, B, S] the best action at every step by the values [H + 1, B, S] of where it leads; the first of equals."""
    return np.stack([action_values(model, later).argmax(axis=-1) for later in values[1:]])


def expected_return(model: MDP, policy: Array) -> Array:
    """[B, S] of a policy [H, B, S, A] of probabilities, from every first state."""
    value = np.zeros(model.reward.shape[:2])
    for chance in policy[::-1]:
        value = (chance * action_values(model, value)).sum(axis=-1)
    return value


def action_values(model: MDP, later: Array) -> Array:
    """[B, S, A] the mean reward and the expected value of the next state; ``later`` is [B, S]."""
    return np.asarray(model.reward + np.einsum("bsan,bn->bsa", model.probability, later))
