"""The picture of docs/fidelity.md: what was reached, what is published or exact, and the yardsticks between them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kshot import records, registry
from kshot.reporting import style
from kshot.reporting.fidelity import (
    LABELS,
    PICTURE,
    Row,
    Yardstick,
    best_known,
    filed_numbers,
    filed_of,
    yardsticks,
)
from kshot.reporting.figures import _curves
from kshot.reporting.figures._common import evidence_axis, evidence_label, legend_line
from kshot.reporting.figures._curves import Line
from kshot.reporting.labels import EndLabel
from kshot.reporting.looks import Look, looks, reference_line
from kshot.reporting.names import policy_name

_COLUMNS = 2
YARDSTICK: dict[str, Any] = {"marker": r"$\wedge$", "markersize": 5}
PUBLISHED: dict[str, Any] = {"marker": "o", "markerfacecolor": "none", "markersize": 8}
BEST: dict[str, Any] = {"color": style.INK, "linestyle": (0, (1, 2)), "linewidth": 1.2}
Measured = list[tuple[Row, pd.DataFrame]]
"""Rows of one measure with what is filed for them, by K."""


def write_picture(filed: Path) -> Path:
    """Draw all problems that something is filed for, beside the numbers; PNG."""
    with style.context(PICTURE):
        figure = draw(filed)
        style.settle(figure)
        path = filed / PICTURE
        records.write_bytes(path, style.render(figure, "png"))
    return path


def draw(filed: Path) -> Figure:
    """One panel per problem."""
    found = [(item, measured(item, filed_numbers(item.suite, item.family, filed))) for item in yardsticks()]
    found = [(item, rows) for item, rows in found if rows]
    if not found:
        return style.empty("nothing is filed")
    figure, axes = style.panels(-(-len(found) // _COLUMNS), _COLUMNS, height=3.1)
    flat = [panel for row in axes for panel in row]
    for panel, (item, rows) in zip(flat, found, strict=False):
        best = best_known(item, rows[0][0].metric, filed)
        (_ranked if len({k for row, _ in rows for k in row.k}) == 1 else _by_k)(panel, rows, best)
        panel.set_title(item.title)
    for panel in flat[len(found) :]:
        panel.remove()
    names = sorted({row.algorithm for _, rows in found for row, known in rows if _learns(row, known)})
    handles = [legend_line(look, policy_name(name)) for name, look in looks(names).items()]
    handles.append(Line2D([], [], color=style.INK, linestyle="", label="yardstick: at least", **YARDSTICK))
    handles.append(Line2D([], [], color=style.INK, linestyle="", label="published", **PUBLISHED))
    handles.append(Line2D([], [], label="best known return", **BEST))
    style.legend(figure, handles)
    return figure


def measured(item: Yardstick, numbers: pd.DataFrame) -> Measured:
    """The rows of the measure that has the first yardstick, one per learner, as far as their numbers are filed.

    A problem without any yardstick is shown by the measure of its first row.
    """
    metric = next((row.metric for row in item.rows if row.at_least and row.minus is None), item.rows[0].metric)
    chosen: dict[str, tuple[Row, pd.DataFrame]] = {}
    for row in item.rows:
        if row.metric != metric or row.minus is not None or row.algorithm in chosen:
            continue
        known = filed_of(row, numbers)
        known = known[known["k"].isin(row.k)]
        if not known.empty:
            chosen[row.algorithm] = row, known
    return list(chosen.values())


def _learns(row: Row, known: pd.DataFrame) -> bool:
    """Whether the row is a learner's: only training takes steps, and what takes none has a learner's name."""
    return bool((known["steps"] > 0).any()) or row.algorithm.replace("-", "_") in registry.names("algorithms")


def _published(row: Row) -> list[tuple[int, float]]:
    """(K, value) of what is published, without its error."""
    return [(k, float(text.split()[0])) for k, text in zip(row.k, row.published, strict=False)]


def _wanted(row: Row) -> list[tuple[int, float]]:
    return [(k, value) for k, value in zip(row.k, row.at_least, strict=False) if value is not None]


def _ranked(axes: Axes, rows: Measured, best: dict[str, Any] | None) -> None:
    """A problem with one number per policy, from the lowest to the highest; a line at the best known return."""
    if best is not None:
        axes.axvline(best["mean"], zorder=1.4, **BEST)
    of = looks(row.algorithm for row, _ in rows)
    ordered = sorted(rows, key=lambda entry: float(entry[1]["mean"].iloc[0]))
    for y, (row, known) in enumerate(ordered):
        point = known.iloc[0]
        learns = _learns(row, known)
        color = of[row.algorithm].color if learns else style.GREY
        axes.plot([point["mean_lo"], point["mean_hi"]], [y, y], color=color, alpha=0.4, linewidth=5)
        axes.plot(point["mean"], y, of[row.algorithm].marker if learns else ".", color=color, markersize=6)
        for _, value in _published(row):
            _marks(axes, [(value, y)], **PUBLISHED)
        for _, value in _wanted(row):
            _marks(axes, [(value, y - 0.35)], **YARDSTICK)
    axes.set_yticks(range(len(ordered)), [policy_name(row.algorithm) for row, _ in ordered])
    axes.set_ylim(-0.7, len(ordered) - 0.4)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(LABELS[rows[0][0].metric])


def _by_k(axes: Axes, rows: Measured, best: dict[str, Any] | None) -> None:
    """Learners over K, scripted policies as levels or, where they learn too, as curves; the best known return."""
    of = looks(row.algorithm for row, _ in rows)
    if best is not None:
        axes.axhline(best["mean"], zorder=1.4, **BEST)
        EndLabel(axes, float(best["mean"]), f"best known ({policy_name(best['algorithm'])})", style.INK)
    for row, known in rows:
        line = Line.of_frame(known, "k", "mean", "mean_lo", "mean_hi")
        if _learns(row, known):
            _curves.draw(axes, line, of[row.algorithm])
            _marks(axes, _wanted(row), **YARDSTICK)
            _marks(axes, _published(row), **PUBLISHED)
            continue
        color, dashes = reference_line(row.algorithm)
        last = known.iloc[-1]
        if len(known) == 1:
            axes.axhline(last["mean"], color=color, linestyle=dashes, linewidth=1.2, zorder=1.5)
        else:
            _curves.draw(axes, line, Look(color, ".", dashes))
        EndLabel(axes, last["mean"], policy_name(row.algorithm), color, x=None if len(known) == 1 else float(last["k"]))
    evidence_axis(axes, sorted({k for row, _ in rows for k in row.k}))
    axes.set_xlabel(evidence_label("rollouts"))
    axes.set_ylabel(LABELS[rows[0][0].metric])


def _marks(axes: Axes, points: Sequence[tuple[float, float]], **look: Any) -> None:
    for x, y in points:
        axes.plot(x, y, color=style.INK, zorder=5, **look)
