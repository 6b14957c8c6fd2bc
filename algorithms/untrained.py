"""The floor of every comparison: MAML's initial policy, adapted by the same gradient steps, never meta-trained.

What it gains with evidence is what a policy gradient alone gives; what a meta-learner gains beyond it was meta-learnt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kshot.algorithms import maml
from kshot.types import Collect, FamilySpec, Metrics, Task

EVIDENCE = maml.EVIDENCE
ACTIONS = maml.ACTIONS
TEST_ACTIONS = maml.TEST_ACTIONS


@dataclass(frozen=True)
class Settings(maml.Settings):
    """MAML's settings; those of the outer step are not used."""


class Untrained(maml.MAML):
    """MAML at its initial parameters."""

    trains = False

    def meta_step(self, tasks: Sequence[Task], collect: Collect, progress: float) -> Metrics:
        raise RuntimeError("the untrained baseline has no meta-step: the runner must not call it")


def build(spec: FamilySpec, settings: Settings, seed: int, device: str) -> Untrained:
    return Untrained(spec, settings, seed, device)
