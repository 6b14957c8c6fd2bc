"""What the candidates of ``benchmarks.task_blind`` are made of: cases, and policies that know the time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kshot.envs._scripted import constant_action
from kshot.types import Array, Memory, ReferencePolicy, Split

Candidates = Mapping[str, ReferencePolicy]


@dataclass(frozen=True)
class Case:
    """What is searched.

    Attributes:
        family: module in ``envs``.
        candidates: family -> policies by name.
        settings: of the family.
        shipped: scripted policies of the family that are candidates, besides its "task_blind".
        split: whose tasks the choice is made on: "validation" where candidates are fitted to the training tasks.
        chosen_on: number of those tasks.
        test: number of test tasks to report on.
        copies: trials per task.
    """

    family: str
    candidates: Callable[[Any], Candidates]
    settings: dict[str, Any] = field(default_factory=dict)
    shipped: tuple[str, ...] = ()
    split: Split = "train"
    chosen_on: int = 128
    test: int = 128
    copies: int = 8


@dataclass(frozen=True)
class Timetable:
    """``rule`` (obs [T, C, D], episode of the trial [T, C], step of the episode [T, C]) -> action."""

    rule: Callable[[Array, Array, Array], Array]

    @property
    def trial_memory(self) -> bool:
        return True

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        return {name: np.zeros((n_tasks, n_copies), dtype=np.int64) for name in ("episode", "step")}

    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        return self.rule(obs, memory["episode"], memory["step"]), np.zeros(obs.shape[:2]), memory

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        return {"episode": memory["episode"] + done, "step": np.where(done, 0, memory["step"] + 1)}


def scripted(rule: Callable[[Array, Array, Array], Array]) -> ReferencePolicy:
    return lambda tasks: Timetable(rule)


def constants(family: Any) -> dict[str, ReferencePolicy]:
    """Every action of a discrete family, always."""

    def always(action: int) -> ReferencePolicy:
        return lambda tasks: constant_action(np.full(len(tasks), action))

    return {f"always action {a}": always(a) for a in range(family.spec.action_space.n)}
