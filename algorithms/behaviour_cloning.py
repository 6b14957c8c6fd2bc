"""Behaviour cloning: supervised learning of an expert's actions (Pomerleau 1989, "ALVINN"), anew on every task.

A policy network is fitted by cross-entropy to the demonstrations of the new task alone, with no reward, no planning and
no meta-training. It sees what a reward would see of the present state (for rewards of pairs: of all its actions) and
the share of the episode that has passed, so that it can act in other arrangements than the one that was shown; actions
that the known dynamics rule out have probability 0. Before any demonstration all others are equally probable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kshot.learning import fine_tuning, irl, networks, planner
from kshot.learning.fine_tuning import FineTuning
from kshot.learning.irl import Demonstrations
from kshot.learning.networks import Params
from kshot.seeding import key
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
# ALVINN steers by the peak of its output units (Pomerleau 1989); it does not draw from them.
TEST_ACTIONS: Mode = "mean"


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters of behaviour cloning.

    Attributes:
        hidden: widths of the policy's tanh layers.
        shots: numbers of demonstrations that the descent is chosen for; others use the nearest smaller one's.
        gd_rates: rates of gradient descent to choose from.
        adam_rates: rates of Adam to choose from.
        test_steps: numbers of steps to choose from.
        outer_demonstrations: further demonstrations per validation task and arrangement that judge a choice.
        outer_arrangements: in how many other arrangements of each task, where a family has several.
        calibration_tasks: how many validation tasks the choice is made on.
    """

    hidden: tuple[int, ...] = (64, 64)
    shots: tuple[int, ...] = (1, 2, 5, 10)
    gd_rates: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0)
    adam_rates: tuple[float, ...] = (3e-3, 1e-2, 3e-2)
    test_steps: tuple[int, ...] = (1, 2, 5, 10, 20, 50, 100)
    outer_demonstrations: int = 2
    outer_arrangements: int = 2
    calibration_tasks: int = 16

    def __post_init__(self) -> None:
        fine_tuning.require_tuning(self)


def log_policy(params: Params, features: Tensor, model: planner.Model, states: Tensor, passed: Tensor) -> Tensor:
    """Log-probabilities [T, N, A] of actions in states; N = M * K counts whatever M layouts of K states each hold.

    Args:
        params: shared, or stacked over T tasks.
        features: [T * M, S, F] or [T * M, S, A, F].
        model: the dynamics in the T * M layouts.
        states: [T, M, K].
        passed: [T, M, K] share of the episode that has passed.
    """
    n_tasks, n_layouts, _ = states.shape
    layout = torch.arange(n_tasks * n_layouts, device=states.device)[:, None]
    at = states.flatten(0, 1)
    seen = torch.cat([features.flatten(2)[layout, at], passed.flatten(0, 1).unsqueeze(-1)], dim=-1)
    logits = networks.mlp(params, seen.reshape(n_tasks, -1, seen.shape[-1]))
    ruled_out = model.expected_next(features.new_zeros(features.shape[:2]))[layout, at]  # 0, or ILLEGAL
    return (logits + ruled_out.reshape(logits.shape)).log_softmax(dim=-1)


def cross_entropy(demonstrations: Demonstrations, params: Params) -> Tensor:
    """[T] mean of -log pi(a_t | s_t) over the decisions of each task's demonstrations."""
    n_tasks, horizon = len(demonstrations.features), demonstrations.actions.shape[2]
    time = torch.arange(horizon, dtype=torch.float64, device=demonstrations.states.device) / horizon
    passed = time.expand(demonstrations.actions.shape).reshape(n_tasks, -1, demonstrations.actions[0].numel())
    states = demonstrations.states[..., :-1].reshape(passed.shape)
    log_probs = log_policy(params, demonstrations.features.flatten(0, 1), demonstrations.model, states, passed)
    return -log_probs.gather(2, demonstrations.actions.reshape(n_tasks, -1, 1)).mean(dim=(1, 2))


@dataclass(frozen=True)
class CloningPolicy:
    """Acts by the network on the features of the present state. ``params`` are shared, or stacked over tasks.

    Memory: step [T, C] in the episode.
    """

    world: World
    params: Params
    evidence: Episodes | None = None
    device: str = "cpu"

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        if self.evidence is not None and self.evidence.n_tasks != n_tasks:
            raise ValueError(f"policy adapted to {self.evidence.n_tasks} tasks cannot act on {n_tasks}")
        return {"step": np.zeros((n_tasks, n_copies), dtype=np.int64)}

    @torch.no_grad()
    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        lead = obs.shape[:2]
        layout = self.world.layout(obs).reshape(lead[0] * lead[1], -1)
        log_probs = log_policy(
            self.params,
            self._tensor(self.world.features(layout)),
            planner.model_of(self.world.dynamics(layout), self.device),
            torch.tensor(self.world.state(obs), device=self.device).unsqueeze(-1),
            self._tensor(memory["step"] / self.world.decisions).unsqueeze(-1),
        )
        action = (log_probs if noise is None else log_probs + self._tensor(noise)).argmax(dim=-1)
        taken = log_probs.gather(2, action.unsqueeze(-1)).squeeze(-1)
        return action.cpu().numpy(), taken.cpu().numpy(), memory

    def _tensor(self, array: Array) -> Tensor:
        return torch.tensor(np.asarray(array), dtype=torch.float64, device=self.device)

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        return {**memory, "step": np.where(done, 0, memory["step"] + 1)}


class BehaviourCloning:
    """See the module's docstring; the protocol is ``kshot.types.MetaLearner``."""

    trains = False
    fixed_tasks = False
    tasks_per_step = 1
    adaptation_episodes = 1
    max_evidence: int | None = None

    def __init__(self, spec: FamilySpec, settings: Settings, seed: int, device: str) -> None:
        self.settings, self._device = settings, device
        self._world = irl.world_of(spec)
        seen = irl.features_of(spec)[0].size + 1
        # The last layer begins at zero: the first policy is uniform over what can be done.
        sizes = (seen, *settings.hidden, spec.action_dim)
        self._params = irl.init_network(sizes, key(seed, "initial parameters"), device, final_scale=0.0)
        self._tuning = FineTuning(settings)

    @property
    def calibration_tasks(self) -> int:
        return self.settings.calibration_tasks

    def policy(self) -> CloningPolicy:
        return CloningPolicy(self._world, dict(self._params), device=self._device)

    def meta_step(self, tasks: Sequence[Task], collect: Collect, progress: float) -> Metrics:
        raise RuntimeError("behaviour cloning has no meta-step: the runner must not call it")

    def _loss_on(self, episodes: Episodes) -> fine_tuning.Loss:
        return partial(cross_entropy, Demonstrations.of(self._world, episodes, self._device))

    def calibrate(self, tasks: Sequence[Task], collect: Collect) -> Metrics:
        """See ``kshot.learning.fine_tuning.FineTuning.calibrate``."""
        return self._tuning.calibrate(self._params, tasks, collect, self._loss_on)

    def adapt(self, policy: Policy, evidence: Episodes) -> CloningPolicy:
        """The policy fitted to all demonstrations so far, beginning anew."""
        if not isinstance(policy, CloningPolicy):
            raise TypeError(f"behaviour cloning cannot adapt a {type(policy).__name__}")
        evidence = irl.added(policy.evidence, evidence)
        return replace(policy, params=self._tuning.adapted(self._params, self._loss_on, evidence), evidence=evidence)

    def state_dict(self) -> dict[str, Any]:
        return {"params": dict(self._params), "recipes": self._tuning.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._params = {name: state["params"][name].to(x) for name, x in self._params.items()}
        self._tuning.load_state_dict(state["recipes"])


def build(spec: FamilySpec, settings: Settings, seed: int, device: str) -> BehaviourCloning:
    return BehaviourCloning(spec, settings, seed, device)
