"""Scores on validation tasks of policies along the training, before and after adaptation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kshot.reporting import stats
from kshot.reporting.figures import _common, _curves
from kshot.reporting.figures._curves import Line
from kshot.reporting.looks import looks
from kshot.reporting.marks import mark
from kshot.reporting.names import policy_name
from kshot.reporting.results import Results
from kshot.reporting.sections import Section
from kshot.reporting.values import Cell, digits_for
from kshot.seeding import generator

NAME = "validation_curves"
PLACES = {"training": 10}
CAPTION = (
    "What the models kept along the training reach on validation tasks, of which no learner is told anything: before "
    "any evidence (dotted) and after as much as each can use of what the learning curve asks for (solid). By "
    f"{_common.ACTIONS}; means over runs with {_common.BANDS} of the solid line."
)


def concerns(results: Results) -> list[Section]:
    """The sections with a learner that has a learning curve."""
    pairs = results.training.along[["family", "algorithm"]].drop_duplicates()
    scored = set(pairs.itertuples(index=False, name=None))
    return [s for s in results.sections if any((s.family, name) in scored for name in s.finished)]


def draw(results: Results, sections: Sequence[Section]) -> Figure:
    return _common.along_the_training(results, sections, _panel, dotted="before any evidence")


def _panel(axes: Axes, results: Results, section: Section) -> None:
    found, metric = looks(results.grid.learners), section.episode_metric
    along = results.training.along
    along = along[along["family"] == section.family]
    for name in section.finished:
        mode = results.summary.mode(section.family, name, metric)
        rows = along[(along["algorithm"] == name) & (along["mode"] == mode)]
        if rows.empty:
            continue
        first, last = (_line(rows[rows["k"] == k], metric) for k in (rows["k"].min(), rows["k"].max()))
        color: dict[str, Any] = {"color": found[name].color}
        if rows["k"].nunique() > 1:
            marker: dict[str, Any] = {"marker": found[name].marker, "markerfacecolor": "white", "markersize": 3.5}
            start = axes.plot(first.x, first.values[0], linestyle=":", linewidth=1.2, **marker, **color)
            mark(start, policy_name(name))
        band = axes.fill_between(last.x, last.values[1], last.values[2], alpha=_curves.BAND, linewidth=0, **color)
        mark(band, policy_name(name))
        line = axes.plot(last.x, last.values[0], marker=found[name].marker, linestyle=found[name].dashes, **color)
        mark(line, policy_name(name), _in_words(name, last, rows["k"].max(), rows["seed"].nunique()))
    axes.set_xlim(left=0)
    axes.set_ylabel(f"{_common.metric_label(metric)},\nvalidation tasks")


def _in_words(name: str, line: Line, k: int, runs: int) -> list[str]:
    """``learner, K = 10, after 500,000 steps: 0.72, 1 run``, for every kept model."""
    digits, head = digits_for(line.values[0]), f"{policy_name(name)}, K = {k}"
    cells = [Cell(mean, digits, low, high, runs) for mean, low, high in line.values.T]
    end = f"{runs} run{'' if runs == 1 else 's'}"
    return [f"{head}, after {steps:,.0f} steps: {cell}, {end}" for steps, cell in zip(line.x, cells, strict=True)]


def _line(rows: pd.DataFrame, metric: str) -> Line:
    """The mean over runs and its interval at every kept model, at the mean of the runs' steps there."""
    steps, values = [], []
    for part, runs in rows.groupby("part", sort=True):
        scores = runs.sort_values("seed")[metric].to_numpy(dtype=np.float64)
        draws = generator("validation curve", runs["family"].iloc[0], runs["algorithm"].iloc[0], int(str(part)))
        found = stats.estimate([scores], stats.mean, draws)
        values.append((found.value, found.lo, found.hi))
        steps.append(runs["trained_steps"].mean())
    return Line(np.array(steps), np.array(values, dtype=np.float64).T)
