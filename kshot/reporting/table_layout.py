"""How a table is broken into lines and columns to fit a column of a paper, or its text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Literal

from kshot.reporting import tex
from kshot.reporting.values import Part, Value

COLUMN, TEXT = 3.25 * 72.27, 5.5 * 72.27
"""TeX points of one of two columns, and of a page's text: ICML's and NeurIPS's, the narrowest of the usual."""
GAP = 6
"""Points between two columns."""
SMALL = 7
"""Points of what stands below a number."""
_MARGIN = 0.985
"""The part of the room that is used: what is wider in TeX than it was estimated stays within it."""
_LONG = 1.2 * 72
"""Points from which text is not one value among others, but prose, which is always broken into lines."""
_PATIENCE = {"table": 4, "table*": 6}
"""The most lines of a row; one that takes more is given a wider table."""

_TIE = "\N{NO-BREAK SPACE}"
"""Around an equals sign no line is broken."""

Environment = Literal["table", "table*"]


@dataclass(frozen=True)
class Line:
    """One line of a cell; a small one qualifies what stands above it."""

    text: str
    small: bool = False

    def width(self, size: int) -> float:
        return tex.width(self.text, min(size, SMALL) if self.small else size)


Lines = Sequence[Line]


@dataclass(frozen=True)
class Column:
    """A column before it has its place.

    Attributes:
        head: its title.
        values: from top to bottom.
        size: points of its text.
        stacked: whether numbers have what qualifies them below them.
    """

    head: str
    values: Sequence[Value]
    size: int
    stacked: bool

    @property
    def textual(self) -> bool:
        """Whether it holds words alone, which stand at its left side."""
        texts = [value for value in self.values if isinstance(value, str) and value]
        numbers = len(texts) < sum(bool(str(value)) for value in self.values)
        return not numbers and any(not text[0].isdigit() for text in texts)

    @cached_property
    def least(self) -> float:
        """Points that it cannot do without."""
        texts = [self.head, *(str(value) for value in self.values if self._breaks(value))]
        lines = [line for value in self.values if not self._breaks(value) for line in self._fixed(value)]
        pieces = [Line(word.strip()) for text in texts for word in words(text, self.size)]
        return max((line.width(self.size) for line in (*pieces, *lines)), default=0.0)

    @cached_property
    def most(self) -> float:
        """Points that it needs if nothing but its title is broken."""
        fixed = [line for value in self.values for line in self._fixed(value)]
        return max(self.least, *(line.width(self.size) for line in fixed))

    def lines(self, value: Value, width: float) -> Lines:
        """A value in lines of at most so many points."""
        if not self._breaks(value):
            return self._fixed(value)
        return [Line(text) for text in broken(str(value), self.size, width)]

    def title(self, width: float) -> Lines:
        return [Line(text) for text in broken(self.head, self.size, width)]

    def _breaks(self, value: Value) -> bool:
        return isinstance(value, str) and (self.stacked or tex.width(value, self.size) > _LONG)

    def _fixed(self, value: Value) -> Lines:
        if isinstance(value, str) or not self.stacked:
            return [Line(str(value))]
        above, below = value.stacked()
        return [Line(above), *([Line(below, small=True)] if below else [])]


@dataclass(frozen=True)
class Panel:
    """Columns side by side, in lines.

    Attributes:
        textual: by column.
        head: by column, the lines of its title.
        rows: by row and column, the lines of a cell.
    """

    textual: Sequence[bool]
    head: Sequence[Lines]
    rows: Sequence[Sequence[Lines]]

    @property
    def tallest(self) -> int:
        """Lines of its tallest row."""
        return max(len(lines) for row in self.rows for lines in row)


@dataclass(frozen=True)
class Layout:
    """A table that fits.

    Attributes:
        environment: ``table*`` where it is wider than a column.
        size: points of its text.
        panels: below each other; more than one where not all columns have room side by side.
    """

    environment: Environment
    size: int
    panels: Sequence[Panel]


def lay_out(part: Part) -> Layout:
    """The layout with the largest text and the fewest lines that fits a column or, if none does, the whole page."""
    rooms: dict[Environment, float] = {"table": COLUMN, "table*": TEXT}
    for environment, room in rooms.items():
        for size, stacked in ((8, False), (8, True), (7, True)):
            columns = _columns(part, size, stacked)
            widths = _widths(columns, _MARGIN * room)
            if widths is None:
                continue
            panel = _panel(columns, widths)
            if panel.tallest <= _PATIENCE[environment]:
                return Layout(environment, size, [panel])
    columns = _columns(part, 8, True)
    return Layout("table*", 8, [_panel(group, _widths(group, _MARGIN * TEXT)) for group in _groups(columns)])


def _columns(part: Part, size: int, stacked: bool) -> list[Column]:
    values = [part.values(row) for row in part.rows]
    first = Column(part.head, [row.name for row in part.rows], size, stacked)
    others = [Column(head, found, size, stacked) for head, *found in zip(part.columns, *values, strict=True)]
    return [first, *others]


def _groups(columns: Sequence[Column]) -> list[list[Column]]:
    """The fewest groups that have room, each with the first column, and of columns as equal in number as can be."""
    first, *others = columns
    for count in range(1, len(others) + 1):
        ends = [round(i * len(others) / count) for i in range(count + 1)]
        groups = [[first, *others[start:end]] for start, end in pairwise(ends)]
        if all(_widths(group, _MARGIN * TEXT) is not None for group in groups):
            break
    return groups


def _widths(columns: Sequence[Column], room: float) -> list[float] | None:
    """The width of each, given what all need at least and their share of what is left; None where there is no room."""
    room -= GAP * (len(columns) - 1)
    least, most = ([getattr(column, name) for column in columns] for name in ("least", "most"))
    if sum(least) > room:
        return None
    wanted = sum(most) - sum(least)
    share = min(1.0, (room - sum(least)) / wanted) if wanted > 0 else 0.0
    return [low + share * (high - low) for low, high in zip(least, most, strict=True)]


def _panel(columns: Sequence[Column], widths: Sequence[float] | None) -> Panel:
    """In the widths that there are; without any, in those that the columns cannot do without."""
    pairs = list(zip(columns, widths or [column.least for column in columns], strict=True))
    return Panel(
        [column.textual for column in columns],
        [column.title(width) for column, width in pairs],
        [
            [column.lines(value, width) for (column, width), value in zip(pairs, row, strict=True)]
            for row in zip(*(column.values for column in columns), strict=True)
        ],
    )


def words(text: str, size: int) -> list[str]:
    """Text in pieces that lines can end with: words and, of those that are long themselves, the parts with hyphens."""
    found: list[str] = []
    for word in text.replace(" = ", f"{_TIE}={_TIE}").split(" "):
        pieces = [word]
        if tex.width(word, size) > _LONG:
            pieces = [piece for piece in word.replace("-", "-\0").replace("_", "_\0").split("\0") if piece]
        found += [*pieces[:-1], f"{pieces[-1]} "]
    return found


def broken(text: str, size: int, width: float) -> list[str]:
    """Text in lines of at most so many points, as far as its words allow."""
    lines = [""]
    for word in words(text, size):
        if lines[-1] and tex.width((lines[-1] + word).strip(), size) > width + 1e-6:
            lines.append("")
        lines[-1] += word
    return [line.strip().replace(_TIE, " ") for line in lines]


def split(layout: Layout, room: float) -> list[tuple[Layout, int]]:
    """The layout in as many floats as it takes for none to be taller than so many points, each with its first row.

    Panels part before rows do; rows part evenly.
    """
    groups: list[list[Panel]] = []
    for panel in layout.panels:
        if groups and sum(_height(layout, other) for other in (*groups[-1], panel)) <= room:
            groups[-1].append(panel)
        else:
            groups.append([panel])
    return [found for group in groups for found in _rows(replace(layout, panels=group), room)]


def _rows(layout: Layout, room: float) -> list[tuple[Layout, int]]:
    """The panels in parts of as many rows as have room, which are as equal in number as can be."""
    count = len(layout.panels[0].rows)
    for floats in range(1, count + 1):
        ends = [round(i * count / floats) for i in range(floats + 1)]
        parts = [
            replace(layout, panels=[replace(panel, rows=panel.rows[start:end]) for panel in layout.panels])
            for start, end in pairwise(ends)
        ]
        if all(sum(_height(layout, panel) for panel in part.panels) <= room for part in parts):
            break
    return list(zip(parts, ends, strict=False))


def _height(layout: Layout, panel: Panel) -> float:
    """Points of a panel, its rules and the space around it."""
    lines = [max(map(len, row)) for row in (panel.head, *panel.rows)]
    return 1.2 * layout.size * sum(lines) + 2 * len(lines) + 2.5 * layout.size
