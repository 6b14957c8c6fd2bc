"""How far episodes of learners from demonstrations got: where their failures come from."""

from __future__ import annotations

from collections.abc import Sequence

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from kshot.reporting import style
from kshot.reporting.figures import _common
from kshot.reporting.names import policy_name
from kshot.reporting.results import Results
from kshot.reporting.schemas import stage_metric
from kshot.reporting.sections import Section
from kshot.reporting.summary import Summary

NAME = "furthest_stage"
PLACES = {"tasks": 5}
CAPTION = (
    "Share of episodes by the furthest stage that they got to, in per cent, after K demonstrations: by "
    f"{_common.ACTIONS}, mean over runs; scripted policies below. Families without stages are left out."
)
LABELLED = 0.06
"""The smallest share that has room for its number."""
BAR, GAP = 0.19, 0.5
"""Inches per bar; the gap between policies, in bars."""
Bars = dict[str, dict[str, list[float]]]
"""By policy and label of the bar, the share of every stage."""


def concerns(results: Results) -> list[Section]:
    """The sections of learners from demonstrations in families that have stages."""
    return [section for section in results.sections if section.demonstrated and section.info.stages]


def draw(results: Results, sections: Sequence[Section]) -> Figure:
    bars = [_bars(results.summary, section) for section in sections]
    heights = [1.25 + BAR * (sum(map(len, groups.values())) + GAP * len(groups)) for groups in bars]
    figure = Figure(figsize=(style.PANEL_WIDTH, sum(heights)))
    grid = figure.subplots(len(sections), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for axes, section, groups in zip(grid, sections, bars, strict=True):
        _panel(axes, section.info.stages, groups)
        axes.set_title(_common.heading(results.grid, section))
    named = {section.info.stages: _colors(len(section.info.stages)) for section in sections}
    pairs = dict.fromkeys(pair for stages, colors in named.items() for pair in zip(stages, colors, strict=True))
    style.legend(figure, [Patch(color=color, label=stage) for stage, color in pairs], columns=3)
    return figure


def _colors(count: int) -> list[str]:
    """From pale to strong: the further, the more."""
    return list(sns.color_palette("blend:#d5d9df,#0b63a5", count).as_hex())


def _bars(summary: Summary, section: Section) -> Bars:
    family, metrics = section.family, [stage_metric(i) for i in range(len(section.info.stages))]
    bars: Bars = {}
    for name in section.finished:
        curves = [summary.curve(family, name, metric) for metric in metrics]
        if curves[0]:
            bars[name] = {f"K = {same[0].k}": [point.mean for point in same] for same in zip(*curves, strict=True)}
    for name in section.references:
        points = [summary.point(family, name, metric, "all") for metric in metrics]
        if points[0] is not None:
            bars[name] = {"": [point.mean for point in points if point is not None]}
    return bars


def _panel(axes: Axes, stages: Sequence[str], groups: Bars) -> None:
    colors = _colors(len(stages))
    ticks, labels, y = [], [], 0.0
    for name, bars in groups.items():
        for label, shares in bars.items():
            left = 0.0
            for i, share in enumerate(shares):
                axes.barh(y, share, left=left, color=colors[i], height=0.86, linewidth=0)
                if share >= LABELLED:
                    ink = "white" if i >= len(stages) / 2 else style.INK
                    middle = left + share / 2
                    axes.text(
                        middle, y, f"{100 * share:.0f}", ha="center", va="center_baseline", fontsize=6.5, color=ink
                    )
                left += share
            ticks.append(y)
            first = label == next(iter(bars))
            labels.append(f"{policy_name(name) if first else ''}{'  ' if first and label else ''}{label}")
            y += 1
        y += GAP
    axes.set_yticks(ticks, labels)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(y - GAP, -1)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
    axes.grid(visible=False)
    axes.set_xlabel("% of episodes")
