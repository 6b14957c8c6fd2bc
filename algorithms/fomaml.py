"""First-order MAML (Finn et al. 2017, section 5.2; Nichol et al. 2018, arXiv 1803.02999).

The inner gradient is a constant when the outer step is taken. The rest is MAML's own code, so that the two differ in
this alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kshot.algorithms import maml
from kshot.types import FamilySpec

EVIDENCE = maml.EVIDENCE
ACTIONS = maml.ACTIONS
TEST_ACTIONS = maml.TEST_ACTIONS


@dataclass(frozen=True)
class Settings(maml.Settings):
    """MAML's settings; only the order of the outer derivative differs.

    Attributes:
        order: always "first".
    """

    order: Literal["second", "first"] = "first"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.order != "first":
            raise ValueError("order must be 'first' for fomaml; use maml for the second-order method")


def build(spec: FamilySpec, settings: Settings, seed: int, device: str) -> maml.MAML:
    return maml.MAML(spec, settings, seed, device)
