"""Learners by families: the headline scores of a suite in one table, which the page shows for every K."""

from __future__ import annotations

from collections.abc import Sequence

from kshot.reporting.names import METRIC_NAMES, policy_name
from kshot.reporting.results import Results
from kshot.reporting.sections import Section
from kshot.reporting.tables._common import Entry, brackets, columns, marks_in, of_evidence, over_families
from kshot.reporting.values import Row, Table
from kshot.reporting.verdict import matrix

PLACES = {"files": 0}  # the page answers with it, at the K of its reader's choice


def build(results: Results) -> Table:
    numbers: list[Entry] = []
    parts = []
    for evidence in results.summary.evidences:
        sections = of_evidence(results, evidence)
        if len(sections) < 2:
            continue
        for section in sections:
            numbers += _numbers(results, section)
        shown, titles = matrix(results, sections), [_title(section) for section in sections]
        rows = []
        for name in (*shown.learners, *shown.scripted):
            cells = [found.get(None, "") for found in shown.values(name)]
            rows.append(Row(policy_name(name), dict(zip(titles, cells, strict=True)), name in shown.scripted))
        parts.append(over_families(results, evidence, rows))
    caption = (
        f"{_measure(results.sections)}: at the K that all learners of a family reach, by the actions that each is "
        f"meant to be tested with. Mean over runs, {brackets(entry['score_n'] for entry in numbers)}. {marks_in(parts)}"
    )
    return Table("by_family", "Learners by families", caption.strip(), numbers, parts, ("summary.csv",), PLACES)


def _measure(sections: Sequence[Section]) -> str:
    """What the numbers are, of each family where they are not the same."""
    if len({section.metric for section in sections}) == 1:
        return METRIC_NAMES[sections[0].metric].capitalize()
    said = dict.fromkeys(f"{METRIC_NAMES[section.metric]} ({section.family})" for section in sections)
    return ", ".join(said).capitalize()


def _title(section: Section) -> str:
    return section.family if section.by_trial else f"{section.family}, K = {section.k}"


def _numbers(results: Results, section: Section) -> list[Entry]:
    """A family's scores as plain numbers."""
    found = []
    for name, kind in section.policies:
        judged = name in section.references or name in section.judged
        point = results.summary.point(section.family, name, section.metric, section.k) if judged else None
        if point is not None:
            entry: Entry = {"family": section.family, "algorithm": name, "kind": kind, "evidence": section.evidence}
            entry |= {"metric": section.metric, "k": section.k} | columns("score", point)
            found.append(entry | {"task_se": point.task_se, "n_tasks": section.info.tasks})
    return found
