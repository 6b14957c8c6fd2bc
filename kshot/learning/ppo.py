"""Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347): what keeps updates near the old policy."""

from __future__ import annotations

import torch
from torch import Tensor


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
