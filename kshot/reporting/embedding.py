"""Tables of kept suites in documents: between two marks, made again whenever the suites are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from kshot import records
from kshot.errors import RecordError, suggest
from kshot.reporting.table_text import part_as_markdown
from kshot.reporting.values import Table

_BLOCK = re.compile(r"^<!-- table (?P<asked>.*?) -->\n(?P<text>.*?)^<!-- end -->$", re.DOTALL | re.MULTILINE)
DOCUMENTS = Path("docs")
T = TypeVar("T")
_MARK = re.compile(r"^<!-- (table .*|end) -->$", re.MULTILINE)


def documents(folder: Path = DOCUMENTS) -> tuple[Path, ...]:
    """Every document of a folder that shows tables of kept suites, in alphabetic order; without the folder, none."""
    return tuple(page for page in sorted(folder.rglob("*.md")) if _MARK.search(page.read_text(encoding="utf-8")))


def embed(page: Path, built: Mapping[str, Sequence[Table]]) -> Path:
    """Write a document's tables again, and nothing else of it.

    A table stands between ``<!-- table SUITE NAME -->`` and ``<!-- end -->``, each on a line of its own. More words are
    the title of one of its parts, which then stands there alone; otherwise all do, and the table's caption below.

    Args:
        page: a document in Markdown.
        built: the tables of every kept suite.

    Returns:
        ``page``.

    Raises:
        RecordError: a mark is not closed, or asks for a suite, table or part that there is not.
    """
    text = page.read_text(encoding="utf-8")
    if 2 * len(_BLOCK.findall(text)) != len(_MARK.findall(text)):
        raise RecordError(f"{page}: a <!-- table ... --> is not closed by its own <!-- end -->")

    def filled(match: re.Match[str]) -> str:
        line = text.count("\n", 0, match.start()) + 1
        try:
            return f"<!-- table {match['asked']} -->\n\n{_text(match['asked'], built)}\n\n<!-- end -->"
        except LookupError as error:
            raise RecordError(f"{page}:{line}: {error.args[0]}") from None

    records.write_text(page, _BLOCK.sub(filled, text))
    return page


def _text(asked: str, built: Mapping[str, Sequence[Table]]) -> str:
    """What a mark asks for. Raises LookupError with the reason where there is no such thing."""
    words = asked.split(maxsplit=2)
    if len(words) < 2:
        raise LookupError(f"{asked!r}: expected the names of a suite and of a table")
    suite, name = words[:2]
    tables = {table.name: table for table in _known(built, suite, "suite")}
    table = _known(tables, name, f"table of {suite}")
    if words[2:]:
        parts = {part.title: part for part in table.parts}
        return part_as_markdown(_known(parts, words[2], f"part of {suite}'s {name}"))
    blocks = []
    for part in table.parts:
        blocks += [f"**{part.title}**"] * (len(table.parts) > 1) + [part_as_markdown(part)]
    return "\n\n".join([*blocks, table.caption])


def _known(values: Mapping[str, T], name: str, kind: str) -> T:
    if name not in values:
        raise LookupError(f"no {kind} is called {name!r}{suggest(name, values)}")
    return values[name]
