"""What a comparison is written as: a page that opens from disk, a table in three forms and a figure in three."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from kshot import records
from kshot.errors import ConfigError
from kshot.reporting import compare_figure, csv_files, style, templating
from kshot.reporting.compare import Comparison, compare
from kshot.reporting.compare_notes import notes
from kshot.reporting.compare_outside import SUFFIXES, read_outside
from kshot.reporting.compare_sides import Side, describe, find_side
from kshot.reporting.compare_table import NAME, table
from kshot.reporting.looks import looks
from kshot.reporting.names import policy_name
from kshot.reporting.redraw import LoadSuite
from kshot.reporting.table_latex import latex
from kshot.reporting.table_text import markdown
from kshot.reporting.values import Table

PLACE = Path("reports/compare")
"""Where comparisons are written by default."""


def read(a: str, b: str, load: LoadSuite, root: Path, pairs: Sequence[str] = ()) -> Comparison:
    """Compare two sides.

    Args:
        a: what the other is held against, as ``find_side`` takes it.
        b: the same, or a CSV or parquet file of episodes that were played elsewhere.
        load: reads the suite of a resolved file, or one by its name.
        root: folder of all results.
        pairs: as ``compare`` takes them.

    Raises:
        ConfigError: a side is not there, or the two cannot be compared.
        RecordError: results are damaged or do not belong together.
    """
    if _is_file(a):
        raise ConfigError([f"{a}: episodes from outside are compared with a suite: name that first"])
    ours = find_side(a, load, root)
    theirs: Side = read_outside(Path(b), ours) if _is_file(b) else find_side(b, load, root)
    comparison = compare(ours, theirs, pairs)
    return replace(comparison, notes=notes(comparison))


def _is_file(name: str) -> bool:
    return name.endswith(SUFFIXES)


def folder(comparison: Comparison) -> Path:
    """Where a comparison is written unless somebody says otherwise: ``reports/compare/<A>-<B>``."""
    names = (side.label.removesuffix(".csv").removesuffix(".parquet") for side in (comparison.a, comparison.b))
    return PLACE / "-".join(re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".") or "_" for name in names)


def lines(comparison: Comparison) -> list[str]:
    """The outcome for a terminal: what else differs, every learner that is significantly worse or better, the count."""
    found = [text for _, text in comparison.notes]
    for verdict in ("worse", "better"):
        for row in comparison.with_verdict(verdict):
            view = row.headline
            assert view.contrast is not None  # there is a verdict
            ends = f"{view.contrast.difference:.4g} [{view.contrast.lo:.4g}, {view.contrast.hi:.4g}]"
            found.append(f"{verdict}: {row.name} on {row.family}: {view.metric} {ends}, p = {row.corrected:.2g}")
    return [*found, comparison.summary]


def write(comparison: Comparison, out: Path) -> list[Path]:
    """Write ``index.html``, ``compare.csv``, ``.md``, ``.tex``, ``.pdf``, ``.svg`` and ``.png`` into ``out``.

    Returns:
        Their paths, the page first.
    """
    made = table(comparison)
    with style.context(NAME):
        sections = [part.title for part in made.parts if part.title in {row.section for row in comparison.rows}]
        pictures = {section: style.render(compare_figure.draw(comparison, [section]), "svg") for section in sections}
        figures = style.save(compare_figure.draw(comparison, sections), out / NAME)
    csv_files.write(out / f"{NAME}.csv", pd.DataFrame(made.numbers))
    records.write_text(out / f"{NAME}.md", markdown(made))
    records.write_text(out / f"{NAME}.tex", latex(made, f"{comparison.a.label}, {comparison.b.label}"))
    tables = [out / f"{NAME}.{suffix}" for suffix in ("csv", "md", "tex")]
    records.write_text(out / "index.html", _page(comparison, made, pictures, [*tables, *figures]))
    return [out / "index.html", *tables, *figures]


def _page(comparison: Comparison, made: Table, pictures: dict[str, bytes], files: Sequence[Path]) -> str:
    environment = templating.environment()
    learners = {row.a or row.b for row in comparison.rows}
    cards: list[dict[str, Any]] = []
    for section, picture in pictures.items():
        parts = [part for part in made.parts if part.title == section or part.title.startswith(f"{section}: ")]
        uri = "data:image/svg+xml;base64," + base64.b64encode(picture).decode()
        cards.append({"title": section, "image": uri, "parts": parts})
    return environment.get_template("compare.html.j2").render(
        a=describe(comparison.a),
        b=describe(comparison.b),
        summary=comparison.summary,
        facts=[
            (str(comparison.tested), "comparisons tested"),
            (str(len(comparison.with_verdict("worse"))), "B worse"),
            (str(len(comparison.with_verdict("better"))), "B better"),
        ],
        worse=comparison.with_verdict("worse"),
        notes=comparison.notes,
        cards=cards,
        colours={policy_name(name): look.color for name, look in looks(learners).items()},
        captions=[compare_figure.CAPTION, made.caption],
        files=[path.name for path in files],
    )
