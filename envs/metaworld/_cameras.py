"""Pictures of sub-environments, rendered by official environments in the same state."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mujoco
from metaworld.env_dict import ALL_V3_ENVIRONMENTS

from kshot.envs.metaworld._tasks import Goal
from kshot.envs.metaworld.engine import STATE, reset_to
from kshot.errors import suggest
from kshot.types import Array

CHOICES = (
    "before Python starts, set MUJOCO_GL to egl (a GPU, or Mesa's libEGL), osmesa (libosmesa6, in software) or glfw (a "
    "screen)"
)


class Cameras:
    """Camera ``camera_name`` of every class, each by one official environment with an OpenGL context of its own.

    A context is current in one thread alone, and a thread has one that is current. All pictures of a process are taken
    in one thread, which makes the context of the class current each time.
    """

    def __init__(self, camera_name: str, goal_observable: bool) -> None:
        self._camera_name = camera_name
        self._goal_observable = goal_observable
        self._envs: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_envs": {}}  # contexts of OpenGL stay where they are; a copy makes its own

    def picture(self, goal: Goal, state: Array) -> Array:
        """[height, width, 3] of the scene of ``goal`` in the integration state ``state``.

        Raises:
            ValueError: the scene has no such camera.
            RuntimeError: there is no OpenGL to draw with.
        """
        return _studio().submit(self._picture, goal, state).result()

    def close(self) -> None:
        if self._envs:
            _studio().submit(self._close).result()

    def _picture(self, goal: Goal, state: Array) -> Array:
        env = self._env(goal[0])
        reset_to(env, goal, self._goal_observable)  # places the fixed parts of the scene, which no state holds
        mujoco.mj_setState(env.model, env.data, state[: mujoco.mj_stateSize(env.model, STATE)], STATE)
        mujoco.mj_forward(env.model, env.data)
        frame = self._draw(env)
        # Several of metaworld's cameras hang upside down: the vertical part of their own upward axis is negative.
        upside_down = env.data.camera(self._camera_name).xmat[7] < -0.1
        return frame[::-1, ::-1] if upside_down else frame

    def _draw(self, env: Any) -> Array:
        viewer = env.mujoco_renderer.viewer  # None before its first picture, for which it makes a context
        try:
            if viewer is not None:
                viewer.make_context_current()
            frame: Array = env.render()
        except Exception as error:  # each library of OpenGL has errors of its own, some of no class but Exception
            chosen = os.environ.get("MUJOCO_GL") or "nothing"
            told = " ".join(str(error).split())
            raise RuntimeError(f"metaworld: no picture with MUJOCO_GL set to {chosen} ({told}); {CHOICES}") from error
        return frame

    def _close(self) -> None:
        for env in self._envs.values():
            env.close()
        self._envs = {}

    def _env(self, name: str) -> Any:
        if name not in self._envs:
            if sys.platform == "linux" and not any(map(os.environ.get, ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY"))):
                raise RuntimeError(f"metaworld: there is no screen to draw with, and MUJOCO_GL is not set; {CHOICES}")
            env: Any = ALL_V3_ENVIRONMENTS[name](render_mode="rgb_array", camera_name=self._camera_name)
            known = [env.model.camera(i).name for i in range(env.model.ncam)]
            if self._camera_name not in known:
                camera = self._camera_name
                raise ValueError(f"metaworld: {name} has no camera {camera!r}{suggest(camera, known)}")
            self._envs[name] = env
        return self._envs[name]


_studios: dict[int, ThreadPoolExecutor] = {}


def _studio() -> ThreadPoolExecutor:
    """The thread that takes the pictures of this process; a forked process has none of its parent's threads."""
    process = os.getpid()
    if process not in _studios:
        _studios[process] = ThreadPoolExecutor(1, thread_name_prefix="kshot-pictures")
    return _studios[process]
