"""Many sub-environments stepped by threads: one model and one simulation per (model file, thread), swapped states."""

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


class Machines:
    """The simulations of one set of classes, for ``threads`` threads; built when a batch first needs them."""

    lock = threading.Lock()
    """One for all: the first threads' models are the prototypes', whatever the number of threads."""

    def __init__(self, threads: int, goal_observable: bool) -> None:
        self.threads = threads
        self.calls = kernel.functions()
        self._goal_observable = goal_observable
        self._kinds: dict[str, int] = {}
        self._simulations: dict[tuple[str, int], tuple[Any, Any, Array]] = {}
        self._table = np.zeros((threads, 0, kernel.MACHINE_COLUMNS), dtype=np.int64)
        self._start()

    def _start(self) -> None:
        self._process = os.getpid()
        self._jobs: list[SimpleQueue[Any]] = []
        self._done: SimpleQueue[BaseException | None] = SimpleQueue()
        for thread in range(1, self.threads):
            queue: SimpleQueue[Any] = SimpleQueue()
            threading.Thread(target=self._work, args=(queue,), daemon=True, name=f"physics-{thread}").start()
            self._jobs.append(queue)

    def kind(self, name: str) -> int:
        """Number of class ``name`` in the table of machines."""
        if name not in self._kinds:
            rows = [self._row(thread, prototype(name, self._goal_observable)) for thread in range(self.threads)]
            self._table = np.concatenate([self._table, np.array(rows, dtype=np.int64)[:, None]], axis=1)
            self._kinds[name] = len(self._kinds)
        return self._kinds[name]

    def accept_doubles(self, names: Iterable[str]) -> None:
        """Translate ``names`` for float64 actions too: few users need that, and it takes a tenth of a second each."""
        for name in set(names):
            address = prototype(name, self._goal_observable).translation(single=False).address
            self._table[:, self._kinds[name], kernel.DOUBLE] = address

    def run(self, order: Any, arguments: tuple[Any, ...]) -> None:
        """Step the sub-environments ``order``; ``arguments`` are those of ``kernel.simulate`` after ``calls``."""
        with self.lock:
            if self._process != os.getpid():  # threads do not survive a fork
                self._start()
            # Two threads share a piece of the order, one from its front and one from its back.
            pieces = np.array_split(order, min((self.threads + 1) // 2, max(len(order), 1)))
            counters = [np.zeros(1, dtype=np.int64) for _ in pieces]
            jobs = []
            for thread in range(self.threads):
                piece = thread // 2
                if piece < len(pieces) and thread % 2 < len(pieces[piece]):
                    jobs.append((thread, counters[piece], pieces[piece]))
            for thread, counter, piece_order in jobs[1:]:
                self._jobs[thread - 1].put((thread % 2, self._table[thread], counter, piece_order, arguments))
            faults: list[BaseException | None] = []
            if jobs:
                try:
                    self._simulate(0, self._table[0], jobs[0][1], jobs[0][2], arguments)
                finally:  # an interrupt in this thread must not leave the others at work
                    faults = [self._done.get() for _ in jobs[1:]]
        for fault in faults:
            if fault is not None:
                raise fault

    def _simulate(self, end: int, machines: Any, counter: Any, order: Any, arguments: tuple[Any, ...]) -> None:
        kernel.simulate(end, counter, order, machines, self.calls, *arguments)

    def _work(self, jobs: SimpleQueue[Any]) -> None:
        done = self._done
        while True:
            try:
                self._simulate(*jobs.get())
                done.put(None)
            except BaseException as error:  # the caller waits for an answer, whatever it is
                done.put(error)

    def _row(self, thread: int, proto: Prototype) -> list[int]:
        model, data, fields = self._simulation(thread, proto)
        body, site = model.body_pos, model.site_pos
        mocap = mujoco.mj_stateSize(model, _before(mujoco.mjtState.mjSTATE_MOCAP_POS))
        ctrl = mujoco.mj_stateSize(model, _before(mujoco.mjtState.mjSTATE_CTRL))
        single = proto.translation(single=True)
        pads = [model.geom(name).id for name in ("leftpad_geom", "rightpad_geom")]
        addresses = [model._address, data._address, fields.ctypes.data, body.ctypes.data, site.ctypes.data]
        return [*addresses, len(body), len(site), mocap, ctrl, single.address, 0, single.touched, *pads]

    def _simulation(self, thread: int, proto: Prototype) -> tuple[Any, Any, Array]:
        """Model, data and the addresses of its arrays."""
        key = (proto.model_file, thread)
        if key not in self._simulations:
            model = proto.env.model if thread == 0 else copy.copy(self._simulation(0, proto)[0])
            data = mujoco.MjData(model)
            fields = np.array([getattr(data, field).ctypes.data for field in FIELDS], dtype=np.int64)
            self._simulations[key] = (model, data, fields)
        return self._simulations[key]


@cache
def machines(threads: int, goal_observable: bool, /) -> Machines:
    """The process's machines: models are large, and every batch can use the same."""
    return Machines(threads, goal_observable)


class Batch:
    """Sub-environments that begin episodes of given goals and are stepped together.

    Attributes:
        info: [N, 7] of the last step, in the order of ``INFO_KEYS``.
        unstable: [N] the simulation diverged in the last step; MuJoCo has then reset it, as it does in the official
            environments, and the episode goes on from there.
    """

    def __init__(self, names: Sequence[str], threads: int, goal_observable: bool) -> None:
        self._machines = machines(threads, goal_observable)
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

    def observation_bounds(self) -> tuple[Array, Array]:
        """Lowest and highest observation [39] over all classes."""
        return observation_bounds([p.env for p in self._prototypes], self._goal_observable)

    def reset(self, chosen: Sequence[int], goals: Sequence[Goal], obs: Array) -> None:
        """Begin an episode of ``goals[i]`` in sub-environment ``i`` of ``chosen``; its observation goes to ``obs[i]``.

        Raises:
            ValueError: a goal does not fit its class.
        """
        wanted = [goals[i] for i in chosen]
        if any(self._prototypes[i].missing(goals[i]) for i in chosen):
            with self._machines.lock:  # the prototypes' models are the first thread's
                place_all(wanted, self._goal_observable, self._machines.threads)
        found = [self._prototypes[i].snapshot(goals[i]) for i in chosen]
        if not self._ready:
            if len(chosen) < len(self._names):
                raise ValueError("metaworld: the first reset must cover all sub-environments")
            self._allocate(found)
        for i, snapshot in zip(chosen, found, strict=True):
            obs[i] = snapshot.obs
            self._state[i, : len(snapshot.state)] = snapshot.state
            self._places[i, : len(snapshot.places)] = snapshot.places
            self._params[i, : len(snapshot.params)] = snapshot.params

    def step(self, chosen: Any, actions: Array, obs: Array, reward: Array) -> None:
        """Step the sub-environments ``chosen`` [n] and write their rows of ``obs`` and ``reward``.

        ``actions`` is [N, 4], float32 or float64.

        Raises:
            RuntimeError: the official code refuses the state (raises an exception) in one of them.
        """
        single = actions.dtype == np.float32
        if not single and not self._accepts_doubles:
            self._machines.accept_doubles(self._names)
            self._accepts_doubles = True
        scale = self._scale.astype(actions.dtype)[:, None]
        delta = (np.clip(actions[:, :3], -1, 1) * scale).astype(np.float64)
        self._action[:, :4] = actions
        self._machines.run(
            chosen,
            (
                self._kind,
                self._state,
                self._places,
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
        """Integration state of sub-environment ``i`` (``mjSTATE_INTEGRATION``)."""
        state: Array = self._state[i]
        return state

    def close(self) -> None:
        """Nothing to give back: simulations and snapshots belong to the process."""

    def _allocate(self, snapshots: Sequence[Any]) -> None:
        n = len(snapshots)
        self._kind = np.array([self._machines.kind(name) for name in self._names], dtype=np.int64)
        self._state = np.zeros((n, max(len(s.state) for s in snapshots)))
        self._places = np.zeros((n, max(len(s.places) for s in snapshots)))
        self._params = np.zeros((n, max(len(s.params) for s in snapshots)))
        self._ready = True


def _before(component: Any) -> int:
    """The components of a state vector that come before ``component``."""
    return kernel.STATE & (int(component) - 1)
