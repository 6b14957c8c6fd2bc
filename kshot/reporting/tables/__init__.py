"""One table per file: ``build(results) -> Table``; a new file is a new table, in the folder and on the page.

A table is written as numbers (CSV) and as text for papers (LaTeX) and documents (Markdown).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pandas as pd

from kshot import records
from kshot.reporting.results import Results, load
from kshot.reporting.table_text import latex, markdown
from kshot.reporting.values import Table
from kshot.suites.run import RunConfig

SUFFIXES = (".csv", ".tex", ".md")


def modules() -> list[ModuleType]:
    """The tables' modules, by name."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_"))
    return [importlib.import_module(f"{__name__}.{name}") for name in names]


def write_tables(runs: Sequence[RunConfig], root: Path, out: Path) -> list[Path]:
    """Write every table as ``out/<name>.csv``, ``.tex`` and ``.md``.

    Args:
        runs: the complete grid that the suite expects.
        root: folder of all results.
        out: folder of the tables.

    Raises:
        RecordError: the suite has not been aggregated since its runs last changed.
    """
    results = load(runs, root)
    paths = []
    for table in build(results):
        stem = out / table.name
        records.write_csv(stem.with_suffix(".csv"), pd.DataFrame(table.numbers))
        records.write_text(stem.with_suffix(".tex"), latex(table, results.grid.suite))
        records.write_text(stem.with_suffix(".md"), markdown(table))
        paths += [stem.with_suffix(suffix) for suffix in SUFFIXES]
    return paths


def build(results: Results) -> list[Table]:
    """Every table of a suite; those that would be empty are left out."""
    return [table for table in (module.build(results) for module in modules()) if table.parts]
