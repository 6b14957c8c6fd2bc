"""Episodes of 1 to H steps with random content, for learners that are handed them in place of played ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from gymnasium import spaces

from kshot.types import Episodes, FamilySpec, Policy, Task


def random_episodes(spec: FamilySpec, seed: int, n_tasks: int = 1, n: int = 2) -> Episodes:
    """``n`` episodes of each of ``n_tasks`` tasks; what stands behind an episode's end is not zero."""
    rng = np.random.default_rng(seed)
    shape, dim, space = (n_tasks, n, spec.horizon), spec.observation_dim, spec.action_space
    lengths = rng.integers(1, spec.horizon + 1, shape[:2])
    mask = np.arange(spec.horizon) < lengths[..., None]
    obs = rng.normal(size=(*shape, dim)).astype(np.float32)
    if isinstance(space, spaces.Box):
        action = rng.uniform(space.low, space.high, (*shape, spec.action_dim)).astype(np.float32)
    else:
        action = rng.integers(0, spec.action_dim, shape)
    return Episodes(
        obs=obs,
        action=action,
        reward=rng.normal(size=shape).astype(np.float32),
        terminated=np.arange(spec.horizon) == lengths[..., None] - 1,
        truncated=np.zeros(shape, dtype=bool),
        mask=mask,
        log_prob=np.zeros(shape, np.float32),
        success=np.zeros(shape, dtype=bool),
        final_obs=rng.normal(size=(*shape[:2], dim)).astype(np.float32),
    )


class RandomCollect:
    """A ``Collect`` of random episodes, which are others in every call."""

    def __init__(self, spec: FamilySpec) -> None:
        self._spec, self._calls = spec, 0

    def __call__(self, policy: Policy, tasks: Sequence[Task], copies: int, episodes: int = 1) -> Episodes:
        self._calls += 1
        return random_episodes(self._spec, self._calls, len(tasks), copies * episodes)

    def demonstrations(self, tasks: Sequence[Task], n: int, arrangement: int = 0) -> Episodes:
        """The same in every call."""
        return random_episodes(self._spec, 99, len(tasks), n)
