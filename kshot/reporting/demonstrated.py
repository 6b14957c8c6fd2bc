"""The tables of learners that adapt on demonstrations alone: what they lose, and what they find likely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from kshot.reporting import stats
from kshot.reporting.aggregate import ALL
from kshot.reporting.data import DEMONSTRATIONS, Data, Section
from kshot.reporting.layout import Parts, Row, Table, digits_for, lay_out, number, part_title, spread, title
from kshot.reporting.rows import brackets, by_k, runs_text, scripted

FROM_SCRATCH = "maxent_irl"
"""The module that fits a reward to the demonstrations of one task alone: what a prior over tasks is compared with."""
ALONE = (FROM_SCRATCH, "replay", "behaviour_cloning")
"""Modules that know no other task."""
CEILING, NEARLY = "ceiling", 0.8
"""The scripted policy that is the best a family's planners can do, and the share of it that is called near."""
METRIC, LIKELIHOOD = "value_difference", "held_out_log_likelihood"


def value_difference(data: Data) -> Table:
    """How much less than the best possible is earned, for every K, and the difference from starting from scratch."""
    numbers: list[Row] = []
    parts: Parts = {}
    for family, evidence, learners in _demonstrated(data):
        points = {name: _points(data, family, name) for name in learners}
        points = {name: found for name, found in points.items() if found}
        if not points:
            continue
        present, ks = list(points), data.families[family].k
        for name, _ in scripted(data, (family, evidence)):
            point = data.point(family, name, METRIC, "all")
            points |= {name: {ks[-1]: dict(point)}} if point else {}
        entries = {name: {k: _entry(data, row) for k, row in found.items()} for name, found in points.items()}
        # Decimals are those of the best learner: others can be a hundred times worse, and a prior is, alone.
        most = [max((abs(e["mean"]) for k, e in entries[name].items() if k), default=np.nan) for name in present]
        digits = digits_for([min(most)])
        scratch = _from_scratch(data, family, present)
        compared = [
            _compared(data, (name, points[name], entries[name]), (scratch, points[scratch]), ks, digits)
            for name in present
            if scratch is not None and name != scratch
        ]
        shown = [_shown(name, found, ks, digits, runs_text(data, family, name)) for name, found in entries.items()]
        numbers += [entry for found in entries.values() for entry in found.values()]
        parts[part_title(family, evidence)] = [*shown[: len(present)], *compared, *shown[len(present) :]]
    caption = (
        "The best possible expected return of an episode less what it returned, by the actions that each learner is "
        "meant to be tested with: mean over runs and tasks "
        "± standard error over test tasks (and the median over tasks: a few that were misunderstood can make up most "
        "of a mean). Rows with a minus: the difference on the same tasks with the same seeds, mean ± 2 standard errors "
        "over tasks; below 0 the first loses less. Where rewards are drawn, luck can make a value negative. Scripted "
        "policies, which do not adapt, stand under the largest K."
    )
    name, sources = "Expected value difference after K demonstrations", ("summary.csv", "tasks.parquet")
    return lay_out("value_difference", name, caption, numbers, parts, sources)


def likelihood(data: Data) -> Table:
    """How well the adapted rewards explain demonstrations that were not adapted to."""
    wanted = [((family, evidence), learners, LIKELIHOOD) for family, evidence, learners in _demonstrated(data)]
    numbers, parts = by_k(data, wanted, more_digits=1)
    caption = (
        "Mean log-likelihood per decision (nats) of further demonstrations of the test tasks, in other surroundings "
        f"where a task has several, after K demonstrations; mean over runs, {brackets(e['n_seeds'] for e in numbers)}. "
        "0 would be certainty, which nobody can have about an expert who leaves something to chance."
    )
    return lay_out("likelihood", "Log-likelihood of held-out demonstrations", caption, numbers, parts, ("summary.csv",))


def given_away(data: Data, section: Section) -> str:
    """A sentence where the fewest demonstrations are nearly enough without any other task; else nothing."""
    family, metric = section[0], data.headline(section)
    ceiling = data.point(family, CEILING, metric, "all")
    modules = {run.algorithm: run.algorithm_module for run in data.runs if run.family == family}
    alone = [name for name in data.algorithms(*section) if modules[name] in ALONE]
    first = [row for name in alone for _, row in data.curve(family, name, metric).query("k > 0").head(1).iterrows()]
    best = max(first, key=lambda row: float(row["mean"]), default=None)
    # A share of the ceiling means something where 0 is the floor: of success, not of returns.
    if ceiling is None or best is None or not metric.startswith("success") or best["mean"] < NEARLY * ceiling["mean"]:
        return ""
    return (
        f"Without any other task {title(best['algorithm'])} reaches {best['mean']:.2f} with K = "
        f"{best['k']}, and the script {CEILING!r} {ceiling['mean']:.2f}: there is little left for a prior to show here."
    )


def _demonstrated(data: Data) -> list[tuple[str, str, list[str]]]:
    return [section for section in data.sections if section[1] == DEMONSTRATIONS]


def _points(data: Data, family: str, name: str) -> dict[int, Row]:
    """Rows of the summary that answer for each K."""
    points = {k: data.point(family, name, METRIC, k) for k in data.families[family].k}
    return {k: dict(point) for k, point in points.items() if point is not None}


def _entry(data: Data, point: Mapping[str, Any]) -> Row:
    """One policy at one K as plain numbers."""
    tasks = data.task_values_at(point)
    kept = ("family", "algorithm", "kind", "mode", "k", "mean", "mean_lo", "mean_hi", "task_se", "n_seeds", "n_tasks")
    return {name: point[name] for name in kept} | {"median": float(tasks.median()) if len(tasks) else np.nan}


def _shown(name: str, entries: Mapping[int, Row], ks: Sequence[int], digits: int, runs: str) -> dict[str, str]:
    cells = dict.fromkeys((f"K = {k}" for k in ks), "")
    for k, entry in entries.items():
        median = number(entry["median"], digits)
        cells[f"K = {k}"] = spread(entry["mean"], entry["task_se"], digits) + f" ({median})" * bool(median)
    return {"policy": title(name)} | cells | {"runs": runs}


def _from_scratch(data: Data, family: str, names: Sequence[str]) -> str | None:
    """The first learner that knows nothing of other tasks."""
    modules = {run.algorithm: run.algorithm_module for run in data.runs if run.family == family}
    return next((name for name in names if modules[name] == FROM_SCRATCH), None)


def _compared(
    data: Data,
    learner: tuple[str, Mapping[int, Row], Mapping[int, Row]],
    scratch: tuple[str, Mapping[int, Row]],
    ks: Sequence[int],
    digits: int,
) -> dict[str, str]:
    """The row of differences from ``scratch`` (name, points); its numbers are added to the learner's entries.

    ``learner`` is (name, points, entries), each by K.
    """
    name, points, entries = learner
    cells = dict.fromkeys((f"K = {k}" for k in ks), "")
    same_seeds = _seeds(data, points) == _seeds(data, scratch[1])
    for k in points.keys() & scratch[1].keys() if same_seeds else ():
        pair = [data.task_values_at(row) for row in (points[k], scratch[1][k])]
        both = pd.concat(pair, axis=1, join="inner").to_numpy(dtype=np.float64)
        found = stats.paired_difference(both[:, 0], both[:, 1])
        entries[k].update(minus=scratch[0], difference=found.mean, difference_se=found.se, difference_tasks=found.n)
        cells[f"K = {k}"] = spread(found.mean, 2 * found.se, digits)
    return (
        {"policy": f"{title(name)} minus {title(scratch[0])}"} | cells | {"runs": "" if same_seeds else "other seeds"}
    )


def _seeds(data: Data, points: Mapping[int, Row]) -> set[int]:
    """Seeds of the runs that count."""
    family, name = (next(iter(points.values()))[key] for key in ("family", "algorithm"))
    scores = data.scores[(data.scores["family"] == family) & (data.scores["algorithm"] == name)]
    return set(scores.loc[(scores["metric"] == METRIC) & (scores["group"] == ALL), "seed"])
