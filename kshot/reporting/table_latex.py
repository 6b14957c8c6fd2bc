"""Tables as LaTeX floats with captions and labels, for papers.

They need the package booktabs and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from kshot.reporting import tex
from kshot.reporting.names import slug
from kshot.reporting.table_layout import COLUMN, GAP, TEXT, Layout, Line, Lines, Panel, lay_out, split
from kshot.reporting.values import Part, Row, Table

_SIZES = {8: r"\footnotesize", 7: r"\scriptsize"}
"""Of a class with text of 10 pt."""
_HEIGHT = 560
"""Points of a float: with more, it would not fit the page of a usual class."""


def latex(table: Table, suite: str) -> str:
    """A float for each part: ``table``, or ``table*`` where it is wider than a column."""
    lines = [f"% {table.title}, suite {suite}. Needs \\usepackage{{booktabs}}; once the caption is read, cut it short."]
    lines.append(f"% From {', '.join(table.sources)}.")
    seen: Counter[str] = Counter()
    for part in table.parts:
        lines += _floats(table, part, suite, seen)
    return "\n".join(lines) + "\n"


def _floats(table: Table, part: Part, suite: str, seen: Counter[str]) -> Iterator[str]:
    """Usually one; more where a part has more rows than a page has room for."""
    layout = lay_out(part)
    title = ", ".join(filter(None, (table.title, part.title)))
    caption = f"{title}. {table.caption}"
    width = COLUMN if layout.environment == "table" else TEXT
    taken = tex.caption_height(caption, width)
    for place, (float_, first) in enumerate(split(layout, _HEIGHT - taken)):
        rows = part.rows[first:]
        name = "-".join(filter(None, ("tab:" + suite, slug(part.title), table.name)))
        seen[name] += 1
        yield rf"\begin{{{layout.environment}}}[t]"
        yield r"\centering"
        yield r"\setlength{\belowcaptionskip}{4pt}"
        yield rf"\caption{{{tex.escape(caption if place == 0 else f'{title}, continued.')}}}"
        yield rf"\label{{{name}{f'-{seen[name]}' if seen[name] > 1 else ''}}}"
        yield rf"{_SIZES[layout.size]}\setlength{{\tabcolsep}}{{{GAP / 2:g}pt}}"
        for i, panel in enumerate(float_.panels):
            yield from [r"\par\medskip"] * (i > 0)
            yield from _tabular(panel, rows, layout)
        yield rf"\end{{{layout.environment}}}"


def _tabular(panel: Panel, rows: Sequence[Row], layout: Layout) -> Iterator[str]:
    yield rf"\begin{{tabular}}{{@{{}}{''.join('l' if text else 'r' for text in panel.textual)}@{{}}}}"
    yield r"\toprule"
    yield from _lines([_bottom(lines, panel.head) for lines in panel.head])
    yield r"\midrule"
    for i, (row, cells) in enumerate(zip(rows, panel.rows, strict=False)):
        if i and row.scripted and not rows[i - 1].scripted:
            yield r"\midrule"
        elif i and max(map(len, panel.rows[i - 1])) > 1:
            yield r"\addlinespace[2pt]"
        yield from _lines(cells)
    yield r"\bottomrule"
    yield r"\end{tabular}"


def _bottom(lines: Lines, row: Sequence[Lines]) -> Lines:
    """With empty lines above, so that all titles end at the same height."""
    return [*[Line("")] * (max(map(len, row)) - len(lines)), *lines]


def _lines(cells: Sequence[Lines]) -> Iterator[str]:
    """The lines of a row, each of them one of the tabular."""
    for i in range(max(map(len, cells))):
        shown = [_text(lines[i]) if i < len(lines) else "" for lines in cells]
        # After `\\`, a bracket or a star would be its argument.
        first = "{}" if shown[0].startswith(("[", "*")) else ""
        yield f"{first}{' & '.join(shown)} \\\\"


def _text(line: Line) -> str:
    return rf"{{\scriptsize {tex.escape(line.text)}}}" if line.small else tex.escape(line.text)
