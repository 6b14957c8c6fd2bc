"""Choosing settings on validation tasks: which row of a suite is to stand for its algorithm, family by family.

The best candidate is the one with the highest headline score. Whatever its interval does not tell from it is tied with
it, and of those that are tied the one nearest to the published settings is chosen: a difference that may be luck is no
reason to leave them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kshot import records, yaml_text
from kshot.errors import RecordError
from kshot.reporting.evidence import IntendedTest, common
from kshot.reporting.names import METRIC_NAMES, TRIAL_RETURN
from kshot.reporting.results import Results, load
from kshot.reporting.stats import MINIMUM_RUNS, NORMAL
from kshot.reporting.table_text import markdown
from kshot.reporting.values import Cell, Part, Row, RunCount, Table, Value, digits_for
from kshot.suites.run import RunConfig, why_no_selection
from kshot.types import Evidence

Settings = Mapping[str, Any]
Asked = tuple[str, str]
"""(family in the suite, algorithm module)."""

CAPTION = (
    "Every candidate's headline score on validation tasks, by the actions that its algorithm is meant to be tested "
    "with, at the largest K that all candidates of the algorithm reach (where the headline is the return of a trial, "
    "and candidates adapt only after one or on demonstrations, that of single episodes). Mean over runs with 95 % "
    "bootstrap interval over runs [a, b], with three or four runs their range [a to b], with fewer the 95 % interval "
    "over validation tasks, the trained runs taken as given. Candidates whose interval overlaps that of the best are "
    "tied with it; of those that are tied, the one nearest to the published settings (config/algorithms) is chosen. "
    "Distance: the sum of |log ratio| over numbers that differ, and 1 for anything else that does. A candidate with a "
    "diverged run is never chosen. No test task was played."
)


@dataclass(frozen=True)
class Candidate:
    """One row of the suite on one family.

    Attributes:
        row: its name.
        settings: complete.
        changed: those that differ from the published ones.
        distance: how far they are from the published ones; 0 for these themselves.
        score: headline score, NaN when there is none.
        low: lower end of its interval.
        high: upper end.
        runs: how many count.
    """

    row: str
    settings: Settings
    changed: Settings
    distance: float
    score: float
    low: float
    high: float
    runs: RunCount

    @property
    def complete(self) -> bool:
        """Whether every run counts."""
        return self.runs.counted == self.runs.expected


@dataclass(frozen=True)
class Choice:
    """What is chosen for one algorithm on one family; ``candidates`` from the highest score to the lowest.

    Attributes:
        family: its name in the suite.
        algorithm: the module.
        evidence: what it adapts on.
        metric: what the scores are.
        candidates: all of them.
        chosen: one of them, or None when every one of them diverged.
        tied: names of the rows that cannot be told from the best, the best among them.
    """

    family: str
    algorithm: str
    evidence: Evidence
    metric: str
    candidates: tuple[Candidate, ...]
    chosen: Candidate | None
    tied: tuple[str, ...]

    @property
    def reason(self) -> str:
        """Why it was chosen, in a few words."""
        if self.chosen is None:
            return "every candidate diverged"
        best = self.candidates[0]
        others = [name for name in self.tied if name != self.chosen.row]
        if not others:
            return "the best" if len(self.candidates) > 1 else "the only candidate"
        return f"{'the best, ' if self.chosen is best else ''}tied with {', '.join(others)}; nearest to the published"


def write_selection(
    runs: Sequence[RunConfig], root: Path, published: Mapping[Asked, tuple[Settings, Settings]], out: Path
) -> list[Path]:
    """Write ``out/selection.yaml`` (settings, to be pasted) and ``out/selection.md`` (candidates, and why).

    Args:
        runs: the complete grid of the suite.
        root: folder of all results.
        published: (defaults in the code, published settings) of every algorithm on every family, complete.
        out: folder of the report.

    Raises:
        RecordError: a family is evaluated on test tasks; runs are missing; the candidates of an algorithm have
            different budgets; or the suite has not been aggregated since its runs last changed.
    """
    refusal = why_no_selection(runs)
    if refusal:
        raise RecordError(f"suite {runs[0].suite!r}: {refusal}")
    results = load(runs, root)
    grid = results.grid
    if grid.missing:
        raise RecordError(f"{grid.missing} of {len(runs)} runs are missing; {grid.folder / 'cells.csv'} lists them")
    choices = [choose(results, asked, published[asked][1]) for asked in _asked(runs)]
    files = {
        out / "selection.yaml": _as_yaml(choices, published, grid.suite),
        out / "selection.md": markdown(_as_table(choices)),
    }
    for path, text in files.items():
        records.write_text(path, text)
    return list(files)


def choose(results: Results, asked: Asked, published: Settings) -> Choice:
    """The choice among the rows of the suite that are of one algorithm, on one family.

    Raises:
        RecordError: they have different budgets, so that the longest training would win.
    """
    family, module = asked
    rows = {run.algorithm: run for run in results.grid.runs if (run.family, run.algorithm_module) == asked}
    tests = [test for name in rows if (test := results.summary.tests.get((family, name))) is not None]
    first = next(iter(rows.values()))
    metric, at = _judged_by(results, first, tests)
    if len({run.steps for run in rows.values()}) > 1:
        raise RecordError(f"{module!r} on {family!r}: candidates {', '.join(rows)} have different training budgets")
    found = [_candidate(results, run, metric, at, published) for run in rows.values()]
    ranked = sorted(found, key=lambda c: (not c.complete, -c.score if math.isfinite(c.score) else math.inf))
    choice = Choice(family, module, first.evidence, metric, tuple(ranked), None, ())
    usable = [candidate for candidate in ranked if candidate.complete]
    if not usable:
        return choice
    tied = [candidate for candidate in usable if candidate is usable[0] or candidate.high >= usable[0].low]
    # ``min`` keeps the first of equals: the higher score.
    chosen = min(tied, key=lambda candidate: candidate.distance)
    return replace(choice, chosen=chosen, tied=tuple(candidate.row for candidate in tied))


def distance(settings: Settings, published: Settings) -> float:
    """How far settings are from the published ones: 0 for the same, log 2 for one number doubled or halved."""
    return sum(_distance(value, published[name]) for name, value in settings.items())


def _distance(value: Any, other: Any) -> float:
    if value == other:
        return 0.0
    if isinstance(value, list) and isinstance(other, list) and len(value) == len(other):
        return sum(_distance(a, b) for a, b in zip(value, other, strict=True)) / len(value)
    numbers = [x for x in (value, other) if isinstance(x, int | float) and not isinstance(x, bool) and x > 0]
    return abs(math.log(numbers[0] / numbers[1])) if len(numbers) == 2 else 1.0


def _asked(runs: Sequence[RunConfig]) -> list[Asked]:
    return list(dict.fromkeys((run.family, str(run.algorithm_module)) for run in runs if run.kind == "algorithm"))


def _judged_by(results: Results, run: RunConfig, tests: Sequence[IntendedTest]) -> tuple[str, int]:
    """The metric and the K by which candidates are ranked, of which ``run`` is one.

    The metric is the section's, or the return where that is a trial's and some candidate adapts only after a trial.
    """
    sections = [s for s in results.sections if (s.family, s.evidence) == (run.family, run.evidence)]
    if not sections:
        return "return", 0  # every run diverged: no score will be shown
    info, metric = sections[0].info, sections[0].metric
    if metric == TRIAL_RETURN and not all(test.adapts_within(info.episodes_per_trial) for test in tests):
        metric = "return"
    return metric, common(info.k, tests)


def _candidate(results: Results, run: RunConfig, metric: str, at: int, published: Settings) -> Candidate:
    count = results.grid.run_counts[run.family, run.algorithm]
    point = results.summary.point(run.family, run.algorithm, metric, at)
    score = low = high = math.nan
    if point is not None:
        score, low, high = point.mean, point.mean_lo, point.mean_hi
        if point.n_seeds < MINIMUM_RUNS:
            half = NORMAL * point.task_se
            low, high = score - half, score + half
    settings = dict(run.algorithm_settings)
    return Candidate(
        row=run.algorithm,
        settings=settings,
        changed={name: value for name, value in settings.items() if value != published[name]},
        distance=distance(settings, published),
        score=score,
        low=low,
        high=high,
        runs=count,
    )


def _as_yaml(choices: Sequence[Choice], published: Mapping[Asked, tuple[Settings, Settings]], suite: str) -> str:
    """By family and algorithm, what the algorithm's file in config/algorithms is to hold for that family.

    That is what differs from the defaults in the code, and what returns to them from the published settings.
    """
    lines = [
        f"# Chosen by `kshot select {suite}` on validation tasks; selection.md has the candidates and the reasons.",
        "# <family of the suite>: <algorithm>: settings for families.<family> in config/algorithms/<algorithm>.yaml.",
    ]
    for family in dict.fromkeys(choice.family for choice in choices):
        lines.append(f"{family}:")
        for choice in (choice for choice in choices if choice.family == family):
            row = choice.chosen
            named = "nothing" if row is None else row.row
            lines.append(f"  {choice.algorithm}: # {named}: {choice.reason}")
            code, before = published[family, choice.algorithm]
            settings = {} if row is None else row.settings
            kept = {name: value for name, value in settings.items() if not value == code[name] == before[name]}
            lines += [f"    {name}: {_flow(value)}" for name, value in kept.items()] or ["    {}"]
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    """A plain value on one line of YAML."""
    return yaml_text.dump(value, default_flow_style=True, width=1000).split("\n")[0]


def _as_table(choices: Sequence[Choice]) -> Table:
    parts = []
    for choice in choices:
        digits = digits_for(candidate.score for candidate in choice.candidates) + 1
        rows = [Row(candidate.row, _values(choice, candidate, digits)) for candidate in choice.candidates]
        parts.append(Part(f"{choice.family}: {choice.algorithm}", choice.evidence, rows, head="row", policies=False))
    sources = ("summary.csv", "cells.csv")
    return Table("selection", "Settings chosen on validation tasks", CAPTION, [], parts, sources)


def _values(choice: Choice, candidate: Candidate, digits: int) -> dict[str, Value]:
    verdict = "tied with the best" * (candidate.row in choice.tied)
    if candidate is choice.chosen:
        verdict = f"**chosen**: {choice.reason}"
    elif not candidate.complete:
        verdict = "diverged"
    changed = ", ".join(f"{name} {value}" for name, value in candidate.changed.items())
    return {
        "differs from the published in": changed or "nothing",
        "distance": f"{candidate.distance:.2f}",
        METRIC_NAMES[choice.metric]: Cell(
            candidate.score, digits, candidate.low, candidate.high, candidate.runs.counted
        ),
        "runs": f"{candidate.runs.counted}/{candidate.runs.expected}",
        "": verdict,
    }
