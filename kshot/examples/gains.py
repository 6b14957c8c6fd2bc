"""What evidence is worth to every learner, in numbers: an example of a table, as a beginning for one of your own."""

from __future__ import annotations

from typing import Any

from kshot.reporting.results import Results
from kshot.reporting.values import Cell, Part, Row, Table, digits_for

NAME = "gains"
CAPTION = "Mean return over runs, before any evidence and at the K of the tables, and how far the runs gained."


def build(results: Results) -> Table:
    """A part for each section, with a row for each of its learners, and all numbers once more for the CSV file."""
    parts: list[Part] = []
    numbers: list[dict[str, Any]] = []
    for section in results.sections:
        rows = []
        for name in section.finished:
            before, after = (results.summary.point(section.family, name, "return", k) for k in (0, section.k))
            if before is None or after is None:
                continue
            gained = results.scores.at(after) - results.scores.at(before)  # [runs]
            ends = {"low": gained.min(), "high": gained.max()}
            digits = digits_for([before.mean, after.mean])
            columns = {
                "K = 0": Cell(before.mean, digits),
                f"K = {section.k}": Cell(after.mean, digits),
                "gain": Cell(gained.mean(), digits, n=len(gained), ends="lowest to highest", **ends),
            }
            rows.append(Row(name, columns))
            numbers.append({"family": section.family, "algorithm": name, "k": section.k, "gain": gained.mean(), **ends})
        if rows:
            parts.append(Part(section.title, section.evidence, rows))
    return Table(NAME, NAME.replace("_", " ").capitalize(), CAPTION, numbers, parts, ("summary.csv", "scores.csv"))
