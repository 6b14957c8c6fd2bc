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
    """What came out in one section, in a sentence or two behind its name. Nothing is claimed that seeds cannot carry.

    Gains are those over the test tasks, of the mean over runs. Scores marked ``kshot.reporting.values.HELD`` are to be
    explained beside it.

    The learner with the largest mean comes first; others are named as not separable from it, or as below it, by
    ``kshot.reporting.separation``.
    """
    reached = _reached(results, section, section.judged)
    if not reached:
        return f"{_at(section)}: no learner has results."
    names = sorted(reached, key=lambda name: -reached[name].mean)
    scripted = _reached(results, section, section.references)
    digits = digits_for(point.mean for point in [*reached.values(), *scripted.values()])
    k = None if section.by_trial else section.k
    said = {name: f"{policy_name(name)} {_number(reached[name], digits, k)}" for name in names}
    best, *others = names
    first = mean_cell(reached[best], digits, k)
    sentences = [
        f"{_at(section)}, {METRIC_NAMES[section.metric]}, {_actions(reached.values())}: {policy_name(best)} {first}"
        + " over tasks" * math.isfinite(first.error)
    ]
    fewest = min(reached[name].n_seeds for name in names)
    if others and fewest < MINIMUM_RUNS:
        runs = "single runs decide" if fewest == 1 else f"fewer than {MINIMUM_RUNS} seeds decide"
        sentences[0] += f"; then {', '.join(said[name] for name in others)}; {runs} nothing between learners"
    elif others:
        decided = {name: separated(results, section, best, name).decided for name in others}
        ties = ", ".join(said[name] for name in others if not decided[name])
        below = ", ".join(said[name] for name in others if decided[name])
        sentences[0] += f"; not separable from it: {ties}" * bool(ties) + f"; below it: {below}" * bool(below)
    sentences[0] += "."
    floor, ceiling = scripted.get(TASK_BLIND), scripted.get(ORACLE)
    if floor is not None and not any(_above(results, section, reached[name], floor) for name in names):
        sentences.append("None is above task-blind beyond chance, none shows that it adapts.")
    if section.metric == section.episode_metric and not _gains(results, section, names):
        sentences.append("None gains on its K = 0 beyond chance.")
    bound = ceiling is None or reached[best].mean <= ceiling.mean
    ends = [
        f"{policy_name(name)} {_number(point, digits)}" + " (no bound)" * (name == ORACLE and not bound)
        for name, point in scripted.items()
        if name in _SHOWN
    ]
    sentences += [f"Scripted: {', '.join(ends)}."] * bool(ends)
    sentences += _at_any_step(results, section, best)
    lost = [policy_name(name) for name in section.learners if name not in section.finished]
    if lost:
        sentences.append(f"Without results: {', '.join(lost)}.")
    return " ".join(sentences)


_SHOWN = (TASK_BLIND, ORACLE)


def _at(section: Section) -> str:
    """``at K = 10``; what stands before it names the family."""
    if section.by_trial:
        return f"over a trial of {section.info.episodes_per_trial} episodes"
    return f"after {section.k} demonstrations" if section.demonstrated else f"at K = {section.k}"


def _number(point: Point, digits: int, k: int | None = None) -> str:
    return str(replace(mean_cell(point, digits, k), low=NAN, high=NAN, error=NAN))


def _actions(points: Iterable[Point]) -> str:
    """By which actions learners are compared."""
    kinds = {point.mode for point in points}
    return f"{kinds.pop()} actions" if len(kinds) == 1 else "each by the actions it is meant for"


def _at_any_step(results: Results, section: Section, best: str) -> list[str]:
    """The scores if success at any step counted, where another learner would come first."""
    if section.metric != "success_last":
        return []
    any_step = _reached(results, replace(section, metric="success_any"), section.judged)
    names = sorted(any_step, key=lambda name: -any_step[name].mean)
    if best not in any_step or any_step[names[0]].mean <= any_step[best].mean:
        return []
    shown = ", ".join(f"{policy_name(name)} {_number(any_step[name], 2, section.k)}" for name in names)
    return [f"By success at any step: {shown}."]


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
