"""All that a job does before its first episode, so that what it would refuse is known before any job starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kshot import seeding
from kshot.running import build
from kshot.running.evaluate import evidence_points
from kshot.suites.run import RunConfig
from kshot.types import TaskFamily


def refusals(runs: Sequence[RunConfig]) -> Iterator[str]:
    """One line for every row on a family whose jobs would be refused; seeds are alike.

    Args:
        runs: of one suite, fully resolved.
    """
    families: dict[str, TaskFamily | Exception] = {}
    for run in {(run.family, run.algorithm): run for run in runs}.values():
        if run.family not in families:
            families[run.family] = _family(run)
        family = families[run.family]
        try:
            if isinstance(family, Exception):
                raise family
            _begin(run, family)
        except Exception as error:  # a plug-in may raise anything; here it is one line, in a job it would be the end
            name = "" if isinstance(error, (ValueError, OSError)) else f"{type(error).__name__}: "
            yield f"{run.family}/{run.algorithm}: {name}{' '.join(str(error).split())}"


def _family(run: RunConfig) -> TaskFamily | Exception:
    try:
        return build.family(run)
    except Exception as error:
        return error


def _begin(run: RunConfig, family: TaskFamily) -> None:
    tasks = family.tasks(run.evaluation.split, run.evaluation.tasks, run.task_seed)
    if run.kind == "reference":
        family.references[run.algorithm](tasks[:1])
        return
    learner = build.learner(run, family.spec)
    evidence_points(learner, run.evaluation.k)
    family.tasks("train", learner.tasks_per_step, seeding.key(run.seed, "training tasks", 0))
    learner.policy()
