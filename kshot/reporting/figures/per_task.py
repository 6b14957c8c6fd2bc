"""How the gain from evidence is spread over the test tasks, and the classes of tasks where there are several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kshot.reporting import style
from kshot.reporting.figures import _common, _curves
from kshot.reporting.looks import looks
from kshot.reporting.marks import mark
from kshot.reporting.names import policy_name
from kshot.reporting.results import Results
from kshot.reporting.sections import Section

NAME = "per_task"
PLACES = {"tasks": 10}
CAPTION = (
    "Families with several classes of tasks: headline score of each class, before any evidence (hollow) and at the K "
    f"that all learners reach (filled, with {_common.BANDS}). Families with one class: change in return from K = 0 to "
    "that K on every test task, averaged over runs and sorted, a step each; left of where a curve crosses zero, "
    "evidence made things worse. Learners whose first block of evidence is longer have no curve."
)
POINTS = 200
"""A sorted curve is drawn through at most this many of its quantiles, however many tasks there are."""


def draw(results: Results, sections: Sequence[Section]) -> Figure:
    heights = [_height(section) for section in sections]
    figure = Figure(figsize=(style.PANEL_WIDTH, sum(heights) + 0.4))
    grid = figure.subplots(len(sections), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for axes, section in zip(grid, sections, strict=True):
        (_classes if section.info.classes else _sorted_gain)(axes, results, section)
        axes.set_title(_common.heading(results.grid, section))
    hollow = Line2D([], [], color=style.GREY, marker="o", markerfacecolor="white", linestyle="", label="K = 0")
    several = any(section.info.classes for section in sections)
    style.legend(figure, [*_common.learner_handles(figure, results.grid, sections), *([hollow] if several else [])])
    return figure


def _height(section: Section) -> float:
    classes = section.info.classes
    return 0.9 + 0.13 * len(classes) * (len(section.finished) + 1.5) if classes else style.PANEL_HEIGHT


def _classes(axes: Axes, results: Results, section: Section) -> None:
    family, metric, k, classes = section.family, section.episode_metric, section.k, section.info.classes
    names, found = section.finished, looks(results.grid.learners)
    block = len(names) + 1.5
    for i, group in enumerate(classes):
        if i % 2:
            axes.axhspan(i * block - 0.75 - 0.5, (i + 1) * block - 0.75 - 0.5, color="#f3f4f6", linewidth=0, zorder=0)
        for j, name in enumerate(names):
            look, y = found[name], i * block + j
            first, last = (results.summary.point(family, name, metric, at, group) for at in (0, k))
            if first is None or last is None:
                continue
            interval = [last.mean_lo, last.mean_hi]
            drawn = axes.plot(interval, [y, y], color=look.color, alpha=0.4, linewidth=3.5, solid_capstyle="butt")
            drawn += axes.plot([first.mean, last.mean], [y, y], color=look.color, linewidth=0.8)
            mark(drawn, policy_name(name))
            for point, options in ((first, {"markerfacecolor": "white", "markersize": 3.5}), (last, {"markersize": 4})):
                texts = [f"{group}: {text}" for text in _curves.Line.of([point]).texts]
                score = axes.plot(point.mean, y, look.marker, color=look.color, **options)
                mark(score, policy_name(name), texts)
    middles = [i * block + (len(names) - 1) / 2 for i in range(len(classes))]
    axes.set_yticks(middles, list(classes))
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(classes) * block - 1.25, -1.25)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"{_common.metric_label(metric)}, K = {k}")


def _sorted_gain(axes: Axes, results: Results, section: Section) -> None:
    family, k, found = section.family, section.k, looks(results.grid.learners)
    names = section.finished
    for place, name in enumerate(names):
        point = results.summary.point(family, name, "return", k)
        first, last = (results.task_values(family, name, "return", at) for at in (0, k))
        if first is None or last is None or point is None or point.k == 0:
            continue
        gain = np.sort((last - first).to_numpy())
        if len(gain) > POINTS:
            gain = np.quantile(gain, (np.arange(POINTS) + 0.5) / POINTS)
        edges = np.linspace(0, 100, len(gain) + 1)  # every task takes its share of the axis
        look = found[name]
        curve = axes.stairs(gain, edges, baseline=None, color=look.color, linestyle=look.dashes, linewidth=1.8)
        middles = (edges[:-1] + edges[1:]) / 2
        marked = _curves.marked(len(gain), place, len(names))
        mark([curve, *axes.plot(middles[marked], gain[marked], look.marker, color=look.color)], policy_name(name))
    axes.axhline(0, color=style.INK, linewidth=0.8, zorder=1.5)
    axes.set_xlim(0, 100)
    axes.set_xlabel("% of test tasks, sorted by gain")
    axes.set_ylabel(f"gain in return, K = 0 to {k}")
