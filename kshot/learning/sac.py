"""Parts of soft actor-critic (Haarnoja et al. 2018, arXiv 1801.01290): tanh-Gaussian policy, critics, soft updates.

Actions are normalised to (-1, 1) here; ``BoxScale`` translates them to the environment's bounds and back.
The temperature is 1: the weight of the entropy is set by the scale of the reward (section 5.2 there).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor
from torch.nn.functional import relu, softplus

from kshot.learning import distributions, networks
from kshot.learning.distributions import Distribution
from kshot.types import Array

MIN_LOG_STD, MAX_LOG_STD = -20.0, 2.0
"""Bounds on the policy's log standard deviation before tanh, as in the authors' code (github.com/haarnoja/sac)."""


@dataclass(frozen=True)
class BoxScale:
    """The affine map between normalised actions in [-1, 1] and a bounded box: ``center`` and ``half`` are [A]."""

    center: Array
    half: Array

    @classmethod
    def of(cls, space: spaces.Box) -> BoxScale:
        """Raises ValueError where the box has no bounds to squash actions into."""
        low, high = space.low.astype(np.float64).reshape(-1), space.high.astype(np.float64).reshape(-1)
        if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
            raise ValueError(f"actions need finite bounds, got {space}")
        return cls((high + low) / 2, (high - low) / 2)

    def normalise(self, action: Array) -> Array:
        """[..., A] environment actions, as executed (clipped to the box) -> [-1, 1]."""
        return np.asarray(np.clip((action - self.center) / self.half, -1.0, 1.0))

    def denormalise(self, action: Array) -> Array:
        """[..., A] in [-1, 1] -> environment actions."""
        return np.asarray(self.center + self.half * action)


def gaussian(head: Tensor) -> Distribution:
    """The distribution before tanh from a policy network's output [..., 2 A]: means, then log standard deviations."""
    mean, log_std = head.chunk(2, dim=-1)
    return mean, log_std.clamp(MIN_LOG_STD, MAX_LOG_STD)


def squash(distribution: Distribution, noise: Tensor | None) -> tuple[Tensor, Tensor]:
    """The action tanh(u), u ~ N(mean, std), from given standard normal noise (None: its mean), with its log-density.

    The change of variables (appendix C) subtracts log(1 - tanh(u)^2) per coordinate; written as
    2 (log 2 - u - softplus(-2 u)) it stays finite where tanh(u) rounds to 1.
    """
    u = distributions.sample(distribution, noise)
    log_slope = 2 * (math.log(2) - u - softplus(-2 * u))
    return torch.tanh(u), distributions.log_prob(distribution, u) - log_slope.sum(dim=-1)


def network(params: Mapping[str, Tensor], *inputs: Tensor) -> Tensor:
    """ReLU network on concatenated inputs, [..., in] -> [..., out]."""
    return networks.mlp(params, torch.cat(inputs, dim=-1), relu)


def q_target(reward: Tensor, terminated: Tensor, next_value: Tensor, discount: float) -> Tensor:
    """The target r + gamma V(s') (eq. 8); only a termination, never a time limit, makes the future worth nothing."""
    return reward + discount * (1 - terminated) * next_value


@torch.no_grad()
def soft_update(target: Mapping[str, Tensor], source: Mapping[str, Tensor], tau: float) -> None:
    """Move the target's parameters the share ``tau`` of the way to the source's."""
    for name, value in target.items():
        value.lerp_(source[name], tau)
