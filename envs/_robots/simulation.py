"""Gymnasium's MuJoCo robots in batches: bit for bit what the official v5 classes compute, stepped by threads.

Models, time steps, reset noise and observations are those of gymnasium.envs.mujoco (Towers et al. 2024); rewards and
tasks are the families' own. A sub-environment is a row of states: the threads of Meta-World's engine take turns with
one simulation each, into which they load a row, and all sub-environments of a task share its model. What is computed
from states is computed for the whole batch.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from gymnasium import spaces
from gymnasium.envs import mujoco as official
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from kshot.envs._streams import Streams
from kshot.envs.metaworld.engine.batch import SimulationPool
from kshot.envs.metaworld.engine.kernel import STATE, _compiled, call, count_up
from kshot.threads import asked, cores
from kshot.types import Array, Task

SET_STATE, GET_STATE, MJ_STEP, FORCES, COPY = range(5)
"""Positions in the result of ``_c_functions``."""
_DATA, _PLACE, _FORCE = range(3)
"""Of a thread's simulation: addresses of MjData, of the torso's position and of the contact forces."""
_TORSO = 1
_OBSERVED_FORCE = 1.0
"""Contact forces are observed, and paid for, up to this size (``contact_force_range`` of Ant-v5)."""


@dataclass(frozen=True)
class Robot:
    """What a family takes over from an official class, whose defaults these are.

    Attributes:
        file: the model, in Gymnasium's folder of models.
        frame_skip: simulation steps per step of the environment.
        reset_noise: half the width of the noise on positions at a reset.
        normal_noise: whether the noise on velocities is normal, of that standard deviation, or as on positions.
        hidden: how many of the first positions are not observed.
        velocity_bound: on observed velocities.
        observes_forces: whether contact forces on all bodies but the world are observed.
    """

    file: str
    frame_skip: int
    reset_noise: float
    normal_noise: bool
    hidden: int
    velocity_bound: float = np.inf
    observes_forces: bool = False

    @property
    def model(self) -> mujoco.MjModel:
        """The official model, which nobody may change: copy it first."""
        return _original_model(self.file)

    @property
    def step_seconds(self) -> float:
        """Simulated seconds in a step of the environment."""
        return float(self.model.opt.timestep * self.frame_skip)

    @property
    def observation_dim(self) -> int:
        model = self.model
        return int(model.nq - self.hidden + model.nv + (6 * (model.nbody - 1) if self.observes_forces else 0))

    @property
    def action_space(self) -> spaces.Box:
        low, high = self.model.actuator_ctrlrange.astype(np.float32).T
        return spaces.Box(low, high, dtype=np.float32)


CHEETAH = Robot("half_cheetah.xml", frame_skip=5, reset_noise=0.1, normal_noise=True, hidden=1)
ANT = Robot("ant.xml", frame_skip=5, reset_noise=0.1, normal_noise=True, hidden=0, observes_forces=True)
"""With its position in the plane, which Ant-v5 hides by default: where a goal is can only be learnt from that."""
HOPPER = Robot("hopper.xml", frame_skip=4, reset_noise=5e-3, normal_noise=False, hidden=1, velocity_bound=10.0)
WALKER = Robot("walker2d_v5.xml", frame_skip=4, reset_noise=5e-3, normal_noise=False, hidden=1, velocity_bound=10.0)


@cache
def _original_model(file: str) -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_path(str(Path(official.__file__).parent / "assets" / file))


@dataclass(frozen=True)
class State:
    """What N simulations are in.

    Attributes:
        position: [N, nq] of the joints.
        velocity: [N, nv] of the joints.
        place: [N, 3] of the torso, as of the beginning of the last simulation step, as official classes have it.
        force: [N, nbody * 6] bounded contact forces; [N, 0] where nobody wants them.
    """

    position: Array
    velocity: Array
    place: Array
    force: Array


def _c_functions() -> Array:
    library = ctypes.CDLL(str(next(Path(mujoco.__file__).parent.glob("libmujoco*"))))
    libc = ctypes.CDLL(None)
    functions = (library.mj_setState, library.mj_getState, library.mj_step, library.mj_rnePostConstraint, libc.memcpy)
    return np.array([ctypes.cast(f, ctypes.c_void_p).value for f in functions], dtype=np.int64)


@_compiled
def simulate(
    end: int,
    counter: Any,
    order: Any,
    simulation: Any,
    c_functions: Any,
    models: Any,
    substeps: int,
    ctrl: int,
    actions: Any,
    state: Any,
    place: Any,
    force: Any,
) -> None:
    """Step the sub-environments in ``order``, shared with other threads through ``counter``.

    Args:
        end: 0 takes from the front of the order, 1 from the back, so that they meet wherever the work ends.
        counter: [1] how many have been taken; zero at the start.
        order: sub-environments to step.
        simulation: [3] of this thread: MjData, and its arrays of places and forces.
        c_functions: the result of the function of that name.
        models: [N] addresses of MjModel.
        substeps: simulation steps.
        ctrl: where the controls begin in a state.
        actions: [N, nu] float64.
        state: [N, S] integration states; read and written.
        place: [N, 3] of the torso, written.
        force: [N, nbody * 6] contact forces, written; [N, 0] where nobody wants them.
    """
    taken = 0
    while count_up(counter.ctypes.data) < len(order):
        i = order[taken] if end == 0 else order[len(order) - 1 - taken]
        taken += 1
        data = simulation[_DATA]
        for k in range(actions.shape[1]):
            state[i, ctrl + k] = actions[i, k]
        call(c_functions[SET_STATE], (models[i], data, state[i].ctypes.data, STATE))
        for _ in range(substeps):
            call(c_functions[MJ_STEP], (models[i], data))
        if force.shape[1] > 0:
            call(c_functions[FORCES], (models[i], data))
            call(c_functions[COPY], (force[i].ctypes.data, simulation[_FORCE], force.shape[1] * 8))
        call(c_functions[COPY], (place[i].ctypes.data, simulation[_PLACE], 24))
        call(c_functions[GET_STATE], (models[i], data, state[i].ctypes.data, STATE))


class RobotPool(SimulationPool):
    """Meta-World's threads, with one simulation of a robot each, for all models of that robot."""

    def __init__(self, threads: int, robot: Robot) -> None:
        self.threads = threads
        self.c_functions = _c_functions()
        self.simulations = [mujoco.MjData(robot.model) for _ in range(threads)]
        addresses = [
            [data._address, data.xpos[_TORSO].ctypes.data, data.cfrc_ext.ctypes.data] for data in self.simulations
        ]
        self._table = np.array(addresses, dtype=np.int64)
        self._start_threads()

    def _simulate(self, end: int, simulations: Any, counter: Any, order: Any, arguments: tuple[Any, ...]) -> None:
        simulate(end, counter, order, simulations, self.c_functions, *arguments)


@cache
def _pool(threads: int, robot: Robot, /) -> RobotPool:
    return RobotPool(threads, robot)


class RobotVectorEnv(VectorEnv[Array, Array, Array]):
    """N robots side by side, task-major; families say in ``outcome`` what their states are worth.

    Reset noise is what the official class draws after ``reset(seed=key)``, the keys being those of the episode in the
    sub-environments' streams. Episodes end at the horizon, or where ``outcome`` terminates them; a sub-environment
    whose episode has ended is left as it is until the next reset.

    Attributes:
        models: [N] of the sub-environments.
        states: [N, S] of their simulations (``mjSTATE_INTEGRATION``).
        playing: [N] whether the present step, or the next, is part of an episode.
        elapsed: steps of the episode.

    Args:
        robot: which.
        tasks: T tasks.
        copies: C sub-environments per task; N = T * C.
        horizon: steps until truncation.
        models: [T] the tasks' models; default the official one for all.
        threads: for the physics; default ``$OMP_NUM_THREADS``, else all cores. Not part of the result.

    Raises:
        ValueError: there is no task or no copy.
    """

    def __init__(
        self,
        robot: Robot,
        tasks: Sequence[Task],
        copies: int,
        horizon: int,
        models: Sequence[mujoco.MjModel] | None = None,
        threads: int | None = None,
    ) -> None:
        if not tasks or copies < 1:
            raise ValueError(f"a vector environment needs tasks and copies of them, got {len(tasks)} and {copies}")
        self.robot, self.horizon = robot, horizon
        self.family = tasks[0].family
        self.num_envs = n = len(tasks) * copies
        self.metadata = {"autoreset_mode": AutoresetMode.DISABLED}
        self.single_observation_space = spaces.Box(-np.inf, np.inf, (robot.observation_dim,), np.float64)
        self.single_action_space = robot.action_space
        self.observation_space = batch_space(self.single_observation_space, n)
        self.action_space = batch_space(self.single_action_space, n)
        self._tasks = [task for task in tasks for _ in range(copies)]
        self.models = [model for model in models or [robot.model] * len(tasks) for _ in range(copies)]
        self._addresses = np.array([model._address for model in self.models], dtype=np.int64)
        self._pool = _pool(threads or asked() or cores(), robot)
        self._streams = Streams(self.family, n, "the noise of resets")
        model = robot.model
        self._ctrl = mujoco.mj_stateSize(model, STATE & (int(mujoco.mjtState.mjSTATE_CTRL) - 1))
        self.states = np.zeros((n, mujoco.mj_stateSize(model, STATE)))
        self._place = np.zeros((n, 3))
        self._force = np.zeros((n, 6 * model.nbody if robot.observes_forces else 0))
        self._obs = np.zeros((n, robot.observation_dim))
        self.playing = np.zeros(n, dtype=bool)
        self.elapsed = 0

    def begin(self, state: State) -> None:
        """An episode begins in ``state``; families that look back over its steps override this."""

    def outcome(self, before: State, after: State, action: Array) -> tuple[Array, Array, dict[str, Any]]:
        """Reward [N], terminated [N] and info, ``success`` [N] among it, of a step by ``action`` [N, nu] float32."""
        raise NotImplementedError

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Begin the next episode of all; with ``seed``, one integer per sub-environment, the first of new streams."""
        self._streams.reset(seed)
        robot, model = self.robot, self.robot.model
        keys = self._streams.keys(self._streams.episode)
        with self._pool.lock:
            data = self._pool.simulations[0]
            for i, key in enumerate(keys):
                rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(int(key))))
                mujoco.mj_resetData(self.models[i], data)
                data.qpos[:] = model.qpos0 + rng.uniform(-robot.reset_noise, robot.reset_noise, model.nq)
                if robot.normal_noise:
                    data.qvel[:] = robot.reset_noise * rng.standard_normal(model.nv)
                else:
                    data.qvel[:] = rng.uniform(-robot.reset_noise, robot.reset_noise, model.nv)
                mujoco.mj_forward(self.models[i], data)
                mujoco.mj_getState(self.models[i], data, self.states[i], STATE)
                self._place[i] = data.xpos[_TORSO]
        self._force[:] = 0.0  # official classes compute forces in steps alone
        self.playing = np.ones(self.num_envs, dtype=bool)
        self.elapsed = 0
        state = self.state()
        self.begin(state)
        self._obs = self._observation(state)
        return self._obs, {}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """``actions`` is [N, nu], taken as float32 and clipped. ``info["unstable"]``: MuJoCo reset a simulation.

        Raises:
            ValueError: ``actions`` has a wrong shape, or there was no reset.
            FloatingPointError: an action, an observation or a reward is not finite; the message names the task.
        """
        self._streams.keys(0)  # refuses a step before the first reset
        action = self._checked(actions)
        before = self.state()
        time = self.states[:, 0].copy()
        playing = self.playing
        order = np.flatnonzero(playing)
        wide = action.astype(np.float64)
        substeps = self.robot.frame_skip
        self._pool.run(order, (self._addresses, substeps, self._ctrl, wide, self.states, self._place, self._force))
        self.elapsed += bool(len(order))
        after = self.state()
        reward, terminated, info = self.outcome(before, after, action)
        obs = self._observation(after)
        self._check_outcome(obs, reward)
        reward = np.where(playing, reward, 0.0)
        truncated = np.full(self.num_envs, self.elapsed >= self.horizon)
        info["unstable"] = playing & (self.states[:, 0] < time + (substeps - 0.5) * self.robot.model.opt.timestep)
        self.playing = playing & ~(terminated | truncated)
        self._obs = obs
        return obs, reward, terminated, truncated, info

    def state(self) -> State:
        """A copy of the present state."""
        model = self.robot.model
        position = self.states[:, 1 : 1 + model.nq].copy()
        velocity = self.states[:, 1 + model.nq : 1 + model.nq + model.nv].copy()
        force = np.clip(self._force, -_OBSERVED_FORCE, _OBSERVED_FORCE)
        return State(position, velocity, self._place.copy(), force)

    def _observation(self, state: State) -> Array:
        bound = self.robot.velocity_bound
        parts = [state.position[:, self.robot.hidden :], np.clip(state.velocity, -bound, bound), state.force[:, 6:]]
        return np.concatenate(parts, axis=1)

    def _checked(self, actions: Any) -> Array:
        actions = np.asarray(actions, dtype=np.float32)
        if actions.shape != self.action_space.shape:
            raise ValueError(f"{self.family}: actions have the shape {actions.shape}, not {self.action_space.shape}")
        finite = np.isfinite(actions).all(axis=1)
        if not finite.all():
            i = int(finite.argmin())
            raise FloatingPointError(f"{self.family}: task {self._tasks[i].id}: action {actions[i]} is not finite")
        bounds = self.robot.action_space
        return np.asarray(np.clip(actions, bounds.low, bounds.high))

    def _check_outcome(self, obs: Array, reward: Array) -> None:
        if obs.shape != self.observation_space.shape or reward.shape != (self.num_envs,):
            raise ValueError(
                f"{self.family}: observations {obs.shape} and rewards {reward.shape} of {self.num_envs}"
                f" sub-environments that observe {self.robot.observation_dim} numbers"
            )
        for name, values in (("observation", obs), ("reward", reward[:, None])):
            finite = np.isfinite(values).all(axis=1)
            if not finite.all():
                i = int(finite.argmin())
                raise FloatingPointError(
                    f"{self.family}: task {self._tasks[i].id}: {name} {values[i].tolist()} is not finite"
                )
