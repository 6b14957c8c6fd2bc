"""Rewards of random discriminators: r(s) = log D_phi(z | s) for networks phi that nobody trained.

D_phi(. | s) is a softmax over z, whose logits are those of a network with random weights; a key decides all of them.
The outputs of such a network are exchangeable, so that z is always the first without loss of generality.
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp, ndtri

from kshot import seeding
from kshot.types import Array

HIDDEN = 16
"""Width of the hidden layer where there is one."""
GAIN = 2.0
"""Standard deviation of the hidden layer's weights and biases: over the plane most units go through their bend."""


def of_states(keys: Array, states: int, skills: int, scale: float) -> Array:
    """[B, S] rewards of states that a network sees one-hot: logits are a table of N(0, scale^2).

    Args:
        keys: [B] one per task.
        states: S.
        skills: number of values of z.
        scale: standard deviation of logits.
    """
    logits = scale * _normal(keys, (states, skills), 0)
    return np.asarray(logits[..., 0] - logsumexp(logits, axis=-1))


def of_positions(keys: Array, positions: Array, skills: int, scale: float) -> Array:
    """[B, S] rewards of ``positions`` [S, 2], which a network with one hidden tanh layer sees.

    Args:
        keys: [B] one per task.
        positions: [S, 2].
        skills: number of values of z.
        scale: standard deviation of the last layer's weights times the root of its inputs' number.
    """
    return np.concatenate(
        [_of_positions(keys[i : i + 256], positions, skills, scale) for i in range(0, len(keys), 256)]
    )


def _of_positions(keys: Array, positions: Array, skills: int, scale: float) -> Array:
    """``of_positions`` for so few tasks that their hidden layers fit in a processor's cache."""
    first = GAIN * _normal(keys, (3, HIDDEN), 0)  # two rows of weights, one of biases
    second = scale * HIDDEN**-0.5 * _normal(keys, (HIDDEN, skills), 3 * HIDDEN)
    hidden = np.tanh(np.einsum("sd,bdh->bsh", positions, first[:, :2]) + first[:, 2:])
    # Not by BLAS, whose sums may depend on the number of threads.
    logits = np.einsum("bsh,bhz->bsz", hidden, second)
    return np.asarray(logits[..., 0] - logsumexp(logits, axis=-1))


def _normal(keys: Array, shape: tuple[int, ...], counter: int) -> Array:
    """[B, *shape] standard normal numbers, from ``counter`` on in the stream of each key."""
    counters = counter + np.arange(np.prod(shape))
    uniform = seeding.uniform(np.asarray(keys, dtype=np.uint64)[:, None], counters)
    return np.asarray(ndtri(uniform).reshape(-1, *shape))
