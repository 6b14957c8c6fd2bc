"""Reptile (Nichol et al. 2018, arXiv 1803.02999) for policies that place the nodes of a graph: MRLCO's outer step.

One meta-step: from theta, take k inner steps per task, each on fresh episodes; then take the mean way from the adapted
parameters back to theta as the gradient of a step of Adam, as MRLCO does (Wang et al. 2021, arXiv 2008.02033;
linkpark/metarl-offloading, ``meta_algos/MRLCO.py``), which goes through the tasks one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kshot.algorithms import graph_maml
from kshot.learning import graph_gradient
from kshot.types import Collect, FamilySpec, Metrics, Task

EVIDENCE = graph_maml.EVIDENCE
ACTIONS = graph_maml.ACTIONS
OBSERVES = graph_maml.OBSERVES
TEST_ACTIONS = graph_maml.TEST_ACTIONS


@dataclass(frozen=True)
class Settings(graph_maml.Settings):
    """The settings of ``graph_maml``; ``order``, ``epochs``, ``minibatches`` and ``entropy`` are not used.

    Attributes:
        inner_steps: k; with one, the direction is the gradient of all tasks' joint objective.
        episodes: few, since a meta-step needs k times as many: many outer steps are worth more than good estimates.
        test_episodes: as many as the others have.
        inner_value_weight: above 0, since there is no outer loss from which the critic could learn.
    """

    inner_steps: int = 3
    episodes: int = 10
    test_episodes: int = 20
    inner_value_weight: float = 0.1


class GraphReptile(graph_maml.GraphMAML):
    """See the module's docstring; the protocol is ``kshot.types.MetaLearner``."""

    def meta_step(self, tasks: Sequence[Task], collect: Collect, progress: float) -> Metrics:
        s, policy, metrics = self.settings, self._policy, Metrics()
        for step in range(s.inner_steps):
            episodes = collect(policy, tasks, s.episodes)
            metrics["return" if step == 0 else "return_adapted"] = float(episodes.returns.mean())
            samples = graph_gradient.make_samples(policy, episodes, episodes.training_reward, s)
            policy = graph_gradient.stepped(policy, samples, s.inner_lr, s)
        scale = s.inner_lr * s.inner_steps * s.inner_epochs  # so that with k = 1 it is the mean gradient
        for name, value in self._theta.items():
            value.grad = (value.detach() - policy.params[name]).mean(dim=0) / scale
        self._descend(1 - (1 - s.lr_end) * progress)
        self._iteration += 1
        self._keep()
        return metrics


def build(spec: FamilySpec, settings: Settings, seed: int, device: str) -> GraphReptile:
    return GraphReptile(spec, settings, seed, device, "graph_reptile")
