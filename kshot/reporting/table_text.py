"""Tables as Markdown, for documents."""

from __future__ import annotations

from collections.abc import Sequence

from kshot.reporting.values import Part, Table


def markdown(table: Table) -> str:
    """Pipe tables with title, caption and sources."""
    blocks = [f"# {_literal(table.title)}"]
    for part in table.parts:
        blocks += [f"## {_literal(part.title)}"] * bool(part.title) + [part_as_markdown(part)]
    return "\n\n".join([*blocks, table.caption, f"From {', '.join(table.sources)}."]) + "\n"


def part_as_markdown(part: Part) -> str:
    """One pipe table, without a title."""
    head, *rows = _lines(part)
    lines = ["| " + " | ".join(map(_literal, line)) + " |" for line in (head, *rows)]
    lines.insert(1, "| " + " | ".join(["---"] * len(head)) + " |")
    return "\n".join(lines)


def _lines(part: Part) -> list[Sequence[str]]:
    """The titles of the columns, and every row."""
    text = part.text()
    return [list(text.columns), *text.to_numpy(dtype=object).tolist()]


def _literal(text: str) -> str:
    """Text in which Markdown sees no end of the cell, no markup of HTML and no link: names can come from anybody."""
    escaped = text.replace("\\", "\\\\").replace("|", "\\|").replace("](", "]\\(")
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
