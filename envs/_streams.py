"""The randomness of environments: one stream of numbers per sub-environment, episode after episode."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kshot import seeding
from kshot.types import Array


class Streams:
    """The key of every sub-environment's stream, [N], and the number of its present episode."""

    def __init__(self, family: str, num_envs: int, decides: str) -> None:
        self._family, self._num_envs, self._decides = family, num_envs, decides
        self._keys: Array | None = None
        self.episode = 0

    def reset(self, seed: int | Sequence[int] | Array | None) -> None:
        """Begin the next episode, or with ``seed`` (one integer per sub-env, or one for all) the first of a stream.

        Raises:
            ValueError: the very first reset has no seed, or the number of seeds is wrong.
        """
        if seed is None:
            if self._keys is None:
                raise ValueError(f"{self._family}: the first reset needs seed=..., which keys {self._decides}")
            self.episode += 1
            return
        seeds: Array = np.asarray(seed, dtype=np.uint64)
        if seeds.ndim == 0:
            seeds = seeds + np.arange(self._num_envs, dtype=np.uint64)
        if seeds.shape != (self._num_envs,):
            raise ValueError(f"{self._family}: {seeds.size} seeds for {self._num_envs} sub-environments")
        self._keys, self.episode = seeding.split(seeds, 0), 0

    def uniform(self, counter: int) -> Array:
        """[N] number ``counter`` of every stream, uniform in (0, 1). Raises ValueError before the first reset."""
        return seeding.uniform(self._begun(), counter)

    def keys(self, counter: int) -> Array:
        """[N] child key ``counter`` of every stream, for many numbers at once. Raises ValueError likewise."""
        return seeding.split(self._begun(), counter)

    def _begun(self) -> Array:
        if self._keys is None:
            raise ValueError(f"{self._family}: step before reset(seed=...)")
        return self._keys
