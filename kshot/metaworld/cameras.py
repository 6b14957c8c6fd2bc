"""Pictures of sub-environments through several cameras at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np

from kshot.envs.metaworld._cameras import Cameras
from kshot.envs.metaworld._tasks import Goal
from kshot.envs.metaworld._vector import MetaWorldVectorEnv
from kshot.envs.metaworld.engine import STATE, reset_to
from kshot.errors import suggest
from kshot.types import Array

CAMERAS = ("topview", "corner", "corner2", "corner3", "corner4", "behindGripper", "gripperPOV")
"""The cameras that the scenes of all classes have."""


class Views:
    """Several cameras on a vector environment of Meta-World; a context manager, which closes them.

    Args:
        env: made by ``gymnasium.make_vec("kshot/...")``, or a ``MetaWorldVectorEnv``; it needs no ``render_mode``.
        cameras: their names, out of ``CAMERAS``.
        height: of the pictures, in pixels.
        width: of the pictures, in pixels.

    Raises:
        TypeError: it is another environment.
        ValueError: no camera is named, or one twice or one that there is not, or a size is not positive.
    """

    def __init__(self, env: Any, cameras: Sequence[str], height: int = 480, width: int = 480) -> None:
        env = getattr(env, "unwrapped", env)
        if not isinstance(env, MetaWorldVectorEnv):
            raise TypeError(f"metaworld: cameras look at kshot's vector environments, got {type(env).__name__}")
        if isinstance(cameras, str) or not cameras or len(set(cameras)) < len(cameras):
            raise ValueError(f"metaworld: cameras is a list of at least one name, none twice, got {cameras!r}")
        for name in cameras:
            if name not in CAMERAS:
                raise ValueError(f"metaworld: there is no camera {name!r}{suggest(name, CAMERAS)}")
        if min(height, width) < 1:
            raise ValueError(f"metaworld: pictures need a positive height and width, got {height} and {width}")
        self._env: Any = env
        self._studio = _Studio(tuple(cameras), height, width)

    def pictures(self, chosen: Sequence[int] | None = None) -> Array:
        """Pictures [n, cameras, height, width, 3], uint8, of the sub-environments ``chosen`` [n], by default of all.

        They show the present state, and are what the official class draws of it. Pictures of cameras that hang upside
        down are turned.

        Raises:
            IndexError: there is no such sub-environment.
            ValueError: the environment was not reset yet.
            RuntimeError: there is no OpenGL to draw with.
            gymnasium.error.ClosedEnvironmentError: the environment is closed.
        """
        env = self._env
        env._check_open()
        if not env._started:
            raise ValueError("metaworld: call reset() before pictures(): there is no state to show yet")
        places = range(env.num_envs) if chosen is None else chosen
        for i in places:
            if not 0 <= i < env.num_envs:
                raise IndexError(f"metaworld: there is no sub-environment {i}, only 0 to {env.num_envs - 1}")
        return np.stack([self._studio.picture(env._current_goals[i], env._backend.state(i)) for i in places])

    def close(self) -> None:
        """Release what OpenGL holds."""
        self._studio.close()

    def __enter__(self) -> Views:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _Studio(Cameras):
    """One official environment per class, placed once for the pictures of all cameras."""

    def __init__(self, names: tuple[str, ...], height: int, width: int) -> None:
        super().__init__(names[0], False)
        self._names, self._size = names, (height, width)

    def _picture(self, goal: Goal, state: Array) -> Array:
        """[cameras, height, width, 3]."""
        env = self._env(goal[0])
        reset_to(env, goal, self._goal_observable)  # places the fixed parts of the scene, which no state holds
        mujoco.mj_setState(env.model, env.data, state[: mujoco.mj_stateSize(env.model, STATE)], STATE)
        mujoco.mj_forward(env.model, env.data)
        frames = []
        for name in self._names:
            env.mujoco_renderer.camera_id = env.model.camera(name).id
            frame = self._draw(env)
            upside_down = env.data.camera(name).xmat[7] < -0.1
            frames.append(frame[::-1, ::-1] if upside_down else frame)
        return np.stack(frames)

    def _env(self, name: str) -> Any:
        if name not in self._envs:
            env = super()._env(name)
            env.mujoco_renderer.height, env.mujoco_renderer.width = self._size
            env.model.vis.global_.offheight, env.model.vis.global_.offwidth = self._size
        return self._envs[name]
