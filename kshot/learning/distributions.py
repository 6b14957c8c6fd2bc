"""Action distributions as plain functions of their parameters: diagonal Gaussian and categorical.

A distribution is the tuple of its parameters: ``(mean [..., A], log_std [..., A])`` or ``(logits [..., A],)``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from kshot.types import ActionKind

Distribution = tuple[Tensor, ...]
MIN_LOG_STD = math.log(1e-6)
_LOG_2PI = math.log(2 * math.pi)


def kind(distribution: Distribution) -> ActionKind:
    return "continuous" if len(distribution) == 2 else "discrete"


def sample(distribution: Distribution, noise: Tensor | None) -> Tensor:
    """Action from given noise: mean + std * normal, or argmax(logits + Gumbel). None gives the mean or mode."""
    if kind(distribution) == "continuous":
        mean, log_std = distribution
        return mean if noise is None else mean + log_std.exp() * noise
    (logits,) = distribution
    return (logits if noise is None else logits + noise).argmax(dim=-1)


def log_prob(distribution: Distribution, action: Tensor) -> Tensor:
    """[...] log-density (summed over action coordinates) or log-probability of the action."""
    if kind(distribution) == "continuous":
        mean, log_std = distribution
        z = (action - mean) * (-log_std).exp()
        return (-0.5 * z**2 - log_std - 0.5 * _LOG_2PI).sum(dim=-1)
    (logits,) = distribution
    return log_softmax(logits, dim=-1).gather(-1, action.unsqueeze(-1)).squeeze(-1)


def ratio(distribution: Distribution, action: Tensor, old_log_prob: Tensor) -> Tensor:
    """[...] how much more probable the action is than it was to the policy that took it."""
    return (log_prob(distribution, action) - old_log_prob).exp()


def entropy(distribution: Distribution) -> Tensor:
    """[...] entropy in nats."""
    if kind(distribution) == "continuous":
        mean, log_std = distribution
        return (log_std + 0.5 * (1 + _LOG_2PI)).expand_as(mean).sum(dim=-1)
    (logits,) = distribution
    log_p = log_softmax(logits, dim=-1)
    return -(log_p.exp() * log_p).sum(dim=-1)


def kl(old: Distribution, new: Distribution) -> Tensor:
    """[...] KL(old || new) in nats."""
    if kind(old) == "continuous":
        (m0, s0), (m1, s1) = old, new
        ratio = (2 * (s0 - s1)).exp()
        return (s1 - s0 + 0.5 * (ratio + (m0 - m1) ** 2 * (-2 * s1).exp() - 1)).sum(dim=-1)
    log_p, log_q = log_softmax(old[0], dim=-1), log_softmax(new[0], dim=-1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=-1)


def fisher(distribution: Distribution, tangent: Distribution) -> Distribution:
    """Fisher information of the distribution's own parameters times a tangent, per sample.

    It equals the Hessian of KL(old || new) in the parameters of ``new`` at new = old: for a Gaussian
    1/std^2 on the mean and 2 on log_std, for a categorical diag(p) - p p^T on the logits.
    """
    if kind(distribution) == "continuous":
        _, log_std = distribution
        return tangent[0] * (-2 * log_std).exp(), 2 * tangent[1]
    p = torch.softmax(distribution[0], dim=-1)
    return (p * tangent[0] - p * (p * tangent[0]).sum(dim=-1, keepdim=True),)
