"""Counts which action paid: the smallest meta-learner, as a beginning for one of your own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kshot.types import ActionKind, Array, Collect, Episodes, Evidence, FamilySpec, Memory, Metrics, Mode, Policy, Task

EVIDENCE: Evidence = "rollouts"
"""What it adapts on."""
ACTIONS: frozenset[ActionKind] = frozenset({"discrete"})
"""What it can play: add "continuous" if it can."""
TEST_ACTIONS: Mode = "sampled"
"""How it is meant to act when it is tested."""


@dataclass(frozen=True)
class Settings:
    """Every hyper-parameter, with its default.

    Attributes:
        trust: logits gained per unit of reward.
    """

    trust: float = 3.0


def build(spec: FamilySpec, settings: Settings, seed: int, device: str) -> Counting:
    """The learner at its initial parameters."""
    return Counting(spec, settings)


@dataclass(frozen=True)
class Softmax:
    """Chooses by ``logits`` [T or 1, A]."""

    logits: Array

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        return {}

    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        logits = np.broadcast_to(self.logits[:, None], (*obs.shape[:2], self.logits.shape[-1]))
        action = (logits if noise is None else logits + noise).argmax(axis=-1)
        log_all = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        return action, np.take_along_axis(log_all, action[..., None], axis=-1)[..., 0], memory

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        return memory


class Counting:
    """Its only meta-parameter is a preference among actions, the average of what paid in training."""

    tasks_per_step = 4
    adaptation_episodes = 1
    max_evidence = None
    fixed_tasks = False
    trains = True

    def __init__(self, spec: FamilySpec, settings: Settings) -> None:
        self._settings, self._actions = settings, spec.action_dim
        self._prior = np.zeros(spec.action_dim)

    def policy(self) -> Policy:
        return Softmax(self._prior[None])

    def meta_step(self, tasks: Sequence[Task], collect: Collect, progress: float) -> Metrics:
        episodes = collect(self.policy(), tasks, copies=2)
        if not np.isfinite(episodes.obs).all():  # the run then counts as diverged, which is a result
            raise FloatingPointError("an observation is not finite")
        self._prior = 0.9 * self._prior + 0.1 * self._paid(episodes).mean(axis=0)
        return {"return": float(episodes.returns.mean())}

    def adapt(self, policy: Policy, evidence: Episodes) -> Policy:
        assert isinstance(policy, Softmax)
        return Softmax(policy.logits + self._settings.trust * self._paid(evidence))

    def _paid(self, episodes: Episodes) -> Array:
        """[T, A] reward by action."""
        paid: Array = (np.eye(self._actions)[episodes.action] * episodes.reward[..., None]).sum(axis=(1, 2))
        return paid

    def state_dict(self) -> dict[str, Any]:
        return {"prior": self._prior.tolist()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._prior = np.array(state["prior"])
