"""What learners measured on validation tasks for every number of inner steps and of shots."""

from __future__ import annotations

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kshot.reporting import style
from kshot.reporting.data import Data, Section
from kshot.reporting.figures import _common, _curves
from kshot.reporting.layout import title

NAME = "inner_steps"
ORDER = 50
BY_SECTION = True
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


def sections(data: Data) -> list[Section]:
    """The sections in which a learner logged such measurements."""
    return [section for section in _common.sections(data) if _panels(data, section)]


def draw(data: Data) -> Figure:
    wanted = [(section, *panel) for section in sections(data) for panel in _panels(data, section)]
    if not wanted:
        return style.empty("no learner measured several numbers of inner steps")
    shots = sorted(set(data.validation["shots"]))
    if len(sections(data)) == 1 and len(wanted) <= TALLEST:
        # Those of one section stand below each other, so that each stays as wide as a phone.
        place = {panel: (row, 0) for row, panel in enumerate(wanted)}
    else:
        measures = [measure for measure in MEASURES if any(measure == panel[2] for panel in wanted)]
        learners = list(dict.fromkeys(panel[:2] for panel in wanted))
        place = {panel: (learners.index(panel[:2]), measures.index(panel[2])) for panel in wanted}
    rows, columns = (1 + max(position[axis] for position in place.values()) for axis in (0, 1))
    figure, axes = style.panels(rows, columns, height=HEIGHT)
    for panel, (row, column) in place.items():
        _panel(axes[row][column], data, *panel, shots)
    for unused in figure.axes:
        if not unused.has_data():
            unused.remove()
    looks = {k: _look(shots, k) for k in shots}
    handles = [Line2D([], [], color=look.color, marker=look.marker, label=f"K = {k}") for k, look in looks.items()]
    style.legend(figure, handles, columns=6)
    return figure


def _panels(data: Data, section: Section) -> list[tuple[str, str]]:
    """(learner, measure) of everything that was logged."""
    rows = data.validation[data.validation["family"] == section[0]]
    known = set(zip(rows["algorithm"], rows["measure"], strict=True))
    return [(name, measure) for name in data.algorithms(*section) for measure in MEASURES if (name, measure) in known]


def _panel(axes: Axes, data: Data, section: Section, name: str, measure: str, shots: list[int]) -> None:
    rows = data.validation
    for column, value in (("family", section[0]), ("algorithm", name), ("measure", measure)):
        rows = rows[rows[column] == value]
    for k in sorted(set(rows["shots"])):
        over = rows[rows["shots"] == k].groupby("steps", as_index=False)["value"].agg(["mean", "min", "max"])
        _curves.draw(axes, over, _look(shots, k), x="steps", ends=("min", "max"))
    steps = sorted(set(rows["steps"]))
    axes.set_xscale("log")
    axes.set_xticks(steps, [str(n) for n in steps])
    axes.minorticks_off()
    axes.set_xlabel("inner steps")
    axes.set_ylabel(MEASURES[measure])
    runs = rows["seed"].nunique()
    axes.set_title(f"{section[0]}: {title(name)} ({runs} seed{'' if runs == 1 else 's'})")


def _look(shots: list[int], k: int) -> style.Look:
    """How a number of shots is drawn: the more, the darker."""
    index = shots.index(k)
    color = sns.color_palette("flare", len(shots)).as_hex()[index]
    return style.Look(color, MARKERS[index % len(MARKERS)], "-")
