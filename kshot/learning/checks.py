"""Checks that turn silent trouble into one clear line."""

from __future__ import annotations

import torch
from torch import Tensor


def require_at_least_one(settings: object, *names: str) -> None:
    """Raise ValueError naming the first of a settings object's counts that is below 1."""
    for name in names:
        if getattr(settings, name) < 1:
            raise ValueError(f"{name} must be at least 1, got {getattr(settings, name)}")


def require_positive(settings: object, *names: str) -> None:
    """Raise ValueError naming the first of a settings object's numbers that is not above 0."""
    for name in names:
        if not getattr(settings, name) > 0:  # also true for NaN
            raise ValueError(f"{name} must be positive, got {getattr(settings, name)}")


def check_finite(name: str, *values: Tensor) -> None:
    """Raise FloatingPointError naming the quantity when any value is NaN or infinite: the run has diverged."""
    for value in values:
        if not torch.isfinite(value).all():
            raise FloatingPointError(f"{name} is not finite")
