"""Return after K episodes on unseen tasks."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from kshot.reporting.figures import _common, _curves
from kshot.reporting.results import Results
from kshot.reporting.sections import Section

NAME = "return_after_k"
PLACES = {"curves": 30}
CAPTION = (
    f"Undiscounted return of an episode on unseen tasks against the evidence consumed. Thick: {_common.ACTIONS}, mean "
    f"over runs with {_common.BANDS}; thin: the other kind of actions. Levels are scripted policies; one that learns "
    f"within a trial is a curve. {_curves.READING}"
)


def draw(results: Results, sections: Sequence[Section]) -> Figure:
    figure, panels = _common.panels(sections)
    for section, axes in panels:
        _common.draw_curve(axes, results, section, "return")
        axes.set_ylabel("return")
        axes.set_title(_common.heading(results.grid, section))
        _common.draw_references(axes, results.summary, section, "return")
    _common.legend_of_curves(figure, results, sections, "return")
    return figure
