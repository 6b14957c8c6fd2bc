"""Official Metaworld environments, one object per sub-environment, stepped one after the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from metaworld.sawyer_xyz_env import SawyerXYZEnv

from envs.metaworld._goals import Goal, official_task
from kshot.types import Array

OBSERVATION_DIM = 39
ACTION_SPACE = spaces.Box(-1.0, 1.0, (4,), np.float32)
MAX_HORIZON: int = SawyerXYZEnv.max_path_length
"""Official environments refuse a step after this many (500) without a reset."""


class EnvPool:
    """Environment objects kept for reuse: one costs 0.1 s and 20 MB, and ``set_task`` + ``reset`` make it as new."""

    def __init__(self) -> None:
        self._free: defaultdict[str, list[SawyerXYZEnv]] = defaultdict(list)

    def take(self, name: str) -> SawyerXYZEnv:
        """An environment of class ``name`` that nobody else holds; it has no valid task until ``set_task``."""
        free = self._free[name]
        return free.pop() if free else ALL_V3_ENVIRONMENTS[name]()

    def give_back(self, name: str, env: SawyerXYZEnv) -> None:
        self._free[name].append(env)


class MetaWorldVectorEnv(VectorEnv[Array, Array, Array]):
    """``len(goals) * copies`` sub-environments, goal-major; episodes run to the horizon, success or not.

    Actions are clipped to [-1, 1] and cast to float32, the official action type (rewards differ in the last digits
    between float types). The environment has no randomness of its own. ``close`` returns the objects to the pool.
    """

    def __init__(self, goals: Sequence[Goal], copies: int, horizon: int, pool: EnvPool) -> None:
        self.num_envs = len(goals) * copies
        self.metadata = {"autoreset_mode": AutoresetMode.DISABLED}
        self._horizon = horizon
        self._pool = pool
        self._names = [name for name, _ in goals for _ in range(copies)]
        self._tasks = [official_task(goal) for goal in goals for _ in range(copies)]
        self._envs = [pool.take(name) for name in self._names]
        self._step = horizon  # until the first reset every episode counts as ended
        self._obs = np.zeros((self.num_envs, OBSERVATION_DIM))
        self.single_observation_space = self._envs[0].sawyer_observation_space
        self.single_action_space = ACTION_SPACE
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Begin an episode of every task; ``seed`` is accepted and has nothing to decide."""
        self._obs = np.empty_like(self._obs)
        for i, (env, task) in enumerate(zip(self._envs, self._tasks, strict=True)):
            env.set_task(task)
            self._obs[i], _ = env.reset()
        self._step = 0
        return self._obs, {}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """``actions`` is [N, 4]; never terminates, truncates every sub-environment at the horizon.

        Raises:
            FloatingPointError: an action is not finite; MuJoCo would answer by resetting the simulation.
        """
        reward, success = np.zeros(self.num_envs), np.zeros(self.num_envs, dtype=bool)
        if self._step < self._horizon:
            if not np.isfinite(actions).all():
                raise FloatingPointError("metaworld: an action is not finite")
            clipped = np.clip(np.asarray(actions, dtype=np.float32), -1.0, 1.0)
            # New arrays each step: the caller may keep the previous ones without copying.
            self._obs = np.empty_like(self._obs)
            for i, env in enumerate(self._envs):
                self._obs[i], reward[i], _, _, info = env.step(clipped[i])
                success[i] = bool(info["success"])
        self._step += 1
        ended = np.full(self.num_envs, self._step >= self._horizon)
        return self._obs, reward, np.zeros(self.num_envs, dtype=bool), ended, {"success": success}

    def close_extras(self, **kwargs: Any) -> None:
        """Return the environment objects to the pool."""
        for name, env in zip(self._names, self._envs, strict=True):
            self._pool.give_back(name, env)
        self._envs = []
