"""Random numbers that depend on what they are for, and not on which process draws them, or when.

A key is a 64-bit number made from (seed, purpose, iteration, task, ...). Each key has a stream of random numbers, and
number i of a stream is a hash of key and i. So any part of it can be drawn at any time, in any order, with equal
result. The hash is splitmix64 (Steele, Lea & Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014): the
state is key + counter * gamma, the output a bijective mix of its bits.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from kshot.types import ActionKind

Keys = NDArray[np.uint64]
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def _mix(state: Keys) -> Keys:
    with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is the point
        state = (state ^ (state >> np.uint64(30))) * _MIX_1
        state = (state ^ (state >> np.uint64(27))) * _MIX_2
        return state ^ (state >> np.uint64(31))


def key(*parts: int | str) -> int:
    """One 64-bit key from integers and strings; equal parts give equal keys in every process."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def split(base: int | Keys, index: NDArray[np.integer] | int) -> Keys:
    """One new key per index, for example per task, copy or episode; ``index`` is broadcast against ``base``."""
    base_key = np.asarray(base, dtype=np.uint64)
    with np.errstate(over="ignore"):
        child = np.asarray(index).astype(np.uint64) + np.uint64(1)
        return _mix(_mix(base_key ^ _GAMMA) + child * _GAMMA)


def uniform(keys: Keys, counter: NDArray[np.integer] | int) -> NDArray[np.float64]:
    """Number ``counter`` of the stream of each key, uniform in (0, 1); both are broadcast against each other."""
    with np.errstate(over="ignore"):
        state = np.asarray(keys, dtype=np.uint64) + (np.asarray(counter).astype(np.uint64) + np.uint64(1)) * _GAMMA
    # 53 random bits and a half, so that neither 0 nor 1 can occur: ndtri and log stay finite.
    return ((_mix(state) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def noise(keys: Keys, step: NDArray[np.integer] | int, dim: int, kind: ActionKind) -> NDArray[np.float64]:
    """[*keys.shape, dim] noise for a step: standard normal for continuous, standard Gumbel for discrete actions.

    ``step`` is the number of the step, one for all keys or [*keys.shape].
    """
    counter = np.asarray(step)[..., None] * dim + np.arange(dim)
    u = uniform(np.asarray(keys, dtype=np.uint64)[..., None], counter)
    return ndtri(u) if kind == "continuous" else -np.log(-np.log(u))


def generator(*parts: int | str) -> np.random.Generator:
    """A numpy generator keyed by ``parts``, for what one call draws as a whole (shuffles, initial parameters)."""
    return np.random.Generator(np.random.Philox(key(*parts)))
