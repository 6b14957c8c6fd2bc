"""A posterior over a latent task variable from the steps seen on the task (Rakelly et al. 2019, arXiv 1903.08254)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from kshot.learning import sac
from kshot.learning.networks import Params
from kshot.types import Array

MIN_VARIANCE = 1e-7
"""Of one transition's factor of the posterior, as in the authors' code: keeps precisions finite."""


class Posterior(NamedTuple):
    """A diagonal Gaussian over z for each of T tasks: mean and variance [T, latent]."""

    mean: Tensor
    variance: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """[T, latent] z from standard normal noise; differentiable in mean and variance."""
        return self.mean + self.variance.sqrt() * noise

    def kl_from_prior(self) -> Tensor:
        """[T] KL(q(z|c) || N(0, I)) in nats."""
        return 0.5 * (self.mean**2 + self.variance - self.variance.log() - 1).sum(dim=-1)


def infer(encoder: Params, context: Tensor, mask: Tensor | None = None) -> Posterior:
    """The posterior given contexts [T, N, context_dim]: the product of one Gaussian factor per transition (eq. 2).

    Precisions add up and means are weighted by them, so the order of transitions is irrelevant. Transitions where
    ``mask`` [T, N] is False do not count; a task without any has the prior N(0, I), which is otherwise no factor.
    """
    mean, raw_variance = sac.network(encoder, context).chunk(2, dim=-1)
    precision = 1 / softplus(raw_variance).clamp(min=MIN_VARIANCE)
    if mask is None:
        mask = torch.ones(context.shape[:2], dtype=torch.bool, device=context.device)
    precision = precision * mask.unsqueeze(-1)
    variance = 1 / torch.where(mask.any(dim=1, keepdim=True), precision.sum(dim=1), 1.0)
    return Posterior(variance * (precision * mean).sum(dim=1), variance)


def thinned(lengths: Array, size: int) -> tuple[Array, Array]:
    """At most ``size`` of the first ``lengths`` [T] steps of every task: indices [T, n] and which of them count [T, n].

    They lie at even distances and end with the last. Precisions add up, so a context longer than those that an encoder
    was trained on would make the posterior more certain than it ever was in training.
    """
    count = np.minimum(lengths, size)[:, None]
    order = np.arange(max(1, int(count.max())))
    last = np.minimum(order + 1, count) * np.asarray(lengths)[:, None]
    return np.maximum(-(-last // np.maximum(count, 1)) - 1, 0), order < count


class Context(NamedTuple):
    """Transitions of T tasks as an encoder sees them, [T, N, context_dim]; a task's first ``lengths`` [T] count."""

    steps: Array
    lengths: Array

    @classmethod
    def added(cls, earlier: Context | None, steps: Array, mask: Array) -> Context:
        """An earlier context, if any, and then the real ones (``mask`` [T, N]) of ``steps`` [T, N, context_dim]."""
        if earlier is not None:
            known = np.arange(earlier.steps.shape[1]) < earlier.lengths[:, None]
            steps, mask = np.concatenate([earlier.steps, steps], axis=1), np.concatenate([known, mask], axis=1)
        order = np.argsort(~mask, axis=1, kind="stable")  # real steps first, in their order
        return cls(np.take_along_axis(steps, order[..., None], axis=1), mask.sum(axis=1))

    def thinned(self, size: int) -> tuple[Array, Array]:
        """At most ``size`` steps of every task, [T, n, context_dim], and which of them count, [T, n]."""
        index, valid = thinned(self.lengths, size)
        return np.take_along_axis(self.steps, index[..., None], axis=1), valid
