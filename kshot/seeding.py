"""Random numbers keyed by what is sampled, never by who samples them.

A key is a 64-bit number made from (seed, purpose, iteration, task, ...). Streams are counter-based: number ``i`` of
key ``k`` is a hash of the two, so any block can be drawn at any time, in any order, by any worker, with equal result.
The hash is splitmix64 (Steele, Lea & Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014): its
state is key + counter * gamma and its output the mixed state, which is what lets a stream be indexed at random.
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
    """Child keys, one per index (broadcast against ``base``): the way to one key per task, copy or episode."""
    base_key = np.asarray(base, dtype=np.uint64)
    with np.errstate(over="ignore"):
        child = np.asarray(index).astype(np.uint64) + np.uint64(1)
        return _mix(_mix(base_key ^ _GAMMA) + child * _GAMMA)


def uniform(keys: Keys, counter: NDArray[np.integer] | int) -> NDArray[np.float64]:
    """Uniform numbers in (0, 1), one per broadcast (key, counter) pair."""
    with np.errstate(over="ignore"):
        state = np.asarray(keys, dtype=np.uint64) + (np.asarray(counter).astype(np.uint64) + np.uint64(1)) * _GAMMA
    # 53 random bits, centred in their cell so that neither 0 nor 1 can occur: ndtri and log stay finite.
    return ((_mix(state) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def noise(keys: Keys, step: NDArray[np.integer] | int, dim: int, kind: ActionKind) -> NDArray[np.float64]:
    """[*keys.shape, dim] noise for one step: standard normal (continuous) or standard Gumbel (discrete actions).

    ``step`` numbers the block of noise, for all keys or [*keys.shape] for each.
    """
    counter = np.asarray(step)[..., None] * dim + np.arange(dim)
    u = uniform(np.asarray(keys, dtype=np.uint64)[..., None], counter)
    return ndtri(u) if kind == "continuous" else -np.log(-np.log(u))


def generator(*parts: int | str) -> np.random.Generator:
    """An ordinary generator for work done in one place (shuffles, initial parameters), keyed like everything else."""
    return np.random.Generator(np.random.Philox(key(*parts)))
