"""Policies given by a (per-task) MLP, and the policy-gradient step that adapts them: the inner loop of MAML and kin."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from kshot.learning import distributions, networks, returns
from kshot.learning.baseline import fit_predict
from kshot.learning.distributions import Distribution
from kshot.learning.networks import Params
from kshot.learning.returns import AdvantageScale
from kshot.seeding import key
from kshot.types import Array, Episodes, FamilySpec, Memory, Policy

Surrogate = Literal["ratio", "log_prob"]


class GradientSettings(Protocol):
    """What the settings of a learner that adapts by policy gradients have in common; documented where they stand."""

    @property
    def hidden(self) -> tuple[int, ...]: ...
    @property
    def init_std(self) -> float: ...
    @property
    def final_scale(self) -> float: ...
    @property
    def inner_lr(self) -> float: ...
    @property
    def test_lrs(self) -> tuple[float, ...]: ...
    @property
    def discount(self) -> float: ...
    @property
    def gae_lambda(self) -> float: ...
    @property
    def advantage_scale(self) -> AdvantageScale: ...
    @property
    def samples_at_once(self) -> int: ...


@dataclass(frozen=True)
class MLPPolicy:
    """A memoryless policy. Parameters are shared by all tasks, or stacked with a leading task axis.

    ``updates`` counts the adaptation steps behind the parameters (test-time rates may depend on it).
    """

    params: Mapping[str, Tensor]
    spec: FamilySpec
    updates: int = 0

    def distribution(self, obs: Tensor, params: Mapping[str, Tensor] | None = None) -> Distribution:
        """Action distribution for normalised observations [T, N, D]; ``params`` replaces the policy's own."""
        params = self.params if params is None else params
        output = networks.mlp(params, obs)
        if self.spec.action_kind == "discrete":
            return (output,)
        log_std = params["log_std"].clamp(min=distributions.MIN_LOG_STD).unsqueeze(-2)
        return output, log_std.expand_as(output)

    def normalise(self, obs: Array) -> Tensor:
        """The family's normalised observations as a tensor of the parameters' type and device."""
        anchor = self.params["weight_0"]
        return torch.as_tensor(self.spec.normalise(obs), dtype=anchor.dtype, device=anchor.device)

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        stacked = self.params["weight_0"].ndim == 3
        if stacked and self.params["weight_0"].shape[0] != n_tasks:
            raise ValueError(f"policy adapted to {self.params['weight_0'].shape[0]} tasks cannot act on {n_tasks}")
        return {}

    @torch.no_grad()
    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        distribution = self.distribution(self.normalise(obs))
        given = None if noise is None else torch.as_tensor(noise).to(distribution[0])
        action = distributions.sample(distribution, given)
        log_prob = distributions.log_prob(distribution, action)
        return action.cpu().numpy(), log_prob.cpu().numpy(), memory

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        return memory


def init_policy(spec: FamilySpec, settings: GradientSettings, seed: int, device: str) -> MLPPolicy:
    """A tanh MLP with a free log standard deviation (continuous) or logits (discrete); values keyed by ``seed``."""
    sizes = (spec.observation_dim, *settings.hidden, spec.action_dim)
    generator = networks.torch_generator(key(seed, "initial parameters"))
    params = networks.init_mlp(sizes, generator, settings.final_scale)
    if spec.action_kind == "continuous":
        params["log_std"] = torch.full((spec.action_dim,), float(np.log(settings.init_std)))
    return MLPPolicy({name: value.to(device) for name, value in params.items()}, spec)


def load_policy(policy: MLPPolicy, params: Mapping[str, Tensor]) -> MLPPolicy:
    """The policy with saved parameters, of its own types and on its own device."""
    return replace(policy, params={name: value.to(policy.params[name]) for name, value in params.items()})


@dataclass(frozen=True)
class Batch:
    """Episodes as flat samples, N = E * H per task: what a policy-gradient loss reads.

    obs [T, N, D] normalised; action [T, N, A] or [T, N]; log_prob of the action when it was taken, advantage and weight
    [T, N]. The weights of a task sum to 1 over its taken steps: every sum over N is a mean, and padding counts nothing.
    """

    obs: Tensor
    action: Tensor
    log_prob: Tensor
    advantage: Tensor
    weight: Tensor

    def thin(self, stride: int) -> Batch:
        """Every ``stride``-th sample; weights again sum to 1 (a task whose kept samples are all padding keeps 0)."""
        if stride == 1:
            return self
        weight = self.weight[:, ::stride]
        weight = weight / weight.sum(dim=1, keepdim=True).clamp(min=1e-12)
        obs, action, log_prob = (x[:, ::stride] for x in (self.obs, self.action, self.log_prob))
        return Batch(obs, action, log_prob, self.advantage[:, ::stride], weight)

    def rows(self, rows: slice) -> Batch:
        """The samples of some of the tasks."""
        return Batch(*(getattr(self, item.name)[rows] for item in fields(self)))

    def groups(self, samples: int) -> list[slice]:
        """The tasks in groups that hold at most ``samples`` samples, but at least one task, each."""
        n_tasks, per_task = self.weight.shape
        size = max(1, samples // per_task)
        return [slice(first, first + size) for first in range(0, n_tasks, size)]


def make_batch(policy: MLPPolicy, episodes: Episodes, reward: Array, settings: GradientSettings) -> Batch:
    """Advantages from the per-task linear baseline and GAE, centred and scaled per task, and everything as tensors.

    ``reward`` is the episodes' ``reward`` or ``training_reward``.

    Episodes cut off by the horizon are not bootstrapped: the objective is the finite-horizon return, as in the
    reference implementations of MAML, and the baseline sees the time step.
    """
    obs = policy.normalise(episodes.obs)
    value_targets = returns.discounted_returns(reward, episodes.mask, settings.discount)
    value = fit_predict(obs.cpu().numpy(), value_targets, episodes.mask)
    advantage = returns.gae(reward, value, episodes.mask, settings.discount, settings.gae_lambda)
    advantage = returns.normalise(advantage, episodes.mask, (1, 2), settings.advantage_scale)
    weight = episodes.mask / np.maximum(episodes.mask.sum(axis=(1, 2), keepdims=True), 1)

    def flat(array: Array) -> Tensor:
        tensor = torch.tensor(array, device=obs.device)  # a copy: episodes are read-only
        tensor = tensor.to(obs.dtype) if tensor.is_floating_point() else tensor
        return tensor.flatten(1, 2)

    return Batch(obs.flatten(1, 2), flat(episodes.action), flat(episodes.log_prob), flat(advantage), flat(weight))


def surrogate_loss(distribution: Distribution, batch: Batch, surrogate: Surrogate) -> Tensor:
    """[T] negative policy-gradient objective whose gradient is the vanilla policy gradient.

    ``ratio`` weights the advantage with the probability of the action relative to the policy that took it. Where the
    samples come from that is 1, with the gradient of the log-likelihood; its second derivative also holds the term by
    which the parameters shift the samples, which plain log-likelihood leaves out and second-order MAML needs
    (Rothfuss et al. 2019, ProMP, arXiv 1810.06784, section 4: the low-variance-curvature estimator).
    """
    if surrogate == "ratio":
        score = distributions.ratio(distribution, batch.action, batch.log_prob)
    else:
        score = distributions.log_prob(distribution, batch.action)
    return -(batch.weight * score * batch.advantage).sum(dim=1)


def inner_step(
    policy: MLPPolicy,
    params: Params,
    batch: Batch,
    rate: float,
    *,
    names: Collection[str] | None = None,
    create_graph: bool = False,
    surrogate: Surrogate = "ratio",
) -> Params:
    """One gradient step of every task's own parameters on its own batch (Finn et al. 2017, algorithm 3, line 7).

    Args:
        policy: gives the architecture; its own parameters are not used.
        params: stacked [T, ...]; they need not require gradients.
        batch: samples of the same T tasks.
        rate: step size.
        names: parameters to adapt (None: all).
        create_graph: keep the graph of the gradient itself (second-order MAML); otherwise the gradient is a constant.
        surrogate: see ``surrogate_loss``.
    """
    with torch.enable_grad():
        params = {name: v if v.requires_grad else v.detach().requires_grad_() for name, v in params.items()}
        adapted = [name for name in params if names is None or name in names]
        # The sum over tasks gives every task's own gradient: task t's loss depends on slice t only.
        loss = surrogate_loss(policy.distribution(batch.obs, params), batch, surrogate).sum()
        gradients = torch.autograd.grad(loss, [params[name] for name in adapted], create_graph=create_graph)
        step = dict(zip(adapted, gradients, strict=True))
        return {name: value - rate * step[name] if name in step else value for name, value in params.items()}


def detached_step(
    policy: MLPPolicy,
    params: Mapping[str, Tensor],
    batch: Batch,
    rate: float,
    names: Collection[str] | None,
    surrogate: Surrogate,
    samples_at_once: int,
) -> Params:
    """``inner_step`` as plain numbers, a group of tasks at a time to bound memory."""
    parts = [
        inner_step(
            policy,
            {name: value[rows].detach() for name, value in params.items()},
            batch.rows(rows),
            rate,
            names=names,
            surrogate=surrogate,
        )
        for rows in batch.groups(samples_at_once)
    ]
    return {name: torch.cat([part[name].detach() for part in parts]) for name in params}


def detached(params: Mapping[str, Tensor]) -> Params:
    """The same numbers without a graph."""
    return {name: value.detach() for name, value in params.items()}


def test_rate(policy: Policy, settings: GradientSettings) -> float:
    """The rate of the next adaptation step at test: one per step already taken, the last one repeating."""
    rates = settings.test_lrs or (settings.inner_lr,)
    return rates[min(getattr(policy, "updates", 0), len(rates) - 1)]


def adapt_policy(
    policy: Policy,
    evidence: Episodes,
    reward: Array,
    rate: float,
    settings: GradientSettings,
    names: Collection[str] | None = None,
    surrogate: Surrogate = "ratio",
) -> MLPPolicy:
    """A new policy one gradient step further on every task of the evidence; the given one is left as it was.

    Raises:
        TypeError: ``policy`` does not come from a learner of this kind.
    """
    if not isinstance(policy, MLPPolicy):
        raise TypeError(f"a policy gradient adapts an MLPPolicy, not a {type(policy).__name__}")
    params = networks.per_task(policy.params, evidence.n_tasks)
    batch = make_batch(policy, evidence, reward, settings)
    stepped = detached_step(policy, params, batch, rate, names, surrogate, settings.samples_at_once)
    return replace(policy, params=stepped, updates=policy.updates + 1)
