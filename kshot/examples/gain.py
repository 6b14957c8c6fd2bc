"""What evidence is worth to every learner: an example of a figure, as a beginning for one of your own."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kshot.reporting import style
from kshot.reporting.looks import looks
from kshot.reporting.names import policy_name
from kshot.reporting.results import Results
from kshot.reporting.sections import Section

NAME = "gain"
CAPTION = "Return at the K of the tables minus return before any evidence: one mark for each run."


def draw(results: Results, sections: Sequence[Section]) -> Figure:
    """A panel for each section, with a line for each of its learners."""
    figure, panels = style.panels(len(sections), 1)
    for section, (axes,) in zip(sections, panels, strict=True):
        draw_panel(axes, results, section)
    return figure


def draw_panel(axes: Axes, results: Results, section: Section) -> None:
    """The runs of every learner of a section."""
    names = section.finished
    for place, name in enumerate(names):
        before, after = (results.summary.point(section.family, name, "return", k) for k in (0, section.k))
        gained = results.scores.at(after) - results.scores.at(before)
        look = looks(results.grid.learners)[name]
        axes.plot(gained, [place] * len(gained), linestyle="none", marker=look.marker, color=look.color)
    axes.axvline(0.0, color=style.GREY, linewidth=1)
    axes.set_yticks(range(len(names)), [policy_name(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel(f"gain in return by K = {section.k}")
    axes.set_title(section.title)
