"""``reports/reference`` and the tables in ``docs/``, made again from the runs that are kept, without training."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kshot import computed_again, records
from kshot.reporting import figures, kept, results, tables
from kshot.reporting.aggregate import aggregate
from kshot.reporting.embedding import documents, embed
from kshot.reporting.page import write_page
from kshot.reporting.values import Table
from kshot.suites.run import RunConfig

_FORMATS = ("pdf", "png")
"""Of the figures that stay beside a page: for papers, and for documents. The page itself holds them as SVG."""
_OWN = ("README.md", kept.SUITE, computed_again.FILE)
"""Files in the folder of a suite that are not made here."""


LoadSuite = Callable[[Path], tuple[Mapping[str, Any], Sequence[RunConfig]]]
"""From the file of a resolved suite to what users wrote of it, and its runs."""


def redraw(load: LoadSuite, place: Path = kept.KEPT, pages: Sequence[Path] | None = None) -> Iterator[Path]:
    """Make numbers, figures, tables and page of every kept suite again, then the tables in ``pages``.

    The same runs and the same code give the same bytes. What stands in a suite's folder is replaced only once all of it
    could be made.

    Args:
        load: reads a kept suite.
        place: folder of the kept suites.
        pages: documents whose tables are made again; by default all of ``docs`` that show any.

    Yields:
        The path of every file, once it is written.

    Raises:
        RecordError: no runs are kept, some are damaged or do not belong together, or a document asks for a table that
            there is not.
    """
    built: dict[str, list[Table]] = {}
    for folder in kept.folders(place):
        with tempfile.TemporaryDirectory() as scratch:
            root, drawn = Path(scratch, "results"), Path(scratch, "report")
            kept.unpack(folder, root)
            built[folder.name] = draw(*load(folder / kept.SUITE), root, drawn, _FORMATS)
            yield from _replace(folder, drawn)
    for page in documents() if pages is None else pages:
        yield embed(page, built)


def draw(
    suite: Mapping[str, Any], runs: Sequence[RunConfig], root: Path, out: Path, formats: tuple[str, ...]
) -> list[Table]:
    """Everything about one suite, to be kept without its results: numbers, figures, tables and a page.

    Args:
        suite: what users wrote of it, with every default.
        runs: the complete grid that it asks for; those without results are listed as missing.
        root: folder of all results.
        out: where all of it is written to.
        formats: of the figures beside the page.

    Returns:
        The tables.
    """
    aggregate(runs, root, partial=True)
    figures.render_all(runs, root, out / "figures", formats)
    tables.write_tables(runs, root, out / "tables")
    write_page(suite, runs, root, out, partial=True, alone=True)
    return tables.build(results.load(runs, root))


def _replace(folder: Path, drawn: Path) -> Iterator[Path]:
    """Move what was drawn into a suite's folder, in place of what stood there."""
    new = {path.relative_to(drawn) for path in drawn.rglob("*") if path.is_file()}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and name not in new and str(name) not in _OWN and not path.match(f"*{kept.SUFFIX}"):
            path.unlink()
    for name in sorted(new):
        records.write_bytes(folder / name, (drawn / name).read_bytes())
        yield folder / name
