"""The answer first: a sentence for each family, and a matrix of learners by families."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kshot.reporting.names import METRIC_NAMES, ORACLE, policy_name
from kshot.reporting.results import Results
from kshot.reporting.schemas import Point
from kshot.reporting.sections import Section
from kshot.reporting.separation import separated
from kshot.reporting.stats import MINIMUM_RUNS
from kshot.reporting.tables._common import mean_cell
from kshot.reporting.values import Cell, digits_for

TASK_BLIND = "task_blind"


def verdict(results: Results, section: Section) -> str:
    """What came out in one section, in a sentence or two behind its name. Nothing is claimed that seeds cannot carry.

    The learner with the largest mean comes first; others are named as not separable from it, or as below it, by
    ``kshot.reporting.separation``.
    """
    reached = _reached(results, section, section.judged)
    if not reached:
        return f"{_at(section)}: no learner has results."
    names = sorted(reached, key=lambda name: -reached[name].mean)
    scripted = _reached(results, section, section.references)
    digits = digits_for(point.mean for point in [*reached.values(), *scripted.values()])
    best, *others = names
    leads = f"{policy_name(best)} {mean_cell(reached[best], digits)}"
    sentences = [f"{_at(section)}, {METRIC_NAMES[section.metric]}: {leads}"]
    if others and min(reached[name].n_seeds for name in names) < MINIMUM_RUNS:
        listed = ", ".join(f"{policy_name(name)} {_number(reached[name], digits)}" for name in others)
        sentences[0] += f"; then {listed}; fewer than {MINIMUM_RUNS} seeds decide nothing between learners"
    elif others:
        decided = {name: separated(results, section, best, name).decided for name in others}
        ties = ", ".join(policy_name(name) for name in others if not decided[name])
        below = ", ".join(f"{policy_name(name)} {_number(reached[name], digits)}" for name in others if decided[name])
        sentences[0] += f"; not separable from it: {ties}" * bool(ties) + f"; below it: {below}" * bool(below)
    ends = [f"{policy_name(name)} {_number(point, digits)}" for name, point in scripted.items() if name in _SHOWN]
    sentences[0] += f". Scripted: {', '.join(ends)}" * bool(ends) + "."
    floor = scripted.get(TASK_BLIND)
    if floor is not None and reached[best].mean <= floor.mean:
        sentences.append("No learner is above task-blind: none shows that it adapts.")
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


def _number(point: Point, digits: int) -> str:
    return str(Cell(point.mean, digits))


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
            found: dict[int | None, Cell] = {k: mean_cell(point, fine) for k, point in points.items() if point}
            if name in compared:
                found[None] = mean_cell(compared[name], digits)
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
