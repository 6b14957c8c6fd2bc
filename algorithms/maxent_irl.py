"""Maximum-entropy inverse reinforcement learning from scratch: Ziebart et al. 2008; Wulfmeier et al. 2015, 1507.04888.

No meta-training: on every new task a reward network is fitted, from the same initial parameters, to the task's
demonstrations alone, by descending on their negative log-likelihood under the maximum-entropy expert. Its gradient is

    dL / dtheta = (dr / dtheta) (E[visits] - visits of the demonstrations),

with Wulfmeier et al.'s network as r, or Ziebart et al.'s linear reward where there is no hidden layer. What a
meta-learner gains beyond this was meta-learnt, so it is tuned with care: optimiser, rate and number of steps are chosen
on validation tasks for every number of demonstrations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from kshot.learning import fine_tuning, irl
from kshot.learning.fine_tuning import FineTuning
from kshot.learning.irl import Demonstrations, PlanningPolicy
from kshot.seeding import key
from kshot.types import ActionKind, Array, Collect, Episodes, Evidence, FamilySpec, Metrics, Mode, Policy, Task

EVIDENCE: Evidence = "demonstrations"
ACTIONS: frozenset[ActionKind] = frozenset({"discrete"})
# Judged as MandRIL is: by the policy that is optimal for the fitted reward.
TEST_ACTIONS: Mode = "mean"
FROM_SCRATCH = True


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters of maximum-entropy IRL.

    Attributes:
        hidden: widths of the reward network's tanh layers; none gives a linear reward.
        precision: of the reward network; planning is always in double precision.
        shots: numbers of demonstrations that fine-tuning is chosen for; others use the nearest smaller one's.
        gd_rates: rates of gradient descent to choose from.
        adam_rates: rates of Adam to choose from.
        test_steps: numbers of steps to choose from.
        outer_demonstrations: further demonstrations per validation task and arrangement that judge a choice.
        outer_arrangements: in how many other arrangements of each task, where a family has several.
        calibration_tasks: how many validation tasks the choice is made on.
    """

    hidden: tuple[int, ...] = (64, 64)
    precision: irl.Precision = "double"
    shots: tuple[int, ...] = (1, 2, 5, 10)
    gd_rates: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0, 3.0)
    adam_rates: tuple[float, ...] = (3e-3, 1e-2, 3e-2)
    test_steps: tuple[int, ...] = (1, 2, 5, 10, 20, 50, 100)
    outer_demonstrations: int = 2
    outer_arrangements: int = 2
    calibration_tasks: int = 16

    def __post_init__(self) -> None:
        fine_tuning.require_tuning(self)


class MaxEntIRL:
    """See the module's docstring; the protocol is ``kshot.types.MetaLearner``."""

    trains = False
    fixed_tasks = False
    adaptation_episodes = 1
    max_evidence: int | None = None

    def __init__(self, spec: FamilySpec, settings: Settings, seed: int, device: str) -> None:
        self.settings, self._device = settings, device
        self._world = irl.world_of(spec)
        sizes = (irl.features_of(spec).shape[-1], *settings.hidden, 1)
        self._params = irl.init_network(sizes, key(seed, "initial parameters"), device, precision=settings.precision)
        self._tuning = FineTuning(settings)

    @property
    def tasks_per_step(self) -> int:
        return 1

    @property
    def calibration_tasks(self) -> int:
        return self.settings.calibration_tasks

    def policy(self) -> PlanningPolicy:
        """The policy of the initial reward."""
        return PlanningPolicy(self._world, {n: x.detach() for n, x in self._params.items()}, device=self._device)

    def meta_step(self, tasks: Sequence[Task], collect: Collect, progress: float) -> Metrics:
        raise RuntimeError("rewards fitted from scratch have no meta-step: the runner must not call it")

    def _loss_on(self, episodes: Episodes) -> fine_tuning.Loss:
        return Demonstrations.of(self._world, episodes, self._device).loss_of

    def calibrate(self, tasks: Sequence[Task], collect: Collect) -> Metrics:
        """See ``kshot.learning.fine_tuning.FineTuning.calibrate``."""
        return self._tuning.calibrate(self._params, tasks, collect, self._loss_on)

    def adapt(self, policy: Policy, evidence: Episodes) -> PlanningPolicy:
        """The policy whose reward is fitted to all demonstrations so far, beginning anew."""
        if not isinstance(policy, PlanningPolicy):
            raise TypeError(f"maximum-entropy IRL cannot adapt a {type(policy).__name__}")
        evidence = irl.added(policy.evidence, evidence)
        return replace(policy, params=self._tuning.adapted(self._params, self._loss_on, evidence), evidence=evidence)

    def explain(self, policy: Policy, demonstrations: Episodes) -> Array:
        """See ``kshot.types.Explains``."""
        return irl.explain(policy, demonstrations)

    def state_dict(self) -> dict[str, Any]:
        return {"params": {n: x.detach() for n, x in self._params.items()}, "recipes": self._tuning.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        with torch.no_grad():
            for name, x in self._params.items():
                x.copy_(state["params"][name])
        self._tuning.load_state_dict(state["recipes"])


def build(spec: FamilySpec, settings: Settings, seed: int, device: str) -> MaxEntIRL:
    return MaxEntIRL(spec, settings, seed, device)
