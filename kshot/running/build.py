"""Builds the family and the learner of a run from their names and settings."""

from __future__ import annotations

from typing import cast

from kshot import registry, seeding
from kshot.errors import RecordError
from kshot.suites.run import RunConfig
from kshot.types import Calibrated, FamilySpec, MetaLearner, Split, Task, TaskFamily


def family(run: RunConfig) -> TaskFamily:
    """The run's task family."""
    module = registry.load("envs", run.family_module)
    return cast(TaskFamily, module.build(registry.settings(module, run.family_settings)))


def learner(run: RunConfig, spec: FamilySpec) -> MetaLearner:
    """The run's algorithm at its initial parameters. Raises ValueError for a reference policy, which has none."""
    if run.algorithm_module is None:
        raise ValueError(f"{run.algorithm!r} is a reference policy of {run.family!r}: there is nothing to train")
    module = registry.load("algorithms", run.algorithm_module)
    settings = registry.settings(module, run.algorithm_settings)
    # The algorithm's module is part of the key, the row's name is not: renaming a row changes no number.
    seed = seeding.key(run.seed, "learner", run.algorithm_module)
    return cast(MetaLearner, module.build(spec, settings, seed, run.device))


def evaluation_tasks(run: RunConfig, family: TaskFamily) -> list[Task]:
    """The tasks to evaluate on, the same for all runs of a suite on this family. Raises RecordError for too many."""
    return _tasks(run, family, run.evaluation.split, run.evaluation.tasks, run.task_seed)


def training_tasks(run: RunConfig, family: TaskFamily, learner: MetaLearner, iteration: int) -> list[Task]:
    """Those of a meta-step. Raises RecordError for too many."""
    draw = 0 if learner.fixed_tasks else iteration
    return _tasks(run, family, "train", learner.tasks_per_step, seeding.key(run.seed, "training tasks", draw))


def calibration_tasks(run: RunConfig, family: TaskFamily, learner: MetaLearner) -> list[Task]:
    """Those on which a learner chooses something after its training, if it does. Raises RecordError for too many."""
    if not isinstance(learner, Calibrated):
        return []
    return _tasks(run, family, "validation", learner.calibration_tasks, seeding.key(run.seed, "calibration"))


def _tasks(run: RunConfig, family: TaskFamily, split: Split, number: int, seed: int) -> list[Task]:
    try:
        return family.tasks(split, number, seed)
    except ValueError as error:  # a finite split with fewer tasks than are asked for
        raise RecordError(f"family {run.family!r}: {error}") from None
