"""How well the rewards that learners adapt explain demonstrations that were not adapted to."""

from __future__ import annotations

from kshot.reporting.names import LIKELIHOOD
from kshot.reporting.results import Results
from kshot.reporting.tables._common import Entry, brackets, by_k, marks_in
from kshot.reporting.values import Part, Table

PLACES = {"curves": 60}


def build(results: Results) -> Table:
    numbers: list[Entry] = []
    parts: list[Part] = []
    for section in results.sections:
        if section.demonstrated:
            entries, part = by_k(results, section, LIKELIHOOD, more_digits=1)
            numbers += entries
            parts += part
    caption = (
        "Mean log-likelihood per decision (nats) of further demonstrations of the test tasks, in other surroundings "
        f"where a task has several, after K demonstrations; mean over runs, {brackets(e['n_seeds'] for e in numbers)}. "
        "0 would be certainty, which nobody can have about an expert who leaves something to chance. "
        f"{marks_in(parts)}"
    ).strip()
    title = "Log-likelihood of held-out demonstrations"
    return Table("likelihood", title, caption, numbers, parts, ("summary.csv",), PLACES)
