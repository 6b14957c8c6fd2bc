"""Return on training tasks against the environment steps spent."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter

from kshot.reporting import style
from kshot.reporting.data import Data, Section
from kshot.reporting.figures import _common

NAME = "learning_curves"
ORDER = 40
BY_SECTION = True
CAPTION = (
    "Mean return on training tasks while meta-training: before adaptation (dotted) and after it (solid). Lines are "
    "averages of the runs in 60 equal intervals of the budget; bands span the lowest to the highest run."
)
BINS = 60


def sections(data: Data) -> list[Section]:
    """The sections in which a learner earned rewards in training."""
    trained = set(zip(data.training["family"], data.training["algorithm"], strict=True))
    found = _common.sections(data)
    return [section for section in found if any((section[0], name) in trained for name in data.algorithms(*section))]


def draw(data: Data) -> Figure:
    wanted = sections(data)
    if not wanted:
        return style.empty("no training record holds a return")
    columns = min(2, len(wanted))
    figure, axes = style.panels(-(-len(wanted) // columns), columns)
    flat = [panel for row in axes for panel in row]
    for panel, section in zip(flat, wanted, strict=False):
        _panel(panel, data, section)
    for panel in flat[len(wanted) :]:
        panel.remove()
    before = Line2D([], [], color=style.GREY, linestyle=":", label="before adaptation")
    style.legend(figure, [*_common.learner_handles(data), before])
    return figure


def _panel(axes: Axes, data: Data, section: Section) -> None:
    family, evidence = section
    looks = style.looks(data.names)
    records = data.training[data.training["family"] == family]
    for name in data.algorithms(family, evidence):
        rows = records[records["algorithm"] == name]
        budget = float(rows["env_steps"].max()) if len(rows) else 0.0
        for metric, dashes, alpha in (("return", ":", 0.0), ("return_adapted", "-", 0.12)):
            binned = _binned(rows[rows["metric"] == metric], budget)
            if binned.empty:
                continue
            line, color = binned.groupby("steps")["value"].agg(["mean", "min", "max"]), looks[name].color
            axes.plot(line.index, line["mean"], color=color, linestyle=dashes, linewidth=1.2 if alpha == 0 else 1.8)
            if alpha:
                axes.fill_between(line.index, line["min"], line["max"], color=color, alpha=alpha, linewidth=0)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlabel("environment steps")
    axes.set_ylabel("return on training tasks")
    axes.set_title(_common.heading(data, section))


def _binned(rows: pd.DataFrame, budget: float) -> pd.DataFrame:
    """Columns steps (middle of the interval), seed, value: one row per run and interval."""
    if rows.empty:
        return pd.DataFrame({"steps": [], "seed": [], "value": []})
    width = max(budget, 1.0) / BINS
    index = np.minimum(np.ceil(rows["env_steps"].to_numpy() / width) - 1, BINS - 1).clip(0)
    steps = (index + 0.5) * width
    return rows.assign(steps=steps).groupby(["steps", "seed"])["value"].mean().reset_index()
