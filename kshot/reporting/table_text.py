"""Tables as text: Markdown for documents, LaTeX for papers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

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


def latex(table: Table, suite: str) -> str:
    """A booktabs ``tabular`` for each part, to be put into a table environment."""
    lines = [f"% {line}" for line in (f"{table.title}, suite {suite}. Needs \\usepackage{{booktabs}}.", table.caption)]
    lines.append(f"% From {', '.join(table.sources)}.")
    for part in table.parts:
        head, *rows = _lines(part)
        lines += [f"% {part.title}"] * bool(part.title)
        lines += [rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}", r"\toprule", _latex_line(head), r"\midrule"]
        lines += [*map(_latex_line, rows), r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def _lines(part: Part) -> list[Sequence[str]]:
    """The titles of the columns, and every row."""
    text = part.text()
    return [list(text.columns), *text.to_numpy(dtype=object).tolist()]


def _literal(text: str) -> str:
    """Text in which Markdown sees no end of the cell, no markup of HTML and no link: names can come from anybody."""
    escaped = text.replace("\\", "\\\\").replace("|", "\\|").replace("](", "]\\(")
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _latex_line(cells: Iterable[str]) -> str:
    return " & ".join(map(_escape, cells)) + r" \\"


def _escape(text: str) -> str:
    escaped = re.sub(r"([&%$#_{}])", r"\\\1", text.replace("\\", r"\textbackslash ")).replace("±", r"$\pm$")
    for sign, written in (("~", r"\textasciitilde{}"), ("^", r"\textasciicircum{}"), ("<", "$<$"), (">", "$>$")):
        escaped = escaped.replace(sign, written)
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", escaped)
