"""What figures over several families share: a panel for learners that have scores on the same ones."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kshot.reporting import style
from kshot.reporting.across import Comparison
from kshot.reporting.figures import _common
from kshot.reporting.looks import looks
from kshot.reporting.names import FROM_DEMONSTRATIONS, policy_name
from kshot.reporting.results import Results
from kshot.reporting.sections import Section

WIDTH, LINES = 40, 2
"""Letters that a line of a panel's title has room for, and so many lines for the names of families."""

GLUE = "\N{NO-BREAK SPACE}"


def concerned(results: Results, shown: Sequence[Comparison]) -> list[Section]:
    """The sections of some comparisons, in the suite's order."""
    return [section for section in results.sections if any(section in one.sections for one in shown)]


def draw(results: Results, shown: Sequence[Comparison], panel: Callable[[Axes, Results, Comparison], None]) -> Figure:
    """A figure with a panel for every comparison, and a legend of all learners in them."""
    columns = min(2, len(shown))
    figure, grid = style.panels(-(-len(shown) // columns), columns)
    flat = [axes for row in grid for axes in row]
    for unused in flat[len(shown) :]:
        unused.remove()
    for one, axes in zip(shown, flat, strict=False):
        panel(axes, results, one)
        axes.set_title(heading(results, one))
    found, learners = looks(results.grid.learners), {name for one in shown for name in one.learners}
    names = [name for name in results.grid.learners if name in learners]
    style.legend(figure, [_common.legend_line(found[name], policy_name(name)) for name in names])
    return figure


def heading(results: Results, shown: Comparison) -> str:
    """``point, ml10 (5 seeds)``, or how many families there are; with the evidence where it is not the usual one."""
    pairs = [(section.family, name) for section in shown.sections for name in shown.learners]
    counts = [results.grid.run_counts[pair].counted for pair in pairs]
    seeds = str(min(counts)) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    kind = f", {FROM_DEMONSTRATIONS}".replace(" d", GLUE + "d") if shown.sections[0].demonstrated else ""
    number = f"({seeds} seed{'' if seeds == '1' else 's'})".replace(" ", GLUE)
    families = ", ".join(section.family for section in shown.sections)
    lines = textwrap.wrap(f"{families}{kind} {number}", WIDTH)
    if len(lines) > LINES:
        lines = textwrap.wrap(f"{len(shown.sections)} families{kind} {number}", WIDTH)
    return "\n".join(lines)
