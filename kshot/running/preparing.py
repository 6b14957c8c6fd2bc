"""All that a job does before its first episode, so that what it would refuse is known before any job starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kshot.errors import RecordError, suggest
from kshot.running import build
from kshot.running.evaluate import evidence_points
from kshot.suites.run import RunConfig
from kshot.types import TaskFamily


def refusals(runs: Sequence[RunConfig]) -> Iterator[str]:
    """One line for every family, and every row on one, whose jobs would be refused.

    Args:
        runs: of one suite, fully resolved.
    """
    rows: dict[str, dict[str, RunConfig]] = {}
    for run in runs:  # seeds are alike
        rows.setdefault(run.family, {}).setdefault(run.algorithm, run)
    for name, members in rows.items():
        try:
            family = build.family(next(iter(members.values())))
        except Exception as error:  # a plug-in may raise anything; here it is one line, in a job it would be the end
            yield f"{name}: {_told(error)}"
            continue
        for run in members.values():
            try:
                _begin(run, family)
            except Exception as error:  # likewise
                yield f"{run.family}/{run.algorithm}: {_told(error)}"


def _told(error: Exception) -> str:
    name = "" if isinstance(error, (ValueError, OSError)) else f"{type(error).__name__}: "
    return f"{name}{' '.join(str(error).split())}"


def _begin(run: RunConfig, family: TaskFamily) -> None:
    tasks = build.evaluation_tasks(run, family)
    if run.kind == "reference":
        if run.algorithm not in family.references:
            known = suggest(run.algorithm, family.references)
            raise RecordError(f"the family has no reference policy {run.algorithm!r}{known}; list others in references")
        family.references[run.algorithm](tasks[:1])
        return
    learner = build.learner(run, family.spec)
    evidence_points(learner, run.evaluation.k)
    if learner.trains and run.evidence == "demonstrations":
        _require_demonstrations(run)
    build.training_tasks(run, family, learner, 0)
    build.calibration_tasks(run, family, learner)
    learner.policy()


def _require_demonstrations(run: RunConfig) -> None:
    """Raise RecordError if a training task has fewer demonstrations than the learner asks for at once.

    By the names that settings of learners from demonstrations have in common: making them, to see, would take minutes.
    """
    available = run.family_settings.get("demonstrations")
    shots, further = (run.algorithm_settings.get(name, 0) for name in ("shots", "outer_demonstrations"))
    asked = max(*shots, further) if shots else further
    if available is not None and asked > available:
        raise RecordError(
            f"the learner asks for {asked} different demonstrations of a training task, there are {available}; "
            "raise the family's setting demonstrations"
        )
