"""CartPole: what it derives from its attributes, and scripted policies

A cart of mass M with a pole of mass m and half length l; the actions push it with a force of 10 N to either side
(Barto, Sutton and Anderson 1983; the dynamics are those of Gymnasium's ``classic_control/cartpole.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from gymnasium.envs.classic_control import CartPoleEnv
from scipy.linalg import solve_discrete_are

from kshot.envs._scripted import Scripted
from kshot.types import Array, Policy, Task

COST = np.diag([1.0, 1.0, 10.0, 1.0])
"""Of the squares of position, velocity, angle and angular velocity in the oracle's linear-quadratic problem."""
BLIND = np.array([0.0, 0.5, 1.0, 3.0])
"""[4] weights of the best linear policy that was found without knowing the task."""
_ATTRIBUTES = {"gravity": 9.8, "masscart": 1.0, "masspole": 0.1, "length": 0.5, "force_mag": 10.0, "tau": 0.02}
"""Of Gymnasium's CartPole, where a task does not set them."""


def keep_consistent(env: Any) -> None:
    """Compute anew what CartPole derives from its masses and its length when it is made; nothing elsewhere."""
    if isinstance(env, CartPoleEnv):
        env.total_mass = env.masspole + env.masscart
        env.polemass_length = env.masspole * env.length


def oracle(tasks: Sequence[Task]) -> Policy:
    """Pushes in the direction that the linear-quadratic regulator of each task asks for."""
    weights = np.array([_gains(*(_attribute(task, name) for name in _ATTRIBUTES)) for task in tasks])
    return Scripted(lambda obs, step, noise: _push((obs * weights[:, None]).sum(axis=-1)))


def task_blind(tasks: Sequence[Task]) -> Policy:
    """Pushes by a fixed linear function of the observation: holds the pole where actions push to the usual side."""
    return Scripted(lambda obs, step, noise: _push(obs @ BLIND))


def _push(side: Array) -> Array:
    return np.asarray((side > 0).astype(np.int64))


def _attribute(task: Task, name: str) -> float:
    return float(dict(task.params).get(f"attributes.{name}", _ATTRIBUTES[name]))  # type: ignore[arg-type]  # numbers


@cache
def _gains(gravity: float, cart: float, pole: float, length: float, force: float, tau: float) -> tuple[float, ...]:
    """[4] w such that action 1 is right where w . observation > 0: minus the gains of the regulator, by its direction.

    The dynamics of the upright pole, linearised, with the steps of Euler's method:
    theta'' = (g theta - u / (M + m)) / b with b = l (4/3 - m / (M + m)), x'' = u / (M + m) - m l theta'' / (M + m).
    """
    total = cart + pole
    inertia = length * (4.0 / 3.0 - pole / total)
    share = pole * length / total
    drift = np.array(
        [[0, 1, 0, 0], [0, 0, -share * gravity / inertia, 0], [0, 0, 0, 1], [0, 0, gravity / inertia, 0]], dtype=float
    )
    push = np.array([[0], [1 / total + share / (total * inertia)], [0], [-1 / (total * inertia)]])
    a, b = np.eye(4) + tau * drift, tau * push
    cost = solve_discrete_are(a, b, COST, np.array([[0.1]]))
    gains = np.linalg.solve(0.1 + b.T @ cost @ b, b.T @ cost @ a)[0]
    return tuple((-gains * np.sign(force)).tolist())
