"""RL^2 (Duan et al. 2016, arXiv 1611.02779) for policies that place the nodes of a graph.

The same learner as ``rl2`` in everything but the network, which is that of ``graph_maml`` with a memory that lasts over
the trial: an encoder of graphs (Xu et al. 2018, arXiv 1804.00823, and others) and an LSTM decoder that also reads the
last reward (``kshot.learning.graph_memory``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kshot.algorithms import rl2
from kshot.learning.graph_encoders import Encoder
from kshot.learning.graph_memory import GraphActorCritic
from kshot.learning.graph_policy import check_network, checked_spec
from kshot.seeding import key
from kshot.types import ActionKind, FamilySpec

EVIDENCE = rl2.EVIDENCE
ACTIONS: frozenset[ActionKind] = frozenset({"discrete"})
OBSERVES = "graph"
"""The kind of observations it needs."""
TEST_ACTIONS = rl2.TEST_ACTIONS


@dataclass(frozen=True)
class Settings(rl2.Settings):
    """RL^2's settings; ``encoder``, ``hidden``, ``std`` and ``init_std`` are not used.

    Attributes:
        memory: always "lstm".
        graph_encoder: "mlp" (nodes by themselves), "seq2seq" (an LSTM), "graph2seq" or "gat".
        hops: k, of "graph2seq" and "gat".
        width: of the vectors of nodes and graphs; it decides how many parameters all encoders have.
        decoder: width of the LSTM that decides and remembers.
    """

    memory: Literal["gru", "lstm", "transformer"] = "lstm"
    graph_encoder: Encoder = "graph2seq"
    hops: int = 2
    width: int = 64
    decoder: int = 64
    meta_batch: int = 20
    reward_scale: float = 0.1
    discount: float = 1.0
    gae_lambda: float = 0.95
    lr: float = 2e-3

    def check_memory(self) -> None:
        check_network(self)
        if self.memory != "lstm":
            raise ValueError(f"memory must be 'lstm' for graph_rl2, got {self.memory!r}")
        if self.trial_end != "timed":
            raise ValueError(f"trial_end must be 'timed' for graph_rl2, whose critic sees it, got {self.trial_end!r}")


def build(spec: FamilySpec, settings: Settings, seed: int, device: str) -> rl2.RL2:
    network = GraphActorCritic(checked_spec(spec, "graph_rl2"), settings, key(seed, "initial parameters"))
    return rl2.RL2(spec, settings, network.to(device), seed)
