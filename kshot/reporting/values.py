"""What stands in tables: numbers with what qualifies them, and the rows, parts and tables that hold them.

Nothing is read back from text: what renders a table (``table_text`` as Markdown and LaTeX, the page as HTML) asks them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from kshot.reporting.stats import is_range
from kshot.types import Evidence

MINUS = "\N{MINUS SIGN}"
NAN = math.nan
HELD = "†"
_HELD_SAID = f"{HELD}: not adapted yet, the score of K = 0 or of the last complete block of episodes."
_ERROR_SAID = "±: standard error over the test tasks; too few runs for an interval."


@dataclass(frozen=True)
class Cell:
    """A number of a table; NaN stands for what there is not.

    Attributes:
        value: the number itself; without it, the cell is empty.
        digits: decimals of everything in the cell.
        low: lower end of its interval, or of the range of few runs.
        high: upper end.
        n: how many runs are behind it, which decides whether the ends are an interval's or a range's.
        error: shown as ± error.
        median: shown beside the error.
        k: the evidence it was reached with, where that is not the column's.
        held: whether it was reached with less evidence than there was: within a block on which a learner adapts.
        note: what it is based on, in a few words.
        ends: what an interval is called.
    """

    value: float
    digits: int = 2
    low: float = NAN
    high: float = NAN
    n: float = math.inf
    error: float = NAN
    median: float = NAN
    k: int | None = None
    note: str = ""
    ends: str = "95 %"
    held: bool = False

    def __str__(self) -> str:
        """``0.80 [0.76, 0.86] at K = 10``, ``0.80 [0.76 to 0.86] (note)`` of few runs, or ``0.80 ± 0.04 (0.82)``."""
        return " ".join(filter(None, self.stacked()))

    def stacked(self) -> tuple[str, str]:
        """The number with its error, and what qualifies it, which may stand below it."""
        if not math.isfinite(self.value):
            return "", ""
        number = self._number(self.value) + HELD * self.held
        number += f" ± {self._number(self.error)}" * math.isfinite(self.error)
        parts = [self._ends(self._number)] * math.isfinite(self.low) + [f"at K = {self.k}"] * (self.k is not None)
        notes = [self._number(self.median)] * math.isfinite(self.median) + [self.note] * bool(self.note)
        return number, " ".join([*parts, *(f"({note})" for note in notes)])

    def html(self) -> Markup:
        """The number, and below it what qualifies it."""
        if not math.isfinite(self.value):
            return Markup("")
        lines = [f"± {self._signed(self.error)}"] * math.isfinite(self.error)
        lines += [f"median {self._signed(self.median)}"] * math.isfinite(self.median)
        kind = "range" if is_range(self.n) else self.ends
        notes = [f"{kind} {self._ends(self._signed)}"] * math.isfinite(self.low)
        notes += [f"K = {self.k}"] * (self.k is not None) + [self.note] * bool(self.note)
        lines += [" · ".join(notes)] * bool(notes)
        small = Markup("").join(Markup("<small>{}</small>").format(line) for line in lines)
        return Markup("<b{}>{}</b>{}").format(
            Markup(' class="held"') if self.held else "", self._signed(self.value) + HELD * self.held, small
        )

    def _number(self, value: float) -> str:
        return number(value, self.digits)

    def _signed(self, value: float) -> str:
        """With a minus sign in place of the hyphen."""
        return self._number(value).replace("-", MINUS)

    def _ends(self, shown: Any) -> str:
        return f"[{shown(self.low)}{' to ' if is_range(self.n) else ', '}{shown(self.high)}]"


@dataclass(frozen=True)
class RunCount:
    """How many runs of a policy count, of how many, and what became of the others: ``2/3 (1 diverged)``.

    Attributes:
        counted: how many count.
        expected: how many the suite asks for.
        lost: what became of the others, in a few words.
    """

    counted: int
    expected: int
    lost: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, self.stacked()))

    def stacked(self) -> tuple[str, str]:
        """The numbers, and what became of the others, which may stand below them."""
        return f"{self.counted}/{self.expected}", f"({self.lost})" * bool(self.lost)

    def html(self) -> Markup:
        """What became of the others stands below."""
        lost = Markup("<small>{}</small>").format(self.lost) if self.lost else ""
        return Markup("{}/{}{}").format(self.counted, self.expected, lost)


Value = Cell | RunCount | str
"""What a table can hold: plain text as well."""


@dataclass(frozen=True)
class Row:
    """A line of a table.

    Attributes:
        name: of the policy, class or whatever it is about.
        values: by the titles of their columns.
        scripted: whether it is of a policy that nobody trains; these stand below the others.
    """

    name: str
    values: Mapping[str, Value]
    scripted: bool = False


@dataclass(frozen=True)
class Part:
    """The rows of a table for one section, or for all families together.

    Attributes:
        title: what it is headed by; may be empty where a table has one part.
        evidence: what its learners adapt on: those of different kinds are never seen side by side.
        rows: from top to bottom.
        head: the title of the first column, which holds the rows' names.
        policies: whether the rows' names are names of policies.
        measure: what all of its numbers are, where the table's title leaves it open.
    """

    title: str
    evidence: Evidence
    rows: Sequence[Row]
    head: str = "policy"
    policies: bool = True
    measure: str = ""

    @property
    def columns(self) -> list[str]:
        """Titles of all columns but the first, in the order in which rows first have them."""
        return list(dict.fromkeys(column for row in self.rows for column in row.values))

    def values(self, row: Row) -> list[Value]:
        """A row's values, one for every column."""
        return [row.values.get(column, "") for column in self.columns]

    def text(self) -> pd.DataFrame:
        """The part as plain text, with its first column."""
        lines = [[row.name, *map(str, self.values(row))] for row in self.rows]
        return pd.DataFrame(lines, columns=[self.head, *self.columns], dtype=object)


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        name: stem of its files.
        title: a few words.
        caption: how to read it, in sentences.
        numbers: plain numbers, one row of the CSV file for each entry.
        parts: the same for reading.
        sources: files under ``<root>/<suite>/`` that its numbers come from.
        places: where the page shows it, as in ``kshot.reporting.page.PLACES``.
    """

    name: str
    title: str
    caption: str
    numbers: Sequence[Mapping[str, Any]]
    parts: Sequence[Part]
    sources: Sequence[str]
    places: Mapping[str, int] = field(default_factory=dict)


def marks_said(values: Iterable[Value]) -> list[str]:
    """What the marks in some cells of means mean, a sentence that begins with it for each mark that is there."""
    cells = [value for value in values if isinstance(value, Cell) and math.isfinite(value.value)]
    errors = any(math.isfinite(cell.error) for cell in cells)
    return [_ERROR_SAID] * errors + [_HELD_SAID] * any(cell.held for cell in cells)


def html(value: Value) -> Markup:
    """A value with what qualifies it below it; text as it is."""
    return escape(value) if isinstance(value, str) else value.html()


def number(value: float, digits: int) -> str:
    """Fixed decimals, never "-0.00"; empty for NaN."""
    if not math.isfinite(value):
        return ""
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text


def digits_for(values: Iterable[float]) -> int:
    """Decimals that show about three figures of the largest value."""
    largest = max([abs(value) for value in values if math.isfinite(value)], default=0.0)
    return 0 if largest >= 1000 else 1 if largest >= 10 else 2
