"""One figure per file: ``NAME``, ``CAPTION`` and ``draw(results, sections) -> Figure``; a new file is a new figure.

``draw`` is given the sections to show: all that the figure concerns for the figure's files, one alone for each picture
on the page, since one panel stays readable on a phone. A module may also say

- ``PLACES``, where the page shows it: its order among what stands there, by the name of a tab in
  ``kshot.reporting.page_parts.PLACES``; without it, the figure stands in the last tab. In ``together`` a picture has
  all sections of one kind of evidence;
- ``TITLE``, how the page calls it, where that is not its name;
- ``concerns(results)``, the sections that it has something to show of, where that is not every one with results. A
  figure without such sections has no files, and no place on the page.
- ``ACROSS = True``, where papers show it of several families at once, too; what stands in ``together`` always is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Shown:
    """A figure that has something to show.

    Attributes:
        module: draws it.
        sections: what it shows; at least one.
    """

    module: ModuleType
    sections: Sequence[Section]

    @property
    def together(self) -> bool:
        """Whether it is about all families together, and shows none by itself."""
        return TOGETHER in getattr(self.module, "PLACES", {})

    @property
    def alone(self) -> Sequence[Section]:
        """The sections of which it shows each by itself."""
        return () if self.together else self.sections


def shown(results: Results, faults: Faults) -> list[Shown]:
    """The figures that have something to show, by name; which sections they concern is found out once, here."""
    found = []
    for module in modules(faults):
        with faults.caught(f"figure {module.NAME}"):
            if sections := concerned(module, results):
                found.append(Shown(module, sections))
    return found


def render_all(runs: Sequence[RunConfig], root: Path, out: Path, formats: Sequence[str] = style.FORMATS) -> list[Path]:
    """Write every figure that has something to show as ``out/<name>.pdf``, ``.svg`` and ``.png``.

    Same records, same bytes. A figure that cannot be drawn costs that figure: it is named in the log. Of figures that
    are not written, files of earlier runs are removed.

    Args:
        runs: the complete grid that the suite expects.
        root: folder of all results.
        out: folder of the figures; it is there afterwards, even if no figure is.
        formats: those to write.

    Raises:
        RecordError: the suite has not been aggregated since its runs last changed.
    """
    results, faults = load(runs, root), Faults()
    out.mkdir(parents=True, exist_ok=True)

    def write(figure: Shown) -> list[Path]:
        name = figure.module.NAME
        with faults.caught(f"figure {name}"), style.context(name):
            return style.save(draw(figure.module, results, figure.sections), out / name, formats)
        return []

    paths = [path for written in faults.each(write, shown(results, faults)) for path in written]
    for module in modules(faults):
        for path in (out / f"{module.NAME}.{format}" for format in style.FORMATS):
            if path not in paths:
                path.unlink(missing_ok=True)
    return paths


def concerned(module: ModuleType, results: Results) -> list[Section]:
    """The sections that a figure has something to show of."""
    found: Iterable[Section] = module.concerns(results) if hasattr(module, "concerns") else results.sections
    return [section for section in found if section.finished]


def draw(module: ModuleType, results: Results, sections: Sequence[Section]) -> Figure:
    """The module's figure of some sections, laid out; call it inside ``style.context``, which names the figure."""
    figure = module.draw(results, sections)
    if not isinstance(figure, Figure):
        raise TypeError(f"{module.__name__}.draw returned {type(figure).__name__}, expected a matplotlib Figure")
    style.settle(figure)
    return figure
