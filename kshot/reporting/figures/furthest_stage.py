"""How far episodes of learners from demonstrations got: where their failures come from."""

from __future__ import annotations

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from kshot.reporting import style
from kshot.reporting.cells import stage_metric
from kshot.reporting.data import DEMONSTRATIONS, Data, Section
from kshot.reporting.figures import _common
from kshot.reporting.layout import title

NAME = "furthest_stage"
ORDER = 15
BY_SECTION = True
CAPTION = (
    "Share of episodes by the furthest stage that they got to, in per cent, after K demonstrations: by "
    f"{_common.ACTIONS}, mean over runs; scripted policies below. Families without stages are left out."
)
LABELLED = 0.06
"""The smallest share that has room for its number."""
BAR, GAP = 0.19, 0.5
"""Inches per bar; the gap between policies, in bars."""


def sections(data: Data) -> list[Section]:
    """The sections of learners from demonstrations in families that have stages."""
    return [
        (family, evidence)
        for family, evidence in _common.sections(data)
        if evidence == DEMONSTRATIONS and data.families[family].stages
    ]


def draw(data: Data) -> Figure:
    wanted = sections(data)
    if not wanted:
        return style.empty("no learner from demonstrations plays a family that names stages")
    bars = [_bars(data, section) for section in wanted]
    heights = [1.25 + BAR * (sum(map(len, groups.values())) + GAP * len(groups)) for groups in bars]
    figure = Figure(figsize=(style.PANEL_WIDTH, sum(heights)))
    axes = figure.subplots(len(wanted), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for panel, section, groups in zip(axes, wanted, bars, strict=True):
        _panel(panel, data, section, groups)
    named = {stages: _colors(len(stages)) for stages in (data.families[family].stages for family, _ in wanted)}
    pairs = dict.fromkeys(pair for stages, colors in named.items() for pair in zip(stages, colors, strict=True))
    style.legend(figure, [Patch(color=color, label=stage) for stage, color in pairs], columns=3)
    return figure


def _colors(count: int) -> list[str]:
    """From pale to strong: the further, the more."""
    return list(sns.color_palette("blend:#d5d9df,#0b63a5", count).as_hex())


def _bars(data: Data, section: Section) -> dict[str, dict[str, list[float]]]:
    """By policy and label of the bar, the share of every stage."""
    family = section[0]
    count = len(data.families[family].stages)
    found: dict[str, dict[str, list[float]]] = {}
    for name in data.algorithms(*section):
        curves = [data.curve(family, name, stage_metric(i)).set_index("k")["mean"] for i in range(count)]
        if not curves[0].empty:
            found[name] = {f"K = {k}": [float(curve[k]) for curve in curves] for k in curves[0].index}
    for name in data.references(section):
        points = [data.point(family, name, stage_metric(i), "all") for i in range(count)]
        if points[0] is not None:
            found[name] = {"": [float(point["mean"]) for point in points if point is not None]}
    return found


def _panel(axes: Axes, data: Data, section: Section, groups: dict[str, dict[str, list[float]]]) -> None:
    stages = data.families[section[0]].stages
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
            labels.append(f"{title(name) if first else ''}{'  ' if first and label else ''}{label}")
            y += 1
        y += GAP
    axes.set_yticks(ticks, labels)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(y - GAP, -1)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
    axes.grid(visible=False)
    axes.set_xlabel("% of episodes")
    axes.set_title(_common.heading(data, section))
