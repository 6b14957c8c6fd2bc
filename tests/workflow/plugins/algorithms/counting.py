"""Counts which coin paid: the example of an algorithm, which here can also dawdle and diverge."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from kshot.examples import counting
from kshot.types import ActionKind, Collect, Evidence, FamilySpec, Metrics, Mode, Task

EVIDENCE: Evidence = "rollouts"
ACTIONS: frozenset[ActionKind] = frozenset({"discrete"})
TEST_ACTIONS: Mode = "sampled"


@dataclass(frozen=True)
class Settings(counting.Settings):
    """Attributes.

    seconds: time a meta-step takes at least.
    diverge: whether training fails with a number that is not finite.
    """

    seconds: float = 0.0
    diverge: bool = False


def build(spec: FamilySpec, settings: Settings, seed: int, device: str) -> Counting:
    return Counting(spec, settings)


class Counting(counting.Counting):
    def __init__(self, spec: FamilySpec, settings: Settings) -> None:
        super().__init__(spec, settings)
        self._faults = settings

    def meta_step(self, tasks: Sequence[Task], collect: Collect, progress: float) -> Metrics:
        time.sleep(self._faults.seconds)
        metrics = super().meta_step(tasks, collect, progress)
        if self._faults.diverge:
            raise FloatingPointError("the loss is not finite")
        return metrics
