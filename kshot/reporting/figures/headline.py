"""Where each learner starts and how far evidence takes it, between the floor and the ceiling."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kshot.reporting import style
from kshot.reporting.data import Data, Section
from kshot.reporting.figures import _common
from kshot.reporting.layout import title

NAME = "headline"
ORDER = 0
BY_SECTION = True
TIERS = 3
"""Lines of names above a panel."""
CAPTION = (
    "Headline score of every learner: before any evidence (hollow) and with the most it was scored with (filled), "
    "mean over runs with 95 % bootstrap interval. Vertical lines are scripted policies."
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
    filled = Line2D([], [], color=style.GREY, marker="o", linestyle="", label="largest K, or a whole trial")
    style.legend(figure, [hollow, filled])
    return figure


def _panel(axes: Axes, data: Data, section: Section) -> None:
    family, evidence = section
    metric = data.headline(section)
    names = data.algorithms(family, evidence)
    looks = style.looks(data.names)
    points = {name: data.point(family, name, metric) for name in names}
    names = [name for name in names if points[name] is not None]
    names.sort(key=lambda name: float((points[name] or {})["mean"]))
    for y, name in enumerate(names):
        look = looks[name]
        first, last = data.point(family, name, metric, "first"), points[name]
        if first is None or last is None:
            continue
        axes.plot(
            [last["mean_lo"], last["mean_hi"]], [y, y], color=look.color, alpha=0.4, linewidth=5, solid_capstyle="butt"
        )
        if metric != "trial_return":
            axes.plot([first["mean"], last["mean"]], [y, y], color=look.color, linewidth=1.2)
            axes.plot(first["mean"], y, look.marker, color=look.color, markerfacecolor="white", markersize=5.5)
        axes.plot(last["mean"], y, look.marker, color=look.color, markersize=6)
    axes.set_yticks(range(len(names)), [title(name) for name in names])
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(_common.metric_label(metric))
    axes.set_title(_common.heading(data, section), pad=10 * TIERS + 4)

    lines = []
    for name in data.references(section):
        point = data.point(family, name, metric)
        if point is not None:
            lines.append((name, float(point["mean"])))
    known = _common.known_value(data, family) if metric == "trial_return" else None
    lines += [known] if known else []
    for name, value in lines:
        color, dashes = style.reference_line(name)
        axes.axvline(value, color=color, linestyle=dashes, linewidth=1.2, zorder=1.5)
    _top_labels(axes, lines)


def _top_labels(axes: Axes, lines: list[tuple[str, float]]) -> None:
    """Names above the axes at their lines, in tiers where neighbours are close."""
    low, high = axes.get_xlim()
    ends = [-1e9] * TIERS
    for name, value in sorted(lines, key=lambda item: item[1]):
        text, position = title(name), (value - low) / (high - low)
        half = 0.0115 * len(text)
        position = min(max(position, half), 1 - half)
        tier = next((i for i, end in enumerate(ends) if position - half > end + 0.01), TIERS - 1)
        ends[tier] = position + half
        axes.annotate(
            text,
            (position, 1),
            xytext=(0, 3 + 9 * tier),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=7.5,
            color=style.reference_line(name)[0],
        )
