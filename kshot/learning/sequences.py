"""Cutting long sequences into chunks that are learnt from one by one, each with a burn-in before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from kshot.learning.actor_critic import RecurrentNetwork
from kshot.learning.distributions import Distribution


class Sequences(NamedTuple):
    """N chunks of C steps: inputs and state from the beginning of their burn-in, the rest without it.

    inputs [N, burn_in + C, I], state [N, state_size], first [N] (the first chunk, which has no burn-in), the others
    [N, C]; action [N, C, A] if continuous.
    """

    inputs: Tensor
    state: Tensor
    first: Tensor
    action: Tensor
    old_log_prob: Tensor
    advantage: Tensor
    target: Tensor
    left: Tensor
    mask: Tensor


def cut(inputs: Tensor, states: Tensor, steps: Sequence[Tensor], chunk: int, burn_in: int) -> Sequences:
    """Chunks of longer sequences as sequences of their own; those without a single real step are left out.

    Args:
        inputs: [B, L, I].
        states: [B, n_chunks, S] memory where each chunk's burn-in begins.
        steps: action, old log_prob, advantage, target, share of the trial left and mask, [B, L, ...] each.
        chunk: C; the last chunk is padded.
        burn_in: steps of input put before each chunk; zeros before the first, which has none.
    """
    n_chunks = states.shape[1]
    missing = n_chunks * chunk - inputs.shape[1]
    padded = pad(inputs, (0, 0, burn_in, missing))
    windows = padded.unfold(1, burn_in + chunk, chunk).transpose(2, 3).flatten(0, 1)
    first = torch.zeros_like(states[..., 0], dtype=torch.bool)
    first[:, 0] = True
    chunked = [pad(x, (0, 0) * (x.ndim - 2) + (0, missing)).reshape(-1, chunk, *x.shape[2:]) for x in steps]
    real = chunked[-1].any(dim=1)
    return Sequences(*(x[real] for x in (windows, states.flatten(0, 1), first.flatten(), *chunked)))


def minibatches(sequences: Sequences, rng: np.random.Generator, number: int) -> Iterator[Sequences]:
    """One pass over all chunks in random order, in ``number`` parts, or in fewer where there are fewer chunks."""
    n = len(sequences.mask)
    for rows in np.array_split(rng.permutation(n), min(number, n)):
        index = torch.as_tensor(rows, device=sequences.mask.device)
        yield Sequences(*(x[index] for x in sequences))


class Outputs(NamedTuple):
    """What a network gives at the N x C steps of chunks: distribution, features [N, C, F] and value [N, C]."""

    distribution: Distribution
    features: Tensor
    value: Tensor


def read_chunks(network: RecurrentNetwork, batch: Sequences, burn_in: int) -> Outputs:
    """Every chunk is read from the state that its burn-in leads to; no gradient flows back into that."""
    state = batch.state
    if burn_in:
        with torch.no_grad():
            _, _, warm = network(batch.inputs[:, :burn_in], state)
        state = torch.where(batch.first.unsqueeze(1), state, warm)
    distribution, features, _ = network(batch.inputs[:, burn_in:], state)
    return Outputs(distribution, features, network.value(features, batch.left))
