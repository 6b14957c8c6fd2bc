"""The candidates of ``benchmarks.task_blind`` on robots: scripted gaits that are told something else than the task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks._task_blind_base import Candidates
from kshot.envs import ant_goal, cheetah_dir, cheetah_vel
from kshot.envs._scripted import Scripted
from kshot.types import Array, ReferencePolicy, Task


def still(family: Any) -> Candidates:
    """Does nothing."""
    zeros = np.zeros(family.spec.action_dim)

    def rule(obs: Array, step: Array, noise: Array | None) -> Array:
        return np.broadcast_to(zeros, (*obs.shape[:2], len(zeros))).copy()

    return {"does nothing": lambda tasks: Scripted(rule)}


def speeds(family: Any) -> Candidates:
    """One speed for all tasks: the best of them is the floor."""

    def at(speed: float) -> ReferencePolicy:
        return lambda tasks: cheetah_vel.runs_at(np.full(len(tasks), speed))

    return {**still(family), **{f"runs at {speed:.2f} m/s": at(speed) for speed in np.linspace(0.25, 3.0, 12)}}


def directions(family: Any) -> Candidates:
    def towards(direction: float) -> ReferencePolicy:
        return lambda tasks: cheetah_dir.runs(np.full(len(tasks), direction))

    return {"runs forwards": towards(1.0), "runs backwards": towards(-1.0)}


def places(family: Any) -> Candidates:
    """Waiting on a small ring, and at the mean of training goals; walking in a circle."""

    def at(place: Array) -> ReferencePolicy:
        return lambda tasks: ant_goal.walks_to(np.tile(place, (len(tasks), 1)))

    goals = np.array([task["goal"] for task in family.tasks("train", 1000, 0)])
    ring = [np.array([np.cos(a), np.sin(a)]) for a in np.arange(4) * np.pi / 2]
    return {
        "goes to the mean goal": at(goals.mean(axis=0)),
        **{f"goes to ({x:.0f}, {y:.0f})": at(np.array([x, y])) for x, y in ring},
    }


def every_gait(family: Any) -> Candidates:
    """Each gait of the file on all tasks."""

    def number(gait: int) -> ReferencePolicy:
        def make(tasks: Sequence[Task]) -> Scripted:
            policy: Scripted = family.walks(np.full(len(tasks), gait))
            return policy

        return make

    return {**still(family), **{f"gait {i + 1}": number(i) for i in range(len(family.gaits.weights))}}
