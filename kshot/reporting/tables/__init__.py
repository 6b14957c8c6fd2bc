"""One table per file: ``build(results) -> Table``; a new file is a new table, in the folder and on the page.

A table is written as numbers (CSV) and as text for papers (LaTeX) and documents (Markdown).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pandas as pd

from kshot import records
from kshot.errors import RegistryError
from kshot.reporting import csv_files
from kshot.reporting.faults import Faults
from kshot.reporting.results import Results, load
from kshot.reporting.table_latex import latex
from kshot.reporting.table_text import markdown
from kshot.reporting.values import Table
from kshot.suites.run import RunConfig

SUFFIXES = (".csv", ".tex", ".md")


def modules(faults: Faults) -> list[ModuleType]:
    """The tables' modules, by name."""
    return faults.modules("tables", __name__, __path__)


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
        csv_files.write(stem.with_suffix(".csv"), pd.DataFrame(table.numbers))
        records.write_text(stem.with_suffix(".tex"), latex(table, results.grid.suite))
        records.write_text(stem.with_suffix(".md"), markdown(table))
        paths += [stem.with_suffix(suffix) for suffix in SUFFIXES]
    return paths


def build(results: Results) -> list[Table]:
    """Every table of a suite that can be made; those that would be empty are left out."""
    return [table for table in made(results, Faults()) if table.parts]


def made(results: Results, faults: Faults) -> list[Table]:
    """The same with those that would be empty; those that fail are noted."""
    tables: list[Table] = []
    for module in modules(faults):
        with faults.caught(f"table {module.__name__.rpartition('.')[2]}"):
            table = module.build(results)
            if table.name in [other.name for other in tables]:
                raise RegistryError(f"its name {table.name!r}, by which its files go, is that of another table")
            tables.append(table)
    return tables
