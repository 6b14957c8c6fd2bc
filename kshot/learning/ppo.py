"""Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347): what keeps updates near the old policy."""

from __future__ import annotations

import torch
from torch import Tensor

from kshot.learning import distributions
from kshot.learning.sequences import Outputs, Sequences
from kshot.types import Metrics


def clipped_surrogate(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """[...] the objective of every step (eq. 7), to be maximised: the worse of ratio times advantage, clipped or not.

    Args:
        ratio: [...] probability of the action relative to the policy that took it.
        advantage: [...].
        clip: how far from 1 a ratio is rewarded.
    """
    return torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


def out_of_bounds(ratio: Tensor, clip: float) -> Tensor:
    """[...] which ratios are clipped."""
    return (ratio - 1).abs() > clip


def loss(
    outputs: Outputs, batch: Sequences, clip: float, value_weight: float, entropy_weight: float
) -> tuple[Tensor, Metrics]:
    """PPO's loss (eq. 9) of policy and critic on chunks of sequences, a mean over their real steps.

    Also its parts: ``policy_loss``, ``value_loss``, ``entropy``, ``clip_fraction``, and ``policy_std`` if continuous.
    """
    total = batch.mask.sum()

    def mean(value: Tensor) -> Tensor:
        return (value * batch.mask).sum() / total

    distribution = outputs.distribution
    ratio = distributions.ratio(distribution, batch.action, batch.old_log_prob)
    policy_loss = -mean(clipped_surrogate(ratio, batch.advantage, clip))
    value_loss = mean((outputs.value - batch.target) ** 2)
    entropy = mean(distributions.entropy(distribution))
    metrics = {
        "policy_loss": float(policy_loss.detach()),
        "value_loss": float(value_loss.detach()),
        "entropy": float(entropy.detach()),
        "clip_fraction": float(mean(out_of_bounds(ratio, clip).to(ratio)).detach()),
    }
    if distributions.kind(distribution) == "continuous":
        metrics["policy_std"] = float(mean(distribution[1].exp().mean(dim=-1)).detach())
    return policy_loss + value_weight * value_loss - entropy_weight * entropy, metrics
