"""Returns and advantages over padded batches of episodes.

All functions take arrays whose last axis is time; ``mask`` is True where a step was really taken.
Termination and truncation are kept apart: after a terminated step the future is worth nothing, after a truncated one
it is worth what the critic says of the observation that followed.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from kshot.types import Array

AdvantageScale = Literal["deviation", "variance"]
"""What centred advantages are divided by."""


def discounted_returns(reward: Array, mask: Array, discount: float) -> Array:
    """[..., H] discounted sum of the rewards from each step on; 0 on padding."""
    result = np.zeros(reward.shape, dtype=np.float64)
    running = np.zeros(reward.shape[:-1], dtype=np.float64)
    for t in reversed(range(reward.shape[-1])):
        running = np.where(mask[..., t], reward[..., t] + discount * running, 0.0)
        result[..., t] = running
    return result


def gae(
    reward: Array, value: Array, mask: Array, discount: float, lambda_: float, bootstrap: Array | None = None
) -> Array:
    """Generalised advantage estimates (Schulman et al. 2016, arXiv 1506.02438, eq. 16).

    Args:
        reward: [..., H].
        value: [..., H] critic's value of the observation before each step.
        mask: [..., H] a prefix of True per episode.
        discount: gamma.
        lambda_: exponential weight of the n-step estimates.
        bootstrap: [...] value after the last step taken: the critic's for truncated episodes, 0 for terminated ones.
            None means 0 everywhere, the finite-horizon objective.

    Returns:
        [..., H] advantages; 0 on padding.
    """
    result = np.zeros(reward.shape, dtype=np.float64)
    after = np.zeros(reward.shape[:-1]) if bootstrap is None else np.asarray(bootstrap, dtype=np.float64)
    next_value = after
    running = np.zeros(reward.shape[:-1], dtype=np.float64)
    for t in reversed(range(reward.shape[-1])):
        taken = mask[..., t]
        delta = reward[..., t] + discount * next_value - value[..., t]
        running = np.where(taken, delta + discount * lambda_ * running, 0.0)
        # Padding lies behind the episode's last step: until that step is met, what follows it is the bootstrap value.
        next_value = np.where(taken, value[..., t], after)
        result[..., t] = running
    return result


def normalise(advantage: Array, mask: Array, axes: tuple[int, ...], scale: AdvantageScale = "deviation") -> Array:
    """Zero mean over the taken steps along ``axes``, divided by their standard deviation or variance; 0 on padding."""
    count = np.maximum(mask.sum(axis=axes, keepdims=True), 1)
    mean = (advantage * mask).sum(axis=axes, keepdims=True) / count
    centred = (advantage - mean) * mask
    variance = (centred**2).sum(axis=axes, keepdims=True) / count
    return np.asarray(centred / ((np.sqrt(variance) if scale == "deviation" else variance) + 1e-8))
