"""Normalised headline scores over all families."""

from __future__ import annotations

from kshot import seeding
from kshot.reporting import stats
from kshot.reporting.names import policy_name
from kshot.reporting.results import Results
from kshot.reporting.sections import Section
from kshot.reporting.tables._common import Entry, brackets, cell, compared_at, of_evidence, over_families
from kshot.reporting.values import Cell, Part, Row, Table
from kshot.types import Evidence

PLACES = {"together": 10}

_STATISTICS = {"mean": stats.mean, "iqm": stats.trimmed, "gap": stats.optimality_gap}


def build(results: Results) -> Table:
    numbers: list[Entry] = []
    parts: list[Part] = []
    for evidence in results.summary.evidences:
        entries = _entries(results, evidence)
        numbers += entries
        total = len(of_evidence(results, evidence))
        ranked = sorted(entries, key=lambda entry: (-entry["n_families"], -entry["iqm"]))
        parts += [over_families(results, evidence, [_row(entry, total) for entry in ranked])] if ranked else []
    caption = (
        "Headline scores on each family's scale from the random policy (0) to the scripted oracle (1), which is no "
        f"bound, so that scores can exceed 1; all learners of a family at the same K ({compared_at(results)}) and by "
        "the actions that each is meant to be tested with, over all runs and families: interquartile mean, mean and "
        "optimality gap (the mean shortfall from 1, where scores above 1 count as 1: lower is better), "
        f"{brackets(entry['mean_n'] for entry in numbers)}, stratified by family. A learner that adapts only after a "
        "trial is left out where the headline is a trial's return. Rows over other families are not comparable."
    )
    return Table("normalised", "Normalised scores", caption, numbers, parts, ("scores.csv",), PLACES)


def _entries(results: Results, evidence: Evidence) -> list[Entry]:
    sections = of_evidence(results, evidence)
    usable = [section for section in sections if _has_scale(results, section)]
    entries: list[Entry] = []
    for name in dict.fromkeys(name for section in sections for name in section.finished):
        strata = {section.family: results.normalised_scores(section, name) for section in usable}
        strata = {family: scores for family, scores in strata.items() if scores.size}
        if not strata:
            continue
        entry: Entry = {"algorithm": name, "evidence": evidence}
        least = min(len(scores) for scores in strata.values())
        for label, statistic in _STATISTICS.items():
            generator = seeding.generator("bootstrap", results.grid.suite, "families", name)
            found = stats.estimate(list(strata.values()), statistic, generator)
            entry |= {label: found.value, f"{label}_lo": found.lo, f"{label}_hi": found.hi, f"{label}_n": least}
        entry |= {"n_runs": sum(len(s) for s in strata.values()), "n_families": len(strata)}
        entries.append(entry | {"families": " ".join(strata)})
    return entries


def _has_scale(results: Results, section: Section) -> bool:
    """Whether the oracle is above the random policy on the headline metric."""
    random, oracle = results.summary.scale(section.family, section.metric)
    return oracle > random


def _row(entry: Entry, total: int) -> Row:
    families = f"{entry['n_families']} of {total}"
    shown = {"IQM": "iqm", "mean": "mean", "optimality gap": "gap"}
    values = {title: cell(entry, key, 2) for title, key in shown.items()}
    return Row(policy_name(entry["algorithm"]), {**values, "runs": Cell(entry["n_runs"], 0), "families": families})
