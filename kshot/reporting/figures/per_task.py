"""How the gain from evidence is spread over the test tasks, and the classes of tasks where there are several."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kshot.reporting import style
from kshot.reporting.data import Data, Section
from kshot.reporting.figures import _common

NAME = "per_task"
ORDER = 30
BY_SECTION = True
CAPTION = (
    "Families with several classes of tasks: headline score of each class, before any evidence (hollow) and at the K "
    f"that all learners reach (filled, with {_common.BANDS}). Families with one class: change in return from K = 0 to "
    "that K on every test task, averaged over runs and sorted, a step each; left of where a curve crosses zero, "
    "evidence made things worse. Learners whose first block of evidence is longer have no curve."
)
POINTS = 200
"""A sorted curve is drawn through at most this many of its quantiles, however many tasks there are."""


def draw(data: Data) -> Figure:
    sections = _common.sections(data)
    if not sections:
        return style.empty("no learner has results")
    figure = Figure(figsize=(style.PANEL_WIDTH, sum(_height(data, section) for section in sections) + 0.4))
    heights = [_height(data, section) for section in sections]
    axes = figure.subplots(len(sections), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for panel, section in zip(axes, sections, strict=True):
        (_classes if data.families[section[0]].classes else _sorted_gain)(panel, data, section)
        panel.set_title(_common.heading(data, section))
    hollow = Line2D([], [], color=style.GREY, marker="o", markerfacecolor="white", linestyle="", label="K = 0")
    several = any(data.families[family].classes for family, _ in sections)
    style.legend(figure, [*_common.learner_handles(data, sections), *([hollow] if several else [])])
    return figure


def _height(data: Data, section: Section) -> float:
    classes = data.families[section[0]].classes
    rows = len(classes) * (len(data.algorithms(*section)) + 1.5)
    return 0.9 + 0.13 * rows if classes else style.PANEL_HEIGHT


def _classes(axes: Axes, data: Data, section: Section) -> None:
    family, evidence = section
    metric, classes, k = data.single(family), data.families[family].classes, data.comparison(section)
    names, looks = data.algorithms(family, evidence), style.looks(data.names)
    block = len(names) + 1.5
    for i, group in enumerate(classes):
        if i % 2:
            axes.axhspan(i * block - 0.75 - 0.5, (i + 1) * block - 0.75 - 0.5, color="#f3f4f6", linewidth=0, zorder=0)
        for j, name in enumerate(names):
            look, y = looks[name], i * block + j
            first = data.point(family, name, metric, 0, group)
            last = data.point(family, name, metric, k, group)
            if first is None or last is None:
                continue
            interval = [last["mean_lo"], last["mean_hi"]]
            axes.plot(interval, [y, y], color=look.color, alpha=0.4, linewidth=3.5, solid_capstyle="butt")
            axes.plot([first["mean"], last["mean"]], [y, y], color=look.color, linewidth=0.8)
            axes.plot(first["mean"], y, look.marker, color=look.color, markerfacecolor="white", markersize=3.5)
            axes.plot(last["mean"], y, look.marker, color=look.color, markersize=4)
    middles = [i * block + (len(names) - 1) / 2 for i in range(len(classes))]
    axes.set_yticks(middles, list(classes))
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(classes) * block - 1.25, -1.25)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(f"{_common.metric_label(metric)}, K = {k}")


def _sorted_gain(axes: Axes, data: Data, section: Section) -> None:
    family, evidence = section
    looks, k = style.looks(data.names), data.comparison(section)
    for name in data.algorithms(family, evidence):
        point = data.point(family, name, "return", k)
        first, last = (data.task_values(family, name, "return", at) for at in (0, k))
        if first is None or last is None or point is None or point["k"] == 0:
            continue
        gain = np.sort((last - first).to_numpy())
        if len(gain) > POINTS:
            gain = np.quantile(gain, (np.arange(POINTS) + 0.5) / POINTS)
        edges = np.linspace(0, 100, len(gain) + 1)  # every task takes its share of the axis
        axes.stairs(gain, edges, baseline=None, color=looks[name].color, linestyle=looks[name].dashes, linewidth=1.8)
    axes.axhline(0, color=style.INK, linewidth=0.8, zorder=1.5)
    axes.set_xlim(0, 100)
    axes.set_xlabel("% of test tasks, sorted by gain")
    axes.set_ylabel(f"gain in return, K = 0 to {k}")
