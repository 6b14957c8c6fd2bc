"""A reward network that takes the demonstrations as an input: the demo-conditional model of Xu et al. 2019, 1805.12573.

An encoder turns what was visited into a vector, which stands beside the features of every state at the entrance of the
reward network; both are trained end to end on the maximum-entropy IRL loss of further demonstrations in other
arrangements. On a new task nothing is descended on: adapting is encoding. With e the encoder, mu_D the share of time
that the demonstrations spend in a state (mean over them, so that their order does not matter), and s any state,

    c = [sum_s mu_D(s) e(features(s)), mean_s e(features(s))],    r(s) = f(features(s), c),

sums and means of which are permutation-invariant networks on sets (Zaheer et al. 2017, "Deep Sets", arXiv 1703.06114).
The second half of c is what was there to visit: what was avoided shows only beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from kshot.learning import irl, networks
from kshot.learning.checks import check_finite, require_at_least_one, require_positive
from kshot.learning.descent import decayed_lr, descend
from kshot.learning.irl import Demonstrations, PlanningPolicy
from kshot.learning.networks import Params
from kshot.seeding import generator, key
from kshot.types import ActionKind, Array, Collect, Episodes, Evidence, FamilySpec, Metrics, Mode, Policy, Task

EVIDENCE: Evidence = "demonstrations"
ACTIONS: frozenset[ActionKind] = frozenset({"discrete"})
# Judged as MandRIL is: by the policy that is optimal for the conditioned reward.
TEST_ACTIONS: Mode = "mean"


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters of the contextual reward.

    Attributes:
        hidden: widths of the reward network's tanh layers.
        encoder_hidden: widths of the encoder's tanh layers.
        precision: of the networks; planning is always in double precision.
        context_size: what the encoder makes of one state; the context has twice as many numbers.
        shots: numbers of demonstrations to encode in training, one of them drawn for every meta-step; with 0 the
            context is zero, which trains the reward before any demonstration.
        outer_demonstrations: further demonstrations per task and arrangement that the reward has to explain.
        outer_arrangements: in how many other arrangements of each task, where a family has several.
        meta_batch: tasks per meta-step.
        lr: Adam's learning rate at the start.
        lr_end: the share of ``lr`` left at the end; it falls linearly from 60 % of the budget on.
        max_gradient_norm: bound on the norm of the gradient.
    """

    hidden: tuple[int, ...] = (64, 64)
    precision: irl.Precision = "double"
    encoder_hidden: tuple[int, ...] = (64, 64)
    context_size: int = 32
    shots: tuple[int, ...] = (0, 1, 2, 5, 10)
    outer_demonstrations: int = 2
    outer_arrangements: int = 2
    meta_batch: int = 8
    lr: float = 3e-3
    lr_end: float = 0.05
    max_gradient_norm: float = 10.0

    def __post_init__(self) -> None:
        require_at_least_one(self, "context_size", "outer_demonstrations", "outer_arrangements", "meta_batch")
        require_positive(self, "lr", "max_gradient_norm")
        if not self.hidden:
            raise ValueError("hidden must have a layer: a context added to a linear reward changes all states' alike")
        if not self.shots or min(self.shots) < 0:
            raise ValueError(f"shots must be numbers from 0 on, got {self.shots}")


def encoded(encoder: Mapping[str, Tensor], demonstrations: Demonstrations) -> Tensor:
    """[T, 2 C] the context: mean embeddings of what was visited and of all states, or of all pairs."""
    flat = demonstrations.features.flatten(0, 1).to(encoder["weight_0"].dtype)  # [T * M, S, F] or [T * M, S, A, F]
    embedding = networks.mlp(encoder, flat.flatten(1, -2))  # [T * M, N, C]
    visits = demonstrations.visits(flat.new_zeros(flat.shape[:-1])).flatten(1)
    share = visits / visits.sum(dim=1, keepdim=True)
    both = torch.cat([torch.einsum("bn,bnc->bc", share, embedding), embedding.mean(dim=1)], dim=-1)
    return both.reshape(len(demonstrations.features), -1, both.shape[-1]).mean(dim=1)


def conditioned(reward: Mapping[str, Tensor], context: Tensor) -> Params:
    """Parameters of the reward of features alone, given contexts [T, 2 C]; some shared, one stacked over tasks.

    A vector that stands beside every input of a layer adds the same to all its outputs: it is a bias of its own for
    every task.
    """
    n_features = len(reward["weight_0"]) - context.shape[-1]
    of_features, of_context = reward["weight_0"][:n_features], reward["weight_0"][n_features:]
    return {**reward, "weight_0": of_features, "bias_0": reward["bias_0"] + context @ of_context}


class ContextualIRL:
    """See the module's docstring; the protocol is ``kshot.types.MetaLearner``."""

    trains = True
    fixed_tasks = False
    adaptation_episodes = 1
    max_evidence: int | None = None

    def __init__(self, spec: FamilySpec, settings: Settings, seed: int, device: str) -> None:
        self.settings, self._seed, self._device = settings, seed, device
        self._world = irl.world_of(spec)
        size, context = irl.features_of(spec).shape[-1], 2 * settings.context_size
        sizes = {"encoder": (size, *settings.encoder_hidden, settings.context_size)}
        sizes["reward"] = (size + context, *settings.hidden, 1)
        self._params = {
            net: irl.init_network(shape, key(seed, net), device, precision=settings.precision)
            for net, shape in sizes.items()
        }
        self._optimizer = torch.optim.Adam(
            [x.requires_grad_() for params in self._params.values() for x in params.values()], lr=settings.lr
        )
        self._iteration = 0

    @property
    def tasks_per_step(self) -> int:
        return self.settings.meta_batch

    def _demonstrations(self, episodes: Episodes) -> Demonstrations:
        return Demonstrations.of(self._world, episodes, self._device)

    def _reward_given(self, demonstrations: Demonstrations | None) -> Params:
        """The reward given demonstrations; without any the context is zero, for any number of tasks."""
        if demonstrations is None:
            context = self._params["reward"]["bias_0"].new_zeros(1, 2 * self.settings.context_size)
        else:
            context = encoded(self._params["encoder"], demonstrations)
        return conditioned(self._params["reward"], context)

    def policy(self) -> PlanningPolicy:
        params = {name: x.detach() for name, x in self._reward_given(None).items()}
        return PlanningPolicy(self._world, params, device=self._device)

    def meta_step(self, tasks: Sequence[Task], collect: Collect, progress: float) -> Metrics:
        s = self.settings
        shots = int(generator(self._seed, "shots", self._iteration).choice(s.shots))
        training = self._demonstrations(collect.demonstrations(tasks, shots)) if shots else None
        testing = self._demonstrations(
            irl.held_out_demonstrations(collect, tasks, s.outer_demonstrations, s.outer_arrangements)
        )
        loss = testing.loss_of(self._reward_given(training)).mean()
        check_finite("the loss of conditioned rewards", loss)
        with torch.no_grad():
            prior = testing.loss_of(self._reward_given(None)).mean()
        norm = descend(self._optimizer, loss, [decayed_lr(s.lr, s.lr_end, progress)], s.max_gradient_norm)
        self._iteration += 1
        return {"loss": float(loss.detach()), "loss_prior": float(prior), "gradient_norm": norm}

    def adapt(self, policy: Policy, evidence: Episodes) -> PlanningPolicy:
        """The policy of the reward given all demonstrations so far."""
        if not isinstance(policy, PlanningPolicy):
            raise TypeError(f"contextual IRL cannot adapt a {type(policy).__name__}")
        evidence = irl.added(policy.evidence, evidence)
        params = {name: x.detach() for name, x in self._reward_given(self._demonstrations(evidence)).items()}
        return replace(policy, params=params, evidence=evidence)

    def explain(self, policy: Policy, demonstrations: Episodes) -> Array:
        """See ``kshot.types.Explains``."""
        return irl.explain(policy, demonstrations)

    def state_dict(self) -> dict[str, Any]:
        return {
            "params": {net: {name: x.detach() for name, x in params.items()} for net, params in self._params.items()},
            "optimizer": self._optimizer.state_dict(),
            "iteration": self._iteration,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        with torch.no_grad():
            for net, params in self._params.items():
                for name, x in params.items():
                    x.copy_(state["params"][net][name])
        self._optimizer.load_state_dict(state["optimizer"])
        self._iteration = state["iteration"]


def build(spec: FamilySpec, settings: Settings, seed: int, device: str) -> ContextualIRL:
    return ContextualIRL(spec, settings, seed, device)
