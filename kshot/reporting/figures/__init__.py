"""One figure per file: ``NAME``, ``CAPTION`` and ``draw(results, sections) -> Figure``; a new file is a new figure.

``draw`` is given the sections to show: all that the figure concerns for the figure's files, one alone for each picture
on the page, since one panel stays readable on a phone. A module may also say

- ``PLACES``, where the page shows it: its order among what stands there, by the name of a tab in
  ``kshot.reporting.page_parts.PLACES``; without it, the figure stands in the last tab. In ``together`` a picture has
  all sections of one kind of evidence;
- ``TITLE``, how the page calls it, where that is not its name;
- ``concerns(results)``, the sections that it has something to show of, where that is not every one with results;
- ``EMPTY``, what its files say where there are none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType

from matplotlib.figure import Figure

from kshot.reporting import style
from kshot.reporting.faults import Faults
from kshot.reporting.results import Results, load
from kshot.reporting.sections import Section
from kshot.suites.run import RunConfig

TOGETHER = "together"
"""The place of what is about all families together."""


def modules(faults: Faults) -> list[ModuleType]:
    """The figures' modules, by name."""
    return faults.modules("figures", __name__, __path__)


def render_all(runs: Sequence[RunConfig], root: Path, out: Path) -> list[Path]:
    """Write every figure as ``out/<name>.pdf``, ``.svg`` and ``.png``; same records, same bytes.

    A figure that cannot be drawn costs that figure: it is named in the log, and its files are removed.

    Args:
        runs: the complete grid that the suite expects.
        root: folder of all results.
        out: folder of the figures.

    Raises:
        RecordError: the suite has not been aggregated since its runs last changed.
    """
    results, faults = load(runs, root), Faults()
    paths = []
    for module in modules(faults):
        stem = out / module.NAME
        saved: list[Path] = []
        with faults.caught(f"figure {module.NAME}"), style.context(module.NAME):
            saved = style.save(draw(module, results, concerned(module, results)), stem)
        paths += saved
        if not saved:
            for format in style.FORMATS:
                stem.with_name(f"{stem.name}.{format}").unlink(missing_ok=True)
    return paths


def concerned(module: ModuleType, results: Results) -> list[Section]:
    """The sections that a figure has something to show of."""
    found: Iterable[Section] = module.concerns(results) if hasattr(module, "concerns") else results.sections
    return [section for section in found if section.finished]


def each_alone(module: ModuleType, results: Results) -> list[Section]:
    """The sections of which a figure shows each by itself: none where it is about all families together."""
    return [] if TOGETHER in getattr(module, "PLACES", {}) else concerned(module, results)


def draw(module: ModuleType, results: Results, sections: Sequence[Section]) -> Figure:
    """The module's figure of some sections, laid out; call it inside ``style.context``, which names the figure."""
    if sections:
        figure = module.draw(results, sections)
    else:
        figure = style.empty(getattr(module, "EMPTY", "no learner has results"))
    if not isinstance(figure, Figure):
        raise TypeError(f"{module.__name__}.draw returned {type(figure).__name__}, expected a matplotlib Figure")
    style.settle(figure)
    return figure
