"""Success after K episodes on unseen tasks, by both readings of success."""

from __future__ import annotations

from matplotlib.figure import Figure

from kshot.reporting import style
from kshot.reporting.data import Data
from kshot.reporting.figures import _common, _curves

NAME = "success_after_k"
ORDER = 10
BY_SECTION = True
CAPTION = (
    "Share of episodes on unseen tasks that end in success (last step) and that succeed at any step, against the "
    f"evidence consumed. Thick: {_common.ACTIONS}, mean over runs with {_common.BANDS}; thin: the other kind of "
    "actions. A learner is only shown to know its task where it is above task-blind by the last step. Levels are "
    f"scripted policies; one that learns within a trial is a curve. {_curves.READING}"
)
_PANELS = (("success_last", "success at the last step"), ("success_any", "success at any step"))
sections = _common.sections_with_success


def draw(data: Data) -> Figure:
    wanted = sections(data)
    if not wanted:
        return style.empty("no family here defines success")
    alone = len(wanted) == 1  # stacked, so that each stays as wide as a phone
    figure, axes = style.panels(2, 1) if alone else style.panels(len(wanted), 2)
    for row, section in enumerate(wanted):
        for column, (metric, label) in enumerate(_PANELS):
            panel = axes[column][0] if alone else axes[row][column]
            _common.draw_curve(panel, data, section, metric)
            panel.set_ylim(-0.04, 1.04)
            panel.set_ylabel(label)
            panel.set_title(_common.heading(data, section))
            _common.draw_references(panel, data, section, metric)
    style.legend(figure, _common.learner_handles(data, wanted))
    return figure
