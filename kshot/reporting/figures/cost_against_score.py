"""What a run of every learner costs, and what it reaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kshot.reporting.costs import run_costs
from kshot.reporting.figures import _common
from kshot.reporting.labels import EndLabel, PointLabel
from kshot.reporting.looks import Dashes, looks, reference_line
from kshot.reporting.names import policy_name
from kshot.reporting.results import Results
from kshot.reporting.schemas import Point
from kshot.reporting.sections import Section

NAME = "cost_against_score"
PLACES = {"cost": 5}
CAPTION = (
    "Headline score, by "
    f"{_common.ACTIONS} at the K that all learners of the panel reach, against what a run cost on average: minutes of "
    "training and evaluation by the clock, times the threads that computed. Up and left is better. Whiskers are "
    f"{_common.BANDS}. Levels are scripted policies, and learners that nobody trains."
)
ROOM = 1.5
"""The axis of costs ends so many times below the least and above the largest, or beyond."""


@dataclass(frozen=True)
class Reached:
    """A learner's mean cost in core-minutes, NaN where nobody trained it, and its headline score."""

    name: str
    cost: float
    score: Point


def concerns(results: Results) -> list[Section]:
    """The sections of which some learner's cost is known."""
    return [section for section in results.sections if any(one.cost > 0 for one in _reached(results, section))]


def draw(results: Results, sections: Sequence[Section]) -> Figure:
    figure, panels = _common.panels(sections)
    for section, axes in panels:
        _panel(axes, results, section)
        axes.set_title(_common.heading(results.grid, section))
    return figure


def _reached(results: Results, section: Section) -> list[Reached]:
    found = []
    for name in section.judged:
        point = results.summary.point(section.family, name, section.metric, section.k)
        if point is not None:
            costs = np.array([run["core_minutes"] for run in run_costs(results, section, name)], dtype=np.float64)
            known = costs[np.isfinite(costs)]
            found.append(Reached(name, float(known.mean()) if known.size else np.nan, point))
    return found


def _panel(axes: Axes, results: Results, section: Section) -> None:
    found = looks(results.grid.learners)
    shown = _reached(results, section)
    for one in shown:
        look, score = found[one.name], one.score
        if one.cost > 0:
            axes.plot([one.cost] * 2, [score.mean_lo, score.mean_hi], color=look.color, alpha=0.6, linewidth=1.2)
            axes.plot(one.cost, score.mean, look.marker, color=look.color, markersize=6)
            PointLabel(axes, one.cost, score.mean, policy_name(one.name), look.color)
        else:
            _level(axes, one.name, score.mean, look.color, look.dashes)
    for name in section.references:
        point = results.summary.point(section.family, name, section.metric, section.k)
        if point is not None:
            _level(axes, name, point.mean, *reference_line(name))
    _cost_axis(axes, [one.cost for one in shown if one.cost > 0])
    axes.set_ylabel(_common.metric_label(section.metric) + ("" if section.by_trial else f", K = {section.k}"))
    axes.set_xlabel("core-minutes of a run")


def _level(axes: Axes, name: str, value: float, color: str, dashes: Dashes) -> None:
    axes.axhline(value, color=color, linestyle=dashes, linewidth=1.2, zorder=1.5)
    EndLabel(axes, value, policy_name(name), color)


def _cost_axis(axes: Axes, costs: Sequence[float]) -> None:
    """From one round number to another, with room for labels beside the outermost markers."""
    round_numbers = np.array([m * 10.0**e for e in range(-6, 10) for m in (1, 2, 5)])
    low = round_numbers[round_numbers <= min(costs) / ROOM].max(initial=round_numbers[0])
    high = round_numbers[round_numbers >= max(costs) * ROOM].min(initial=round_numbers[-1])
    ticks = round_numbers[(round_numbers >= low) & (round_numbers <= high)]
    if high / low > 50:
        ticks = ticks[np.isclose(np.log10(ticks) % 1, 0) | np.isclose(np.log10(ticks) % 1, 1)]
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_xticks(ticks, [f"{tick:,.10g}" for tick in ticks])
    axes.minorticks_off()
