"""All that a job does before its first episode, so that what it would refuse is known before any job starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from kshot import registry
from kshot.errors import RecordError, suggest
from kshot.running import build
from kshot.running.evaluate import evidence_points
from kshot.suites.document import KeyPath
from kshot.suites.locating import Fault, faults, place, told
from kshot.suites.model import AlgorithmRow, FamilyCell, FamilyOverride
from kshot.suites.run import RunConfig
from kshot.types import MetaLearner, TaskFamily


def refusals(
    runs: Sequence[RunConfig], cells: Mapping[str, FamilyCell], rows: Mapping[str, AlgorithmRow]
) -> Iterator[Fault]:
    """One fault for everything for which jobs would be refused, with its path in the suite.

    Args:
        runs: of one suite, fully resolved.
        cells: families by name, with what can be built of the settings given; those without runs are only built.
        rows: of the suite as it is given, by name.
    """
    members: dict[str, dict[str, RunConfig]] = {name: {} for name in cells}
    for run in runs:  # seeds are alike
        members[run.family].setdefault(run.algorithm, run)
    for name, cell in cells.items():
        found, family = faults(cell.settings, partial(_built, cell))
        yield from (Fault(("families", name, "settings", *fault.path), fault.text) for fault in found)
        if found or family is None or not members[name]:
            continue
        first = next(iter(members[name].values()))
        try:
            tasks = build.evaluation_tasks(first, family)
        except Exception as error:  # a plug-in may raise anything; here it is one line, in a job it would be the end
            text = told(error).removeprefix(f"family {name!r}: ")
            yield Fault(("families", name, "evaluation", "tasks"), text)
            continue
        for run in members[name].values():
            if run.kind == "reference":
                yield from _reference(run, family, tasks[:1], cell)
            else:
                yield from _learner(run, family, rows[run.algorithm])


def _built(cell: FamilyCell, settings: dict[str, Any]) -> TaskFamily:
    module = registry.load("envs", str(cell.family))
    found: TaskFamily = module.build(registry.settings(module, settings))
    return found


def _reference(run: RunConfig, family: TaskFamily, tasks: Sequence[Any], cell: FamilyCell) -> Iterator[Fault]:
    path: KeyPath = ("families", run.family, "references", cell.references.index(run.algorithm))
    if run.algorithm not in family.references:
        known = suggest(run.algorithm, family.references)
        yield Fault(path, f"the family has no reference policy {run.algorithm!r}{known}; list others in references")
        return
    try:
        family.references[run.algorithm](tasks)
    except Exception as error:  # likewise
        yield Fault(path, f"{run.algorithm!r} cannot be made: {told(error)}")


def _learner(run: RunConfig, family: TaskFamily, row: AlgorithmRow) -> Iterator[Fault]:
    """The first step at which a learner's jobs would be refused: the next ones need it."""
    override = row.families.get(run.family, FamilyOverride())
    places: list[tuple[KeyPath, Mapping[str, Any]]] = [
        (("algorithms", run.algorithm, "families", run.family, "settings"), override.settings),
        (("algorithms", run.algorithm, "settings"), row.settings),
    ]
    of_family: KeyPath = ("families", run.family)
    path: KeyPath = ()
    try:
        learner = build.learner(run, family.spec)
        path = (*of_family, "evaluation", "k")
        if text := _no_evidence(learner, run.evaluation.k):
            yield Fault(path, f"for {run.algorithm!r}, {text}")
            return
        if learner.trains and run.evidence == "demonstrations" and (text := _too_few_demonstrations(run)):
            yield Fault((*of_family, "settings", "demonstrations"), f"for {run.algorithm!r}, {text}")
            return
        path = ()
        build.training_tasks(run, family, learner, 0)
        build.calibration_tasks(run, family, learner)
        learner.policy()
    except Exception as error:  # likewise
        text = told(error)
        if path:
            yield Fault(path, f"for {run.algorithm!r}, {text}")
            return
        found = next(((*where, *at) for where, given in places if (at := place(text, given))), None)
        text = text.removeprefix(f"family {run.family!r}: ")
        yield Fault(found or ("algorithms", run.algorithm), f"on family {run.family!r}: {text}")


def _no_evidence(learner: MetaLearner, points: Sequence[int]) -> str:
    """Why a run would show no adaptation, which ``evidence_points`` refuses; empty where it would."""
    try:
        evidence_points(learner, points)
    except RecordError as error:
        if learner.max_evidence is None:
            return str(error)
        block, limit = learner.adaptation_episodes, learner.max_evidence
        return f"the learner takes in at most {limit} episodes of a task, but evaluation.k is {list(points)}; list " + (
            f"{block} to {limit}" if block < limit else f"{limit}"
        )
    return ""


def _too_few_demonstrations(run: RunConfig) -> str:
    """What is wrong where a training task has fewer demonstrations than the learner asks for at once, else empty.

    By the names that settings of learners from demonstrations have in common: making them, to see, would take minutes.
    """
    available = run.family_settings.get("demonstrations")
    shots, further = (run.algorithm_settings.get(name, 0) for name in ("shots", "outer_demonstrations"))
    asked = max(*shots, further) if shots else further
    if available is None or asked <= available:
        return ""
    return (
        f"the learner asks for {asked} different demonstrations of a training task, there are {available}; "
        "raise the family's setting demonstrations"
    )
