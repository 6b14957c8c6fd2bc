"""First-order MAML (Finn et al. 2017, arXiv 1703.03400, section 5.2) for policies that place the nodes of a graph.

The inner gradient is a constant when the outer step is taken; the rest is ``graph_maml``'s own code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kshot.algorithms import graph_maml
from kshot.types import FamilySpec

EVIDENCE = graph_maml.EVIDENCE
ACTIONS = graph_maml.ACTIONS
OBSERVES = graph_maml.OBSERVES
TEST_ACTIONS = graph_maml.TEST_ACTIONS


@dataclass(frozen=True)
class Settings(graph_maml.Settings):
    """The settings of ``graph_maml``; only the order of the outer derivative differs.

    Attributes:
        order: always "first".
    """

    order: Literal["second", "first"] = "first"

    def check_inner_loop(self) -> None:
        super().check_inner_loop()
        if self.order != "first":
            raise ValueError("order must be 'first' for graph_fomaml; use graph_maml for the second-order method")


def build(spec: FamilySpec, settings: Settings, seed: int, device: str) -> graph_maml.GraphMAML:
    return graph_maml.GraphMAML(spec, settings, seed, device, "graph_fomaml")
