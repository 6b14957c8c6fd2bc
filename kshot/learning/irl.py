"""Inverse reinforcement learning with known dynamics: demonstrations as tensors, their likelihood, and acting on it.

A reward is a network of a state's (or pair's) features, so the same parameters give another reward map in another
layout. What is demonstrated is explained by the maximum-entropy expert of ``kshot.learning.planner``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from kshot.learning import networks, planner
from kshot.learning.networks import Params
from kshot.types import Array, Collect, Episodes, FamilySpec, Memory, Policy, Task, World

Choice = TypeVar("Choice")
Precision = Literal["double", "single"]
"""Of reward networks: single takes half the time where the network, on many states, is what costs."""


def world_of(spec: FamilySpec) -> World:
    """The family's world. Raises ValueError where it has none: planning needs known dynamics."""
    if spec.world is None:
        raise ValueError(f"family {spec.name!r} with these settings has no known dynamics to plan with")
    return spec.world


def features_of(spec: FamilySpec) -> Array:
    """[S, F] or [S, A, F]: the features in one layout, for the sizes of networks."""
    world = world_of(spec)
    return np.asarray(world.features(world.layout(spec.observation_center[None]))[0])


def init_network(
    sizes: Sequence[int], seed: int, device: str, final_scale: float = 1.0, precision: Precision = "double"
) -> Params:
    """An MLP's initial parameters (``networks.init_mlp``) on a device, in double or single precision."""
    initial = networks.init_mlp(sizes, networks.torch_generator(seed), final_scale)
    return {
        name: x.to(device, torch.float64 if precision == "double" else torch.float32) for name, x in initial.items()
    }


def reward_map(params: Mapping[str, Tensor], features: Tensor) -> Tensor:
    """Rewards of features [T, M, ..., F], with parameters shared or stacked over tasks: [T * M, ...].

    They are worked out in the parameters' precision; planning with them needs double precision.
    """
    flat = features.flatten(1, -2).to(params["weight_0"].dtype)
    return networks.mlp(params, flat).reshape(-1, *features.shape[2:-1]).double()


@dataclass(frozen=True)
class Demonstrations:
    """Paths of T tasks in M layouts each, K paths per layout; H decisions.

    Attributes:
        features: [T, M, S, F] or [T, M, S, A, F].
        model: the dynamics in the T * M layouts.
        states: [T * M, K, H + 1].
        actions: [T * M, K, H].
    """

    features: Tensor
    model: planner.Model
    states: Tensor
    actions: Tensor

    @classmethod
    def of(cls, world: World, episodes: Episodes, device: str) -> Demonstrations:
        """Raises ValueError naming task and demonstration where a path is not one of the world's."""
        states, actions = world.paths(episodes)
        layout = world.layout(episodes.obs[:, :, 0])
        # One reward map explains neighbouring paths in the same layout, where these come in groups of equal size.
        begins = np.flatnonzero(np.append(True, (layout[:, 1:] != layout[:, :-1]).any(axis=(0, 2))))
        if len(set(np.diff(np.append(begins, layout.shape[1])))) == 1:
            layout = layout[:, begins]
        lead, horizon = layout.shape[:2], actions.shape[2]
        flat = layout.reshape(lead[0] * lead[1], -1)
        features = world.features(flat)
        return cls(
            features=torch.tensor(features.reshape(*lead, *features.shape[1:]), dtype=torch.float64, device=device),
            model=planner.model_of(world.dynamics(flat), device),
            states=torch.tensor(states.reshape(len(flat), -1, horizon + 1), device=device),
            actions=torch.tensor(actions.reshape(len(flat), -1, horizon), device=device),
        )

    def loss(self, reward: Tensor) -> Tensor:
        """[T] negative log-likelihood per step of the tasks' paths under reward maps [T * M, S] or [T * M, S, A]."""
        horizon = self.actions.shape[2]
        if isinstance(self.model, planner.Stochastic):
            loss = planner.causal_loss(reward, self.model, self.states[..., :-1], self.actions)
        else:
            loss = planner.path_loss(reward, self.model, self.states[..., 0], self.visits(reward), horizon)
        return loss.reshape(len(self.features), -1).mean(dim=1)

    def loss_of(self, params: Mapping[str, Tensor]) -> Tensor:
        """[T] ``loss`` of the reward that parameters, shared or stacked over tasks, give in these layouts."""
        return self.loss(reward_map(params, self.features))

    def log_likelihood(self, reward: Tensor) -> Tensor:
        """[T] mean over paths and decisions of log pi(a | s) under reward maps as in ``loss``, in nats.

        ``loss`` divides a path's log-likelihood by its states where dynamics are deterministic, this by its decisions.
        """
        horizon = self.actions.shape[2]
        counted = horizon if isinstance(self.model, planner.Stochastic) else horizon + 1
        return -self.loss(reward) * (counted / horizon)

    def visits(self, like: Tensor) -> Tensor:
        """How often each state or pair was visited, mean over the K paths; of the shape of rewards ``like``."""
        visited = self.states if like.ndim == 2 else self.states[..., :-1] * like.shape[2] + self.actions
        index = visited.flatten(1)
        weight = torch.full_like(index, 1 / self.states.shape[1], dtype=like.dtype)
        return torch.zeros_like(like).flatten(1).scatter_add(1, index, weight).reshape(like.shape)


@dataclass(frozen=True)
class PlanningPolicy:
    """Plans in every episode's layout with its reward: the soft-optimal policy, sampled, or what is best by the reward.

    The best is planned by hard value iteration: with deterministic dynamics, the most probable of all paths. It is
    taken without noise, and by a ``greedy`` policy always; its log-probability is reported as 0.
    ``params`` are shared, or stacked over tasks once adapted; ``evidence`` is what they were adapted to.
    Memory: reward [T, C, S] or [T, C, S, A], values [T, C, H + 1, S] and step [T, C].
    """

    world: World
    params: Params
    evidence: Episodes | None = None
    device: str = "cpu"
    greedy: bool = False

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        if self.evidence is not None and self.evidence.n_tasks != n_tasks:
            raise ValueError(f"policy adapted to {self.evidence.n_tasks} tasks cannot act on {n_tasks}")
        return {"step": np.zeros((n_tasks, n_copies), dtype=np.int64)}

    @torch.no_grad()
    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        lead, best = obs.shape[:2], noise is None or self.greedy
        step = memory["step"].reshape(-1)
        layout = self.world.layout(obs).reshape(len(step), -1)
        model = planner.model_of(self.world.dynamics(layout), self.device)
        if (step == 0).any():
            memory = {**memory, **self._plan(layout, lead, model, best)}
        reward = self._tensor(memory["reward"]).flatten(0, 1)
        following = self._tensor(memory["values"]).flatten(0, 1)[torch.arange(len(step)), torch.as_tensor(step) + 1]
        earned = reward.unsqueeze(-1) if reward.ndim == 2 else reward
        state = torch.as_tensor(self.world.state(obs)).reshape(-1)
        q = (earned + model.expected_next(following))[torch.arange(len(step)), state]
        choice = (q if best else q + self._tensor(noise).flatten(0, 1)).argmax(dim=-1)
        log_prob = torch.zeros(len(q)) if best else q.log_softmax(dim=-1).gather(1, choice[:, None])
        return choice.reshape(lead).cpu().numpy(), log_prob.reshape(lead).cpu().numpy(), memory

    def _plan(self, layout: Array, lead: tuple[int, ...], model: planner.Model, best: bool) -> Memory:
        features = self._tensor(self.world.features(layout))
        reward = reward_map(self.params, features.reshape(*lead, *features.shape[1:]))
        iteration = planner.hard_values if best else planner.soft_values
        values = iteration(reward, model, self.world.decisions).movedim(0, 1)
        return {
            name: x.reshape(*lead, *x.shape[1:]).cpu().numpy() for name, x in (("reward", reward), ("values", values))
        }

    def _tensor(self, array: Array | None) -> Tensor:
        return torch.as_tensor(np.array(array), dtype=torch.float64, device=self.device)

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        return {**memory, "step": np.where(done, 0, memory["step"] + 1)}


@torch.no_grad()
def explain(policy: Policy, demonstrations: Episodes) -> Array:
    """[T] how likely a ``PlanningPolicy`` finds an expert's decisions (``kshot.types.Explains``).

    Raises:
        TypeError: the policy is of another kind.
    """
    if not isinstance(policy, PlanningPolicy):
        raise TypeError(f"a {type(policy).__name__} has no reward that could explain demonstrations")
    paths = Demonstrations.of(policy.world, demonstrations, policy.device)
    found: Array = paths.log_likelihood(reward_map(policy.params, paths.features)).cpu().numpy()
    return found


def added(earlier: Episodes | None, evidence: Episodes) -> Episodes:
    """All demonstrations of the tasks so far: those a policy has adapted to, if any, and the new ones."""
    return evidence if earlier is None else Episodes.joined([earlier, evidence])


def held_out_demonstrations(
    collect: Collect, tasks: Sequence[Task], demonstrations: int, arrangements: int
) -> Episodes:
    """Demonstrations to judge adapted rewards by, in other arrangements than number 0, which is adapted to."""
    return Episodes.joined([collect.demonstrations(tasks, demonstrations, 1 + i) for i in range(arrangements)])


def chosen_for(chosen: Mapping[int, Choice], shots: int) -> Choice:
    """What was chosen for the largest listed number of demonstrations up to ``shots``, or else for the smallest."""
    return chosen[max((listed for listed in chosen if listed <= shots), default=min(chosen))]


def argmin(losses: Mapping[Choice, float], what: str) -> Choice:
    """The key of the smallest finite loss. FloatingPointError, if there is none, says ``what`` it was a choice of."""
    finite = {choice: loss for choice, loss in losses.items() if np.isfinite(loss)}
    if not finite:
        raise FloatingPointError(f"no choice of {what} gives a finite loss on validation tasks")
    return min(finite, key=finite.__getitem__)
