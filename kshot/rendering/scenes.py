"""What MuJoCo draws of a Meta-World simulation: its goal and its state, taken while it runs and drawn afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from kshot.errors import ConfigError
from kshot.types import Array

CAMERA = "corner"
"""It sees hand, object and goal at once; other cameras of Meta-World have the gripper in front of the goal."""


@dataclass(frozen=True)
class Scene:
    """A moment of one simulation: its goal (class and placement) and its integration state."""

    goal: Any
    state: Array


def scene(env: Any, index: int) -> Scene | None:
    """The present scene of sub-environment ``index``; None where MuJoCo does not simulate it."""
    # Neither environment offers its state to others: a change there would outdate results, and this needs none.
    if hasattr(env, "_current_goals"):  # metaworld
        goal, backend = env._current_goals[index], env._backend
    elif hasattr(env, "_arms"):  # metaworld_hand
        goal, backend = env._goals[index], env._arms._backend
    else:
        return None
    return Scene(goal, np.array(backend.state(index)))  # the backend goes on in the same memory


@contextlib.contextmanager
def camera(name: str) -> Iterator[Callable[[Scene], Array]]:
    """A function that draws scenes [height, width, 3].

    Raises:
        ConfigError: Meta-World has no such camera, or there is no OpenGL to draw with.
    """
    from kshot.envs.metaworld._cameras import Cameras

    cameras = Cameras(name, False)

    def draw(scene: Scene) -> Array:
        try:
            return np.asarray(cameras.picture(scene.goal, scene.state))
        except (ValueError, RuntimeError) as error:
            raise ConfigError([str(error)]) from None

    try:
        yield draw
    finally:
        cameras.close()
