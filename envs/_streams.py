"""The randomness of vector environments: one stream of random numbers per sub-environment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kshot import seeding
from kshot.types import Array


class Streams:
    """One stream of random numbers per sub-environment, and the number of the current episode.

    Args:
        family: its name, for errors.
        num_envs: N.
        purpose: what the numbers decide, for errors.
    """

    def __init__(self, family: str, num_envs: int, purpose: str) -> None:
        self._family, self._num_envs, self._purpose = family, num_envs, purpose
        self._keys: Array | None = None
        self.episode = 0

    def reset(self, seed: int | Sequence[int] | Array | None) -> None:
        """Begin the next episode; with ``seed``, episode 0 of new streams.

        Args:
            seed: one integer per sub-environment, or a single one from which they count up.

        Raises:
            ValueError: the very first reset has no seed, or the number of seeds is wrong.
        """
        if seed is None:
            if self._keys is None:
                raise ValueError(f"{self._family}: the first reset needs seed=..., which keys {self._purpose}")
            self.episode += 1
            return
        seeds: Array = np.asarray(seed, dtype=np.uint64)
        if seeds.ndim == 0:
            seeds = seeds + np.arange(self._num_envs, dtype=np.uint64)
        if seeds.shape != (self._num_envs,):
            raise ValueError(f"{self._family}: {seeds.size} seeds for {self._num_envs} sub-environments")
        self._keys, self.episode = seeding.split(seeds, 0), 0

    def uniform(self, counter: int) -> Array:
        """[N] the number at ``counter`` in each stream, in (0, 1). Raises ValueError before the first reset."""
        return seeding.uniform(self._current_keys(), counter)

    def keys(self, counter: int) -> Array:
        """[N] one key per stream for a stream of its own. Raises ValueError before the first reset."""
        return seeding.split(self._current_keys(), counter)

    def _current_keys(self) -> Array:
        if self._keys is None:
            raise ValueError(f"{self._family}: step before reset(seed=...)")
        return self._keys
