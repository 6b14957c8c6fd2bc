"""Mean-gradient pre-training, then fine-tuning: the supervised baseline of Xu et al. 2019 (arXiv 1805.12573, sec. 5).

One reward is trained on the demonstrations of all training tasks together: their pooled maximum-entropy IRL loss, which
is MandRIL's outer loss without inner steps. On a new task it is where fine-tuning starts, and that is done and tuned as
for rewards from scratch (``maxent_irl``). What MandRIL gains beyond it comes from training for adaptation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from kshot.algorithms import maxent_irl
from kshot.learning import irl
from kshot.learning.checks import check_finite, require_at_least_one, require_positive
from kshot.learning.descent import decayed_lr, descend
from kshot.types import Collect, FamilySpec, Metrics, Task

EVIDENCE = maxent_irl.EVIDENCE
ACTIONS = maxent_irl.ACTIONS
TEST_ACTIONS = maxent_irl.TEST_ACTIONS


@dataclass(frozen=True)
class Settings(maxent_irl.Settings):
    """Hyper-parameters of pre-training; the others are those of ``maxent_irl``, for the fine-tuning.

    Demonstrations per task, ``outer_demonstrations`` and ``outer_arrangements``, are those of training too.

    Attributes:
        meta_batch: tasks per step.
        lr: Adam's learning rate at the start.
        lr_end: the share of ``lr`` left at the end; it falls linearly from 60 % of the budget on.
        max_gradient_norm: bound on the norm of the gradient.
    """

    meta_batch: int = 8
    lr: float = 3e-3
    lr_end: float = 0.05
    max_gradient_norm: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least_one(self, "meta_batch")
        require_positive(self, "lr", "max_gradient_norm")


class PretrainedIRL(maxent_irl.MaxEntIRL):
    """Maximum-entropy IRL from pre-trained initial parameters."""

    trains = True
    settings: Settings

    def __init__(self, spec: FamilySpec, settings: Settings, seed: int, device: str) -> None:
        super().__init__(spec, settings, seed, device)
        for x in self._params.values():
            x.requires_grad_()
        self._optimizer = torch.optim.Adam(list(self._params.values()), lr=settings.lr)

    @property
    def tasks_per_step(self) -> int:
        return self.settings.meta_batch

    def meta_step(self, tasks: Sequence[Task], collect: Collect, progress: float) -> Metrics:
        s = self.settings
        loss_on = self._loss_on(
            irl.held_out_demonstrations(collect, tasks, s.outer_demonstrations, s.outer_arrangements)
        )
        loss = loss_on(self._params).mean()
        check_finite("the pooled loss", loss)
        norm = descend(self._optimizer, loss, [decayed_lr(s.lr, s.lr_end, progress)], s.max_gradient_norm)
        return {"loss": float(loss.detach()), "gradient_norm": norm}

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "optimizer": self._optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._optimizer.load_state_dict(state["optimizer"])


def build(spec: FamilySpec, settings: Settings, seed: int, device: str) -> PretrainedIRL:
    return PretrainedIRL(spec, settings, seed, device)
