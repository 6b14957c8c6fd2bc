"""Both readings of success side by side."""

from __future__ import annotations

from kshot.reporting.results import Results
from kshot.reporting.tables._common import Entry, brackets, cell, columns, part, row
from kshot.reporting.values import Cell, Part, Table, Value

PLACES = {"success": 10}


def build(results: Results) -> Table:
    numbers: list[Entry] = []
    parts: list[Part] = []
    for section in results.sections:
        if section.family not in results.summary.families_with_success:
            continue
        rows = []
        for name, kind in section.policies:
            values: dict[str, Value] = {}
            for k in sorted({0, section.k}):
                entry: Entry = {"family": section.family, "algorithm": name, "kind": kind}
                entry |= {"evidence": section.evidence, "k": k}
                for metric in ("success_last", "success_any", "first_success"):
                    entry |= columns(metric, results.summary.point(section.family, name, metric, k))
                values[f"last step, K = {k}"] = cell(entry, "success_last", 2)
                values[f"any step, K = {k}"] = cell(entry, "success_any", 2)
                numbers.append(entry)
            values["steps to it"] = Cell(numbers[-1]["first_success"], 0)
            rows.append(row(results.grid, section, name, values))
        parts.append(part(section, rows))
    caption = (
        "Share of episodes that end in success (last step) and that succeed at any step, at the K that all learners "
        "reach and by the actions that each is meant to be tested with. Mean over runs, "
        f"{brackets(entry['success_last_n'] for entry in numbers)}. Steps to it: from the start of an episode to the "
        "first success, at the larger K, over the episodes that have one."
    )
    return Table("success", "Two readings of success", caption, numbers, parts, ("summary.csv",), PLACES)
