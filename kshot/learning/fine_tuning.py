"""Fine-tuning on a new task's demonstrations: the optimiser, its rate and its steps are chosen on validation tasks.

Every task descends on its own loss, all tasks in one batch: gradient descent and Adam act on each parameter alone, so
that on parameters stacked over tasks, [T, ...], and the sum of the tasks' losses they do what they do on each task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from kshot.learning import irl, networks
from kshot.learning.checks import require_at_least_one
from kshot.learning.descent import flushed_denormals
from kshot.learning.networks import Params
from kshot.types import Collect, Episodes, Metrics, Task

Optimiser = Literal["gd", "adam"]
Loss = Callable[[Params], Tensor]
"""Of parameters stacked over T tasks: [T]."""
LARGEST_PARAMETER = 1e5
"""A descent that has led a parameter beyond this has diverged, even if its loss is finite.

Sums of rewards then come near ``planner.ILLEGAL``, and the loss, a difference of such sums, is a rounding error.
"""


class Tuning(Protocol):
    """What a learner's settings say about fine-tuning.

    Numbers of demonstrations that are tuned for; the grid of rates and steps; and how many further demonstrations in
    how many other arrangements of how many validation tasks judge it.
    """

    @property
    def shots(self) -> tuple[int, ...]: ...
    @property
    def gd_rates(self) -> tuple[float, ...]: ...
    @property
    def adam_rates(self) -> tuple[float, ...]: ...
    @property
    def test_steps(self) -> tuple[int, ...]: ...
    @property
    def outer_demonstrations(self) -> int: ...
    @property
    def outer_arrangements(self) -> int: ...
    @property
    def calibration_tasks(self) -> int: ...


def require_tuning(settings: Tuning) -> None:
    """Raise ValueError naming the first setting of the grid that is empty or has a value out of range."""
    require_at_least_one(settings, "outer_demonstrations", "outer_arrangements", "calibration_tasks")
    for name in ("shots", "test_steps"):
        if not getattr(settings, name) or min(getattr(settings, name)) < 1:
            raise ValueError(f"{name} must be numbers from 1 on, got {getattr(settings, name)}")
    for name in ("gd_rates", "adam_rates"):
        if not all(rate > 0 for rate in getattr(settings, name)):
            raise ValueError(f"{name} must be positive, got {getattr(settings, name)}")
    if not settings.gd_rates + settings.adam_rates:
        raise ValueError("gd_rates and adam_rates are both empty: there is nothing to fine-tune with")


@dataclass(frozen=True)
class Recipe:
    """How to fine-tune: an optimiser, its rate and its number of steps."""

    optimiser: Optimiser
    rate: float
    steps: int


def descent(
    params: Params, loss: Loss, optimiser: Optimiser, rate: float, steps: Sequence[int]
) -> Iterator[tuple[int, Params]]:
    """One descent from parameters [T, ...]; yields them at each of the listed numbers of steps, in ascending order."""
    own = {name: x.detach().clone(memory_format=torch.contiguous_format).requires_grad_() for name, x in params.items()}
    kind = {"gd": torch.optim.SGD, "adam": torch.optim.Adam}[optimiser]
    descending = kind(list(own.values()), lr=rate)
    for step in range(1, max(steps) + 1):
        descending.zero_grad()
        with torch.enable_grad():
            total = loss(own).sum()
        with flushed_denormals():
            torch.autograd.backward(total)
        descending.step()
        if step in steps:
            yield step, {name: x.detach().clone() for name, x in own.items()}


class FineTuning:
    """A recipe for every listed number of demonstrations; the first of the grid until one has been chosen."""

    def __init__(self, settings: Tuning) -> None:
        self._settings = settings
        gd: list[tuple[Optimiser, float]] = [("gd", rate) for rate in settings.gd_rates]
        adam: list[tuple[Optimiser, float]] = [("adam", rate) for rate in settings.adam_rates]
        self._grid = gd + adam
        self.recipes = dict.fromkeys(settings.shots, Recipe(*self._grid[0], min(settings.test_steps)))

    def calibrate(
        self, params: Params, tasks: Sequence[Task], collect: Collect, loss_on: Callable[[Episodes], Loss]
    ) -> Metrics:
        """Choose, for every number of demonstrations, the recipe that explains further ones in new arrangements best.

        Args:
            params: where fine-tuning starts, shared by all tasks.
            tasks: validation tasks.
            collect: shows demonstrations of them.
            loss_on: the loss of parameters on demonstrations.

        Returns:
            ``test_steps_<K>``, ``test_rate_<K>`` and ``test_adam_<K>`` (1 or 0) of the recipe for K demonstrations, and
            ``validation_loss_<K>_<steps>`` for all listed steps at its rate, where it is finite.

        Raises:
            FloatingPointError: all recipes diverge.
        """
        s = self._settings
        validation = loss_on(irl.held_out_demonstrations(collect, tasks, s.outer_demonstrations, s.outer_arrangements))
        initial = networks.stack(params, len(tasks))
        metrics: Metrics = {}
        for shots in s.shots:
            loss = loss_on(collect.demonstrations(tasks, shots))
            losses: dict[Recipe, float] = {}
            for optimiser, rate in self._grid:
                for steps, tuned in descent(initial, loss, optimiser, rate, s.test_steps):
                    losses[Recipe(optimiser, rate, steps)] = validation_loss(validation, tuned)
            best = irl.argmin(losses, f"rate and steps for {shots} demonstrations")
            self.recipes[shots] = best
            metrics[f"test_steps_{shots}"] = float(best.steps)
            metrics[f"test_rate_{shots}"] = best.rate
            metrics[f"test_adam_{shots}"] = float(best.optimiser == "adam")
            same_rate = {r.steps: x for r, x in losses.items() if (r.optimiser, r.rate) == (best.optimiser, best.rate)}
            metrics |= validation_losses(shots, same_rate)
        return metrics

    def adapted(self, params: Params, loss_on: Callable[[Episodes], Loss], evidence: Episodes) -> Params:
        """Parameters [T, ...] fine-tuned from shared ones on demonstrations, by the recipe for their number."""
        recipe = irl.chosen_for(self.recipes, evidence.n_episodes)
        initial = networks.stack(params, evidence.n_tasks)
        ((_, tuned),) = descent(initial, loss_on(evidence), recipe.optimiser, recipe.rate, (recipe.steps,))
        return tuned

    def state_dict(self) -> dict[int, dict[str, Any]]:
        return {shots: asdict(recipe) for shots, recipe in self.recipes.items()}

    def load_state_dict(self, state: Mapping[int, Mapping[str, Any]]) -> None:
        self.recipes = {shots: Recipe(**recipe) for shots, recipe in state.items()}


@torch.no_grad()
def validation_loss(loss: Loss, params: Params) -> float:
    """Mean over tasks of their losses; infinite where the parameters [T, ...] of one of them have diverged."""
    if not all((x.abs() <= LARGEST_PARAMETER).all() for x in params.values()):  # NaN is not either
        return float("inf")
    return float(loss(params).mean())


def validation_losses(shots: int, losses: Mapping[int, float]) -> Metrics:
    """``validation_loss_<K>_<steps>`` of losses by numbers of steps; those that are not finite are left out."""
    return {f"validation_loss_{shots}_{steps}": x for steps, x in losses.items() if abs(x) < float("inf")}
