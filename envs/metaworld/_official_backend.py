"""The backend of official Metaworld environments: one object per sub-environment, stepped one after the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import mujoco
import numpy as np
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from metaworld.sawyer_xyz_env import SawyerXYZEnv

from kshot.envs.metaworld._tasks import Goal
from kshot.envs.metaworld.engine import INFO_KEYS, STATE, observation_bounds, reset_to
from kshot.types import Array

_UNSTABLE = [int(getattr(mujoco.mjtWarning, f"mjWARN_BAD{name}")) for name in ("QPOS", "QVEL", "QACC")]
"""MuJoCo's warnings of a diverged simulation."""
_unused: defaultdict[tuple[str, str, bool], list[SawyerXYZEnv]] = defaultdict(list)
"""Objects for reuse: one costs 0.1 s and 20 MB, and ``set_task`` and ``reset`` make it as good as new."""


class OfficialEnvs:
    """Does what ``engine.Batch`` does by the official classes themselves; reward v1 exists here only."""

    def __init__(self, names: Sequence[str], goal_observable: bool, reward_version: str) -> None:
        self._keys = [(name, reward_version, goal_observable) for name in names]
        self._goal_observable = goal_observable
        self._envs = [_take(*key) for key in self._keys]
        self.info = np.zeros((len(names), len(INFO_KEYS)))
        self.unstable = np.zeros(len(names), dtype=bool)

    def __getstate__(self) -> None:
        """Raises TypeError: what Metaworld restores of a copied environment is not what it was (mocap, contacts)."""
        raise TypeError(
            'metaworld: official environments lose their state when they are copied; backend="engine" does not'
        )

    def observation_bounds(self) -> tuple[Array, Array]:
        return observation_bounds(self._envs, self._goal_observable)

    def reset(self, chosen: Sequence[int], goals: Sequence[Goal], obs: Array) -> None:
        for i in chosen:
            obs[i] = reset_to(self._envs[i], goals[i], self._goal_observable)

    def step(self, chosen: Array, actions: Array, obs: Array, reward: Array) -> None:
        for i in chosen:
            env = self._envs[i]
            obs[i], reward[i], _, _, info = env.step(actions[i])
            self.info[i] = [float(np.asarray(info[key]).item()) for key in INFO_KEYS]
            counts = env.data.warning.number
            self.unstable[i] = counts[_UNSTABLE].any()
            counts[_UNSTABLE] = 0

    def state(self, i: int) -> Array:
        env = self._envs[i]
        state = np.empty(mujoco.mj_stateSize(env.model, STATE))
        mujoco.mj_getState(env.model, env.data, state, STATE)
        return state

    def close(self) -> None:
        for key, env in zip(self._keys, self._envs, strict=True):
            _unused[key].append(env)
        self._envs = []


def _take(name: str, reward_version: str, goal_observable: bool) -> SawyerXYZEnv:
    unused = _unused[name, reward_version, goal_observable]
    return unused.pop() if unused else ALL_V3_ENVIRONMENTS[name](reward_function_version=reward_version)
