"""The vector environment of the families of 2D navigation: a point in the plane, moved by its actions."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from kshot.types import Array

STEP_SIZE = 0.1
"""Largest displacement per coordinate and step."""


class PointVectorEnv(VectorEnv[Array, Array, Array]):
    """N points side by side, with ``goals`` [N, 2]. The environment has no randomness of its own."""

    def __init__(self, goals: Array, horizon: int) -> None:
        self.num_envs = len(goals)
        self.metadata = {"autoreset_mode": AutoresetMode.DISABLED}
        self.single_observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.single_action_space = spaces.Box(-1.0, 1.0, (2,), np.float64)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._goals = goals
        self._horizon = horizon
        self._position = np.zeros_like(goals)
        self._step = 0

    def outcome(self, offset: Array) -> tuple[Array, Array, dict[str, Any]]:
        """Reward [N], terminated [N] and info of points whose positions minus goals are ``offset`` [N, 2]."""
        raise NotImplementedError

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Put every point at the origin; ``seed`` is accepted and ignored."""
        self._position = np.zeros_like(self._goals)
        self._step = 0
        return self._position, {}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """``actions`` is [N, 2]. The last step sets ``truncated``, also where it terminates."""
        # A new array each step: the caller may keep the previous observation without copying it.
        self._position = self._position + STEP_SIZE * np.clip(np.asarray(actions, dtype=np.float64), -1.0, 1.0)
        self._step += 1
        reward, terminated, info = self.outcome(self._position - self._goals)
        return self._position, reward, terminated, np.full(self.num_envs, self._step >= self._horizon), info
