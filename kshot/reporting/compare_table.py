"""The table of a comparison, as values."""

from __future__ import annotations

import numpy as np

from kshot.reporting.compare import Compared, Comparison, View, measure, numbers
from kshot.reporting.compare_stats import LEVEL
from kshot.reporting.names import METRIC_NAMES
from kshot.reporting.schemas import Point
from kshot.reporting.values import Cell, Part, Row, Table, Value, digits_for

NAME = "compare"


def table(comparison: Comparison) -> Table:
    """Every section's headline comparison, then the differences by K."""
    sections = list(dict.fromkeys(row.section for row in comparison.rows))
    parts = []
    for section in sections:
        rows = [row for row in comparison.rows if row.section == section]
        parts.append(Part(section, rows[0].evidence, [_headline(comparison, row) for row in rows], head="learner"))
        curves = [Row(row.name, {f"K = {view.k}": _difference(view) for view in row.by_k}) for row in rows if row.by_k]
        if curves:
            metric = next(view.metric for row in rows for view in row.by_k)
            title = f"{section}: B minus A by K, {METRIC_NAMES[metric]}"
            parts.append(Part(title, rows[0].evidence, curves, head="learner"))
    sources = ("summary.csv", "scores.csv", "tasks.parquet", "cells.csv of both sides")
    title = f"A: {comparison.a.source}, B: {comparison.b.source}"
    return Table(NAME, title, caption(comparison), numbers(comparison), parts, sources)


def caption(comparison: Comparison) -> str:
    """How to read the table."""
    return (
        "A and B: mean over runs, with the interval or range that reports give. B minus A: difference of the means, "
        "on the same test tasks where both sides have these, with a 95 % t interval over seeds and test tasks; "
        "with fewer than three seeds on a side it is over tasks alone, takes the runs as given and allows no test. p: "
        f"two-sided, corrected (Holm) for all {comparison.tested} comparisons by headline measure at the K given, so "
        f"that at most {100 * LEVEL:.0f} % of comparisons of one thing with itself name any learner. The test takes "
        "scores of runs to be roughly normal: where runs of a learner end either high or low, three or four seeds can "
        "all be high on one side and low on the other. Differences by K are for reading and are not tested."
    )


def _headline(comparison: Comparison, row: Compared) -> Row:
    view = row.headline
    digits = digits_for(point.mean for point in (view.a, view.b) if point is not None)
    outside = comparison.b.source if comparison.b.outside else ""
    values: dict[str, Value] = {
        "measure": measure(view),
        "A": _mean(view.a, digits, ""),
        "B": _mean(view.b, digits, outside),
    }
    values["B minus A"] = _difference(view)
    values["p"] = _p(row.corrected)
    values["verdict"] = row.verdict
    for title, point in (("seeds A", view.a), ("seeds B", view.b)):
        values[title] = "" if point is None else f"{point.n_seeds}/{point.n_seeds_expected}"
    return Row(row.name, values)


def _mean(point: Point | None, digits: int, note: str) -> Value:
    if point is None:
        return ""
    return Cell(point.mean, digits, point.mean_lo, point.mean_hi, point.n_seeds, note=note)


def _difference(view: View) -> Value:
    found = view.contrast
    if found is None:
        return ""
    alone = np.isfinite(found.lo) and not found.tested
    digits = digits_for(point.mean for point in (view.a, view.b) if point is not None)
    return Cell(found.difference, digits, found.lo, found.hi, note="over tasks alone" * bool(alone))


def _p(value: float) -> str:
    """Three decimals."""
    if not np.isfinite(value):
        return ""
    return "< 0.001" if value < 0.0005 else f"{value:.3f}"
