"""Where each learner starts and how far the same evidence takes it, beside scripted policies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kshot.reporting import style
from kshot.reporting.figures import _common, _curves
from kshot.reporting.labels import TopLabel
from kshot.reporting.looks import looks, reference_line
from kshot.reporting.marks import mark
from kshot.reporting.names import BAYES, policy_name
from kshot.reporting.results import Results
from kshot.reporting.schemas import Point
from kshot.reporting.sections import Section
from kshot.reporting.summary import Summary

NAME = "headline"
PLACES = {"headline": 0}
ACROSS = True
PALE = 0.35
OVER: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": 6.5}
OVER["bbox"] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5}
CAPTION = (
    f"Headline score of every learner by {_common.ACTIONS}: before any evidence (hollow) and at the K that all "
    f"learners of the panel reach (filled), mean over runs with {_common.BANDS}. Pale: with all the evidence that a "
    "learner can use, where that is more; its K stands beside it. Where the headline is the return of a trial, "
    "learners that adapt only after one have no score. Vertical lines are scripted policies."
)


def draw(results: Results, sections: Sequence[Section]) -> Figure:
    summary = results.summary
    figure, panels = _common.panels(sections, height=1.15 + 0.27 * max(len(section.finished) for section in sections))
    for section, axes in panels:
        _draw_learners(axes, results, section)
        _draw_references(axes, summary, section)
    hollow = Line2D([], [], color=style.GREY, marker="o", markerfacecolor="white", linestyle="", label="K = 0")
    filled = Line2D([], [], color=style.GREY, marker="o", linestyle="", label="the K of the panel, or a trial")
    pale = Line2D([], [], color=style.GREY, marker="o", linestyle="", alpha=PALE, label="all it can use")
    more = any(_more(summary, section, name) is not None for section in sections for name in section.finished)
    style.legend(figure, [hollow, filled, *([pale] if more else [])])
    return figure


def _more(summary: Summary, section: Section, name: str) -> Point | None:
    """The point of a learner that can use more evidence than all learners of its section reach."""
    most = None if section.by_trial else summary.point(section.family, name, section.metric, "all")
    return most if most is not None and most.k > section.k else None


def _draw_learners(axes: Axes, results: Results, section: Section) -> None:
    summary, family, metric, k = results.summary, section.family, section.metric, section.k
    points = {name: summary.point(family, name, metric, k) for name in section.judged}
    reached = {name: point for name, point in points.items() if point is not None}
    names = sorted(reached, key=lambda name: reached[name].mean)
    found = looks(results.grid.learners)
    for y, name in enumerate(names):
        look, there = found[name], reached[name]
        ends = [there.mean_lo, there.mean_hi]
        drawn = axes.plot(ends, [y, y], color=look.color, alpha=0.4, linewidth=5, solid_capstyle="butt")
        dots: dict[str, Any] = {"markersize": 5.5, "color": look.color}
        if not section.by_trial:
            first, most = summary.point(family, name, metric, 0), _more(summary, section, name)
            assert first is not None  # every curve begins there
            drawn += axes.plot([first.mean, there.mean], [y, y], color=look.color, linewidth=1.2)
            if most is not None:
                _point(axes, most, y, look.marker, alpha=PALE, **dots)
                axes.annotate(f"K = {most.k}", (most.mean, y), (0, 5), **OVER)
            _point(axes, first, y, look.marker, markerfacecolor="white", **dots)
        _point(axes, there, y, look.marker, **dots | {"markersize": 6})
        mark(drawn, policy_name(name))
    axes.set_yticks(range(len(names)), [policy_name(name) for name in names])
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(_common.metric_label(metric) + ("" if section.by_trial else f", K = {k}"))
    axes.set_title(_common.heading(results.grid, section))


def _point(axes: Axes, point: Point, y: float, marker: str, **options: Any) -> None:
    """A score, which says its numbers where it is pointed at."""
    mark(axes.plot(point.mean, y, marker, **options), policy_name(point.algorithm), _curves.Line.of([point]).texts)


def _draw_references(axes: Axes, summary: Summary, section: Section) -> None:
    points = {name: summary.point(section.family, name, section.metric, section.k) for name in section.references}
    levels = {name: point.mean for name, point in points.items() if point is not None}
    if section.by_trial and BAYES in section.info.known:
        levels[BAYES] = section.info.known[BAYES]
    for name, value in levels.items():
        color, dashes = reference_line(name)
        line = axes.axvline(value, color=color, linestyle=dashes, linewidth=1.2, zorder=1.5)
        mark([line, TopLabel(axes, value, policy_name(name), color)], policy_name(name))
