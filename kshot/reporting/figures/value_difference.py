"""What learners from demonstrations lose against the best possible, after K of them."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from kshot.reporting import style
from kshot.reporting.data import DEMONSTRATIONS, Data, Section
from kshot.reporting.figures import _common, _curves

NAME = "value_difference"
ORDER = 15
BY_SECTION = True
METRIC = "value_difference"
CAPTION = (
    "The best possible expected return of an episode less what it returned, against demonstrations seen. Thick: "
    f"{_common.ACTIONS}, mean over runs with {_common.BANDS}; thin: the other kind of actions. The scale is "
    "logarithmic down to a power of ten below all learners' means, and linear from there to 0. Levels are scripted "
    f"policies. {_curves.READING}"
)


def sections(data: Data) -> list[Section]:
    """Learners from demonstrations in families that know the best possible return."""
    return [
        section
        for section in _common.sections(data)
        if section[1] == DEMONSTRATIONS
        and any(len(data.curve(section[0], name, METRIC)) for name in data.algorithms(*section))
    ]


def draw(data: Data) -> Figure:
    wanted = sections(data)
    if not wanted:
        return style.empty("nobody here learns from demonstrations where the best possible return is known")
    columns = min(2, len(wanted))
    figure, axes = style.panels(-(-len(wanted) // columns), columns, height=1.3 * style.PANEL_HEIGHT)
    flat = [panel for row in axes for panel in row]
    for panel, section in zip(flat, wanted, strict=False):
        _common.draw_curve(panel, data, section, METRIC)
        means = np.concatenate([data.curve(section[0], name, METRIC)["mean"] for name in data.algorithms(*section)])
        linear = 10.0 ** np.floor(np.log10(min(means[means > 0], default=1.0)))
        panel.set_yscale("symlog", linthresh=linear, linscale=0.3)
        levels = [_common.reference_level(data, section, name, METRIC) for name in data.references(section)]
        shown = [0.0, linear, *means, *(level for level in levels if level is not None)]
        # By itself the axis would mirror the decades below 0.
        panel.set_ylim(min(shown) - linear / 2, 2 * max(shown))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.set_ylabel(_common.metric_label(METRIC))
        panel.set_title(_common.heading(data, section))
        _common.draw_references(panel, data, section, METRIC)
    for panel in flat[len(wanted) :]:
        panel.remove()
    style.legend(figure, _common.learner_handles(data, wanted))
    return figure
