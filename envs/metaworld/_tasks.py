"""Goals of Meta-World: what one is, its checks, and its form as a ``metaworld.Task``."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from metaworld.types import Task as OfficialTask

from kshot.errors import suggest

Goal = tuple[str, tuple[float, ...]]
"""(class name, rand_vec). From the ``rand_vec`` the class derives the positions of its object and its target
(metaworld/sawyer_xyz_env.py, ``_get_state_rand_vec``); a target is such a position [3], in metres."""
CLASSES: tuple[str, ...] = tuple(ALL_V3_ENVIRONMENTS)


def check_class(name: str) -> None:
    """Raise ValueError for an unknown class, with the nearest known name."""
    if name not in CLASSES:
        raise ValueError(f"metaworld: unknown task {name!r}{suggest(name, CLASSES)}")


def check_goals(goals: Sequence[Goal]) -> None:
    """Raise ValueError if there is none, or one is not a pair of class name and tuple."""
    if not goals:
        raise ValueError("metaworld: at least one goal is needed")
    for goal in goals:
        if not (isinstance(goal, tuple) and len(goal) == 2 and isinstance(goal[0], str) and isinstance(goal[1], tuple)):
            raise ValueError(f"metaworld: a goal is a pair (class name, rand_vec) of text and tuple, got {goal!r}")
        check_class(goal[0])


def official_task(goal: Goal, goal_observable: bool = False) -> OfficialTask:
    """The goal as a ``metaworld.Task``; by default observations hide the target, as in all ML benchmarks."""
    name, rand_vec = goal
    data: dict[str, Any] = {
        "rand_vec": np.array(rand_vec),
        "env_cls": ALL_V3_ENVIRONMENTS[name],
        "partially_observable": not goal_observable,
    }
    return OfficialTask(env_name=name, data=pickle.dumps(data))
