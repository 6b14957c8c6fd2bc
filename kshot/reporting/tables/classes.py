"""The headline metric of every class of tasks, for families with several."""

from __future__ import annotations

from kshot.reporting.names import policy_name
from kshot.reporting.results import Results
from kshot.reporting.sections import Section
from kshot.reporting.tables._common import Entry, brackets, cell, columns, part, runs
from kshot.reporting.values import Part, Row, Table, Value, digits_for

PLACES = {"tasks": 20}


def build(results: Results) -> Table:
    numbers: list[Entry] = []
    parts: list[Part] = []
    for section in results.sections:
        if section.info.classes:
            rows = [_row(results, section, group, numbers) for group in section.info.classes]
            counts = {policy_name(name): runs(results.grid, section, name) for name, _ in section.policies}
            parts.append(part(section, [*rows, Row("runs", counts)], head="class", policies=False))
    at = {(entry["family"], entry["k"]) for entry in numbers}
    caption = (
        "Headline score of each class of tasks at the K that all learners reach "
        f"({', '.join(f'{family}: K = {k}' for family, k in sorted(at))}), by the actions that each is meant to be "
        f"tested with. Mean over runs, {brackets(entry['at_k_n'] for entry in numbers)}."
    )
    return Table("classes", "Classes of tasks", caption, numbers, parts, ("summary.csv",), PLACES)


def _row(results: Results, section: Section, group: str, numbers: list[Entry]) -> Row:
    """What every policy reaches on one class; as plain numbers, it is added to ``numbers``."""
    family, metric, k = section.family, section.episode_metric, section.k
    values: dict[str, Value] = {}
    for name, kind in section.policies:
        first, there = (results.summary.point(family, name, metric, at, group) for at in (0, k))
        if there is None:
            continue
        entry: Entry = {"family": family, "class": group, "algorithm": name, "kind": kind, "evidence": section.evidence}
        entry |= {"metric": metric, "k": k} | columns("first", first)
        entry |= columns("at_k", there) | {"task_se": there.task_se, "n_tasks": there.n_tasks}
        numbers.append(entry)
        values[policy_name(name)] = cell(entry, "at_k", digits_for([there.mean]))
    return Row(group, values)
