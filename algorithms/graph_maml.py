"""MAML (Finn et al. 2017, arXiv 1703.03400, algorithm 3) for policies that place the nodes of a graph.

The network is an encoder of graphs (``kshot.learning.graph_encoders``: Xu et al. 2018, arXiv 1804.00823, and others to
compare with) and one LSTM decoder with attention (``kshot.learning.graph_policy``). One meta-step, in MAML's order:
collect episodes with the shared parameters theta; take a clipped policy-gradient step per task (theta -> theta_i');
collect new episodes with every theta_i'; improve theta on those through the inner step, by Adam on PPO's loss. The
inner loop is that of MRLCO (Wang et al. 2021, arXiv 2008.02033), whose outer step is ``graph_reptile``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from kshot.learning import graph_gradient
from kshot.learning.checks import check_finite, require_at_least_one, require_positive
from kshot.learning.graph_encoders import Encoder
from kshot.learning.graph_gradient import GraphSamples
from kshot.learning.graph_policy import GraphPolicy, check_network, init_policy, per_task
from kshot.seeding import generator
from kshot.types import ActionKind, Collect, Episodes, Evidence, FamilySpec, Metrics, Mode, Policy, Task

EVIDENCE: Evidence = "rollouts"
ACTIONS: frozenset[ActionKind] = frozenset({"discrete"})
OBSERVES = "graph"
"""The kind of observations it needs."""
# The authors' evaluation of MRLCO plays episodes of the sampler that trains (meta_evaluator.py, obtain_samples), whose
# decoder samples.
TEST_ACTIONS: Mode = "sampled"


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters of MAML on graphs and of its variants.

    Attributes:
        graph_encoder: "mlp" (nodes by themselves), "seq2seq" (an LSTM, as MRLCO), "graph2seq" or "gat".
        hops: k, of "graph2seq" and "gat".
        width: of the vectors of nodes and graphs; it decides how many parameters all encoders have.
        decoder: width of the LSTM that decides.
        meta_batch: tasks per meta-step.
        episodes: episodes (graphs) per task before and after each inner step, in training.
        inner_steps: inner steps per task in training, each on fresh episodes.
        inner_epochs: gradient steps on the same episodes that an inner step takes.
        inner_lr: their rate in training.
        test_episodes: episodes per task and adaptation step when evaluated; 0 means ``episodes``.
        test_lrs: rates of the adaptation steps when evaluated, the last one repeating; empty means ``inner_lr``.
        order: "second" differentiates through the inner step, "first" treats its gradient as constant.
        discount: gamma; an episode has 20 steps and a makespan at its end.
        gae_lambda: lambda of generalised advantage estimation.
        reward_scale: factor on rewards, which sizes the critic's targets.
        clip: PPO's bound on the probability ratio, of inner and outer steps.
        value_weight: weight of the critic's loss in the outer step.
        inner_value_weight: its weight in inner steps (MRLCO: .5).
        entropy: weight of the entropy bonus of the outer step at the start, decaying like the learning rate.
        epochs: passes of the outer step over a batch.
        minibatches: updates per pass, among which tasks are split.
        lr: Adam's learning rate at the start.
        lr_end: the share of ``lr`` left at the end of the budget, reached linearly.
        max_gradient_norm: bound on the norm of the outer gradient.
        samples_at_once: steps that are differentiated through together, at least one task's; bounds memory.
    """

    graph_encoder: Encoder = "graph2seq"
    hops: int = 2
    width: int = 64
    decoder: int = 64
    meta_batch: int = 10
    episodes: int = 20
    inner_steps: int = 1
    inner_epochs: int = 1
    inner_lr: float = 0.3
    test_episodes: int = 0
    test_lrs: tuple[float, ...] = (0.3, 0.2, 0.1)
    order: Literal["second", "first"] = "second"
    discount: float = 1.0
    gae_lambda: float = 0.95
    reward_scale: float = 0.1
    clip: float = 0.2
    value_weight: float = 0.5
    inner_value_weight: float = 0.0
    entropy: float = 0.01
    epochs: int = 4
    minibatches: int = 4
    lr: float = 3e-3
    lr_end: float = 0.1
    max_gradient_norm: float = 1.0
    samples_at_once: int = 10_000

    def __post_init__(self) -> None:
        check_network(self)
        self.check_inner_loop()
        counts = ("meta_batch", "episodes", "inner_epochs", "epochs", "minibatches", "samples_at_once")
        require_at_least_one(self, *counts)
        require_positive(self, "inner_lr", "lr", "clip", "reward_scale", "max_gradient_norm")

    def check_inner_loop(self) -> None:
        """Raise ValueError for an inner loop that is another learner's."""
        require_at_least_one(self, "inner_steps")


class GraphMAML:
    """See the module's docstring; the protocol is ``kshot.types.MetaLearner``."""

    trains = True
    max_evidence: int | None = None
    fixed_tasks = False

    def __init__(self, spec: FamilySpec, settings: Settings, seed: int, device: str, name: str) -> None:
        self.settings, self._seed, self._iteration = settings, seed, 0
        self._policy = init_policy(spec, settings, seed, device, name)
        self._theta = {name: value.clone().requires_grad_() for name, value in self._policy.params.items()}
        self._adam = torch.optim.Adam(list(self._theta.values()), lr=settings.lr, eps=1e-5)

    @property
    def tasks_per_step(self) -> int:
        return self.settings.meta_batch

    @property
    def adaptation_episodes(self) -> int:
        return self.settings.test_episodes or self.settings.episodes

    def policy(self) -> GraphPolicy:
        return self._policy

    def meta_step(self, tasks: Sequence[Task], collect: Collect, progress: float) -> Metrics:
        """Algorithm 3, with the numbers of its lines."""
        s, policy, metrics = self.settings, self._policy, Metrics()
        remaining = 1 - (1 - s.lr_end) * progress
        inner = list[GraphSamples]()
        for step in range(s.inner_steps):
            episodes = collect(policy, tasks, s.episodes)  # line 5
            inner.append(graph_gradient.make_samples(policy, episodes, episodes.training_reward, s))
            policy = graph_gradient.stepped(policy, inner[-1], s.inner_lr, s)  # lines 6 and 7
            if step == 0:
                metrics["return"] = float(episodes.returns.mean())
        episodes = collect(policy, tasks, s.episodes)  # line 8
        samples = graph_gradient.make_samples(policy, episodes, episodes.training_reward, s)
        metrics |= self._optimise(inner, samples, remaining)  # line 10
        returned = float(episodes.returns.mean())
        metrics |= {"return": metrics.get("return", returned), "return_adapted": returned}
        metrics["success_adapted"] = float(episodes.success_last.mean())
        return metrics

    def _optimise(self, inner: Sequence[GraphSamples], samples: GraphSamples, remaining: float) -> Metrics:
        """Adam on PPO's loss of the adapted policies; ``remaining``: share of learning rate and bonus that is left."""
        s = self.settings
        rng = generator(self._seed, "minibatches", self._iteration)
        self._iteration += 1
        losses = list[float]()
        for _ in range(s.epochs):
            order = rng.permutation(len(samples.weight))
            for part in np.array_split(order, min(s.minibatches, len(order))):
                rows = torch.as_tensor(part, device=samples.weight.device)
                batch = [steps.rows(rows) for steps in (*inner, samples)]
                losses.append(self._update(batch[:-1], batch[-1], remaining))
        self._keep()
        return {"updates": len(losses), "loss": float(np.mean(losses))}

    def _update(self, inner: Sequence[GraphSamples], samples: GraphSamples, remaining: float) -> float:
        """One step of Adam on some of the tasks."""
        s, total, n_tasks = self.settings, 0.0, len(samples.weight)
        self._adam.zero_grad()
        for rows in samples.groups(s.samples_at_once):
            part = samples.rows(rows)
            params = self.adapted(self._theta, [steps.rows(rows) for steps in inner], len(part.weight))
            losses = graph_gradient.task_losses(
                self._policy, params, part, s.clip, s.value_weight, s.entropy * remaining
            )
            loss = losses.sum() / n_tasks
            check_finite("the outer loss", loss)
            torch.autograd.backward(loss, inputs=list(self._theta.values()))
            total += float(loss.detach())
        self._descend(remaining)
        return total

    def adapted(self, theta: Mapping[str, Tensor], inner: Sequence[GraphSamples], n_tasks: int) -> Mapping[str, Tensor]:
        """The parameters [T, ...] that stored samples lead to from ``theta``; ``theta`` itself without inner steps."""
        if not inner:
            return theta
        params = per_task(theta, n_tasks)
        for samples in inner:
            params = graph_gradient.inner_step(
                self._policy, params, samples, self.settings.inner_lr, self.settings, self.settings.order == "second"
            )
        return params

    def _descend(self, remaining: float) -> None:
        """Adam's step along the gradients that theta has."""
        for group in self._adam.param_groups:
            group["lr"] = self.settings.lr * remaining
        norm = nn.utils.clip_grad_norm_(list(self._theta.values()), self.settings.max_gradient_norm)
        check_finite("the outer gradient", norm)
        self._adam.step()

    def _keep(self) -> None:
        """Make theta the policy's parameters."""
        check_finite("the parameters", *self._theta.values())
        self._policy = self._policy.with_params({name: v.detach().clone() for name, v in self._theta.items()})

    def adapt(self, policy: Policy, evidence: Episodes) -> GraphPolicy:
        rates = self.settings.test_lrs or (self.settings.inner_lr,)
        rate = rates[min(getattr(policy, "updates", 0), len(rates) - 1)]
        return graph_gradient.adapt_policy(policy, evidence, rate, self.settings)

    def state_dict(self) -> dict[str, Any]:
        return {
            "policy": dict(self._policy.params),
            "adam": self._adam.state_dict(),
            "iteration": self._iteration,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._policy = self._policy.with_params(state["policy"])
        with torch.no_grad():
            for name, value in self._policy.params.items():
                self._theta[name].copy_(value)
        self._adam.load_state_dict(state["adam"])
        self._iteration = state["iteration"]


def build(spec: FamilySpec, settings: Settings, seed: int, device: str) -> GraphMAML:
    return GraphMAML(spec, settings, seed, device, "graph_maml")
