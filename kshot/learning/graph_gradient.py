"""The clipped policy gradient of policies on graphs with their own critic, and the steps by which they adapt.

The inner loop of MRLCO (Wang et al. 2021, arXiv 2008.02033, eq. 6 to 9; linkpark/metarl-offloading,
``meta_algos/MRLCO.py``) with plain gradient steps in place of Adam. Unless asked for, inner steps leave the critic
alone: its errors, which are large where a task is new, would move what it shares with the policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from kshot.learning import distributions, ppo, returns
from kshot.learning.graph_policy import GraphPolicy, NetworkSettings, per_task
from kshot.learning.networks import Params
from kshot.types import Array, Episodes, Policy


class GradientSettings(NetworkSettings, Protocol):
    """What the settings of learners that adapt by these steps have in common; documented where they stand."""

    @property
    def discount(self) -> float: ...
    @property
    def gae_lambda(self) -> float: ...
    @property
    def reward_scale(self) -> float: ...
    @property
    def clip(self) -> float: ...
    @property
    def inner_value_weight(self) -> float: ...
    @property
    def inner_epochs(self) -> int: ...
    @property
    def samples_at_once(self) -> int: ...


@dataclass(frozen=True)
class GraphSamples:
    """Whole episodes as a loss reads them: obs [T, E, H, D] normalised, everything else [T, E, H].

    The weights of a task sum to 1 over its taken steps, so that every sum is a mean and padding counts nothing.
    """

    obs: Tensor
    action: Tensor
    log_prob: Tensor
    advantage: Tensor
    target: Tensor
    weight: Tensor

    def rows(self, rows: slice | Tensor) -> GraphSamples:
        """The samples of some of the tasks."""
        return GraphSamples(*(getattr(self, item.name)[rows] for item in fields(self)))

    def groups(self, at_once: int) -> list[slice]:
        """The tasks in groups that hold at most ``at_once`` steps, but at least one task, each."""
        size = max(1, at_once // self.weight[0].numel())
        return [slice(first, first + size) for first in range(0, len(self.weight), size)]


def make_samples(policy: GraphPolicy, episodes: Episodes, reward: Array, settings: GradientSettings) -> GraphSamples:
    """Advantages by GAE with the policy's own critic, centred and scaled per task, and everything as tensors.

    ``reward`` is the episodes' ``reward`` or ``training_reward``. Nothing follows an episode: all nodes are placed.
    """
    obs = policy.normalise(episodes.obs)
    size = max(1, settings.samples_at_once // (episodes.n_episodes * obs.shape[2]))
    parts = []
    with torch.no_grad():
        for first in range(0, len(obs), size):
            rows = slice(first, first + size)
            shared = policy.n_tasks is None
            params = policy.params if shared else {name: v[rows] for name, v in policy.params.items()}
            parts.append(policy.evaluate(obs[rows], params)[1])
    value = torch.cat(parts).double().cpu().numpy()
    scaled, mask = reward * settings.reward_scale, episodes.mask
    advantage = returns.gae(scaled, value, mask, settings.discount, settings.gae_lambda)
    target = advantage + value
    weight = mask / np.maximum(mask.sum(axis=(1, 2), keepdims=True), 1)

    def as_tensor(array: Array) -> Tensor:
        tensor = torch.tensor(array, device=obs.device)  # a copy: episodes are read-only
        return tensor.to(obs.dtype) if tensor.is_floating_point() else tensor

    advantage = returns.normalise(advantage, mask, (1, 2))
    return GraphSamples(obs, *map(as_tensor, (episodes.action, episodes.log_prob, advantage, target, weight)))


def task_losses(
    policy: GraphPolicy,
    params: Mapping[str, Tensor],
    samples: GraphSamples,
    clip: float,
    value_weight: float,
    entropy_weight: float = 0.0,
) -> Tensor:
    """[T] PPO's loss (Schulman et al. 2017, arXiv 1707.06347, eq. 9) of every task's own samples."""
    logits, value = policy.evaluate(samples.obs, params)
    ratio = distributions.ratio((logits,), samples.action, samples.log_prob)
    gain = ppo.clipped_surrogate(ratio, samples.advantage, clip)
    gain = gain + entropy_weight * distributions.entropy((logits,))
    error = (value - samples.target) ** 2
    return (samples.weight * (value_weight * error - gain)).sum(dim=(1, 2))


def inner_step(
    policy: GraphPolicy,
    params: Params,
    samples: GraphSamples,
    rate: float,
    settings: GradientSettings,
    create_graph: bool = False,
) -> Params:
    """``inner_epochs`` gradient steps of every task's own parameters [T, ...] on its own samples.

    With ``create_graph`` the result can be differentiated through the gradients (MAML); without, they are constants.
    """
    with torch.enable_grad():
        for _ in range(settings.inner_epochs):
            params = {name: v if v.requires_grad else v.detach().requires_grad_() for name, v in params.items()}
            # The sum over tasks gives every task's own gradient: its loss depends on its own parameters alone.
            loss = task_losses(policy, params, samples, settings.clip, settings.inner_value_weight).sum()
            gradients = torch.autograd.grad(loss, list(params.values()), create_graph=create_graph)
            step = dict(zip(params, gradients, strict=True))
            params = {name: value - rate * step[name] for name, value in params.items()}
        return params


def stepped(
    policy: GraphPolicy, samples: GraphSamples, rate: float, settings: GradientSettings
) -> GraphPolicy:  # fmt: skip
    """The policy with one ``inner_step`` of every task behind it, a group of tasks at a time to bound memory."""
    params, n_tasks = policy.params, len(samples.weight)
    stacked = {name: value.detach() for name, value in per_task(params, n_tasks).items()}
    parts = [
        inner_step(policy, {name: v[rows] for name, v in stacked.items()}, samples.rows(rows), rate, settings)
        for rows in samples.groups(settings.samples_at_once)
    ]
    adapted = {name: torch.cat([part[name].detach() for part in parts]) for name in params}
    return replace(policy, params=adapted, updates=policy.updates + 1)


def adapt_policy(policy: Policy, evidence: Episodes, rate: float, settings: GradientSettings) -> GraphPolicy:
    """A new policy, adapted to every task of the evidence by ``stepped``; the given one is left as it was.

    Raises:
        TypeError: ``policy`` does not come from a learner of this kind.
    """
    if not isinstance(policy, GraphPolicy):
        raise TypeError(f"a learner on graphs adapts a GraphPolicy, not a {type(policy).__name__}")
    return stepped(policy, make_samples(policy, evidence, evidence.reward, settings), rate, settings)
