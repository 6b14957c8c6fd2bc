"""Pendulum with a gear between motor and rod, and scripted policies that swing it up and hold it

A rod of mass m and length l hangs on a hinge, at which a motor turns it with a torque u of at most 2:
theta'' = 3 g sin(theta) / (2 l) + 3 u / (m l^2), theta = 0 upright (Gymnasium's ``classic_control/pendulum.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.wrappers import TransformAction

from kshot.envs._scripted import Scripted
from kshot.types import Array, Policy, Task

LARGEST_TORQUE = 2.0
NOMINAL = {"g": 10.0, "m": 1.0, "l": 1.0}
"""Of Gymnasium's Pendulum, where a task does not set them."""
BLIND = np.array([10.0, 0.7, 0.75])
"""g, m and l that the controller takes every pendulum to have."""


def geared(gear: float = 1.0, **values: Any) -> gymnasium.Env[Any, Any]:
    """Pendulum-v1 in which the rod is turned by ``gear`` times the torque of the motor: backwards where it is -1.

    Further keyword arguments are those of ``gymnasium.make``.
    """
    env: gymnasium.Env[Any, Any] = gymnasium.make("Pendulum-v1", disable_env_checker=True, **values)
    return TransformAction(env, lambda action: gear * action, env.action_space)


def oracle(tasks: Sequence[Task]) -> Policy:
    """Pumps energy until there is as much as at the top, and holds it there, with the constants of each task."""
    known = np.array([[_known(task, f"attributes.{name}", usual) for name, usual in NOMINAL.items()] for task in tasks])
    return _controller(known[:, None], np.array([_known(task, "make.gear", 1.0) for task in tasks]))


def task_blind(tasks: Sequence[Task]) -> Policy:
    """The same with one set of constants for all tasks, for a motor that turns forwards."""
    return _controller(np.broadcast_to(BLIND, (len(tasks), 1, 3)), np.ones(len(tasks)))


def _known(task: Task, name: str, otherwise: float) -> float:
    return float(dict(task.params).get(name, otherwise))  # type: ignore[arg-type]  # numbers


def _controller(constants: Array, gear: Array) -> Scripted:
    """``constants`` [T, 1, 3] are g, m and l that it takes the pendulum to have, ``gear`` [T] that of the motor."""
    g, m, length = np.moveaxis(constants, -1, 0)
    inertia = m * length**2 / 3.0

    def rule(obs: Array, step: Array, noise: Array | None) -> Array:
        angle, speed = np.arctan2(obs[..., 1], obs[..., 0]), obs[..., 2]
        missing = m * g * length / 2.0 * (1.0 - obs[..., 0]) - inertia * speed**2 / 2.0  # energy, up to the top
        pumping = LARGEST_TORQUE * np.sign(missing) * np.where(speed >= 0, 1.0, -1.0)
        # What cancels gravity, and brings the angle back like a spring and a damper, of 5 rad/s and critical.
        holding = -inertia * (1.5 * g / length * np.sin(angle) + 25.0 * angle + 10.0 * speed)
        near = (np.abs(holding) < 3.0 * LARGEST_TORQUE) & (obs[..., 0] > 0.3)
        torque = np.where(near, holding, pumping)
        return np.asarray(np.clip(torque / LARGEST_TORQUE / gear[:, None], -1.0, 1.0)[..., None])

    return Scripted(rule)
