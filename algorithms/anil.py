"""ANIL, "almost no inner loop" (Raghu et al. 2020, arXiv 1909.09157): MAML that adapts the last layer only.

This holds in training and at test. The features below are shared by all tasks and learnt by the outer step.
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
    """MAML's settings; only the set of adapted parameters differs.

    Attributes:
        adapt: always "head".
    """

    adapt: Literal["all", "head"] = "head"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.adapt != "head":
            raise ValueError("adapt must be 'head' for anil; use maml to adapt all parameters")


def build(spec: FamilySpec, settings: Settings, seed: int, device: str) -> maml.MAML:
    return maml.MAML(spec, settings, seed, device)
