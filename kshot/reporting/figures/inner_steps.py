"""What learners measured on validation tasks for every number of inner steps and of shots."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kshot.reporting import style
from kshot.reporting.figures import _common, _curves
from kshot.reporting.figures._curves import Line
from kshot.reporting.looks import Look
from kshot.reporting.names import policy_name
from kshot.reporting.results import Results
from kshot.reporting.sections import Section

NAME = "inner_steps"
PLACES = {"inner": 10}
CAPTION = (
    "Validation tasks after training: how the number of gradient steps on K demonstrations (a colour each) decides "
    "what comes of them. Held-out loss is that of further demonstrations; return and success of single episodes; mean "
    "over runs, bands and whiskers span the lowest to the highest run. No line joins two numbers between which others "
    "were not tried. Test tasks are adapted to with the number that was best here."
)
MEASURES = {
    "loss": "held-out loss, nats per step",
    "return": "validation return",
    "success": "validation success",
}
MARKERS = "osD^vP*"
HEIGHT, TALLEST = 2.4, 9
"""Inches of a panel; the most panels that one section has in one column."""


def concerns(results: Results) -> list[Section]:
    """The sections in which a learner logged such measurements."""
    return [section for section in results.sections if _panels(results, section)]


def draw(results: Results, sections: Sequence[Section]) -> Figure:
    panels = [(section, *panel) for section in sections for panel in _panels(results, section)]
    shots = sorted({k for panel in panels for k in _rows(results, *panel)["shots"]})
    if len(sections) == 1 and len(panels) <= TALLEST:
        # Those of one section stand below each other, so that each stays as wide as a phone.
        places = [(row, 0) for row in range(len(panels))]
    else:
        measures = [measure for measure in MEASURES if any(measure == panel[2] for panel in panels)]
        learners = list(dict.fromkeys((section.title, name) for section, name, _ in panels))
        places = [(learners.index((section.title, name)), measures.index(found)) for section, name, found in panels]
    rows, columns = (1 + max(place[axis] for place in places) for axis in (0, 1))
    figure, grid = style.panels(rows, columns, height=HEIGHT)
    for (section, name, measure), (row, column) in zip(panels, places, strict=True):
        measured = _rows(results, section, name, measure)
        _panel(grid[row][column], measured, measure, shots)
        runs = measured["seed"].nunique()
        plural = "" if runs == 1 else "s"
        grid[row][column].set_title(f"{section.family}: {policy_name(name)} ({runs} seed{plural})")
    for unused in figure.axes:
        if not unused.has_data():
            unused.remove()
    style.legend(figure, [_common.legend_line(_look(shots, k), f"K = {k}") for k in shots], columns=6)
    return figure


def _panels(results: Results, section: Section) -> list[tuple[str, str]]:
    """(learner, measure) of everything that was logged."""
    rows = results.training.validation[["family", "algorithm", "measure"]].drop_duplicates()
    known = set(rows.itertuples(index=False, name=None))
    pairs = [(name, measure) for name in section.finished for measure in MEASURES]
    return [(name, measure) for name, measure in pairs if (section.family, name, measure) in known]


def _rows(results: Results, section: Section, name: str, measure: str) -> pd.DataFrame:
    """What a learner logged of one measure."""
    rows = results.training.validation
    for column, value in (("family", section.family), ("algorithm", name), ("measure", measure)):
        rows = rows[rows[column] == value]
    return rows


def _panel(axes: Axes, rows: pd.DataFrame, measure: str, shots: list[int]) -> None:
    for k in sorted(set(rows["shots"])):
        over = rows[rows["shots"] == k].groupby("steps", as_index=False)["value"].agg(["mean", "min", "max"])
        _curves.draw(axes, Line.of_frame(over, "steps", "mean", "min", "max"), _look(shots, k))
    steps = sorted(set(rows["steps"]))
    axes.set_xscale("log")
    axes.set_xticks(steps, [str(n) for n in steps])
    axes.minorticks_off()
    axes.set_xlabel("inner steps")
    axes.set_ylabel(MEASURES[measure])


def _look(shots: list[int], k: int) -> Look:
    """How a number of shots is drawn: the more, the darker."""
    index = shots.index(k)
    color = sns.color_palette("flare", len(shots)).as_hex()[index]
    return Look(color, MARKERS[index % len(MARKERS)], "-")
