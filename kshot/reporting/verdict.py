"""The answer first: a sentence for each family, and a matrix of learners by families."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from kshot.reporting.names import METRIC_NAMES, ORACLE, policy_name
from kshot.reporting.results import Results
from kshot.reporting.schemas import Point
from kshot.reporting.sections import Section
from kshot.reporting.separation import separated
from kshot.reporting.stats import MINIMUM_RUNS
from kshot.reporting.tables._common import difference, mean_cell
from kshot.reporting.values import NAN, Cell, digits_for

TASK_BLIND = "task_blind"


def verdicts(results: Results, section: Section) -> dict[int | None, str]:
    """What came out after every K that the family was evaluated at, and under None where its learners are compared."""
    return {None: verdict(results, section)} | {k: verdict(results, section.at(k)) for k in section.info.k}


def verdict(results: Results, section: Section) -> str:
    """What came out in one section, in a few sentences behind its name. Nothing is claimed that seeds cannot carry.

    The learner with the largest mean comes first; others are named as not separable from it, or as below it, by
    ``kshot.reporting.separation``. Learners that have not adapted at this K are told apart, and ranked with nobody.
    Gains are those over the test tasks, of the mean over runs: what ``BEYOND_CHANCE`` says.
    """
    reached = _reached(results, section, section.judged)
    if not reached:
        return f"{_at(section)}: no learner has results."
    scripted = _reached(results, section, section.references)
    digits = digits_for(point.mean for point in [*reached.values(), *scripted.values()])
    k = None if section.by_trial else section.k
    order = sorted(reached, key=lambda name: -reached[name].mean)
    waiting = [name for name in order if mean_cell(reached[name], digits, k).held]
    names = [name for name in order if name not in waiting]
    said = {name: f"{policy_name(name)} {_number(reached[name], digits)}" for name in order}
    actions = _actions(reached[name] for name in names or waiting)
    sentences = [f"{_at(section)}, {METRIC_NAMES[section.metric]}, {actions}: "]
    if names:
        sentences[0] += f"{policy_name(names[0])} {mean_cell(reached[names[0]], digits, k)}"
        sentences[0] += _others(results, section, reached, names, said) + "."
        sentences += [f"Not adapted yet: {', '.join(said[name] for name in waiting)}."] * bool(waiting)
        sentences += _shortfalls(results, section, [reached[name] for name in names], scripted.get(TASK_BLIND))
    else:
        sentences[0] += f"none has adapted yet ({', '.join(said[name] for name in waiting)})."
    ceiling = scripted.get(ORACLE)
    bound = ceiling is None or max(point.mean for point in reached.values()) <= ceiling.mean
    ends = [
        f"{policy_name(name)} {_number(point, digits)}" + " (no bound)" * (name == ORACLE and not bound)
        for name, point in scripted.items()
        if name in _SHOWN
    ]
    sentences += [f"Scripted: {', '.join(ends)}."] * bool(ends)
    lost = [policy_name(name) for name in section.learners if name not in section.finished]
    if lost:
        sentences.append(f"Without results: {', '.join(lost)}.")
    return " ".join(sentences)


def _others(
    results: Results, section: Section, reached: dict[str, Point], names: Sequence[str], said: dict[str, str]
) -> str:
    """How the other learners stand beside the first of ``names``, and who would be first at any step."""
    best, *others = names
    fewest = min(reached[name].n_seeds for name in names)
    text = _at_any_step(results, section, names)
    if others and fewest < MINIMUM_RUNS:
        runs = "single runs" if fewest == 1 else f"fewer than {MINIMUM_RUNS} seeds"
        text += f"; then {', '.join(said[name] for name in others)} ({runs}: no ranking)"
    elif fewest < MINIMUM_RUNS:
        text += " in a single run" if fewest == 1 else f" in {fewest} runs"
    elif others:
        decided = {name: separated(results, section, best, name).decided for name in others}
        ties = ", ".join(said[name] for name in others if not decided[name])
        below = ", ".join(said[name] for name in others if decided[name])
        text += f"; not separable from it: {ties}" * bool(ties) + f"; below it: {below}" * bool(below)
    return text


def _shortfalls(results: Results, section: Section, points: Sequence[Point], floor: Point | None) -> list[str]:
    """What none of the learners that have adapted is better than."""
    short = []
    if floor is not None and not any(_above(results, section, point, floor) for point in points):
        short.append("task-blind")
    if section.metric == section.episode_metric and not _gains(results, section, [p.algorithm for p in points]):
        short.append("its own K = 0")
    return [f"None beats {' or '.join(short)} beyond chance."] * bool(short)


BEYOND_CHANCE = "Beyond chance: the 95 % interval of the difference, over the test tasks, is above 0."
"""What the words mean in these sentences."""
_SHOWN = (TASK_BLIND, ORACLE)


def _at(section: Section) -> str:
    """``at K = 10``; what stands before it names the family."""
    if section.by_trial:
        return f"over a trial of {section.info.episodes_per_trial} episodes"
    return f"after {section.k} demonstrations" if section.demonstrated else f"at K = {section.k}"


def _number(point: Point, digits: int) -> str:
    return str(replace(mean_cell(point, digits), low=NAN, high=NAN, error=NAN))


def _actions(points: Iterable[Point]) -> str:
    """By which actions learners are compared."""
    kinds = {point.mode for point in points}
    return f"{kinds.pop()} actions" if len(kinds) == 1 else "each by the actions it is meant for"


def _at_any_step(results: Results, section: Section, names: Sequence[str]) -> str:
    """Who would come first of ``names`` if success at any step counted, where it is not the first of them."""
    if section.metric != "success_last":
        return ""
    any_step = _reached(results, replace(section, metric="success_any"), names)
    first = max(any_step, key=lambda name: any_step[name].mean, default=names[0])
    if names[0] not in any_step or any_step[first].mean <= any_step[names[0]].mean:
        return ""
    shown = ", ".join(f"{policy_name(name)} {_number(any_step[name], 2)}" for name in (first, names[0]))
    return f" (at any step {shown})"


def _above(results: Results, section: Section, point: Point, floor: Point) -> bool:
    """Whether a learner is above the task-blind policy beyond chance, over the tasks; else, by means."""
    names = (point.algorithm, TASK_BLIND)
    scored, blind = (results.task_values(section.family, name, section.metric, section.k) for name in names)
    low = NAN if scored is None or blind is None else difference("above", scored, blind)["above_lo"]
    return bool(low > 0) if math.isfinite(low) else point.mean > floor.mean


def _gains(results: Results, section: Section, names: Sequence[str]) -> bool:
    """Whether there is a learner that is better at the section's K than at K = 0, over the tasks, or none is known."""
    ends = []
    for name in names:
        before, after = (results.task_values(section.family, name, section.metric, k) for k in (0, section.k))
        if before is not None and after is not None and section.k > 0:
            ends.append(difference("gain", after, before)["gain_lo"])
    return not ends or any(not low <= 0 for low in ends)


def _reached(results: Results, section: Section, names: Sequence[str]) -> dict[str, Point]:
    """The headline scores of some policies at the K of the section."""
    points = {name: results.summary.point(section.family, name, section.metric, section.k) for name in names}
    return {name: point for name, point in points.items() if point is not None}


@dataclass(frozen=True)
class Matrix:
    """Headline scores of learners by families, for every K.

    Attributes:
        ks: every K that a family of the matrix was evaluated at, increasing.
        families: (title, what is measured, the K at which its learners are compared, or None for a trial).
        learners: from top to bottom.
        scripted: below them.
        cells: by (policy, index of the family): the value at every K that the policy reaches, and under None the one at
            which its learners are compared.
    """

    ks: Sequence[int]
    families: Sequence[tuple[str, str, int | None]]
    learners: Sequence[str]
    scripted: Sequence[str]
    cells: dict[tuple[str, int], dict[int | None, Cell]]

    def values(self, policy: str) -> list[dict[int | None, Cell]]:
        """A policy's values, by K, in every family."""
        return [self.cells.get((policy, i), {}) for i in range(len(self.families))]

    @property
    def every(self) -> Iterator[Cell]:
        """All values."""
        return (cell for found in self.cells.values() for cell in found.values())


def _counted(point: Point) -> str:
    """How many runs there are of how many, where some are not there."""
    return f"{point.n_seeds}/{point.n_seeds_expected} runs" if point.n_seeds < point.n_seeds_expected else ""


def _episode_digits(results: Results, section: Section) -> int:
    policies = (*section.finished, *section.references)
    curves = (results.summary.curve(section.family, name, section.episode_metric) for name in policies)
    return digits_for(point.mean for curve in curves for point in curve)


def matrix(results: Results, sections: Sequence[Section]) -> Matrix:
    """The headline scores of some sections."""
    learners = dict.fromkeys(name for section in sections for name in section.learners)
    scripted = dict.fromkeys(name for section in sections for name in section.references)
    cells: dict[tuple[str, int], dict[int | None, Cell]] = {}
    for i, section in enumerate(sections):
        compared = _reached(results, section, [*section.judged, *section.references])
        digits = digits_for(point.mean for point in compared.values())
        fine = digits if section.metric == section.episode_metric else _episode_digits(results, section)
        for name in (*section.finished, *section.references):
            # By K, single episodes; what a trial collects has no K.
            points = {k: results.summary.point(section.family, name, section.episode_metric, k) for k in section.info.k}
            found: dict[int | None, Cell] = {
                k: replace(mean_cell(point, fine, k), note=_counted(point)) for k, point in points.items() if point
            }
            if name in compared:
                at = None if section.by_trial else section.k
                found[None] = replace(mean_cell(compared[name], digits, at), note=_counted(compared[name]))
            cells[name, i] = found
    return Matrix(
        ks=sorted({k for section in sections for k in section.info.k}),
        families=[
            (section.title, METRIC_NAMES[section.metric], None if section.by_trial else section.k)
            for section in sections
        ],
        learners=list(learners),
        scripted=list(scripted),
        cells=cells,
    )
