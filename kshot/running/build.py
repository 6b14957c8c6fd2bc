"""Builds the family and the learner of a run from their names and settings."""

from __future__ import annotations

from typing import cast

from kshot import registry, seeding
from kshot.suites.run import RunConfig
from kshot.types import FamilySpec, MetaLearner, TaskFamily


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
