"""Tables as text: number formats, Markdown, LaTeX."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from kshot.reporting.stats import is_range

Row = dict[str, Any]
Parts = dict[str, list[Row]]
"""The rows of each part of a table, by the part's title."""

SCALE = (
    "Normalised: 0 is the random policy, 1 the scripted oracle, which knows the task but is a program and no bound, so "
    "that scores can exceed 1."
)
"""What captions say of normalised scores."""
FROM_DEMONSTRATIONS = "from demonstrations"


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        name: stem of its files.
        title: a few words.
        caption: how to read it, in sentences.
        numbers: one row per entry, plain numbers.
        parts: the same laid out for reading: (title, text) of each family, or of each kind of evidence. The first
            column names the row.
        sources: files under ``<root>/<suite>/`` that its numbers come from.
    """

    name: str
    title: str
    caption: str
    numbers: pd.DataFrame
    parts: tuple[tuple[str, pd.DataFrame], ...]
    sources: tuple[str, ...]


def lay_out(name: str, title: str, caption: str, numbers: list[Row], parts: Parts, sources: tuple[str, ...]) -> Table:
    """A table from its rows, as numbers and as text."""
    shown = tuple((part, pd.DataFrame(rows).fillna("").astype(str)) for part, rows in parts.items())
    return Table(name, title, caption, pd.DataFrame(numbers), shown, sources)


def part_title(family: str, evidence: str) -> str:
    """``point`` or ``point, from demonstrations``."""
    return f"{family}, {FROM_DEMONSTRATIONS}" if evidence == "demonstrations" else family


def is_demonstrated(part: str) -> bool:
    """Whether the part of this title is of learners that adapt on demonstrations."""
    return part.endswith(FROM_DEMONSTRATIONS)


def title(name: str) -> str:
    """``task_blind`` -> ``task-blind``: a policy's name as it is shown."""
    return {"bayes_optimal_trial": "Bayes-optimal"}.get(name, name.replace("_", "-"))


def number(value: float, digits: int) -> str:
    """Fixed decimals, never "-0.00"; empty for NaN."""
    if not np.isfinite(value):
        return ""
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text


def interval(row: Any, key: str, digits: int) -> str:
    """``0.80 [0.76, 0.86]``; ``0.80 [0.76 to 0.86]`` for a range of few runs; without brackets where there is neither.

    ``<key>_n`` says how many runs are behind it; where the row has no such entry, the ends are those of an interval.
    """
    value, low, high = (float(row[name]) for name in (key, f"{key}_lo", f"{key}_hi"))
    if not np.isfinite(low):
        return number(value, digits)
    between = " to " if is_range(row.get(f"{key}_n", np.inf)) else ", "
    return f"{number(value, digits)} [{number(low, digits)}{between}{number(high, digits)}]"


def spread(value: float, by: float, digits: int) -> str:
    """``0.80 ± 0.04``, without the second number where there is none."""
    return number(value, digits) + (f" ± {number(by, digits)}" if np.isfinite(by) else "")


def markdown(table: Table) -> str:
    """Pipe tables with title, caption and sources."""
    blocks = [f"# {table.title}"]
    for part, text in table.parts:
        rows = [list(text.columns), ["---"] * len(text.columns), *text.to_numpy(dtype=object).tolist()]
        lines = ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
        blocks += [f"## {part}"] * bool(part) + ["\n".join(lines)]
    return "\n\n".join([*blocks, table.caption, f"From {', '.join(table.sources)}."]) + "\n"


def latex(table: Table, suite: str) -> str:
    """A booktabs ``tabular`` for each part, to be put into a table environment."""
    lines = [f"% {line}" for line in (f"{table.title}, suite {suite}. Needs \\usepackage{{booktabs}}.", table.caption)]
    lines.append(f"% From {', '.join(table.sources)}.")
    for part, text in table.parts:
        head, *body = [list(text.columns), *text.to_numpy(dtype=object).tolist()]
        lines += [f"% {part}"] * bool(part)
        lines += [rf"\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}", r"\toprule", _latex_row(head), r"\midrule"]
        lines += [*(_latex_row(row) for row in body), r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def _latex_row(cells: Sequence[object]) -> str:
    return " & ".join(_escape(str(cell)) for cell in cells) + r" \\"


def _escape(text: str) -> str:
    escaped = re.sub(r"([&%$#_{}])", r"\\\1", text.replace("\\", r"\textbackslash ")).replace("±", r"$\pm$")
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", escaped)


def digits_for(values: Sequence[float]) -> int:
    """Decimals that show about three figures of the largest value."""
    largest = max([abs(value) for value in values if np.isfinite(value)], default=0.0)
    return 0 if largest >= 1000 else 1 if largest >= 10 else 2
