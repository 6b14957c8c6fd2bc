"""One goal of one class, and how it is told to Metaworld."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from metaworld.types import Task as OfficialTask

from kshot.errors import suggest

Goal = tuple[str, tuple[float, ...]]
"""(class name, rand_vec): ``rand_vec`` is the vector from which the class derives the positions of its object and its
target (metaworld/sawyer_xyz_env.py, ``_get_state_rand_vec``)."""
CLASSES: tuple[str, ...] = tuple(ALL_V3_ENVIRONMENTS)


def check_class(name: str) -> None:
    """Raises ValueError, naming the nearest known name, for an unknown class."""
    if name not in CLASSES:
        raise ValueError(f"metaworld: unknown task {name!r}{suggest(name, CLASSES)}")


def check_goals(goals: Sequence[Goal]) -> None:
    """Raises ValueError if there are none, or one is not (class name, vector of numbers)."""
    if not goals:
        raise ValueError("metaworld: at least one goal is needed")
    for goal in goals:
        if not (isinstance(goal, tuple) and len(goal) == 2 and isinstance(goal[0], str) and isinstance(goal[1], tuple)):
            raise ValueError(f"metaworld: a goal is a pair (class name, rand_vec) of text and tuple, got {goal!r}")
        check_class(goal[0])


def official_task(goal: Goal, goal_observable: bool = False) -> OfficialTask:
    """The goal as ``metaworld.Task``; the target is hidden from the observation as in all ML benchmarks by default."""
    name, rand_vec = goal
    data: dict[str, Any] = {
        "rand_vec": np.array(rand_vec),
        "env_cls": ALL_V3_ENVIRONMENTS[name],
        "partially_observable": not goal_observable,
    }
    return OfficialTask(env_name=name, data=pickle.dumps(data))
