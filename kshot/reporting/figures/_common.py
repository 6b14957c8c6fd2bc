"""What several figures share: panels by section, names, the lines of scripted policies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter

from kshot.reporting import style
from kshot.reporting.figures import _curves
from kshot.reporting.figures._curves import Line
from kshot.reporting.grid import Grid
from kshot.reporting.labels import EndLabel
from kshot.reporting.looks import Look, looks, reference_line
from kshot.reporting.marks import mark, marked
from kshot.reporting.names import DEMONSTRATIONS, METRIC_NAMES, policy_name
from kshot.reporting.results import Results
from kshot.reporting.sections import Section
from kshot.reporting.summary import Summary
from kshot.types import Evidence

OTHER = {"sampled": "mean", "mean": "sampled"}
"""The kind of actions that a curve is not compared by."""
BANDS = "95 % bootstrap interval over runs (the range of the runs where there are three or four)"
"""What bands and bars show, for captions."""
ACTIONS = "the actions that each learner is meant to be tested with (sampled or mean, as the tables say)"
WIDE = 25
"""From this ratio of the largest to the smallest evidence on, the axis is logarithmic beyond 1."""


Panels = list[tuple[Section, Axes]]


def panels(sections: Sequence[Section], height: float = style.PANEL_HEIGHT) -> tuple[Figure, Panels]:
    """A figure with a panel for each section, in two columns where there are several."""
    columns = min(2, len(sections))
    figure, axes = style.panels(-(-len(sections) // columns), columns, height=height)
    flat = [panel for row in axes for panel in row]
    for unused in flat[len(sections) :]:
        unused.remove()
    return figure, list(zip(sections, flat, strict=False))


def along_the_training(
    results: Results, sections: Sequence[Section], panel: Callable[[Axes, Results, Section], None], dotted: str
) -> Figure:
    """A figure of curves over environment steps, a panel for each section; ``dotted`` says what dotted lines are."""
    figure, places = panels(sections)
    for section, axes in places:
        panel(axes, results, section)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.set_xlabel("environment steps")
        axes.set_title(heading(results.grid, section))
    before = Line2D([], [], color=style.GREY, linestyle=":", label=dotted)
    style.legend(figure, [*learner_handles(figure, results.grid, sections), before])
    return figure


def heading(grid: Grid, section: Section) -> str:
    """``ml10 (5 seeds)``, with the evidence, on a second line, where it is not the usual one."""
    lines = section.title.replace(", ", ",\n")
    return f"{lines} ({seeds(grid, section)})"


def seeds(grid: Grid, *sections: Section) -> str:
    """``5 seeds``; ``3 to 5 of 5 seeds`` where some runs did not make it."""
    counts = [grid.run_counts[section.family, name] for section in sections for name in section.finished]
    low, high = (found(count.counted for count in counts) for found in (min, max))
    expected = max(count.expected for count in counts)
    plural = "" if expected == 1 else "s"
    if low == high == expected:
        return f"{expected} seed{plural}"
    return f"{low if low == high else f'{low} to {high}'} of {expected} seed{plural}"


def evidence_label(evidence: Evidence) -> str:
    return "demonstrations seen, K" if evidence == DEMONSTRATIONS else "episodes of experience, K"


def learner_handles(figure: Figure, grid: Grid, sections: Sequence[Section]) -> list[Line2D]:
    """Legend entries of the learners of some sections that are drawn in a figure."""
    shown = {(section.family, name) for section in sections for name in section.finished}
    found, names = looks(grid.learners), dict.fromkeys(name for family, name in grid.pairs if (family, name) in shown)
    drawn = {mark.policy for _, mark in marked(figure)}
    return [legend_line(found[name], policy_name(name)) for name in names if policy_name(name) in drawn]


def legend_line(look: Look, label: str) -> Line2D:
    return Line2D([], [], color=look.color, marker=look.marker, linestyle=look.dashes, label=label)


def draw_curve(axes: Axes, results: Results, section: Section, metric: str) -> None:
    """The learners' curves over K by the actions that each is meant to be tested with; the other kind as thin lines."""
    family, ks, summary = section.family, section.info.k, results.summary
    found = looks(results.grid.learners)
    for name in section.finished:
        test = summary.tests[family, name]
        end = ks[-1] if test.limit is None else min(ks[-1], test.limit)
        other = summary.curve(family, name, metric, OTHER[summary.mode(family, name, metric)])
        _curves.draw_thin(axes, Line.of(other), found[name], policy_name(name), block=test.block, end=end)
        curve = summary.curve(family, name, metric)
        _curves.draw(axes, Line.of(curve), found[name], policy_name(name), block=test.block, end=end)
    evidence_axis(axes, ks)
    axes.set_xlabel(evidence_label(section.evidence))


def legend_of_curves(figure: Figure, results: Results, sections: Sequence[Section], metric: str) -> None:
    """What ``draw_curve`` has drawn: the learners, and which actions the thin lines are by."""
    summary, handles = results.summary, learner_handles(figure, results.grid, sections)
    others = {
        OTHER[summary.mode(section.family, name, metric)]
        for section in sections
        for name in section.finished
        if summary.curve(section.family, name, metric, OTHER[summary.mode(section.family, name, metric)])
    }
    if others:
        said = f"thin: {others.pop() if len(others) == 1 else 'the other kind of'} actions"
        handles.append(Line2D([], [], color=style.GREY, linewidth=_curves.THIN, label=said))
    style.legend(figure, handles)


def evidence_axis(axes: Axes, ks: Sequence[int]) -> None:
    """The scale and the labels of an axis of K."""
    last = max(ks)
    if last > WIDE * min((k for k in ks if k > 0), default=1):
        # Some learners adapt on single episodes, others on blocks of dozens: a linear axis would hide the former.
        axes.set_xscale("symlog", linthresh=1, linscale=0.5)
        axes.set_xlim(-0.15, 1.15 * last)
        axes.minorticks_off()
    else:
        axes.set_xlim(-0.02 * last, 1.02 * last)
    labelled = _ticks(ks, axes.xaxis.get_transform().transform(ks))
    axes.set_xticks(labelled, [str(k) for k in labelled])


def draw_references(axes: Axes, summary: Summary, section: Section, metric: str) -> None:
    """Scripted policies, named: a level each, or a curve where they get better within the trial that they play."""
    for name in section.references:
        color, dashes = reference_line(name)
        curve = summary.curve(section.family, name, metric)
        if not curve:
            continue
        if (level := reference_level(summary, section, name, metric)) is not None:
            line = axes.axhline(level, color=color, linestyle=dashes, linewidth=1.2, zorder=1.5)
            mark([line, EndLabel(axes, level, policy_name(name), color)], policy_name(name))
        else:
            shown = Line.of(point for point in curve if point.k <= section.info.k[-1])  # a trial may be longer
            drawn: list[Artist] = [EndLabel(axes, shown.values[0, -1], policy_name(name), color, x=float(shown.x[-1]))]
            for piece in shown.pieces(block=1):
                drawn += axes.plot(piece.x, piece.values[0], color=color, linestyle=dashes, linewidth=1.2, zorder=1.5)
            mark(drawn, policy_name(name))


def reference_level(summary: Summary, section: Section, name: str, metric: str) -> float | None:
    """The level at which a scripted policy is drawn; None where it is a curve, or has no results."""
    curve = summary.curve(section.family, name, metric)
    if not curve:
        return None
    means, errors = ([getattr(point, column) for point in curve] for column in ("mean", "task_se"))
    # Where K counts demonstrations, a scripted policy's episodes have no place on the axis.
    flat = section.demonstrated or is_flat(means, errors, summary.scale(section.family, metric))
    return float(np.mean(means)) if flat else None


def is_flat(means: Any, errors: Any, scale: tuple[float, float] = (np.nan, np.nan)) -> bool:
    """Whether a scripted policy's episodes show no learning.

    They differ by no more than the test tasks' noise; and, as few tasks have much of it, the last is not a fifth of the
    way from random to oracle (``scale``) better than the first.
    """
    values = np.asarray(means, dtype=np.float64)
    within_noise = np.ptp(values) <= 4 * np.nanmax(np.append(np.asarray(errors, dtype=np.float64), 0.0))
    gained = values[-1] - values[0] > 0.2 * abs(scale[1] - scale[0])  # False where the scale is not known
    return bool(within_noise and not gained)


def metric_label(metric: str) -> str:
    return METRIC_NAMES[metric]


def _ticks(ks: Sequence[int], places: npt.NDArray[np.float64]) -> list[int]:
    """The evidence points whose labels do not touch, from the largest down; `places` are theirs along the axis."""
    ordered = sorted(zip(places, ks, strict=True), reverse=True)
    span = ordered[0][0] - ordered[-1][0]
    kept = ordered[:1]
    for place, k in ordered[1:]:
        if kept[-1][0] - place >= (0.012 + 0.018 * len(str(kept[-1][1]))) * span:
            kept.append((place, k))
    return [k for _, k in reversed(kept)]
