"""The headline metric (the return of single episodes where that is a trial's) for every K."""

from __future__ import annotations

from kshot.reporting.names import METRIC_NAMES
from kshot.reporting.results import Results
from kshot.reporting.tables._common import Entry, brackets, by_k, marks_in
from kshot.reporting.values import Part, Table

PLACES = {"curves": 10}


def build(results: Results) -> Table:
    numbers: list[Entry] = []
    parts: list[Part] = []
    for section in results.sections:
        entries, part = by_k(results, section, section.episode_metric, measure=METRIC_NAMES[section.episode_metric])
        numbers += entries
        parts += part
    caption = (
        "Score after K episodes of evidence, or K demonstrations, by the actions that each learner is meant to be "
        "tested with; empty beyond what it can use. Mean over runs, "
        f"{brackets(entry['n_seeds'] for entry in numbers if entry['kind'] == 'algorithm')}. {marks_in(parts)}"
    ).strip()
    return Table("after_k", "Score after K", caption, numbers, parts, ("summary.csv",), PLACES)
