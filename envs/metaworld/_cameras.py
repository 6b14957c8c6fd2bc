"""Pictures of sub-environments, rendered by official environments in the same state."""

from __future__ import annotations

from typing import Any

import mujoco
from metaworld.env_dict import ALL_V3_ENVIRONMENTS

from kshot.envs.metaworld._tasks import Goal
from kshot.envs.metaworld.engine import STATE, reset_to
from kshot.errors import suggest
from kshot.types import Array


class Cameras:
    """Camera ``camera_name`` of every class, each by one official environment."""

    def __init__(self, camera_name: str, goal_observable: bool) -> None:
        self._camera_name = camera_name
        self._goal_observable = goal_observable
        self._envs: dict[str, Any] = {}

    def picture(self, goal: Goal, state: Array) -> Array:
        """[height, width, 3] of the scene of ``goal`` in the integration state ``state``.

        Raises:
            ValueError: the scene has no such camera.
        """
        env = self._env(goal[0])
        reset_to(env, goal, self._goal_observable)  # places the fixed parts of the scene, which no state holds
        mujoco.mj_setState(env.model, env.data, state[: mujoco.mj_stateSize(env.model, STATE)], STATE)
        mujoco.mj_forward(env.model, env.data)
        frame: Array = env.render()
        # Several of metaworld's cameras hang upside down: the vertical part of their own upward axis is negative.
        upside_down = env.data.camera(self._camera_name).xmat[7] < -0.1
        return frame[::-1, ::-1] if upside_down else frame

    def close(self) -> None:
        for env in self._envs.values():
            env.close()
        self._envs = {}

    def _env(self, name: str) -> Any:
        if name not in self._envs:
            env: Any = ALL_V3_ENVIRONMENTS[name](render_mode="rgb_array", camera_name=self._camera_name)
            known = [env.model.camera(i).name for i in range(env.model.ncam)]
            if self._camera_name not in known:
                camera = self._camera_name
                raise ValueError(f"metaworld: {name} has no camera {camera!r}{suggest(camera, known)}")
            self._envs[name] = env
        return self._envs[name]
