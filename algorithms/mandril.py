"""MandRIL: Xu, Ratner, Dragan, Levine and Finn 2019 (arXiv 1805.12573). A prior over intent, learned from many tasks.

Meta and Reward Inverse Learning: the initial parameters theta of a reward network are trained so that one to three
gradient steps on a few demonstrations of a new task give a reward that explains further demonstrations of it. The
gradient of a task's loss is that of maximum-entropy inverse reinforcement learning (Ziebart et al. 2008),

    dL / dtheta = (dr / dtheta) (E[visits] - visits of the demonstrations),                              (eq. 5)

the meta-gradient differentiates through it, and so through the planner that yields E[visits] (eq. 8). Here both come
from automatic differentiation of L itself through soft value iteration (``kshot.learning.planner``), which is exact.
Nothing is played and no reward is seen: evidence is demonstrations, dynamics are known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from kshot.learning import irl, networks
from kshot.learning.checks import check_finite, require_at_least_one, require_positive
from kshot.learning.descent import decayed_lr, descend, flushed_denormals
from kshot.learning.fine_tuning import validation_loss, validation_losses
from kshot.learning.irl import Demonstrations, PlanningPolicy, reward_map
from kshot.learning.networks import Params
from kshot.seeding import generator, key
from kshot.types import ActionKind, Array, Collect, Episodes, Evidence, FamilySpec, Metrics, Mode, Policy, Task

EVIDENCE: Evidence = "demonstrations"
ACTIONS: frozenset[ActionKind] = frozenset({"discrete"})
# The paper judges the policy that is optimal for the adapted reward (expected value difference).
TEST_ACTIONS: Mode = "mean"
Order = Literal["full", "detached_planner", "first"]
RISE = 1.0
"""By how much the inner loss (nats per step) may rise over the inner steps of a meta-step before it has diverged."""


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters of MandRIL.

    Attributes:
        hidden: widths of the reward network's tanh layers.
        precision: of the reward network; planning is always in double precision.
        shots: numbers of demonstrations to adapt to in training, one of them drawn for every meta-step.
        outer_demonstrations: further demonstrations per task and arrangement that the adapted reward has to explain.
        outer_arrangements: in how many other arrangements of each task, where a family has several.
        meta_batch: tasks per meta-step.
        inner_steps: gradient steps per task in training.
        inner_lr: their rate at the start; a rate for every tensor of parameters is then learned.
        rate_lr: factor on the outer learning rate for the logarithms of the inner rates.
        order: what the meta-gradient sees of the inner steps: all, "full"; all but how expected visits depend on the
            reward, "detached_planner"; or nothing, "first".
        lr: Adam's learning rate at the start.
        lr_end: the share of ``lr`` left at the end; it falls linearly from 60 % of the budget on.
        max_gradient_norm: bound on the norm of the meta-gradient.
        weight_decay: of the initial parameters, apart from the gradient (Loshchilov & Hutter 2019, arXiv 1711.05101).
        test_steps: numbers of inner steps to choose from at test, for every number of shots, on validation tasks.
        calibration_tasks: how many validation tasks that choice is made on.
    """

    hidden: tuple[int, ...] = (64, 64)
    precision: irl.Precision = "double"
    shots: tuple[int, ...] = (1, 2, 5, 10)
    outer_demonstrations: int = 2
    outer_arrangements: int = 2
    meta_batch: int = 8
    inner_steps: int = 2
    inner_lr: float = 0.3
    rate_lr: float = 3.0
    order: Order = "full"
    lr: float = 3e-3
    lr_end: float = 0.05
    max_gradient_norm: float = 10.0
    weight_decay: float = 0.0
    test_steps: tuple[int, ...] = (1, 2, 3, 5, 10, 20)
    calibration_tasks: int = 16

    def __post_init__(self) -> None:
        require_at_least_one(
            self, "outer_demonstrations", "outer_arrangements", "meta_batch", "inner_steps", "calibration_tasks"
        )
        require_positive(self, "inner_lr", "lr", "rate_lr")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay must not be negative, got {self.weight_decay}")
        for name in ("shots", "test_steps"):
            if not getattr(self, name) or min(getattr(self, name)) < 1:
                raise ValueError(f"{name} must be numbers from 1 on, got {getattr(self, name)}")


def inner_step(
    params: Params, rates: Mapping[str, Tensor], demonstrations: Demonstrations, order: Order
) -> tuple[Params, Tensor]:
    """A gradient step on each task's demonstrations (Algorithm 1, line 8): parameters [T, ...], and losses [T] before.

    ``params`` are stacked over tasks.
    """
    reward = reward_map(params, demonstrations.features)
    loss = demonstrations.loss(reward)
    tensors = list(params.values())
    with flushed_denormals():
        if order == "detached_planner":
            (excess,) = torch.autograd.grad(loss.sum(), reward, retain_graph=True)  # E[visits] - visits, a constant
            gradient = torch.autograd.grad(reward, tensors, grad_outputs=excess, create_graph=True)
        else:
            gradient = torch.autograd.grad(loss.sum(), tensors, create_graph=order == "full")
    return {name: x - rates[name] * g for (name, x), g in zip(params.items(), gradient, strict=True)}, loss.detach()


def adapted(
    params: Params, rates: Mapping[str, Tensor], demonstrations: Demonstrations, steps: int, order: Order
) -> tuple[Params, list[Tensor]]:
    """Parameters [T, ...] after inner steps from those stacked over tasks, and the losses [T] before every step."""
    losses = []
    for _ in range(steps):
        params, loss = inner_step(params, rates, demonstrations, order)
        losses.append(loss)
    return params, losses


class MandRIL:
    """See the module's docstring; the protocol is ``kshot.types.MetaLearner``."""

    trains = True
    fixed_tasks = False
    adaptation_episodes = 1
    max_evidence: int | None = None

    def __init__(self, spec: FamilySpec, settings: Settings, seed: int, device: str) -> None:
        self.settings, self._seed, self._device = settings, seed, device
        self._world = irl.world_of(spec)
        sizes = (irl.features_of(spec).shape[-1], *settings.hidden, 1)
        initial = irl.init_network(sizes, key(seed, "initial parameters"), device, precision=settings.precision)
        self._params = {name: x.requires_grad_() for name, x in initial.items()}
        log_rate = torch.tensor(settings.inner_lr, dtype=torch.float64, device=device).log()
        self._log_rates = {name: log_rate.clone().requires_grad_() for name in initial}
        self._optimizer = torch.optim.AdamW(
            [
                {"params": list(self._params.values()), "weight_decay": settings.weight_decay},
                {"params": list(self._log_rates.values()), "weight_decay": 0.0},
            ],
            lr=settings.lr,
        )
        self._steps = dict.fromkeys(settings.shots, settings.inner_steps)
        self._iteration = 0

    @property
    def tasks_per_step(self) -> int:
        return self.settings.meta_batch

    @property
    def calibration_tasks(self) -> int:
        return self.settings.calibration_tasks

    def policy(self) -> PlanningPolicy:
        params = {name: x.detach() for name, x in self._params.items()}
        return PlanningPolicy(self._world, params, device=self._device)

    def _rates(self) -> dict[str, Tensor]:
        return {name: log_rate.exp() for name, log_rate in self._log_rates.items()}

    def _demonstrations(self, episodes: Episodes) -> Demonstrations:
        return Demonstrations.of(self._world, episodes, self._device)

    def _held_out(self, tasks: Sequence[Task], collect: Collect) -> Demonstrations:
        s = self.settings
        return self._demonstrations(
            irl.held_out_demonstrations(collect, tasks, s.outer_demonstrations, s.outer_arrangements)
        )

    def meta_step(self, tasks: Sequence[Task], collect: Collect, progress: float) -> Metrics:
        s = self.settings
        shots = int(generator(self._seed, "shots", self._iteration).choice(s.shots))
        training = self._demonstrations(collect.demonstrations(tasks, shots))
        testing = self._held_out(tasks, collect)

        initial = networks.stack(self._params, len(tasks))
        phi, inner = adapted(initial, self._rates(), training, s.inner_steps, s.order)
        loss = testing.loss_of(phi).mean()
        check_finite("the loss of adapted rewards", loss)
        with torch.no_grad():
            before, after = float(inner[0].mean()), float(training.loss_of(phi).mean())
            prior = testing.loss_of(initial).mean()
        if not after <= before + RISE:
            raise FloatingPointError(f"the inner loss rose from {before:.4g} to {after:.4g} nats per step")
        rates_now = [decayed_lr(lr, s.lr_end, progress) for lr in (s.lr, s.lr * s.rate_lr)]
        norm = descend(self._optimizer, loss, rates_now, s.max_gradient_norm)
        self._iteration += 1
        rates = torch.stack(list(self._log_rates.values())).detach().exp()
        return {
            "loss": float(loss.detach()),
            "loss_prior": float(prior),
            "loss_inner_before": before,
            "loss_inner_after": after,
            "gradient_norm": norm,
            "inner_rate_min": float(rates.min()),
            "inner_rate_max": float(rates.max()),
        }

    def calibrate(self, tasks: Sequence[Task], collect: Collect) -> Metrics:
        """Choose, for every number of shots, how many inner steps explain further demonstrations of new tasks best.

        What every number of steps gives is returned beside, also played: by each reward's best actions, which has no
        part in the choice. A loss that is not finite is left out.
        """
        s = self.settings
        testing = self._held_out(tasks, collect)
        metrics: Metrics = {}
        adapted_to: dict[tuple[int, int], Params] = {}
        for shots in s.shots:
            training = self._demonstrations(collect.demonstrations(tasks, shots))
            iterates = self._adapt(training, max(s.test_steps))
            adapted_to |= {(shots, steps): iterates[steps] for steps in s.test_steps}
            losses = {steps: validation_loss(testing.loss_of, iterates[steps]) for steps in s.test_steps}
            self._steps[shots] = irl.argmin(losses, f"inner steps for {shots} demonstrations")
            metrics[f"test_steps_{shots}"] = float(self._steps[shots])
            metrics |= validation_losses(shots, losses)
        for (shots, steps), phi in adapted_to.items():
            played = collect(replace(self.policy(), params=phi, greedy=True), tasks, copies=1)
            metrics[f"validation_return_{shots}_{steps}"] = float(played.returns.mean())
            metrics[f"validation_success_{shots}_{steps}"] = float(played.success_last.mean())
        return metrics

    def _adapt(self, demonstrations: Demonstrations, steps: int) -> list[Params]:
        """Parameters before the first and after each of the inner steps; no gradient goes through them at test."""
        initial = {name: x.detach() for name, x in networks.stack(self._params, len(demonstrations.features)).items()}
        params = {name: x.clone().requires_grad_() for name, x in initial.items()}
        rates = {name: x.detach() for name, x in self._rates().items()}
        iterates = [params]
        for _ in range(steps):
            iterates.append(inner_step(iterates[-1], rates, demonstrations, "first")[0])
        return [{name: x.detach() for name, x in phi.items()} for phi in iterates]

    def adapt(self, policy: Policy, evidence: Episodes) -> PlanningPolicy:
        """The policy whose reward is theta adapted to all demonstrations so far."""
        if not isinstance(policy, PlanningPolicy):
            raise TypeError(f"MandRIL cannot adapt a {type(policy).__name__}")
        evidence = irl.added(policy.evidence, evidence)
        phi = self._adapt(self._demonstrations(evidence), irl.chosen_for(self._steps, evidence.n_episodes))[-1]
        return replace(policy, params=phi, evidence=evidence)

    def explain(self, policy: Policy, demonstrations: Episodes) -> Array:
        """See ``kshot.types.Explains``."""
        return irl.explain(policy, demonstrations)

    def state_dict(self) -> dict[str, Any]:
        return {
            "params": {name: x.detach() for name, x in self._params.items()},
            "log_rates": {name: x.detach() for name, x in self._log_rates.items()},
            "optimizer": self._optimizer.state_dict(),
            "steps": dict(self._steps),
            "iteration": self._iteration,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        with torch.no_grad():
            for own, saved in ((self._params, state["params"]), (self._log_rates, state["log_rates"])):
                for name, x in own.items():
                    x.copy_(saved[name])
        self._optimizer.load_state_dict(state["optimizer"])
        self._steps, self._iteration = dict(state["steps"]), state["iteration"]


def build(spec: FamilySpec, settings: Settings, seed: int, device: str) -> MandRIL:
    return MandRIL(spec, settings, seed, device)
