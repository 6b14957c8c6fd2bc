"""Learners with all the evidence that each can use, where that is more than all of them reach."""

from __future__ import annotations

import numpy as np

from kshot.reporting import stats
from kshot.reporting.results import Results
from kshot.reporting.sections import Section
from kshot.reporting.tables._common import Entry, brackets, cell, columns, evidence_used, part, row, scale_said
from kshot.reporting.values import Cell, Part, Row, Table, Value, digits_for

PLACES = {"curves": 50}


def build(results: Results) -> Table:
    numbers: list[Entry] = []
    parts: list[Part] = []
    for section in results.sections:
        rows = _rows(results, section, numbers)
        parts += [part(section, rows)] if rows else []
    sentences = [
        "Single episodes after all the evidence that each learner can use and the suite asks for; its K stands beside "
        "the score. Rows with other K or other environment steps of evidence are no comparison.",
        *scale_said(numbers),
        f"Mean over runs, {brackets(entry['n_seeds'] for entry in numbers)}.",
    ]
    title = "All the evidence each can use"
    return Table("all_evidence", title, " ".join(sentences), numbers, parts, ("summary.csv",), PLACES)


def _rows(results: Results, section: Section, numbers: list[Entry]) -> list[Row]:
    """The rows of a section in which some learner can use more; as plain numbers, they are added to ``numbers``."""
    family, metric = section.family, section.episode_metric
    points = {name: results.summary.point(family, name, metric, "all") for name in section.finished}
    reached = {name: point for name, point in points.items() if point is not None}
    if all(point.k <= section.k for point in reached.values()):
        return []
    scale = results.summary.scale(family, metric)
    digits = digits_for(point.mean for point in reached.values())
    rows = []
    for name, point in reached.items():
        entry: Entry = {"family": family, "algorithm": name, "evidence": section.evidence, "metric": metric}
        entry |= columns("score", point)
        entry |= {key: getattr(point, key) for key in ("mode", "adaptation_steps", "n_seeds")}
        entry["normalised"] = float(stats.normalise(np.array([point.mean]), *scale)[0])
        numbers.append(entry)
        values: dict[str, Value] = {
            "score": cell(entry, "score", digits, k=point.k),
            "evidence": evidence_used(point.adaptation_steps),
            "normalised": Cell(entry["normalised"], k=point.k),
            "actions": point.mode,
        }
        rows.append(row(results.grid, section, name, values))
    return rows
