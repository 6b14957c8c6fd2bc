"""RL^2 with a transformer as its memory: causal attention over the steps of the trial.

The same learner as ``rl2`` (Duan et al. 2016, arXiv 1611.02779) in everything but the layer that carries what was seen,
as in Melo 2022 (TrMRL, arXiv 2206.06614): the "hidden state" is the window of past keys and values.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from kshot.algorithms import rl2
from kshot.learning.checks import require_at_least_one
from kshot.learning.memory_layers import Transformer, require_heads
from kshot.types import FamilySpec

EVIDENCE = rl2.EVIDENCE
ACTIONS = rl2.ACTIONS
TEST_ACTIONS = rl2.TEST_ACTIONS


@dataclass(frozen=True)
class Settings(rl2.Settings):
    """RL^2's settings; ``hidden`` is the width of the transformer.

    Attributes:
        memory: always "transformer".
        layers: number of layers.
        heads: attention heads per layer; ``hidden`` must be a multiple of twice their number.
        context: steps of the past that a step can attend to, at most those of a trial. The policy keeps
            2 * layers * context * hidden numbers for every trial it plays.
    """

    memory: Literal["gru", "lstm", "transformer"] = "transformer"
    layers: int = 2
    heads: int = 2
    context: int = 100
    lr: float = 1e-3

    def check_memory(self) -> None:
        require_at_least_one(self, "layers", "heads", "context")
        if self.memory != "transformer":
            raise ValueError("memory must be 'transformer' for rl2_transformer; use rl2 for recurrent layers")
        require_heads(self.hidden, self.heads)

    def make_memory_layer(self, width_in: int) -> Transformer:
        """The transformer over inputs of a given width."""
        return Transformer(width_in, self.hidden, self.layers, self.heads, self.context)


def build(spec: FamilySpec, settings: Settings, seed: int, device: str) -> rl2.RL2:
    # A window longer than the trial would hold nothing, but be carried and masked in every step.
    longest = (settings.trial_episodes or spec.episodes_per_trial) * spec.horizon - 1
    settings = replace(settings, context=min(settings.context, max(longest, 1)))
    return rl2.RL2(spec, settings, rl2.make_network(spec, settings, seed).to(device), seed)
