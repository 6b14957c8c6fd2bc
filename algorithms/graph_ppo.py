"""PPO on all tasks at once, then fine-tuning (Schulman et al. 2017, arXiv 1707.06347), on the nodes of graphs.

What is left of ``graph_maml`` without inner steps: one policy is trained for the mean of all tasks, and knows nothing
of having to adapt. At test it takes the same gradient steps on a task's episodes as the others.
"""

from __future__ import annotations

from dataclasses import dataclass

from kshot.algorithms import graph_maml
from kshot.types import FamilySpec

EVIDENCE = graph_maml.EVIDENCE
ACTIONS = graph_maml.ACTIONS
OBSERVES = graph_maml.OBSERVES
TEST_ACTIONS = graph_maml.TEST_ACTIONS


@dataclass(frozen=True)
class Settings(graph_maml.Settings):
    """The settings of ``graph_maml`` without inner steps in training.

    Attributes:
        inner_steps: always 0.
    """

    inner_steps: int = 0

    def check_inner_loop(self) -> None:
        if self.inner_steps != 0:
            raise ValueError(f"inner_steps must be 0 for graph_ppo, got {self.inner_steps}; graph_maml has inner steps")


def build(spec: FamilySpec, settings: Settings, seed: int, device: str) -> graph_maml.GraphMAML:
    return graph_maml.GraphMAML(spec, settings, seed, device, "graph_ppo")
