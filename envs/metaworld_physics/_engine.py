"""Meta-World's engine with a model per sub-environment: the same threads and machine code, other pointers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from kshot.envs.metaworld._tasks import Goal
from kshot.envs.metaworld._vector import MetaWorldVectorEnv, default_threads
from kshot.envs.metaworld.engine import Batch, Snapshot, kernel, prototype
from kshot.envs.metaworld.engine.batch import SimulationPool
from kshot.envs.metaworld_physics._models import ChangedStruct, Physics, difference
from kshot.types import Array


class PhysicsPool(SimulationPool):
    """Threads whose table of simulations has a line for each pair of class and physics."""

    def __init__(self, threads: int, goal_observable: bool) -> None:
        super().__init__(threads, goal_observable)
        self._lines: dict[tuple[str, Physics], int] = {}
        self._structs: list[ChangedStruct] = []

    def line(self, name: str, physics: Physics) -> int:
        """Where they stand in the table."""
        key = name, physics
        if key not in self._lines:
            proto = prototype(name, self._goal_observable)
            changed = difference(proto, physics)
            entries = []
            for thread in range(self.threads):
                entry = self._entry(thread, proto)
                self._structs.append(ChangedStruct(self._simulation(thread, proto)[0], changed))
                entry[kernel.MODEL] = self._structs[-1].address
                entries.append(entry)
            self._table = np.concatenate([self._table, np.array(entries, dtype=np.int64)[:, None]], axis=1)
            self._lines[key] = len(self._lines)
        return self._lines[key]


@cache
def _pool(threads: int, goal_observable: bool, /) -> PhysicsPool:
    return PhysicsPool(threads, goal_observable)


_SNAPSHOTS: dict[tuple[Goal, Physics, bool], Snapshot] = {}


def snapshot(goal: Goal, physics: Physics, goal_observable: bool) -> Snapshot:
    """The official class's state after a reset to ``goal`` in a changed model, in which the reset simulates, too.

    The caller holds the pools' lock: the class's own model is changed for the while.
    """
    key = goal, physics, goal_observable
    if key not in _SNAPSHOTS:
        proto = prototype(goal[0], goal_observable)
        before = difference(proto, physics).put_into(proto.env.model)
        try:
            _SNAPSHOTS[key] = proto._place(goal)
        finally:
            before.put_into(proto.env.model)
    return _SNAPSHOTS[key]


class PhysicsBatch(Batch):
    """Sub-environments with ``physics`` [N] of their own."""

    def __init__(self, names: Sequence[str], physics: Sequence[Physics], threads: int, goal_observable: bool) -> None:
        super().__init__(names, threads, goal_observable)
        self._physics = list(physics)
        self._pool = _pool(threads, goal_observable)

    def _snapshots(self, chosen: Sequence[int], goals: Sequence[Goal]) -> list[Any]:
        with self._pool.lock:
            return [snapshot(goals[i], self._physics[i], self._goal_observable) for i in chosen]

    def _class_indices(self) -> Array:
        assert isinstance(self._pool, PhysicsPool)
        lines = [self._pool.line(name, physics) for name, physics in zip(self._names, self._physics, strict=True)]
        return np.array(lines, dtype=np.int64)


class PhysicsVectorEnv(MetaWorldVectorEnv):
    """Meta-World with ``physics`` [N]; see ``MetaWorldVectorEnv``.

    Raises:
        RuntimeError: the engine would not be exact on this machine; official classes know no other physics.
    """

    def __init__(
        self,
        goals: Sequence[Goal],
        physics: Sequence[Physics],
        horizon: int,
        goal_observable: bool = False,
        threads: int | None = None,
    ) -> None:
        super().__init__(
            goals,
            horizon=horizon,
            threads=threads,
            autoreset_mode=AutoresetMode.DISABLED,
            goal_observable=goal_observable,
            clip_actions=True,
        )
        if self.backend_name != "engine":
            raise RuntimeError("metaworld_physics: only the engine has other physics, and it is not exact here")
        self._backend = PhysicsBatch(self.names, physics, threads or default_threads(), goal_observable)
