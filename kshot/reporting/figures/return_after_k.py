"""Return after K episodes on unseen tasks."""

from __future__ import annotations

from matplotlib.figure import Figure

from kshot.reporting import style
from kshot.reporting.data import Data
from kshot.reporting.figures import _common, _curves

NAME = "return_after_k"
ORDER = 20
BY_SECTION = True
CAPTION = (
    f"Undiscounted return of an episode on unseen tasks against the evidence consumed. Thick: {_common.ACTIONS}, mean "
    f"over runs with {_common.BANDS}; thin: the other kind of actions. Levels are scripted policies; one that learns "
    f"within a trial is a curve. {_curves.READING}"
)


def draw(data: Data) -> Figure:
    sections = _common.sections(data)
    if not sections:
        return style.empty("no learner has results")
    columns = min(2, len(sections))
    figure, axes = style.panels(-(-len(sections) // columns), columns)
    flat = [panel for row in axes for panel in row]
    for panel, section in zip(flat, sections, strict=False):
        _common.draw_curve(panel, data, section, "return")
        panel.set_ylabel("return")
        panel.set_title(_common.heading(data, section))
        _common.draw_references(panel, data, section, "return")
    for panel in flat[len(sections) :]:
        panel.remove()
    style.legend(figure, _common.learner_handles(data, sections))
    return figure
