"""The bare physics of robots: what their environments would cost if they were nothing but calls of ``mj_step``."""

from __future__ import annotations

import time
from typing import Any

import mujoco
import numba
import numpy as np

from kshot.envs._robots.simulation import MJ_STEP, RobotPool, RobotVectorEnv
from kshot.envs.metaworld.engine.kernel import STATE, call, count_up


@numba.njit(nogil=True)
def bare(end: int, counter: Any, order: Any, simulations: Any, c_functions: Any, models: Any, substeps: int) -> None:
    """The loop of ``simulate`` with nothing but the physics in it; one simulation per sub-environment."""
    taken = 0
    while count_up(counter.ctypes.data) < len(order):
        i = order[taken] if end == 0 else order[len(order) - 1 - taken]
        taken += 1
        for _ in range(substeps):
            call(c_functions[MJ_STEP], (models[i], simulations[i]))


class BarePool(RobotPool):
    """The threads of a ``RobotPool``, which step ``simulations`` [N] instead of rows of states."""

    def _simulate(self, end: int, simulations: Any, counter: Any, order: Any, arguments: tuple[Any, ...]) -> None:
        bare(end, counter, order, arguments[0], self.c_functions, *arguments[1:])


class BarePhysics:
    """The simulations of an environment, from its present states, without all that is done with them.

    Attributes:
        simulations: [N].
        seconds: that its steps have taken, without the preparation in Python.
    """

    def __init__(self, env: RobotVectorEnv, threads: int) -> None:
        self._env, self.seconds = env, 0.0
        self._pool = BarePool(threads, env.robot)
        self.simulations = [mujoco.MjData(model) for model in env.models]
        self._data = np.array([data._address for data in self.simulations], dtype=np.int64)
        self._models = np.array([model._address for model in env.models], dtype=np.int64)

    def reset(self) -> None:
        """Take over the environment's states."""
        self.seconds = 0.0
        for model, data, state in zip(self._env.models, self.simulations, self._env.states, strict=True):
            mujoco.mj_setState(model, data, state, STATE)

    def step(self, actions: np.ndarray[Any, Any], playing: np.ndarray[Any, Any]) -> None:
        """Step the simulations ``playing`` [N] by ``actions`` [N, A]."""
        for data, action in zip(self.simulations, actions, strict=True):
            data.ctrl[:] = action
        begin = time.perf_counter()
        order = np.flatnonzero(playing)
        self._pool.run(order, (self._data, self._models, self._env.robot.frame_skip))
        self.seconds += time.perf_counter() - begin
