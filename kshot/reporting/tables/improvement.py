"""How likely a run of one learner beats a run of another, over the families where both have five runs."""

from __future__ import annotations

from collections.abc import Sequence

from kshot.reporting import stats
from kshot.reporting.names import policy_name
from kshot.reporting.results import Array, Results
from kshot.reporting.tables._common import Entry, cell, compared_at, of_evidence, over_families
from kshot.reporting.values import Part, Row, Table, Value
from kshot.types import Evidence

PLACES = {"together": 20}
Scores = dict[str, list[Array]]
"""[runs] headline scores of every learner, in each section."""


def build(results: Results) -> Table:
    numbers: list[Entry] = []
    parts: list[Part] = []
    for evidence in results.summary.evidences:
        sections = of_evidence(results, evidence)
        names = dict.fromkeys(name for section in sections for name in section.finished)
        scores = {name: [results.headline_scores(section, name) for section in sections] for name in names}
        entries = {(x, y): _entry(evidence, scores, x, y) for x in names for y in names if x != y}
        known = [entry for entry in entries.values() if entry is not None]
        numbers += known
        rows = [
            Row(
                policy_name(x),
                {policy_name(y): _value(entries[x, y], scores[x], scores[y]) if x != y else "" for y in names},
            )
            for x in names
        ]
        parts += [over_families(results, evidence, rows, head="row beats column")] if known else []
    caption = (
        "Probability that a run of the row's learner scores above a run of the column's on the headline metric, at the "
        f"same K ({compared_at(results)}) and by the actions that each is meant to be tested with: Mann-Whitney U / "
        "nm, averaged over the families in which both have at least five runs, with 95 % score interval (Newcombe "
        "2006). Beside it: families, and the fewest runs of the row's and the column's learner in one of them."
    )
    return Table("improvement", "Probability of improvement", caption, numbers, parts, ("scores.csv",), PLACES)


def _entry(evidence: Evidence, scores: Scores, x: str, y: str) -> Entry | None:
    """Two learners, in this order; None where no family has enough runs of both."""
    both = zip(scores[x], scores[y], strict=True)
    enough = [(a, b) for a, b in both if min(a.size, b.size) >= stats.INTERVAL_RUNS]
    if not enough:
        return None
    found = stats.improvement_estimate([a for a, _ in enough], [b for _, b in enough])
    return {
        "x": x,
        "y": y,
        "evidence": evidence,
        "probability": found.value,
        "probability_lo": found.lo,
        "probability_hi": found.hi,
        "n_families": len(enough),
        "n_runs_x": min(a.size for a, _ in enough),
        "n_runs_y": min(b.size for _, b in enough),
    }


def _value(entry: Entry | None, x: Sequence[Array], y: Sequence[Array]) -> Value:
    if entry is not None:
        return cell(entry, "probability", 2, note=_basis(entry["n_families"], entry["n_runs_x"], entry["n_runs_y"]))
    both = [(a.size, b.size) for a, b in zip(x, y, strict=True) if a.size and b.size]
    if not both:
        return "no family in common"
    return f"too few runs ({_basis(len(both), max(n for n, _ in both), max(n for _, n in both))})"


def _basis(families: int, n_x: int, n_y: int) -> str:
    """``3 families, n = 5 and 10``."""
    of = "1 family" if families == 1 else f"{families} families"
    return f"{of}, n = {n_x}" + (f" and {n_y}" if n_x != n_y else "")
