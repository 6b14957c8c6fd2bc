"""The batch: many sub-environments stepped together by threads.

There is one model and one simulation per thread and model file. Sub-environments take turns with it: each has a state
of its own, which is loaded before its step and stored after it.
"""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Iterable, Sequence
from functools import cache
from queue import SimpleQueue
from typing import Any

import mujoco
import numpy as np

from kshot.envs.metaworld._tasks import Goal
from kshot.envs.metaworld.engine import kernel
from kshot.envs.metaworld.engine.prototypes import Prototype, observation_bounds, place_all, prototype
from kshot.envs.metaworld.engine.translation import FIELDS, INFO_KEYS
from kshot.types import Array


class SimulationPool:
    """``threads`` threads and the simulations of each, which are built when a batch first needs them."""

    lock = threading.Lock()
    """Shared by all pools: the models of each pool's first thread are those of the prototypes. A forked process gets a
    new one: that of its parent may be held, for ever, by a thread that steps there and does not exist here."""

    def __init__(self, threads: int, goal_observable: bool) -> None:
        self.threads = threads
        self.c_functions = kernel.c_functions()
        self._goal_observable = goal_observable
        self._class_indices: dict[str, int] = {}
        self._simulations: dict[tuple[str, int], tuple[Any, Any, Array]] = {}
        self._table = np.zeros((threads, 0, kernel.SIMULATION_COLUMNS), dtype=np.int64)
        self._start_threads()

    def _start_threads(self) -> None:
        self._process = os.getpid()
        self._jobs: list[SimpleQueue[Any]] = []
        self._done: SimpleQueue[BaseException | None] = SimpleQueue()
        for thread in range(1, self.threads):
            queue: SimpleQueue[Any] = SimpleQueue()
            threading.Thread(target=self._work, args=(queue,), daemon=True, name=f"physics-{thread}").start()
            self._jobs.append(queue)

    def class_index(self, name: str) -> int:
        """Where class ``name`` stands in the table of simulations [threads, classes, columns]."""
        if name not in self._class_indices:
            entries = [self._entry(thread, prototype(name, self._goal_observable)) for thread in range(self.threads)]
            self._table = np.concatenate([self._table, np.array(entries, dtype=np.int64)[:, None]], axis=1)
            self._class_indices[name] = len(self._class_indices)
        return self._class_indices[name]

    def accept_doubles(self, names: Iterable[str]) -> None:
        """Translate classes ``names`` for float64 actions, too; few users need that, and it takes 0.1 s each."""
        for name in set(names):
            address = prototype(name, self._goal_observable).translation(single=False).address
            self._table[:, self._class_indices[name], kernel.DOUBLE] = address

    def run(self, order: Any, arguments: tuple[Any, ...]) -> None:
        """Step the sub-environments ``order``; ``arguments`` are those of ``kernel.simulate`` after ``c_functions``."""
        with self.lock:
            if self._process != os.getpid():  # threads do not survive a fork
                self._start_threads()
            # Two threads share a piece of the order: one takes from its front, one from its back.
            pieces = np.array_split(order, min((self.threads + 1) // 2, max(len(order), 1)))
            counters = [np.zeros(1, dtype=np.int64) for _ in pieces]
            jobs = []
            for thread in range(self.threads):
                piece = thread // 2
                if piece < len(pieces) and thread % 2 < len(pieces[piece]):
                    jobs.append((thread, counters[piece], pieces[piece]))
            for thread, counter, piece_order in jobs[1:]:
                self._jobs[thread - 1].put((thread % 2, self._table[thread], counter, piece_order, arguments))
            errors: list[BaseException | None] = []
            if jobs:
                try:
                    self._simulate(0, self._table[0], jobs[0][1], jobs[0][2], arguments)
                finally:  # an interrupt in this thread must not leave the others at work
                    errors = [self._done.get() for _ in jobs[1:]]
        for error in errors:
            if error is not None:
                raise error

    def _simulate(self, end: int, simulations: Any, counter: Any, order: Any, arguments: tuple[Any, ...]) -> None:
        kernel.simulate(end, counter, order, simulations, self.c_functions, *arguments)

    def _work(self, jobs: SimpleQueue[Any]) -> None:
        done = self._done
        while True:
            try:
                self._simulate(*jobs.get())
                done.put(None)
            except BaseException as error:  # the caller waits for an answer, whatever it is
                done.put(error)

    def _entry(self, thread: int, proto: Prototype) -> list[int]:
        """One line of the table of simulations, in the order of the columns."""
        model, data, fields = self._simulation(thread, proto)
        body, site = model.body_pos, model.site_pos
        mocap = mujoco.mj_stateSize(model, _components_before(mujoco.mjtState.mjSTATE_MOCAP_POS))
        ctrl = mujoco.mj_stateSize(model, _components_before(mujoco.mjtState.mjSTATE_CTRL))
        single = proto.translation(single=True)
        pads = [model.geom(name).id for name in ("leftpad_geom", "rightpad_geom")]
        addresses = [model._address, data._address, fields.ctypes.data, body.ctypes.data, site.ctypes.data]
        return [*addresses, len(body), len(site), mocap, ctrl, single.address, 0, single.touched_geom, *pads]

    def _simulation(self, thread: int, proto: Prototype) -> tuple[Any, Any, Array]:
        """Model, data and the addresses of the arrays ``FIELDS`` of the data."""
        key = (proto.model_file, thread)
        if key not in self._simulations:
            model = proto.env.model if thread == 0 else copy.copy(self._simulation(0, proto)[0])
            data = mujoco.MjData(model)
            fields = np.array([getattr(data, field).ctypes.data for field in FIELDS], dtype=np.int64)
            self._simulations[key] = (model, data, fields)
        return self._simulations[key]


def _renew_lock() -> None:
    SimulationPool.lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_renew_lock)


@cache
def simulation_pool(threads: int, goal_observable: bool, /) -> SimulationPool:
    """The process's pool: models are large, and all batches can use the same."""
    return SimulationPool(threads, goal_observable)


class Batch:
    """Sub-environments that begin episodes of given goals and are stepped together.

    Attributes:
        info: [N, 7] of the last step, in the order of ``INFO_KEYS``.
        unstable: [N] whether the simulation diverged in the last step. MuJoCo has then reset it, as it does in the
            official environments, and the episode goes on from there.
    """

    def __init__(self, names: Sequence[str], threads: int, goal_observable: bool) -> None:
        self._pool = simulation_pool(threads, goal_observable)
        self._goal_observable = goal_observable
        self._prototypes = [prototype(name, goal_observable) for name in names]
        self._names = list(names)
        self._ready = self._accepts_doubles = False
        n = len(names)
        self._limits = np.stack([p.limits for p in self._prototypes])
        self._scale = np.array([p.action_scale for p in self._prototypes])
        self._action = np.zeros((n, 5))
        self._out = np.zeros((n, 2 + len(INFO_KEYS)))
        self._fault = np.zeros(n, dtype=np.int64)

    @property
    def info(self) -> Array:
        return self._out[:, 1:-1]

    @property
    def unstable(self) -> Array:
        unstable: Array = (self._fault & kernel.UNSTABLE) != 0
        return unstable

    def __getstate__(self) -> dict[str, Any]:
        """Everything that is this batch's own: what it shares with others stays in its process."""
        shared = ("_pool", "_prototypes", "_class_index")
        own = {name: value for name, value in vars(self).items() if name not in shared}
        return own | {"threads": self._pool.threads}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._pool = simulation_pool(state.pop("threads"), state["_goal_observable"])
        vars(self).update(state)
        self._prototypes = [prototype(name, self._goal_observable) for name in self._names]
        if self._ready:
            self._snapshots(range(len(self._names)), self._goals)  # a class is translated as it was when it was placed
            self._class_index = self._class_indices()
        self._accepts_doubles = False  # another process has not translated them yet

    def observation_bounds(self) -> tuple[Array, Array]:
        """Lowest and highest observation [39] over all classes."""
        return observation_bounds([p.env for p in self._prototypes], self._goal_observable)

    def reset(self, chosen: Sequence[int], goals: Sequence[Goal], obs: Array) -> None:
        """Begin an episode of ``goals[i]`` in sub-environment ``i`` of ``chosen``; its observation goes to ``obs[i]``.

        Raises:
            ValueError: a goal does not fit its class.
        """
        if not self._ready and len(chosen) < len(self._names):
            raise ValueError("metaworld: the first reset must cover all sub-environments")
        snapshots = self._snapshots(chosen, goals)
        if not self._ready:
            self._allocate(snapshots)
            self._goals = list(goals)
        for i in chosen:
            self._goals[i] = goals[i]
        for i, snapshot in zip(chosen, snapshots, strict=True):
            obs[i] = snapshot.obs
            self._state[i, : len(snapshot.state)] = snapshot.state
            self._positions[i, : len(snapshot.positions)] = snapshot.positions
            self._params[i, : len(snapshot.params)] = snapshot.params

    def step(self, chosen: Any, actions: Array, obs: Array, reward: Array) -> None:
        """Step the sub-environments ``chosen`` [n] and write their entries of ``obs`` [N, 39] and ``reward`` [N].

        ``actions`` is [N, 4], float32 or float64.

        Raises:
            RuntimeError: the official code refuses the state (raises an exception) in one of them.
        """
        single = actions.dtype == np.float32
        if not single and not self._accepts_doubles:
            self._pool.accept_doubles(self._names)
            self._accepts_doubles = True
        scale = self._scale.astype(actions.dtype)[:, None]
        delta = (np.clip(actions[:, :3], -1, 1) * scale).astype(np.float64)
        self._action[:, :4] = actions
        self._pool.run(
            chosen,
            (
                self._class_index,
                self._state,
                self._positions,
                self._params,
                delta,
                self._limits,
                self._action,
                single,
                obs,
                self._out,
                self._fault,
            ),
        )
        reward[chosen] = self._out[chosen, 0]
        refused = np.flatnonzero(self._fault[chosen] & kernel.RAISED)
        if len(refused):
            i = int(chosen[refused[0]])
            raise RuntimeError(
                f"metaworld: the reward code of {self._names[i]} refuses the state of sub-environment {i}"
            )

    def state(self, i: int) -> Array:
        """Integration state [S] of sub-environment ``i`` (``mjSTATE_INTEGRATION``)."""
        state: Array = self._state[i]
        return state

    def close(self) -> None:
        """Nothing to close: simulations and snapshots belong to the process."""

    def _snapshots(self, chosen: Sequence[int], goals: Sequence[Goal]) -> list[Any]:
        """The official classes' states at the start of an episode of ``goals[i]``, for every ``i`` of ``chosen``."""
        if any(self._prototypes[i].needs_placing(goals[i]) for i in chosen):
            with self._pool.lock:  # the prototypes' models are the first thread's
                place_all([goals[i] for i in chosen], self._goal_observable, self._pool.threads)
        return [self._prototypes[i].snapshot(goals[i]) for i in chosen]

    def _allocate(self, snapshots: Sequence[Any]) -> None:
        n = len(snapshots)
        self._class_index = self._class_indices()
        self._state = np.zeros((n, max(len(s.state) for s in snapshots)))
        self._positions = np.zeros((n, max(len(s.positions) for s in snapshots)))
        self._params = np.zeros((n, max(len(s.params) for s in snapshots)))
        self._ready = True

    def _class_indices(self) -> Array:
        """[N] where the class of every sub-environment stands in the pool's table."""
        return np.array([self._pool.class_index(name) for name in self._names], dtype=np.int64)


def _components_before(component: Any) -> int:
    """The components of an integration state that come before ``component``."""
    return kernel.STATE & (int(component) - 1)
