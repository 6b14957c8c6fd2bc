"""What tests of planners hold policies against: where they lead, and what they earn."""

from __future__ import annotations

import torch
from torch import Tensor

from kshot.learning.planner import Model


def pushed(model: Model, mass: Tensor) -> Tensor:
    """[B, S, A] -> [B, S]: where probability mass of state-action pairs goes, by the transpose of expected values."""
    values = mass.new_zeros(mass.shape[:2]).requires_grad_()
    reached = model.expected_next(values)  # illegal actions have a constant, and with it no gradient
    return torch.autograd.grad(reached, values, grad_outputs=mass)[0]


def visitations(policy: Tensor, model: Model, start: Tensor) -> tuple[Tensor, Tensor]:
    """Expected visits of a policy [T, B, S, A] from a distribution of starts [B, S], by pushing mass forward in time.

    Returns:
        Visits of states [B, S] in all T + 1 steps, and of state-action pairs [B, S, A] in the T decisions.
    """
    at, states, pairs = start, start, torch.zeros_like(policy[0])
    for decision in policy:
        mass = at.unsqueeze(-1) * decision
        at, pairs = pushed(model, mass), pairs + mass
        states = states + at
    return states, pairs


def expected_return(reward: Tensor, policy: Tensor, model: Model) -> Tensor:
    """[B, S] of a policy [T, B, S, A] from every start, under a reward of states or of state-action pairs."""
    earned = reward.unsqueeze(-1) if reward.ndim == 2 else reward
    value = reward if reward.ndim == 2 else reward.new_zeros(reward.shape[:2])
    for decision in policy.flip(0):
        value = (decision * (earned + model.expected_next(value))).sum(dim=-1)  # illegal actions have probability 0
    return value
