"""Success after K episodes on unseen tasks, by both readings of success."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from kshot.reporting import style
from kshot.reporting.figures import _common, _curves
from kshot.reporting.results import Results
from kshot.reporting.sections import Section

NAME = "success_after_k"
PLACES = {"curves": 20}
CAPTION = (
    "Share of episodes on unseen tasks that end in success (last step) and that succeed at any step, against the "
    f"evidence consumed. Thick: {_common.ACTIONS}, mean over runs with {_common.BANDS}; thin: the other kind of "
    "actions. A learner is only shown to know its task where it is above task-blind by the last step. Levels are "
    f"scripted policies; one that learns within a trial is a curve. {_curves.READING}"
)
_PANELS = (("success_last", "success at the last step"), ("success_any", "success at any step"))


def concerns(results: Results) -> list[Section]:
    """The sections of families that define success."""
    return [section for section in results.sections if section.family in results.summary.families_with_success]


def draw(results: Results, sections: Sequence[Section]) -> Figure:
    alone = len(sections) == 1  # stacked, so that each stays as wide as a phone
    figure, grid = style.panels(2, 1) if alone else style.panels(len(sections), 2)
    for row, section in enumerate(sections):
        for column, (metric, label) in enumerate(_PANELS):
            axes = grid[column][0] if alone else grid[row][column]
            _common.draw_curve(axes, results, section, metric)
            axes.set_ylim(-0.04, 1.04)
            axes.set_ylabel(label)
            axes.set_title(_common.heading(results.grid, section))
            _common.draw_references(axes, results.summary, section, metric)
    _common.legend_of_curves(figure, results, sections, _PANELS[0][0])
    return figure
