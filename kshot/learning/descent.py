"""The outer step of learners that are trained by Adam on demonstrations: a decayed rate and a bounded gradient."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from kshot.learning.checks import check_finite

CONSTANT_SHARE = 0.6
"""The share of the budget in which the rate stays as it is."""


def decayed_lr(start: float, end: float, progress: float) -> float:
    """A rate: ``start`` for ``CONSTANT_SHARE`` of the budget, then decaying linearly to the share ``end`` of it."""
    return start * (1 - (1 - end) * max(0.0, (progress - CONSTANT_SHARE) / (1 - CONSTANT_SHARE)))


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Numbers too small for full precision count as 0 within, in this thread, where the processor can do so.

    Visits that are hundreds of nats unlikely have such numbers as gradients in single precision, and some processors
    take ten or more times longer to multiply by them.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, rates: Sequence[float], max_norm: float) -> float:
    """One step at the given rates, one for every group of parameters; returns the gradient's norm before the bound.

    Raises:
        FloatingPointError: the gradient is not finite; no step is taken.
    """
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    optimizer.zero_grad()
    with flushed_denormals():
        torch.autograd.backward(loss)
    norm = nn.utils.clip_grad_norm_([x for group in optimizer.param_groups for x in group["params"]], max_norm)
    check_finite("the meta-gradient", norm)
    optimizer.step()
    return float(norm)
