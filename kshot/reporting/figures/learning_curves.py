"""Return on training tasks against the environment steps spent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kshot.reporting.figures import _common, _curves
from kshot.reporting.figures._curves import Line
from kshot.reporting.looks import looks
from kshot.reporting.marks import mark
from kshot.reporting.names import policy_name
from kshot.reporting.results import Results
from kshot.reporting.sections import Section

NAME = "learning_curves"
PLACES = {"training": 20}
CAPTION = (
    "Mean return on training tasks while meta-training: before adaptation (dotted) and after it (solid). Lines are "
    "averages of the runs in 60 equal intervals of the budget, or fewer where a learner reports less often; they stop "
    "at intervals in which nobody reports. Bands span the lowest to the highest run."
)
BINS = 60
MARKER = 4


def concerns(results: Results) -> list[Section]:
    """The sections in which a learner earned rewards in training."""
    pairs = results.training.returns[["family", "algorithm"]].drop_duplicates()
    trained = set(pairs.itertuples(index=False, name=None))
    return [s for s in results.sections if any((s.family, name) in trained for name in s.finished)]


def draw(results: Results, sections: Sequence[Section]) -> Figure:
    return _common.along_the_training(results, sections, _panel, dotted="before adaptation")


def _panel(axes: Axes, results: Results, section: Section) -> None:
    found = looks(results.grid.learners)
    returns = results.training.returns
    returns = returns[returns["family"] == section.family]
    for place, name in enumerate(section.finished):
        rows, color = returns[returns["algorithm"] == name], found[name].color
        budget = float(rows["env_steps"].max()) if len(rows) else 0.0
        for metric, dashes, alpha in (("return", ":", 0.0), ("return_adapted", "-", 0.12)):
            intervals, line = _binned(rows[rows["metric"] == metric], budget)
            marked = _curves.marked(len(intervals), place, len(section.finished))
            inside: dict[str, Any] = {} if alpha else {"markerfacecolor": "white"}
            inside |= {"color": color, "markersize": MARKER}
            mark(axes.plot(line.x[marked], line.values[0, marked], found[name].marker, **inside), policy_name(name))
            for piece in _curves.pieces(intervals):
                at, (mean, low, high) = line.x[piece], line.values[:, piece]
                alone: dict[str, Any] = {"marker": ".", "markersize": 3} if len(at) == 1 else {}
                width = 1.2 if alpha == 0 else 1.8
                drawn: list[Artist] = [*axes.plot(at, mean, color=color, linestyle=dashes, linewidth=width, **alone)]
                if alpha:
                    drawn.append(axes.fill_between(at, low, high, color=color, alpha=alpha, linewidth=0))
                mark(drawn, policy_name(name))
    axes.set_ylabel("return on training tasks")


def _binned(rows: pd.DataFrame, budget: float) -> tuple[list[int], Line]:
    """The equal intervals of the budget in which a run reported, and there the mean, lowest and highest run.

    Intervals are no shorter than it usually is from one report of a run to its next.
    """
    if rows.empty:
        return [], Line(np.empty(0), np.empty((3, 0)))
    rows = rows.sort_values(["seed", "env_steps"])
    steps, seeds = rows["env_steps"].to_numpy(), rows["seed"].to_numpy()
    gaps = np.diff(steps)[np.diff(seeds) == 0]
    width = max(budget / BINS, float(np.median(gaps)) if len(gaps) else 0.0, 1.0)
    last = int(np.ceil(budget / width)) - 1
    interval = np.minimum(np.ceil(steps / width) - 1, last).clip(0).astype(np.int64)
    # Every run counts once in an interval, however often it reported there.
    reported, run = np.unique(np.stack([interval, seeds]), axis=1, return_inverse=True)
    of_run = np.bincount(run, weights=rows["value"]) / np.bincount(run)
    intervals, first, runs = np.unique(reported[0], return_index=True, return_counts=True)
    reduced = [reduce.reduceat(of_run, first) for reduce in (np.add, np.minimum, np.maximum)]
    return intervals.tolist(), Line((intervals + 0.5) * width, np.stack([reduced[0] / runs, *reduced[1:]]))
