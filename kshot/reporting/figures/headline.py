"""Where each learner starts and how far the same evidence takes it, beside scripted policies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kshot.reporting import style
from kshot.reporting.data import Data, Section
from kshot.reporting.figures import _common
from kshot.reporting.labels import TopLabel
from kshot.reporting.layout import title

NAME = "headline"
ORDER = 0
BY_SECTION = True
PALE = 0.35
OVER: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": 6.5}
OVER["bbox"] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5}
CAPTION = (
    f"Headline score of every learner by {_common.ACTIONS}: before any evidence (hollow) and at the K that all "
    f"learners of the panel reach (filled), mean over runs with {_common.BANDS}. Pale: with all the evidence that a "
    "learner can use, where that is more; its K stands beside it. Where the headline is the return of a trial, "
    "learners that adapt only after one have no score. Vertical lines are scripted policies."
)


def draw(data: Data) -> Figure:
    sections = _common.sections(data)
    if not sections:
        return style.empty("no learner has results")
    columns = min(2, len(sections))
    rows = -(-len(sections) // columns)
    most = max(len(data.algorithms(*section)) for section in sections)
    figure, axes = style.panels(rows, columns, height=1.15 + 0.27 * most)
    flat = [panel for row in axes for panel in row]
    for panel, section in zip(flat, sections, strict=False):
        _panel(panel, data, section)
    for panel in flat[len(sections) :]:
        panel.remove()
    hollow = Line2D([], [], color=style.GREY, marker="o", markerfacecolor="white", linestyle="", label="K = 0")
    filled = Line2D([], [], color=style.GREY, marker="o", linestyle="", label="the K of the panel, or a trial")
    pale = Line2D([], [], color=style.GREY, marker="o", linestyle="", alpha=PALE, label="all it can use")
    more = any(_more(data, section, name) is not None for section in sections for name in data.algorithms(*section))
    style.legend(figure, [hollow, filled, *([pale] if more else [])])
    return figure


def _more(data: Data, section: Section, name: str) -> Mapping[str, Any] | None:
    """The point of a learner that can use more evidence than all learners of its section reach."""
    metric = data.headline(section)
    most = None if metric == "trial_return" else data.point(section[0], name, metric, "all")
    return most if most is not None and most["k"] > data.comparison(section) else None


def _panel(axes: Axes, data: Data, section: Section) -> None:
    family, evidence = section
    metric, k = data.headline(section), data.comparison(section)
    ranked = data.ranked(section) if metric == "trial_return" else data.algorithms(family, evidence)
    looks = style.looks(data.names)
    points = {name: data.point(family, name, metric, k) for name in ranked}
    found = {name: point for name, point in points.items() if point is not None}
    names = sorted(found, key=lambda name: float(found[name]["mean"]))
    for y, name in enumerate(names):
        look, there = looks[name], found[name]
        ends = [there["mean_lo"], there["mean_hi"]]
        axes.plot(ends, [y, y], color=look.color, alpha=0.4, linewidth=5, solid_capstyle="butt")
        if metric != "trial_return":
            first, most = data.point(family, name, metric, 0), _more(data, section, name)
            assert first is not None  # every curve begins there
            axes.plot([first["mean"], there["mean"]], [y, y], color=look.color, linewidth=1.2)
            if most is not None:
                axes.plot(most["mean"], y, look.marker, color=look.color, markersize=5.5, alpha=PALE)
                axes.annotate(f"K = {most['k']:.0f}", (most["mean"], y), (0, 5), **OVER)
            axes.plot(first["mean"], y, look.marker, color=look.color, markerfacecolor="white", markersize=5.5)
        axes.plot(there["mean"], y, look.marker, color=look.color, markersize=6)
    axes.set_yticks(range(len(names)), [title(name) for name in names])
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(_common.metric_label(metric) + ("" if metric == "trial_return" else f", K = {k}"))
    axes.set_title(_common.heading(data, section))

    lines = []
    for name in data.references(section):
        point = data.point(family, name, metric, k)
        if point is not None:
            lines.append((name, float(point["mean"])))
    known = _common.known_value(data, family) if metric == "trial_return" else None
    lines += [known] if known else []
    for name, value in lines:
        color, dashes = style.reference_line(name)
        axes.axvline(value, color=color, linestyle=dashes, linewidth=1.2, zorder=1.5)
        TopLabel(axes, value, title(name), color)
