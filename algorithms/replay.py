"""Replay: do again what was demonstrated. The obvious answer to a demonstration, with nothing learned.

The actions of a task's first demonstration are played one by one, whatever is observed. Where an action cannot be
taken in the present state, the policy stays where it is, or takes the first action that can be taken where none stays.
Further demonstrations change nothing. Before any demonstration all actions that can be taken are equally probable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kshot.learning import irl
from kshot.types import (
    ActionKind,
    Array,
    Collect,
    Episodes,
    Evidence,
    FamilySpec,
    Memory,
    Metrics,
    Mode,
    Policy,
    Task,
    World,
)

EVIDENCE: Evidence = "demonstrations"
ACTIONS: frozenset[ActionKind] = frozenset({"discrete"})
# A recording has one action per step; it is random only before the first demonstration.
TEST_ACTIONS: Mode = "mean"


@dataclass(frozen=True)
class Settings:
    """Replay has none."""


@dataclass(frozen=True)
class ReplayPolicy:
    """Plays ``actions`` [T, H] in their order; uniform without them. Memory: step [T, C] in the episode."""

    world: World
    n_actions: int
    actions: Array | None = None

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        if self.actions is not None and len(self.actions) != n_tasks:
            raise ValueError(f"policy adapted to {len(self.actions)} tasks cannot act on {n_tasks}")
        return {"step": np.zeros((n_tasks, n_copies), dtype=np.int64)}

    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        legal, stays = self._possible(obs)
        if self.actions is None:
            preference = legal if noise is None else np.where(legal, noise, -np.inf)
            return preference.argmax(axis=-1), -np.log(legal.sum(axis=-1)), memory
        demonstrated = np.take_along_axis(self.actions, memory["step"], axis=1)
        possible = np.take_along_axis(legal, demonstrated[..., None], axis=-1)[..., 0]
        instead = np.where(stays.any(axis=-1), stays.argmax(axis=-1), legal.argmax(axis=-1))
        return np.where(possible, demonstrated, instead), np.zeros(demonstrated.shape), memory

    def _possible(self, obs: Array) -> tuple[Array, Array]:
        """[T, C, A] which actions can be taken, and which of them surely lead nowhere else."""
        state = self.world.state(obs)
        dynamics = self.world.dynamics(self.world.layout(obs).reshape(state.size, -1))
        if dynamics.successor is None:
            everything = np.ones((*state.shape, self.n_actions), dtype=bool)
            return everything, ~everything
        table = np.broadcast_to(dynamics.successor, (state.size, *dynamics.successor.shape[-2:]))
        reached = table[np.arange(state.size), state.reshape(-1)].reshape(*state.shape, -1)
        return reached >= 0, reached == state[..., None]

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        return {**memory, "step": np.where(done, 0, memory["step"] + 1)}


class Replay:
    """See the module's docstring; the protocol is ``kshot.types.MetaLearner``."""

    trains = False
    fixed_tasks = False
    tasks_per_step = 1
    adaptation_episodes = 1
    max_evidence: int | None = None

    def __init__(self, spec: FamilySpec) -> None:
        self._world, self._n_actions = irl.world_of(spec), spec.action_dim

    def policy(self) -> ReplayPolicy:
        return ReplayPolicy(self._world, self._n_actions)

    def meta_step(self, tasks: Sequence[Task], collect: Collect, progress: float) -> Metrics:
        raise RuntimeError("replay has no meta-step: the runner must not call it")

    def adapt(self, policy: Policy, evidence: Episodes) -> ReplayPolicy:
        """The policy that plays the very first demonstration."""
        if not isinstance(policy, ReplayPolicy):
            raise TypeError(f"replay cannot adapt a {type(policy).__name__}")
        _, actions = self._world.paths(evidence)
        return replace(policy, actions=actions[:, 0] if policy.actions is None else policy.actions)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing is learned, so there is nothing to load."""


def build(spec: FamilySpec, settings: Settings, seed: int, device: str) -> Replay:
    return Replay(spec)
