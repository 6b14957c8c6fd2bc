"""A policy that carries what it saw from step to step, also from episode to episode: its last step is an input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from kshot.learning import distributions
from kshot.learning.actor_critic import RecurrentNetwork
from kshot.types import Array, FamilySpec, Memory

Border = Literal["kept", "zeroed"]
"""What the first step of an episode sees of the last step of the one before: its action, reward and done, or zeros."""


def input_dim(spec: FamilySpec) -> int:
    """Width of the network's inputs: observation, last action, last reward and whether that ended an episode."""
    return spec.observation_dim + spec.action_dim + 2


@dataclass(frozen=True)
class RecurrentPolicy:
    """The network with the memory it starts from: zeros, or, once adapted, one memory per task.

    ``reward_scale`` multiplies the reward as an input.

    Memory: hidden [T, C, state_size], and the last step's action [T, C, action_dim] (one-hot if discrete),
    reward [T, C] and done [T, C], which are inputs of the next step.
    """

    network: RecurrentNetwork
    spec: FamilySpec
    reward_scale: float = 1.0
    border: Border = "kept"
    memory: Mapping[str, Array] | None = None

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        if self.memory is None:
            lead = (n_tasks, n_copies)
            widths = {
                "hidden": (self.network.state_size,),
                "action": (self.spec.action_dim,),
                "reward": (),
                "done": (),
            }
            return {name: np.zeros((*lead, *width), dtype=np.float32) for name, width in widths.items()}
        adapted_tasks = self.memory["reward"].shape[0]
        if adapted_tasks != n_tasks:
            raise ValueError(f"policy adapted to {adapted_tasks} tasks cannot act on {n_tasks}")
        return {name: np.repeat(value[:, None], n_copies, axis=1) for name, value in self.memory.items()}

    def inputs(self, obs: Array, action: Array, reward: Array, done: Array) -> Tensor:
        """[..., input_dim] network inputs of steps whose *previous* step gave action, reward and done."""
        parts = [
            self.spec.normalise(obs),
            action,
            reward[..., None] * self.reward_scale,
            done[..., None],
        ]
        anchor = next(self.network.parameters())
        return torch.as_tensor(np.concatenate(parts, axis=-1), dtype=anchor.dtype, device=anchor.device)

    def encode_action(self, action: Array) -> Array:
        """The action as an input: one-hot [..., n], or the continuous action clipped to the space, as executed."""
        if self.spec.action_kind == "discrete":
            return np.eye(self.spec.action_dim, dtype=np.float32)[action]
        low, high = self.spec.action_space.low, self.spec.action_space.high  # type: ignore[union-attr]  # a Box here
        return np.clip(action, low, high).astype(np.float32)

    @torch.no_grad()
    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        lead = obs.shape[:2]
        inputs = self.inputs(obs, memory["action"], memory["reward"], memory["done"]).flatten(0, 1).unsqueeze(1)
        hidden = torch.as_tensor(memory["hidden"]).to(inputs).flatten(0, 1)
        distribution, _, hidden = self.network(inputs, hidden)
        given = None if noise is None else torch.as_tensor(noise).to(inputs).flatten(0, 1).unsqueeze(1)
        action = distributions.sample(distribution, given)
        log_prob = distributions.log_prob(distribution, action)
        new_memory = {**memory, "hidden": hidden.cpu().numpy().reshape(*lead, -1)}
        action = action.squeeze(1).reshape(*lead, *action.shape[2:])
        return action.cpu().numpy(), log_prob.reshape(lead).cpu().numpy(), new_memory

    def last_step(self, action: Array, reward: Array, done: Array) -> Memory:
        """What the next step's input holds of this one: action as returned by ``act``, the others of its shape."""
        last = {"action": self.encode_action(action), "reward": reward, "done": done}
        if self.border == "zeroed":
            inside = ~done.astype(bool)
            last = {
                name: value * inside.reshape(inside.shape + (1,) * (value.ndim - inside.ndim))
                for name, value in last.items()
            }
        return {name: value.astype(np.float32) for name, value in last.items()}

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        return {**memory, **self.last_step(action, reward, done)}
