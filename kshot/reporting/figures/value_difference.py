"""What learners from demonstrations lose against the best possible, after K of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from kshot.reporting import style
from kshot.reporting.figures import _common, _curves
from kshot.reporting.names import VALUE_DIFFERENCE
from kshot.reporting.results import Results
from kshot.reporting.sections import Section
from kshot.reporting.summary import Summary

NAME = "value_difference"
PLACES = {"curves": 10}
CAPTION = (
    "The best possible expected return of an episode less what it returned, against demonstrations seen. Thick: "
    f"{_common.ACTIONS}, mean over runs with {_common.BANDS}; thin: the other kind of actions. The scale is "
    "logarithmic down to a power of ten below all learners' means, and linear from there to 0. Levels are scripted "
    f"policies. {_curves.READING}"
)


def concerns(results: Results) -> list[Section]:
    """Learners from demonstrations in families that know the best possible return."""
    return [section for section in results.sections if section.demonstrated and _means(results.summary, section)]


def draw(results: Results, sections: Sequence[Section]) -> Figure:
    figure, panels = _common.panels(sections, height=1.3 * style.PANEL_HEIGHT)
    for section, axes in panels:
        _common.draw_curve(axes, results, section, VALUE_DIFFERENCE)
        _set_scale(axes, results.summary, section)
        axes.set_ylabel(_common.metric_label(VALUE_DIFFERENCE))
        axes.set_title(_common.heading(results.grid, section))
        _common.draw_references(axes, results.summary, section, VALUE_DIFFERENCE)
    _common.legend_of_curves(figure, results, sections, VALUE_DIFFERENCE)
    return figure


def _means(summary: Summary, section: Section) -> list[float]:
    """All that its learners reached."""
    curves = [summary.curve(section.family, name, VALUE_DIFFERENCE) for name in section.finished]
    return [point.mean for curve in curves for point in curve]


def _set_scale(axes: Axes, summary: Summary, section: Section) -> None:
    means = _means(summary, section)
    linear = 10.0 ** np.floor(np.log10(min((mean for mean in means if mean > 0), default=1.0)))
    axes.set_yscale("symlog", linthresh=linear, linscale=0.3)
    levels = [_common.reference_level(summary, section, name, VALUE_DIFFERENCE) for name in section.references]
    values = [0.0, linear, *means, *(level for level in levels if level is not None)]
    # By itself the axis would mirror the decades below 0.
    axes.set_ylim(min(values) - linear / 2, 2 * max(values))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
