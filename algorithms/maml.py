"""MAML for reinforcement learning: Finn, Abbeel & Levine 2017 (arXiv 1703.03400), algorithm 3, with a TRPO outer step.

One meta-step, in the paper's order: sample tasks; collect episodes with the shared parameters theta; take a policy
gradient step per task (theta -> theta_i'); collect new episodes with every theta_i'; improve theta on those through
the inner step, within a KL trust region around the adapted policies. With several inner steps, each takes fresh
episodes of the policy it starts from. ``outer: ppo`` replaces the trust region by clipped ratios.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from kshot.learning import distributions, networks, policy_gradient, ppo, trust_region
from kshot.learning.checks import check_finite, require_at_least_one, require_positive
from kshot.learning.distributions import Distribution
from kshot.learning.networks import Params
from kshot.learning.policy_gradient import MLPPolicy, Samples, Surrogate
from kshot.learning.returns import AdvantageScale
from kshot.types import ActionKind, Collect, Episodes, Evidence, FamilySpec, Metrics, Mode, Policy, Task

EVIDENCE: Evidence = "rollouts"
ACTIONS: frozenset[ActionKind] = frozenset({"continuous", "discrete"})
# The authors' arrays for point navigation are returns of `agent.get_action`, which samples
# (cbfinn/maml_rl, maml_examples/test_maml_point.py with rllab/sampler/utils.py).
TEST_ACTIONS: Mode = "sampled"


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters of MAML and its first-order and head-only variants.

    Attributes:
        hidden: widths of the policy's tanh layers.
        init_std: initial standard deviation of continuous actions.
        final_scale: factor on the last layer's initial weights.
        meta_batch: tasks per meta-step.
        episodes: episodes per task before and after each inner step, in training.
        inner_steps: gradient steps per task in training, each on fresh episodes.
        inner_lr: rate of the inner steps in training.
        test_episodes: episodes per task and adaptation step when evaluated; 0 means ``episodes``.
        test_lrs: rates of the first, second, ... adaptation step when evaluated, the last one repeating; empty means
            ``inner_lr``. Later steps want smaller rates: training asks for one step only.
        order: "second" differentiates through the inner step, "first" treats its gradient as constant (FOMAML).
        adapt: "all" parameters, or only the "head", the last layer (ANIL; Raghu et al. 2020, arXiv 1909.09157).
        surrogate: inner objective, "ratio" or plain "log_prob"; equal gradients, different second derivatives.
        discount: gamma.
        gae_lambda: lambda of generalised advantage estimation.
        advantage_scale: centred advantages are divided by their standard "deviation" on the task, or by their
            "variance" as in Meta-World+ (``normalize_advantages``, metaworld_algorithms/rl/algorithms/utils.py), where
            inner steps are the smaller the larger the rewards are.
        freeze_features: share of the budget after which the outer step trains the last layer and the standard
            deviation alone; 1 for never.
        outer: "trpo", or "ppo": Adam steps on the clipped surrogate, through the adaptation.
        max_kl: bound on the mean KL divergence of the outer step (trpo).
        cg_iterations: conjugate-gradient iterations (trpo).
        cg_damping: multiple of the identity added to the curvature (trpo).
        curvature_stride: use every n-th sample for the curvature product (trpo); gradient and line search use all.
        backtrack: factor between line-search trials (trpo).
        line_search_steps: number of trials (trpo).
        outer_lr: Adam's learning rate (ppo).
        outer_epochs: Adam steps per batch (ppo).
        clip: bound on the probability ratio (ppo).
        samples_at_once: samples that are differentiated through together, at least one task's; bounds memory.
        precision: of the factors of matrix products in the outer step's gradient and curvature (trpo): "float32", or
            "bfloat16", which some processors and GPUs multiply several times as fast. The line search, which decides
            what is accepted, and the adaptation are in float32 either way.
    """

    hidden: tuple[int, ...] = (64, 64)
    init_std: float = 1.0
    final_scale: float = 1.0
    meta_batch: int = 20
    episodes: int = 10
    inner_steps: int = 1
    inner_lr: float = 0.1
    test_episodes: int = 0
    test_lrs: tuple[float, ...] = ()
    order: Literal["second", "first"] = "second"
    adapt: Literal["all", "head"] = "all"
    surrogate: Surrogate = "ratio"
    discount: float = 0.99
    gae_lambda: float = 1.0
    advantage_scale: AdvantageScale = "deviation"
    freeze_features: float = 1.0
    outer: Literal["trpo", "ppo"] = "trpo"
    max_kl: float = 0.01
    cg_iterations: int = 10
    cg_damping: float = 1e-5
    curvature_stride: int = 1
    backtrack: float = 0.8
    line_search_steps: int = 15
    outer_lr: float = 1e-3
    outer_epochs: int = 5
    clip: float = 0.3
    samples_at_once: int = 10_000
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        counts = ("meta_batch", "episodes", "inner_steps", "cg_iterations", "curvature_stride", "line_search_steps")
        require_at_least_one(self, *counts, "outer_epochs", "samples_at_once")
        require_positive(self, "inner_lr", "init_std", "max_kl", "outer_lr", "clip")
        if self.precision != "float32" and self.outer != "trpo":
            raise ValueError(f"precision 'bfloat16' is of the outer step 'trpo'; use 'float32' with {self.outer!r}")


@dataclass(frozen=True)
class InnerStep:
    """One adaptation step: its samples and, where known, the parameters [T, ...] it led to."""

    samples: Samples
    adapted: Params | None = None

    def rows(self, rows: slice) -> InnerStep:
        """The step of some of the tasks."""
        adapted = self.adapted and {name: value[rows] for name, value in self.adapted.items()}
        return InnerStep(self.samples.rows(rows), adapted)


class Group(NamedTuple):
    """Samples of some of the tasks: those of the inner steps, and those of the adapted policies."""

    inner: Sequence[InnerStep]
    samples: Samples


def in_groups(inner: Sequence[InnerStep], samples: Samples, samples_at_once: int) -> list[Group]:
    """All tasks' samples, as few tasks at a time as are differentiated through together."""
    groups = samples.groups(samples_at_once)
    return [Group([step.rows(rows) for step in inner], samples.rows(rows)) for rows in groups]


def count_tasks(groups: Sequence[Group]) -> int:
    """How many tasks the groups have together."""
    return sum(len(group.samples.obs) for group in groups)


def readapting(inner: Sequence[InnerStep]) -> list[InnerStep]:
    """The inner steps for any candidate theta: what they led to is known at the theta that was sampled with only."""
    return [InnerStep(step.samples) for step in inner]


def outer_surrogate(outputs: Distribution, samples: Samples) -> Tensor:
    """Importance-weighted advantage of the adapted policies, to be maximised: a task's mean, summed over tasks."""
    ratio = distributions.ratio(outputs, samples.action, samples.log_prob)
    return (samples.weight * ratio * samples.advantage).sum()


class MAML:
    """See the module's docstring; the protocol is ``kshot.types.MetaLearner``."""

    trains = True
    max_evidence: int | None = None
    fixed_tasks = False

    def __init__(self, spec: FamilySpec, settings: Settings, seed: int, device: str) -> None:
        self.settings = settings
        self._policy = policy_gradient.init_policy(spec, settings, seed, device)
        self._head = networks.head_names(self._policy.params)
        self._adapted_names = self._head if settings.adapt == "head" else None
        self._adam: torch.optim.Adam | None = None
        if settings.outer == "ppo":
            self._theta = {name: value.clone().requires_grad_() for name, value in self._policy.params.items()}
            self._adam = torch.optim.Adam(list(self._theta.values()), lr=settings.outer_lr)

    @property
    def tasks_per_step(self) -> int:
        return self.settings.meta_batch

    @property
    def adaptation_episodes(self) -> int:
        return self.settings.test_episodes or self.settings.episodes

    def policy(self) -> MLPPolicy:
        return self._policy

    def meta_step(self, tasks: Sequence[Task], collect: Collect, progress: float) -> Metrics:
        """Algorithm 3, with the numbers of its lines."""
        s, policy = self.settings, self._policy
        inner, returns = list[InnerStep](), list[float]()
        for _ in range(s.inner_steps):
            episodes = collect(policy, tasks, s.episodes)  # line 5
            policy, step = self._inner_step(policy, episodes)  # lines 6 and 7
            inner.append(step)
            returns.append(float(episodes.returns.mean()))
        episodes = collect(policy, tasks, s.episodes)  # line 8
        samples = policy_gradient.make_samples(policy, episodes, episodes.training_reward, s)
        names = self._trained_names(progress)
        if self._adam is None:
            metrics = self._trust_region_step(inner, samples, names)  # line 10
        else:
            metrics = self._clipped_steps(self._adam, inner, samples, names)  # line 10
        metrics |= {
            "return": returns[0],
            "return_adapted": float(episodes.returns.mean()),
            "success_adapted": float(episodes.success_last.mean()),
        }
        if "log_std" in self._policy.params:
            metrics["policy_std"] = float(self._policy.params["log_std"].detach().exp().mean())
        return metrics

    def _inner_step(self, policy: MLPPolicy, episodes: Episodes) -> tuple[MLPPolicy, InnerStep]:
        """A policy, shared or already adapted, one policy gradient step further, and the step itself."""
        samples = policy_gradient.make_samples(policy, episodes, episodes.reward, self.settings)
        params = networks.per_task(policy_gradient.detached(policy.params), episodes.n_tasks)
        adapted = self._stepped(params, samples)
        return replace(policy, params=adapted), InnerStep(samples, adapted)

    def _stepped(self, params: Params, samples: Samples) -> Params:
        """The adapted parameters [T, ...] as plain numbers."""
        s = self.settings
        return policy_gradient.detached_step(
            self._policy, params, samples, s.inner_lr, self._adapted_names, s.surrogate, s.samples_at_once
        )

    def _trained_names(self, progress: float) -> list[str]:
        """The parameters that the outer step improves: all, or, once features are frozen, those behind them."""
        names = list(self._policy.params)
        if progress < self.settings.freeze_features:
            return names
        return [name for name in names if name in self._head or name == "log_std"]

    def adapted_distribution(
        self, theta: Mapping[str, Tensor], inner: Sequence[InnerStep], obs: Tensor
    ) -> Distribution:
        """Action distributions [T, N, A] at ``obs`` of the policies adapted from ``theta`` on stored samples.

        The result can be differentiated with respect to ``theta`` where that requires gradients: through the inner
        steps if ``order`` is "second", straight through them (their gradients being constants) if it is "first".
        An inner step that brings ``adapted`` along has exactly that value; its own samples, which may be a part of
        those that led there, serve for the derivative.
        """
        s = self.settings
        params = networks.stack(theta, obs.shape[0])
        second = s.order == "second" and any(value.requires_grad for value in theta.values())
        for step in inner:
            stepped = policy_gradient.inner_step(
                self._policy,
                params,
                step.samples,
                s.inner_lr,
                names=self._adapted_names,
                create_graph=second,
                surrogate=s.surrogate,
            )
            if step.adapted is None:
                params = stepped
            else:
                params = {name: value + (step.adapted[name] - value).detach() for name, value in stepped.items()}
        return self._policy.distribution(obs, params)

    def _trust_region_step(self, inner: Sequence[InnerStep], samples: Samples, names: Sequence[str]) -> Metrics:
        """Improve theta within a KL trust region around the adapted policies, both taken through the adaptation."""
        s = self.settings
        theta = {name: value.detach().requires_grad_(name in names) for name, value in self._policy.params.items()}
        trained = {name: theta[name] for name in names}
        leaves = list(trained.values())
        groups = in_groups(readapting(inner), samples, s.samples_at_once)
        before, gradient, old = self._surrogate_gradient(theta, leaves, groups)
        if s.precision != "float32":
            before, old = self._as_sampled(in_groups(inner, samples, s.samples_at_once))
        product = self._curvature(theta, leaves, inner, samples)
        full_step = trust_region.full_step(product, gradient, s.cg_iterations, s.max_kl)

        def evaluate(vector: Tensor) -> tuple[float, float]:
            candidate = policy_gradient.detached(theta) | networks.unflatten(vector, trained)
            return self._surrogate_and_kl(candidate, groups, old)

        start = networks.flatten(leaves).detach()
        step = trust_region.line_search(start, full_step, evaluate, before, s.max_kl, s.backtrack, s.line_search_steps)
        check_finite("the parameters", step.vector)
        moved = theta | networks.unflatten(step.vector, trained)
        self._policy = replace(self._policy, params=policy_gradient.detached(moved))
        return {
            "kl": step.kl,
            "surrogate": step.surrogate,
            "line_search_trials": float(step.trials),
            "accepted": float(step.accepted),
        }

    def _surrogate_gradient(
        self, theta: Params, leaves: Sequence[Tensor], groups: Sequence[Group]
    ) -> tuple[float, Tensor, list[Distribution]]:
        """The outer surrogate, its gradient in ``leaves``, and the distributions it is taken at, group by group."""
        n_tasks = count_tasks(groups)
        gradient = torch.zeros(sum(leaf.numel() for leaf in leaves), dtype=leaves[0].dtype, device=leaves[0].device)
        old, value = list[Distribution](), 0.0
        for inner, samples in groups:
            with self._precision():
                outputs = self.adapted_distribution(theta, inner, samples.obs)
            old.append(tuple(output.detach() for output in outputs))
            surrogate = outer_surrogate(outputs, samples) / n_tasks
            value += float(surrogate.detach())
            gradient += networks.flatten(torch.autograd.grad(surrogate, leaves))
        check_finite("the outer gradient", gradient)
        return value, gradient, old

    @torch.no_grad()
    def _as_sampled(self, groups: Sequence[Group]) -> tuple[float, list[Distribution]]:
        """The outer surrogate and the distributions of the adapted policies that the samples come from."""
        old = [self._policy.distribution(group.samples.obs, group.inner[-1].adapted) for group in groups]
        surrogates = [outer_surrogate(known, group.samples) for known, group in zip(old, groups, strict=True)]
        return float(sum(surrogates)) / count_tasks(groups), old

    def _precision(self) -> torch.autocast:
        device = self._policy.params["weight_0"].device.type
        return torch.autocast(device, torch.bfloat16, enabled=self.settings.precision == "bfloat16")

    def _curvature(
        self, theta: Params, leaves: Sequence[Tensor], inner: Sequence[InnerStep], samples: Samples
    ) -> trust_region.Product:
        """The Hessian of the mean KL divergence at theta, from every ``curvature_stride``-th sample."""
        s = self.settings
        thinned = [replace(step, samples=step.samples.thin(s.curvature_stride)) for step in inner]
        groups = in_groups(thinned, samples.thin(s.curvature_stride), s.samples_at_once)
        n_tasks = count_tasks(groups)

        def of_group(group: Group) -> trust_region.Product:
            with self._precision():
                outputs = self.adapted_distribution(theta, group.inner, group.samples.obs)
            return trust_region.gauss_newton_product(outputs, group.samples.weight / n_tasks, leaves)

        return trust_region.summed_product([partial(of_group, group) for group in groups], s.cg_damping)

    @torch.no_grad()
    def _surrogate_and_kl(
        self, theta: Params, groups: Sequence[Group], old: Sequence[Distribution]
    ) -> tuple[float, float]:
        """The outer surrogate of the policies adapted from theta, and their mean KL divergence from the old ones.

        Groups only add to the divergence: once they exceed ``max_kl``, the step is refused whatever the others say.
        """
        n_tasks, surrogate, divergence = count_tasks(groups), 0.0, 0.0
        for (inner, samples), known in zip(groups, old, strict=True):
            new = self.adapted_distribution(theta, inner, samples.obs)
            surrogate += float(outer_surrogate(new, samples)) / n_tasks
            divergence += float((distributions.kl(known, new) * samples.weight).sum()) / n_tasks
            if divergence > self.settings.max_kl:
                break
        return surrogate, divergence

    def _clipped_steps(
        self, adam: torch.optim.Adam, inner: Sequence[InnerStep], samples: Samples, names: Sequence[str]
    ) -> Metrics:
        """Adam on the clipped surrogate (Schulman et al. 2017, arXiv 1707.06347, eq. 7) of the adapted policies."""
        s, n_tasks = self.settings, len(samples.obs)
        theta = {name: value if name in names else value.detach() for name, value in self._theta.items()}
        metrics = Metrics()
        for _ in range(s.outer_epochs):
            adam.zero_grad()  # a parameter without a gradient is left alone
            metrics = {"surrogate": 0.0, "clip_fraction": 0.0}
            for steps, part in in_groups(readapting(inner), samples, s.samples_at_once):
                outputs = self.adapted_distribution(theta, steps, part.obs)
                ratio = distributions.ratio(outputs, part.action, part.log_prob)
                surrogate = (part.weight * ppo.clipped_surrogate(ratio, part.advantage, s.clip)).sum() / n_tasks
                torch.autograd.backward(-surrogate, inputs=[self._theta[name] for name in names])
                metrics["surrogate"] += float(surrogate.detach())
                metrics["clip_fraction"] += float((part.weight * ppo.out_of_bounds(ratio, s.clip)).sum()) / n_tasks
            check_finite("the outer gradient", *(v.grad for v in self._theta.values() if v.grad is not None))
            adam.step()
        check_finite("the parameters", *self._theta.values())
        self._policy = replace(self._policy, params={n: v.detach().clone() for n, v in self._theta.items()})
        return {"updates": s.outer_epochs, **metrics}

    def adapt(self, policy: Policy, evidence: Episodes) -> MLPPolicy:
        s = self.settings
        rate = policy_gradient.test_rate(policy, s)
        return policy_gradient.adapt_policy(
            policy, evidence, evidence.reward, rate, s, self._adapted_names, s.surrogate
        )

    def state_dict(self) -> dict[str, Any]:
        adam = {} if self._adam is None else {"adam": self._adam.state_dict()}
        return {"policy": dict(self._policy.params), **adam}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._policy = policy_gradient.load_policy(self._policy, state["policy"])
        if self._adam is not None:
            with torch.no_grad():
                for name, value in self._policy.params.items():
                    self._theta[name].copy_(value)
            self._adam.load_state_dict(state["adam"])


def build(spec: FamilySpec, settings: Settings, seed: int, device: str) -> MAML:
    return MAML(spec, settings, seed, device)
