"""A policy and its critic over sequences: tanh layers, a memory layer, and heads for the actions and the value."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from kshot.learning import distributions, networks
from kshot.learning.distributions import Distribution
from kshot.learning.memory_layers import GRU, LSTM, Transformer

Deviation = Literal["free", "head"]
"""The standard deviation of continuous actions: one parameter per coordinate, or an output beside the mean."""


class RecurrentNetwork(nn.Module):
    """What a recurrent policy and its critic read sequences with; ``state_size`` is the width of what is carried on.

    The state is one vector per sequence, zeros before the first step. Reading in pieces, or step by step, must give
    what reading in one go gives.
    """

    state_size: int

    def forward(self, inputs: Tensor, state: Tensor) -> tuple[Distribution, Tensor, Tensor]:
        """Inputs [B, L, I], state [B, state_size] -> distribution over [B, L], features [B, L, F], state after them."""
        raise NotImplementedError

    def value(self, features: Tensor, left: Tensor) -> Tensor:
        """[B, L] value at steps with these features [B, L, F]; ``left`` [B, L], in [0, 1]: share of the trial left."""
        raise NotImplementedError

    def rescale_value(self, factor: float, shift: float) -> None:
        """Multiply every value from now on by ``factor`` and add ``shift``, by changing the critic's last layer.

        Raises:
            ValueError: this critic has no such layer.
        """
        raise ValueError(f"the critic of a {type(self).__name__} cannot be rescaled; use value_scale 'fixed'")


class ActorCritic(RecurrentNetwork):
    """Encoder -> memory layer -> policy and value heads.

    Args:
        widths: of the inputs and of the tanh layers before the memory layer.
        make_memory_layer: the memory layer over inputs of a width.
        action_dim: number of actions, or of action coordinates.
        std: None for discrete actions.
        init_std: standard deviation of the first policy (of a head's: while its weights are small).
        timed: whether the critic, and it alone, also sees how much of the trial is left.
        seed: of the initial parameters.
    """

    def __init__(
        self,
        widths: Sequence[int],
        make_memory_layer: Callable[[int], GRU | LSTM | Transformer],
        action_dim: int,
        *,
        std: Deviation | None,
        init_std: float,
        timed: bool,
        seed: int,
    ) -> None:
        super().__init__()
        self._head_std = std == "head"
        with torch.device("meta"):  # no values yet: torch would draw them from its global generator
            self.encoder = networks.tanh_layers(widths)
            self.memory = make_memory_layer(widths[-1])
            width, self.state_size = self.memory.width, self.memory.state_size
            self.policy_head = nn.Linear(width, 2 * action_dim if self._head_std else action_dim)
            # What is left multiplies what a step is worth: a linear head alone could only add the two.
            self.value_hidden = nn.Sequential(nn.Linear(width + 1, width), nn.Tanh()) if timed else None
            self.value_head = nn.Linear(width, 1)
        networks.initialise(self, networks.torch_generator(seed))
        with torch.no_grad():
            self.policy_head.weight.mul_(0.1)  # a nearly uniform first policy explores every action
            if self._head_std:
                self.policy_head.bias[action_dim:] = math.log(init_std)
        self.log_std = nn.Parameter(torch.full((action_dim,), math.log(init_std))) if std == "free" else None

    def forward(self, inputs: Tensor, state: Tensor) -> tuple[Distribution, Tensor, Tensor]:
        features, state = self.memory(self.encoder(inputs), state)
        head = self.policy_head(features)
        if self._head_std:
            mean, log_std = head.chunk(2, dim=-1)
        elif self.log_std is not None:
            mean, log_std = head, self.log_std.expand_as(head)
        else:
            return (head,), features, state
        return (mean, log_std.clamp(min=distributions.MIN_LOG_STD)), features, state

    def value(self, features: Tensor, left: Tensor) -> Tensor:
        """Only a timed critic reads ``left``."""
        if self.value_hidden is not None:
            features = self.value_hidden(torch.cat([features, left.unsqueeze(-1)], dim=-1))
        value: Tensor = self.value_head(features).squeeze(-1)
        return value

    def rescale_value(self, factor: float, shift: float) -> None:
        with torch.no_grad():
            self.value_head.weight.mul_(factor)
            self.value_head.bias.mul_(factor).add_(shift)
