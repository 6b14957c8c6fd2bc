"""One figure per file: ``NAME``, ``CAPTION`` and ``draw(data) -> Figure``; a new file here is a new figure.

A module may set ``BY_SECTION = True``: its figure is then also drawn for each family and kind of evidence alone, which
the page prefers, since one panel stays readable on a phone. One that does not concern every section says which in
``sections(data)``; where that is empty, the page leaves the figure out.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from matplotlib.figure import Figure

from kshot.reporting import style
from kshot.reporting.data import Data, load
from kshot.suites.run import RunConfig


def modules() -> list[ModuleType]:
    """The figures' modules, in the order in which they are shown (``ORDER``, then name)."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_"))
    found = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return sorted(found, key=lambda module: (getattr(module, "ORDER", 100), module.NAME))


def render_all(runs: Sequence[RunConfig], root: Path, out: Path) -> list[Path]:
    """Write every figure as ``out/<name>.pdf``, ``.svg`` and ``.png``; same records, same bytes.

    Args:
        runs: the complete grid that the suite expects.
        root: folder of all results.
        out: folder of the figures.

    Raises:
        RecordError: the suite has not been aggregated since its runs last changed.
    """
    data = load(runs, root)
    paths = []
    for module in modules():
        with style.context(module.NAME):
            paths += style.save(draw(module, data), out / module.NAME)
    return paths


def draw(module: ModuleType, data: Data) -> Figure:
    """The module's figure of ``data``, laid out; call it inside ``style.context``, which names the figure."""
    figure = module.draw(data)
    if not isinstance(figure, Figure):
        raise TypeError(f"{module.__name__}.draw returned {type(figure).__name__}, expected a matplotlib Figure")
    style.settle(figure)
    return figure
