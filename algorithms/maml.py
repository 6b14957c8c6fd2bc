"""MAML for reinforcement learning: Finn, Abbeel & Levine 2017 (arXiv 1703.03400), algorithm 3, with a TRPO outer step.

One meta-step, in the paper's order: sample tasks; collect episodes with the shared parameters theta; take a policy
gradient step per task (theta -> theta_i'); collect new episodes with every theta_i'; improve theta on those through
the inner step, within a KL trust region around the adapted policies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from kshot.learning import distributions, networks, policy_gradient, trust_region
from kshot.learning.checks import check_finite, require_at_least_one, require_positive
from kshot.learning.distributions import Distribution
from kshot.learning.networks import Params
from kshot.learning.policy_gradient import Batch, MLPPolicy, Surrogate
from kshot.types import ActionKind, Collect, Episodes, Evidence, FamilySpec, Metrics, Policy, Task

EVIDENCE: Evidence = "rollouts"
ACTIONS: frozenset[ActionKind] = frozenset({"continuous", "discrete"})


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters of MAML and its first-order and head-only variants.

    Attributes:
        hidden: widths of the policy's tanh layers.
        init_std: initial standard deviation of continuous actions.
        final_scale: factor on the last layer's initial weights.
        observation_clip: bound on normalised observations.
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
        max_kl: bound on the mean KL divergence of the outer step.
        cg_iterations: conjugate-gradient iterations.
        cg_damping: multiple of the identity added to the curvature.
        curvature_stride: use every n-th sample for the curvature product; the line search always uses all.
        backtrack: factor between line-search trials.
        line_search_steps: number of trials.
    """

    hidden: tuple[int, ...] = (64, 64)
    init_std: float = 1.0
    final_scale: float = 1.0
    observation_clip: float = 5.0
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
    max_kl: float = 0.01
    cg_iterations: int = 10
    cg_damping: float = 1e-5
    curvature_stride: int = 1
    backtrack: float = 0.8
    line_search_steps: int = 15

    def __post_init__(self) -> None:
        counts = ("meta_batch", "episodes", "inner_steps", "cg_iterations", "curvature_stride", "line_search_steps")
        require_at_least_one(self, *counts)
        require_positive(self, "inner_lr", "init_std", "max_kl")


class MAML:
    """See the module's docstring; the protocol is ``kshot.types.MetaLearner``."""

    trains = True
    max_evidence: int | None = None
    fixed_tasks = False

    def __init__(self, spec: FamilySpec, settings: Settings, seed: int, device: str) -> None:
        self.settings = settings
        self._policy = policy_gradient.init_policy(spec, settings, seed, device)
        self._adapted_names = networks.head_names(self._policy.params) if settings.adapt == "head" else None

    @property
    def tasks_per_step(self) -> int:
        return self.settings.meta_batch

    @property
    def adaptation_episodes(self) -> int:
        return self.settings.test_episodes or self.settings.episodes

    def policy(self) -> MLPPolicy:
        return self._policy

    def meta_step(self, tasks: Sequence[Task], collect: Collect, progress: float) -> Metrics:
        s = self.settings
        policy, inner_batches, first_return = self._policy, [], math.nan
        params = networks.stack(self._policy.params, len(tasks))
        for step in range(s.inner_steps):
            episodes = collect(policy, tasks, s.episodes)
            first_return = float(episodes.returns.mean()) if step == 0 else first_return
            batch = policy_gradient.make_batch(policy, episodes, s)
            params = policy_gradient.detached(self._inner_step(params, batch, create_graph=False))
            policy = replace(policy, params=params)
            inner_batches.append(batch)
        adapted_episodes = collect(policy, tasks, s.episodes)
        outer_batch = policy_gradient.make_batch(policy, adapted_episodes, s)
        step_taken = self._outer_step(inner_batches, outer_batch)
        metrics = {
            "return": first_return,
            "return_adapted": float(adapted_episodes.returns.mean()),
            "success_adapted": float(adapted_episodes.success_last.mean()),
            "kl": step_taken.kl,
            "surrogate": step_taken.surrogate,
            "line_search_trials": float(step_taken.trials),
            "accepted": float(step_taken.accepted),
        }
        if "log_std" in self._policy.params:
            metrics["policy_std"] = float(self._policy.params["log_std"].exp().mean())
        return metrics

    def _inner_step(self, params: Params, batch: Batch, create_graph: bool) -> Params:
        s = self.settings
        return policy_gradient.inner_step(
            self._policy,
            params,
            batch,
            s.inner_lr,
            names=self._adapted_names,
            create_graph=create_graph,
            surrogate=s.surrogate,
        )

    def adapted_distribution(
        self, theta: Mapping[str, Tensor], inner_batches: Sequence[Batch], obs: Tensor, create_graph: bool
    ) -> Distribution:
        """Action distributions [T, N, A] at ``obs`` of the policies adapted from ``theta`` on stored batches.

        With ``create_graph`` the result can be differentiated with respect to ``theta``, through the inner steps if
        ``order`` is "second" and straight through them (their gradients being constants) if it is "first".
        """
        params = networks.stack(theta, obs.shape[0])
        for batch in inner_batches:
            params = self._inner_step(params, batch, create_graph and self.settings.order == "second")
        return self._policy.distribution(obs, params)

    def _outer_step(self, inner_batches: Sequence[Batch], batch: Batch) -> trust_region.Step:
        """TRPO on the adapted policies' surrogate; KL and line search go through the adaptation."""
        s = self.settings
        theta = {name: value.clone().requires_grad_() for name, value in self._policy.params.items()}
        leaves = list(theta.values())
        n_tasks = batch.obs.shape[0]

        outputs = self.adapted_distribution(theta, inner_batches, batch.obs, create_graph=True)
        old = tuple(output.detach() for output in outputs)
        old_log_prob = distributions.log_prob(old, batch.action)
        gradient = networks.flatten(
            torch.autograd.grad(self._surrogate(outputs, old_log_prob, batch), leaves, retain_graph=True)
        ).detach()
        check_finite("the outer gradient", gradient)

        thinned = batch.thin(s.curvature_stride)
        if s.curvature_stride > 1:
            outputs = self.adapted_distribution(theta, inner_batches, thinned.obs, create_graph=True)
        product = trust_region.gauss_newton_product(outputs, thinned.weight / n_tasks, leaves, s.cg_damping)
        direction = trust_region.conjugate_gradient(product, gradient, s.cg_iterations)
        curvature = float(direction @ product(direction))
        if not math.isfinite(curvature):
            raise FloatingPointError("the curvature of the trust region is not finite")
        full_step = direction * math.sqrt(2 * s.max_kl / max(curvature, 1e-12))

        def evaluate(vector: Tensor) -> tuple[float, float]:
            candidate = networks.unflatten(vector, theta)
            new = self.adapted_distribution(candidate, inner_batches, batch.obs, create_graph=False)
            new = tuple(output.detach() for output in new)
            divergence = (distributions.kl(old, new) * batch.weight).sum() / n_tasks
            return float(self._surrogate(new, old_log_prob, batch)), float(divergence)

        start = networks.flatten(leaves).detach()
        step = trust_region.line_search(start, full_step, evaluate, s.max_kl, s.backtrack, s.line_search_steps)
        check_finite("the parameters", step.vector)
        self._policy = replace(self._policy, params=networks.unflatten(step.vector, self._policy.params))
        return step

    @staticmethod
    def _surrogate(outputs: Distribution, old_log_prob: Tensor, batch: Batch) -> Tensor:
        """Mean over tasks of the importance-weighted advantage, to be maximised."""
        ratio = (distributions.log_prob(outputs, batch.action) - old_log_prob).exp()
        return (batch.weight * ratio * batch.advantage).sum() / batch.obs.shape[0]

    def adapt(self, policy: Policy, evidence: Episodes) -> MLPPolicy:
        s = self.settings
        rate = policy_gradient.test_rate(policy, s)
        return policy_gradient.adapt_policy(policy, evidence, rate, s, self._adapted_names, s.surrogate)

    def state_dict(self) -> dict[str, Any]:
        return {"policy": dict(self._policy.params)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._policy = policy_gradient.load_policy(self._policy, state["policy"])


def build(spec: FamilySpec, settings: Settings, seed: int, device: str) -> MAML:
    return MAML(spec, settings, seed, device)
