"""The figure of a comparison: what every learner reached on both sides, and the difference with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kshot.reporting import style
from kshot.reporting.compare import Compared, Comparison, measure
from kshot.reporting.compare_stats import LEVEL
from kshot.reporting.looks import Look, looks
from kshot.reporting.schemas import Point

CAPTION = (
    "Left: mean over runs on side A (hollow) and side B (filled), with the interval or range of each. Right: B minus A "
    f"with its 95 % interval, filled where it is significant at {100 * LEVEL:.0f} % over all comparisons, else hollow; "
    "dotted intervals are over test tasks alone, where a side has fewer than three seeds."
)
_APART = 0.16
"""Of the two sides of a learner, in rows."""


def draw(comparison: Comparison, sections: Sequence[str]) -> Figure:
    """A row of two panels for each section and measure, laid out; call it inside ``style.context``."""
    measured: dict[tuple[str, str], list[Compared]] = {}
    for row in comparison.rows:
        if row.section in sections:
            measured.setdefault((row.section, row.headline.metric), []).append(row)
    groups = [rows[::-1] for rows in measured.values()]
    height = 1.0 + 0.34 * max(map(len, groups))
    figure, panels = style.panels(len(groups), 2, height=height, sharey="row", width_ratios=(1.25, 1))
    found = looks({row.a or row.b for row in comparison.rows})
    for (left, right), rows in zip(panels, groups, strict=True):
        for y, row in enumerate(rows):
            look = found[row.a or row.b]
            _draw_mean(left, row.headline.a, y + _APART * row.both, look, filled=False)
            _draw_mean(left, row.headline.b, y - _APART * row.both, look, filled=True)
            _draw_difference(right, row, y, look)
        left.set_yticks(range(len(rows)), [plain(row.name) for row in rows])
        left.set_ylim(-0.6, len(rows) - 0.4)
        right.axvline(0, color=style.GREY, linewidth=1, zorder=1.5)
        left.set_title(plain(rows[0].section))
        left.set_xlabel(measure(rows[0].headline))
        right.set_xlabel("B minus A")
        for axes in (left, right):
            axes.grid(axis="y", visible=False)
    hollow, filled = (
        Line2D([], [], color=style.GREY, marker="o", markerfacecolor=face, linestyle="", label=plain(label))
        for face, label in (("white", f"A: {comparison.a.source}"), (style.GREY, f"B: {comparison.b.source}"))
    )
    style.legend(figure, [hollow, filled], columns=2)
    style.settle(figure)
    return figure


def plain(text: str) -> str:
    """Text of which matplotlib makes no formula."""
    return text.replace("$", r"\$")


def _draw_mean(axes: Axes, point: Point | None, y: float, look: Look, filled: bool) -> None:
    if point is None:
        return
    axes.plot([point.mean_lo, point.mean_hi], [y, y], color=look.color, alpha=0.4, linewidth=4, solid_capstyle="butt")
    face = look.color if filled else "white"
    axes.plot(point.mean, y, look.marker, color=look.color, markerfacecolor=face, markersize=5.5)


def _draw_difference(axes: Axes, row: Compared, y: float, look: Look) -> None:
    found = row.headline.contrast
    if found is None:
        return
    if np.isfinite(found.lo):
        axes.plot([found.lo, found.hi], [y, y], color=look.color, linestyle="-" if found.tested else ":", linewidth=1.4)
    significant = row.verdict in ("worse", "better")
    face = look.color if significant else "white"
    axes.plot(found.difference, y, look.marker, color=look.color, markerfacecolor=face, markersize=6)
    if significant:
        above: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "va": "bottom", "fontsize": 7.5}
        axes.annotate(row.verdict, (found.difference, y), (0, 4), **above)
