"""What several tables share: numbers as columns, policies, runs, and what captions say of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from kshot.reporting import stats
from kshot.reporting.grid import Grid
from kshot.reporting.names import DEMONSTRATIONS, FROM_DEMONSTRATIONS, policy_name
from kshot.reporting.results import Results
from kshot.reporting.schemas import Point
from kshot.reporting.sections import Section
from kshot.reporting.values import Cell, Part, Row, Value, digits_for, marks_said
from kshot.types import Evidence

Entry = dict[str, Any]
"""A row of a table's CSV file: plain numbers by column."""
_SCALE = (
    "Normalised: 0 is the random policy, 1 the scripted oracle, which knows the task but is a program and no bound, so "
    "that scores can exceed 1."
)


def scale_said(numbers: Iterable[Entry]) -> list[str]:
    """What a caption says of normalised scores: a sentence, or none where no family has both ends of the scale."""
    return [_SCALE] if any(np.isfinite(entry["normalised"]) for entry in numbers) else []


def part(section: Section, rows: Iterable[Row], **kwargs: Any) -> Part:
    """The part of a table that belongs to a section."""
    return Part(section.title, section.evidence, tuple(rows), **kwargs)


def row(grid: Grid, section: Section, name: str, values: Mapping[str, Value]) -> Row:
    """The row of a policy; its last column says how many runs there are."""
    return Row(policy_name(name), {**values, "runs": runs(grid, section, name)}, name in section.references)


def over_families(results: Results, evidence: Evidence, rows: Iterable[Row], head: str = "policy") -> Part:
    """The part of a table over all families; it needs a title only where learners differ in their evidence."""
    own = "from own episodes" if len(results.summary.evidences) > 1 else ""
    return Part(FROM_DEMONSTRATIONS if evidence == DEMONSTRATIONS else own, evidence, tuple(rows), head)


def of_evidence(results: Results, evidence: Evidence) -> list[Section]:
    """The sections of learners that adapt on one kind of evidence."""
    return [section for section in results.sections if section.evidence == evidence]


def compared_at(results: Results) -> str:
    """``point 20, bandit a trial``: the K of every section."""
    texts = []
    for section in results.sections:
        at = "a trial" if section.by_trial else str(section.k)
        texts.append(f"{section.family} {at}" + f" {FROM_DEMONSTRATIONS}" * section.demonstrated)
    return ", ".join(texts)


def runs(grid: Grid, section: Section, name: str) -> Value:
    """How many runs count, or ``scripted`` for a policy that nobody trains."""
    return "scripted" if name in section.references else grid.run_counts[section.family, name]


def columns(key: str, point: Point | None) -> Entry:
    """A point's mean and what goes with it as columns ``<key>``, ``<key>_lo`` and so on; NaN where there is none.

    ``<key>_k`` is the evidence that the policy has used, ``<key>_n`` the number of runs.
    """
    taken = {"_k": "k", "": "mean", "_lo": "mean_lo", "_hi": "mean_hi", "_n": "n_seeds"}
    return {key + end: np.nan if point is None else getattr(point, name) for end, name in taken.items()}


def cell(entry: Mapping[str, Any], key: str, digits: int, **kwargs: Any) -> Cell:
    """Columns ``<key>``, ``<key>_lo`` and ``<key>_hi`` of an entry as one value.

    ``<key>_n`` says how many runs are behind it; where the entry has no such column, the ends are an interval's.
    """
    value, low, high = (float(entry[name]) for name in (key, f"{key}_lo", f"{key}_hi"))
    return Cell(value, digits, low, high, entry.get(f"{key}_n", np.inf), **kwargs)


def mean_cell(point: Point, digits: int, k: int | None = None) -> Cell:
    """A point's mean over runs; with too few for an interval over seeds, beside its standard error over the test tasks.

    ``k``: the episodes of evidence that there were, of which a learner may use fewer.
    """
    held = k is not None and point.k < k and point.kind == "algorithm"
    # Where all tasks come out the same, as at 0 of 50, the standard error is 0, which is no certainty.
    error = np.nan if np.isfinite(point.mean_lo) or round(point.task_se, digits) == 0 else point.task_se
    return Cell(point.mean, digits, point.mean_lo, point.mean_hi, point.n_seeds, error=error, held=held)


def brackets(runs: Iterable[float]) -> str:
    """What stands in the brackets of a table, or in its bands, whose numbers come from so many runs each."""
    counts = sorted({int(n) for n in runs if n >= stats.MINIMUM_RUNS})
    ranges = " or ".join(str(n) for n in counts if stats.is_range(n))
    if not counts:
        return "without an interval: fewer than three seeds"
    if not ranges:
        return "with 95 % bootstrap interval over seeds"
    if stats.is_range(counts[-1]):
        return f"with the range of {ranges} seeds, from the lowest to the highest [a to b], which is no interval"
    return f"with 95 % bootstrap interval over seeds [a, b] or, where there are too few, the range of {ranges} [a to b]"


def marks_in(parts: Iterable[Part]) -> str:
    """What the marks in the cells of a table mean, for its caption."""
    return " ".join(marks_said(value for part in parts for row in part.rows for value in row.values.values()))


def difference(key: str, after: pd.Series[float], before: pd.Series[float]) -> Entry:
    """Columns of the paired difference over the tasks that both have."""
    both = pd.concat([before, after], axis=1, join="inner").to_numpy(dtype=np.float64)
    found = stats.paired_difference(both[:, 1], both[:, 0])
    return {
        key: found.mean,
        f"{key}_lo": found.lo,
        f"{key}_hi": found.hi,
        f"{key}_se": found.se,
        f"{key}_tasks": found.n,
    }


def by_k(
    results: Results, section: Section, metric: str, more_digits: int = 0, measure: str = ""
) -> tuple[list[Entry], list[Part]]:
    """Every policy's curve over K with its intervals: plain numbers, and one part if learners have any."""
    family, ks = section.family, section.info.k
    curves = {name: {k: results.summary.point(family, name, metric, k) for k in ks} for name, _ in section.policies}
    reached = {name: {k: point for k, point in curve.items() if point is not None} for name, curve in curves.items()}
    reached = {name: points for name, points in reached.items() if points}
    digits = more_digits + digits_for(point.mean for points in reached.values() for point in points.values())
    numbers: list[Entry] = []
    rows = []
    for name, points in reached.items():
        for k, point in points.items():
            entry: Entry = {"family": family, "algorithm": name, "evidence": section.evidence, "metric": metric, "k": k}
            entry |= {"kind": point.kind, "used_k": point.k, "mode": point.mode, "mean_n": point.n_seeds}
            kept = ("mean", "mean_lo", "mean_hi", "mean_lo_tasks", "mean_hi_tasks", "iqm", "n_seeds")
            numbers.append(entry | {key: getattr(point, key) for key in (*kept, "adaptation_steps")})
        values: dict[str, Value] = {f"K = {k}": mean_cell(points[k], digits, k) if k in points else "" for k in ks}
        values["actions"] = next(iter(points.values())).mode
        rows.append(row(results.grid, section, name, values))
    learnt = any(name in section.learners for name in reached)
    return numbers, [part(section, rows, measure=measure)] if learnt else []


def evidence_used(steps: float) -> str:
    """``1,500 steps``: how much a policy has used; empty for a scripted one."""
    return f"{steps:,.0f} steps" if np.isfinite(steps) else ""
