"""How much less than the best possible is earned, for every K, and the difference from learning without other tasks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from kshot.reporting import stats
from kshot.reporting.names import VALUE_DIFFERENCE, policy_name
from kshot.reporting.results import Results
from kshot.reporting.schemas import Point
from kshot.reporting.sections import Section
from kshot.reporting.tables._common import Entry, part, row
from kshot.reporting.values import Cell, Part, Row, Table, Value, digits_for

PLACES = {"curves": 15}
CAPTION = (
    "The best possible expected return of an episode less what it returned, by the actions that each learner is "
    "meant to be tested with: mean over runs and tasks "
    "± standard error over test tasks (and the median over tasks: a few that were misunderstood can make up most "
    "of a mean). Rows with a minus: the difference on the same tasks with the same seeds, mean ± 2 standard errors "
    "over tasks; below 0 the first loses less. Where rewards are drawn, luck can make a value negative. Scripted "
    "policies, which do not adapt, stand under the largest K."
)
ByK = dict[int, Point]
"""The points of a policy that answer for each K."""


def build(results: Results) -> Table:
    numbers: list[Entry] = []
    parts: list[Part] = []
    for section in results.sections:
        learners = {name: _by_k(results, section, name) for name in section.learners if section.demonstrated}
        learners = {name: points for name, points in learners.items() if points}
        if learners:
            entries, rows = _compared(results, section, learners)
            numbers += entries
            parts.append(part(section, rows))
    title, sources = "Expected value difference after K demonstrations", ("summary.csv", "tasks.parquet")
    return Table("value_difference", title, CAPTION, numbers, parts, sources, PLACES)


def _by_k(results: Results, section: Section, name: str) -> ByK:
    points = {k: results.summary.point(section.family, name, VALUE_DIFFERENCE, k) for k in section.info.k}
    return {k: point for k, point in points.items() if point is not None}


def _compared(results: Results, section: Section, learners: Mapping[str, ByK]) -> tuple[list[Entry], list[Row]]:
    """Numbers and rows of a section: of its learners, of what sets them apart, of scripted policies."""
    policies = dict(learners)
    for name in section.references:
        point = results.summary.point(section.family, name, VALUE_DIFFERENCE, "all")
        policies |= {name: {section.info.k[-1]: point}} if point else {}
    entries = {name: {k: _entry(results, point) for k, point in by_k.items()} for name, by_k in policies.items()}
    # Decimals are those of the best learner: others can be a hundred times worse, and a prior is, alone.
    most = [max((abs(e["mean"]) for k, e in entries[name].items() if k), default=np.nan) for name in learners]
    digits = digits_for([min(most)])
    shown = {name: _row(results, section, name, by_k, digits) for name, by_k in entries.items()}
    scratch = next((n for n in learners if results.grid.pairs[section.family, n].from_scratch), None)
    minus = [
        _minus(results, section, (name, scratch), (by_k, learners[scratch]), entries[name], digits)
        for name, by_k in learners.items()
        if scratch is not None and name != scratch
    ]
    rows = [*(shown[name] for name in learners), *minus, *(shown[name] for name in shown if name not in learners)]
    return [entry for by_k in entries.values() for entry in by_k.values()], rows


def _entry(results: Results, point: Point) -> Entry:
    """One policy at one K as plain numbers."""
    tasks = results.tasks.at(point)
    kept = ("family", "algorithm", "kind", "mode", "k", "mean", "mean_lo", "mean_hi", "task_se", "n_seeds", "n_tasks")
    entry: Entry = {name: getattr(point, name) for name in kept}
    return entry | {"median": float(tasks.median()) if tasks is not None and len(tasks) else np.nan}


def _row(results: Results, section: Section, name: str, entries: Mapping[int, Entry], digits: int) -> Row:
    values: dict[str, Value] = dict.fromkeys((f"K = {k}" for k in section.info.k), "")
    for k, entry in entries.items():
        values[f"K = {k}"] = Cell(entry["mean"], digits, error=entry["task_se"], median=entry["median"])
    return row(results.grid, section, name, values)


def _minus(
    results: Results,
    section: Section,
    names: tuple[str, str],
    points: tuple[ByK, ByK],
    entries: Mapping[int, Entry],
    digits: int,
) -> Row:
    """The row of differences between the first learner and the second; its numbers are added to the first's entries."""
    values: dict[str, Value] = dict.fromkeys((f"K = {k}" for k in section.info.k), "")
    seeds = [results.scores.seeds(section.family, name, VALUE_DIFFERENCE) for name in names]
    for k in points[0].keys() & points[1].keys() if seeds[0] == seeds[1] else ():
        pair = [results.tasks.at(by_k[k]) for by_k in points]
        both = pd.concat(pair, axis=1, join="inner").to_numpy(dtype=np.float64)
        found = stats.paired_difference(both[:, 0], both[:, 1])
        entries[k].update(minus=names[1], difference=found.mean, difference_se=found.se, difference_tasks=found.n)
        values[f"K = {k}"] = Cell(found.mean, digits, error=2 * found.se)
    values["runs"] = "" if seeds[0] == seeds[1] else "other seeds"
    return Row(" minus ".join(map(policy_name, names)), values)
