"""Which learners are told from the best of their section, and how many seeds it would take for the others."""

from __future__ import annotations

import math
from dataclasses import replace

from kshot.reporting.results import Results
from kshot.reporting.sections import Section
from kshot.reporting.separation import MOST, Separation, digits, ranked, separated
from kshot.reporting.stats import MINIMUM_RUNS
from kshot.reporting.tables._common import Entry, cell, compared_at, part, row
from kshot.reporting.values import Cell, Part, Row, Table, Value

PLACES = {"headline": 20}


def build(results: Results) -> Table:
    numbers: list[Entry] = []
    parts: list[Part] = []
    for section in results.sections:
        names = ranked(results, section)
        if len(names) > 1:
            rows = [_row(results, section, names[0], name, numbers) for name in names]
            if not any(row.values["seeds needed"] for row in rows):
                rows = [
                    replace(row, values={k: v for k, v in row.values.items() if k != "seeds needed"}) for row in rows
                ]
            parts.append(part(section, rows))
    caption = (
        "Every learner beside the one with the highest mean headline score, at the same K "
        f"({compared_at(results)}) and by the actions that each is meant to be tested with. Ahead by: the best one's "
        "mean over seeds minus this one's, with Welch's t interval over seeds [a, b] at the level at which the two are "
        "compared: all comparisons of a part share 5 % by Holm's rule, so that the learner that is truly best is "
        "called behind in at most 5 of 100 suites. Behind: the interval lies above 0. Tied: it does not, and these "
        "seeds do not tell which of the two is better. Seeds needed: of each of the two, for a two-sided two-sample "
        "t-test of the same level with power 0.8, if difference and spread are what was seen here. With fewer than "
        f"{MINIMUM_RUNS} seeds nothing is decided."
    )
    return Table("separation", "Told from the best?", caption, numbers, parts, ("scores.csv",), PLACES)


def _row(results: Results, section: Section, best: str, name: str, numbers: list[Entry]) -> Row:
    """A learner's row; as plain numbers, it is added to ``numbers``."""
    scores = results.headline_scores(section, name)
    entry: Entry = {"family": section.family, "evidence": section.evidence, "metric": section.metric, "k": section.k}
    entry |= {"algorithm": name, "best": best, "score": float(scores.mean()), "n_seeds": scores.size}
    shown = digits(results, section)
    at = "score of a trial" if section.by_trial else f"score, K = {section.k}"
    values: dict[str, Value] = {at: Cell(entry["score"], shown)}
    verdict, found = "highest mean", None
    values["ahead by"] = ""
    if name != best:
        found = separated(results, section, best, name)
        verdict = _verdict(found)
        entry |= {"difference": found.difference, "difference_lo": found.lo, "difference_hi": found.hi}
        values["ahead by"] = cell(entry, "difference", shown, ends="interval")
    entry["verdict"] = verdict
    needed = None if found is None else found.seeds_needed
    entry["seeds_needed"] = math.nan if needed is None else needed if needed <= MOST else math.inf
    values |= {"verdict": verdict, "seeds needed": "" if found is None else found.needed}
    numbers.append(entry)
    return row(results.grid, section, name, values)


def _verdict(found: Separation) -> str:
    if math.isnan(found.lo):
        return "too few seeds"
    return "behind" if found.decided else "tied"
