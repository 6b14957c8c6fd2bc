"""Reptile (Nichol, Achiam & Schulman 2018, arXiv 1803.02999, batched algorithm 1) with policy-gradient steps.

One meta-step: from theta, take k gradient steps per task, each on fresh episodes of the task's current policy; then
move theta to the mean of the adapted parameters. With k = 1 that is the gradient of the joint objective over all tasks;
only k > 1 makes the direction depend on the agreement between a task's successive gradients.

The paper has no reinforcement learning; the inner loop here is MAML's (vanilla policy gradient, per-task baseline).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kshot.learning import networks, policy_gradient
from kshot.learning.checks import check_finite, require_at_least_one, require_positive
from kshot.learning.policy_gradient import MLPPolicy
from kshot.learning.returns import AdvantageScale
from kshot.types import ActionKind, Collect, Episodes, Evidence, FamilySpec, Metrics, Mode, Policy, Task

EVIDENCE: Evidence = "rollouts"
ACTIONS: frozenset[ActionKind] = frozenset({"continuous", "discrete"})
# The paper has no reinforcement learning; its inner loop here is MAML's, and so is its test.
TEST_ACTIONS: Mode = "sampled"


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters of Reptile.

    Attributes:
        hidden: widths of the policy's tanh layers.
        init_std: initial standard deviation of continuous actions.
        final_scale: factor on the last layer's initial weights.
        meta_batch: tasks per meta-step.
        episodes: episodes per task and inner step, in training.
        inner_steps: k, gradient steps per task and meta-step.
        inner_lr: rate of the inner steps in training.
        outer_lr: share of the way from theta to the mean adapted parameters.
        outer_lr_end: its value at the end of the budget, reached linearly.
        test_episodes: episodes per task and adaptation step when evaluated; 0 means ``episodes``.
        test_lrs: rates of the adaptation steps when evaluated, the last one repeating; empty means ``inner_lr``.
        discount: gamma.
        gae_lambda: lambda of generalised advantage estimation.
        advantage_scale: centred advantages are divided by their standard "deviation" on the task, or by their
            "variance" as in Meta-World+ (``normalize_advantages``, metaworld_algorithms/rl/algorithms/utils.py), where
            inner steps are the smaller the larger the rewards are.
        samples_at_once: samples that are differentiated through together, at least one task's; bounds memory.
    """

    hidden: tuple[int, ...] = (64, 64)
    init_std: float = 1.0
    final_scale: float = 1.0
    meta_batch: int = 20
    episodes: int = 10
    inner_steps: int = 3
    inner_lr: float = 0.1
    outer_lr: float = 1.0
    outer_lr_end: float = 0.1
    test_episodes: int = 0
    test_lrs: tuple[float, ...] = ()
    discount: float = 0.99
    gae_lambda: float = 1.0
    advantage_scale: AdvantageScale = "deviation"
    samples_at_once: int = 10_000

    def __post_init__(self) -> None:
        require_at_least_one(self, "meta_batch", "episodes", "inner_steps", "samples_at_once")
        require_positive(self, "inner_lr", "outer_lr", "init_std")


class Reptile:
    """See the module's docstring; the protocol is ``kshot.types.MetaLearner``."""

    trains = True
    max_evidence: int | None = None
    fixed_tasks = False

    def __init__(self, spec: FamilySpec, settings: Settings, seed: int, device: str) -> None:
        self.settings = settings
        self._policy = policy_gradient.init_policy(spec, settings, seed, device)

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
        policy, metrics = self._policy, Metrics()
        for step in range(s.inner_steps):
            episodes = collect(policy, tasks, s.episodes)
            metrics["return" if step == 0 else "return_adapted"] = float(episodes.returns.mean())
            policy = policy_gradient.adapt_policy(policy, episodes, episodes.training_reward, s.inner_lr, s)
        outer_lr = s.outer_lr + (s.outer_lr_end - s.outer_lr) * progress
        theta = {}
        for name, value in self._policy.params.items():
            theta[name] = value + outer_lr * (policy.params[name] - value).mean(dim=0)
        check_finite("the parameters", *theta.values())
        before, after = networks.flatten(list(self._policy.params.values())), networks.flatten(list(theta.values()))
        metrics["update_norm"] = float((after - before).norm())
        if "log_std" in theta:
            metrics["policy_std"] = float(theta["log_std"].exp().mean())
        self._policy = replace(self._policy, params=theta)
        return metrics

    def adapt(self, policy: Policy, evidence: Episodes) -> MLPPolicy:
        rate = policy_gradient.test_rate(policy, self.settings)
        return policy_gradient.adapt_policy(policy, evidence, evidence.reward, rate, self.settings)

    def state_dict(self) -> dict[str, Any]:
        return {"policy": dict(self._policy.params)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._policy = policy_gradient.load_policy(self._policy, state["policy"])


def build(spec: FamilySpec, settings: Settings, seed: int, device: str) -> Reptile:
    return Reptile(spec, settings, seed, device)
