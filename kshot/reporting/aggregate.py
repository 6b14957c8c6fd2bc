"""From the runs of a suite to its numbers: ``summary.csv`` and the finer files it is made from.

Written into ``<root>/<suite>/``, coarsest first:

- ``summary.csv``   one row per (family, algorithm, group, mode, k, metric), with intervals;
- ``scores.csv``    the same per run: the matrix that the statistics work on;
- ``tasks.parquet`` the outcome on every test task, averaged over seeds: with the actions a learner is meant to be
  tested by at every k that a suite asks for, with the others at the first and the last;
- ``cells.csv``     every run the suite expects, with its state and provenance.

Runs are read one at a time and reduced to one value per task, so memory does not grow with the number of runs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kshot import records, seeding
from kshot.errors import RecordError
from kshot.reporting import stats
from kshot.reporting.evidence import IntendedTest, answering, of_cell
from kshot.reporting.grid import suite_name
from kshot.reporting.run_files import Array, Outcomes, curve_path, read_cell
from kshot.reporting.schemas import (
    ALL,
    CELL_COLUMNS,
    EPISODE_METRICS,
    JUDGED_METRICS,
    SCORE_COLUMNS,
    SUMMARY_COLUMNS,
    TASKS_SCHEMA,
)
from kshot.suites.run import RunConfig

PAIR_COLUMNS = ("family", "algorithm", "kind", "evidence")
"""What all rows of a pair have in common."""
SUMMARY_KEY = SUMMARY_COLUMNS[: SUMMARY_COLUMNS.index("mean")]
_log = logging.getLogger(__name__)


def aggregate(runs: Sequence[RunConfig], root: Path, partial: bool = False) -> Path:
    """Check every run of a suite and write its numbers; nothing is written unless everything could be read.

    Args:
        runs: the complete grid that the suite expects.
        root: folder of all results; the suite's is ``root/<suite>``.
        partial: go on without the runs that are missing, listing them in ``cells.csv``.

    Returns:
        The path of ``summary.csv``.

    Raises:
        RecordError: runs are missing (all are listed), or a file is damaged, belongs to another run, was made from
            other settings, or used other test tasks than the rest of its family.
    """
    suite = suite_name(runs)
    missing = [curve_path(run, root) for run in runs if not curve_path(run, root).is_file()]
    if missing and not partial:
        lines = "".join(f"\n  {path}" for path in missing)
        raise RecordError(f"{len(missing)} of {len(runs)} runs of suite {suite!r} have no curve.parquet yet:{lines}")

    cells: list[dict[str, Any]] = []
    scores: list[pd.DataFrame] = []
    tasks: list[pd.DataFrame] = []
    summary: list[dict[str, Any]] = []
    test_tasks: dict[str, tuple[Path, tuple[str, ...]]] = {}
    for members in _by_algorithm(runs):
        outcomes: dict[int, Outcomes] = {}
        for run in members:
            cell, outcome = read_cell(run, root)
            cells.append(cell)
            if outcome is not None:
                _check_same_tasks(run, root, outcome, test_tasks)
                outcomes[run.seed] = outcome
        if outcomes:
            first = next(cell for cell in cells[-len(members) :] if cell["state"] == "ok")
            identity = {key: first[key] for key in PAIR_COLUMNS}
            _check_same_points(members[0], root, outcomes)
            scores.append(_scores(identity, outcomes))
            tested = of_cell(first)
            tasks.append(_tasks(identity, outcomes, tested, members[0].evaluation.k))
            summary.extend(_summary(suite, identity, outcomes, scores[-1], len(members)))
    if not summary:
        raise RecordError(f"suite {suite!r}: no run under {root / suite} can be averaged (all are missing or diverged)")

    folder = root / suite
    cell_frame = _finish(pd.DataFrame(cells, columns=list(CELL_COLUMNS)), runs)
    records.write_table(folder / "tasks.parquet", pd.concat(tasks, ignore_index=True), TASKS_SCHEMA)
    records.write_csv(folder / "scores.csv", pd.concat(scores, ignore_index=True))
    records.write_csv(folder / "cells.csv", cell_frame)
    records.write_csv(folder / "summary.csv", pd.DataFrame(summary, columns=list(SUMMARY_COLUMNS)))
    return folder / "summary.csv"


def _by_algorithm(runs: Sequence[RunConfig]) -> list[list[RunConfig]]:
    """The runs of each (family, algorithm), in the order in which they first occur."""
    cells: dict[tuple[str, str], list[RunConfig]] = {}
    for run in runs:
        cells.setdefault((run.family, run.algorithm), []).append(run)
    return list(cells.values())


def _check_same_tasks(
    run: RunConfig, root: Path, outcome: Outcomes, seen: dict[str, tuple[Path, tuple[str, ...]]]
) -> None:
    path = curve_path(run, root)
    first, tasks = seen.setdefault(run.family, (path, outcome.tasks))
    if tasks != outcome.tasks:
        different = sorted(set(tasks) ^ set(outcome.tasks))
        raise RecordError(
            f"{path}: its test tasks are not those of {first} ({len(different)} differ, such as {different[0]}); "
            "all runs of a family must be evaluated on the same tasks"
        )


def _check_same_points(run: RunConfig, root: Path, outcomes: dict[int, Outcomes]) -> None:
    if len({(o.points, tuple(o.episodes), tuple(_metric_points(o))) for o in outcomes.values()}) > 1:
        folder = run.directory(root).parent
        raise RecordError(
            f"{folder}: its seeds were evaluated at different k, with different numbers of episodes or by "
            "different measures"
        )


def _metric_points(outcome: Outcomes) -> Iterable[tuple[str, int, str, int]]:
    """(mode, k, metric, index of the point or -1 for the trial) of every number a run has."""
    for p, (mode, k) in enumerate(outcome.points):
        for metric in (*EPISODE_METRICS, "first_success"):
            yield mode, k, metric, p
        for metric, values in outcome.values.items():
            if metric not in EPISODE_METRICS and np.isfinite(values[p]).all():
                yield mode, k, metric, p
    if outcome.trial_return is not None:
        yield "sampled", outcome.trial_episodes, "trial_return", -1


def _columns(outcome: Outcomes, group: str, metric: str) -> list[Array]:
    """The tasks behind each column of the score matrix of ``group``.

    All classes together are one column each, so that they count equally whatever their number of tasks. Steps to the
    first success are pooled over every success instead: a class without one has no mean that could be averaged.
    """
    if group != ALL:
        return [members for name, members in outcome.classes if name == group]
    if metric == "first_success":
        return [np.arange(len(outcome.tasks))]
    return [members for _, members in outcome.classes]


def _column_scores(outcome: Outcomes, columns: Sequence[Array], metric: str, p: int) -> Array:
    """[columns] score of a run at point ``p``; NaN for steps to success where nothing succeeded."""
    if metric == "first_success":
        totals = [(outcome.first_success[p, c].sum(), outcome.successes[p, c].sum()) for c in columns]
        return np.array([steps / n if n else np.nan for steps, n in totals])
    values = _task_values(outcome, metric, p)
    return np.array([values[c].mean() for c in columns])


def _n_episodes(outcome: Outcomes, tasks: Array, metric: str, p: int) -> int:
    """Number of episodes that a score averages."""
    if metric == "first_success":
        return int(outcome.successes[p, tasks].sum())
    return len(tasks) * (outcome.trial_episodes if metric == "trial_return" else int(outcome.episodes[p]))


def _scores(identity: dict[str, Any], outcomes: dict[int, Outcomes]) -> pd.DataFrame:
    """Rows of scores.csv of one algorithm on one family: all classes together, then each where there are several."""
    rows = []
    for seed, outcome in outcomes.items():
        classes = outcome.classes
        groups = [ALL, *(name for name, _ in classes if len(classes) > 1)]
        for (mode, k, metric, p), group in product(_metric_points(outcome), groups):
            columns = _columns(outcome, group, metric)
            tasks = np.concatenate(columns)
            evidence = (outcome.updates[p], outcome.steps[p]) if p >= 0 else (np.nan, np.nan)
            score = _column_scores(outcome, columns, metric, p).mean()
            n = _n_episodes(outcome, tasks, metric, p)
            rows.append((*identity.values(), group, mode, k, metric, seed, score, len(tasks), n, *evidence))
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


def _tasks(
    identity: dict[str, Any], outcomes: dict[int, Outcomes], tested: IntendedTest, asked: Sequence[int]
) -> pd.DataFrame:
    """Rows of tasks.parquet of one algorithm on one family."""
    first = next(iter(outcomes.values()))
    frames = []
    for mode in dict.fromkeys(mode for mode, _ in first.points):
        ks = [k for point_mode, k in first.points if point_mode == mode]
        # Learners are compared task by task with the actions that they are meant for.
        compared = {answering(ks, k) for k in asked} if mode == tested.actions else set()
        for k in sorted(compared | {min(ks), max(ks)}):
            p = first.points.index((mode, k))
            known = [metric for metric in (*EPISODE_METRICS, *JUDGED_METRICS) if metric in first.values]
            columns = {m: np.mean([o.values[m][p] for o in outcomes.values()], axis=0) for m in known}
            frames.append(pd.DataFrame({"mode": mode, "k": k, "trial_return": np.nan, "group": first.groups} | columns))
            frames[-1]["task"] = first.tasks
    trials = [o.trial_return for o in outcomes.values() if o.trial_return is not None]
    if trials:
        columns = {"trial_return": np.mean(trials, axis=0), "group": first.groups, "task": first.tasks}
        frames.append(pd.DataFrame({"mode": "sampled", "k": first.trial_episodes} | columns))
    named = pd.concat(frames, ignore_index=True)
    named = named.assign(**{key: identity[key] for key in PAIR_COLUMNS[:3]}, n_seeds=len(outcomes))
    return pd.DataFrame(named, columns=TASKS_SCHEMA.names)


def _summary(
    suite: str, identity: dict[str, Any], outcomes: dict[int, Outcomes], scores: pd.DataFrame, expected: int
) -> Iterable[dict[str, Any]]:
    """Rows of summary.csv of one algorithm on one family."""
    first = next(iter(outcomes.values()))
    points = {(mode, k, metric): p for mode, k, metric, p in _metric_points(first)}
    both = _over_runs_and_tasks(suite, identity, outcomes)
    for _, rows in scores.groupby(["group", "mode", "k", "metric"], sort=False):
        key = rows.iloc[0]
        group, metric = str(key["group"]), str(key["metric"])
        p = points[str(key["mode"]), int(key["k"]), metric]
        columns = _columns(first, group, metric)
        matrix = np.array([_column_scores(outcome, columns, metric, p) for outcome in outcomes.values()])
        matrix = matrix[np.isfinite(matrix).all(axis=1)]  # a run without a success has no steps to success
        # Keyed by the cell alone: points of one curve are resampled alike, so their intervals can be compared.
        generator = seeding.generator("bootstrap", suite, identity["family"], identity["algorithm"])
        centre = spread = stats.Estimate(np.nan, np.nan, np.nan)
        if matrix.size:
            state = generator.bit_generator.state
            centre = stats.estimate([matrix], stats.mean, generator)
            generator.bit_generator.state = state
            spread = stats.estimate([matrix], stats.trimmed, generator)
        lo, hi = both.get((str(key["mode"]), int(key["k"]), metric, group), (np.nan, np.nan))
        yield {name: key[name] for name in SUMMARY_KEY} | {
            "mean": centre.value,
            "mean_lo": centre.lo,
            "mean_hi": centre.hi,
            "mean_lo_tasks": lo,
            "mean_hi_tasks": hi,
            "iqm": spread.value,
            "iqm_lo": spread.lo,
            "iqm_hi": spread.hi,
            "task_se": _task_se(outcomes, columns, metric, p),
            "n_seeds": len(matrix),
            "n_seeds_expected": expected,
            "n_tasks": int(rows["n_tasks"].iloc[0]),
            "n_episodes": int(rows["n_episodes"].sum()),
            "adaptation_updates": rows["adaptation_updates"].mean(),
            "adaptation_steps": rows["adaptation_steps"].mean(),
        }


def _over_runs_and_tasks(
    suite: str, identity: dict[str, Any], outcomes: dict[int, Outcomes]
) -> dict[tuple[str, int, str, str], tuple[float, float]]:
    """Intervals of means over runs and test tasks by (mode, k, metric, group); none with fewer than five runs.

    Steps to success have none: the tasks that count depend on the run.
    """
    if len(outcomes) < stats.INTERVAL_RUNS:
        return {}
    first = next(iter(outcomes.values()))
    names = [key for key in _metric_points(first) if key[2] != "first_success"]
    values = np.stack([[_task_values(o, metric, p) for o in outcomes.values()] for _, _, metric, p in names])
    runs = seeding.generator("bootstrap", suite, identity["family"], identity["algorithm"], "runs")
    tasks = seeding.generator("bootstrap", suite, identity["family"], "tasks")  # the same for every algorithm
    classes = first.classes
    drawn = stats.crossed(values, [members for _, members in classes], runs, tasks)
    groups = {ALL: drawn.mean(axis=1)} | {name: drawn[:, i] for i, (name, _) in enumerate(classes) if len(classes) > 1}
    return {
        (mode, k, metric, group): (float(lo[i]), float(hi[i]))
        for group, (lo, hi) in ((group, stats.crossed_interval(means)) for group, means in groups.items())
        for i, (mode, k, metric, _) in enumerate(names)
    }


def _task_values(outcome: Outcomes, metric: str, p: int) -> Array:
    """[T] what a run achieved on every task; ``p`` is the point, any for the trial's return."""
    values = outcome.trial_return if metric == "trial_return" else outcome.values[metric][p]
    assert values is not None
    return values


def _task_se(outcomes: dict[int, Outcomes], columns: Sequence[Array], metric: str, p: int) -> float:
    """Standard error over test tasks of the seed-averaged outcome.

    NaN for steps to success, where the tasks that count depend on the learner.
    """
    if metric == "first_success":
        return np.nan
    average = np.mean([_task_values(outcome, metric, p) for outcome in outcomes.values()], axis=0)
    return stats.stratified_standard_error([average[members] for members in columns])


def _finish(cells: pd.DataFrame, runs: Sequence[RunConfig]) -> pd.DataFrame:
    """What only shows when all runs are seen: mixed source code.

    The digest covers the shared code and the modules of one algorithm and one family, so it is compared among the runs
    that use the same two modules.
    """
    modules = {(run.family, run.algorithm): (run.algorithm_module, run.family_module) for run in runs}
    digests: dict[tuple[str | None, str], set[str]] = {}
    for _, cell in cells.iterrows():
        seen = digests.setdefault(modules[cell["family"], cell["algorithm"]], set())
        seen |= {cell["source_digest"], cell["train_source_digest"]} - {""}
    keys = list(zip(cells["family"], cells["algorithm"], strict=True))
    mixed = [len(digests[modules[key]]) > 1 for key in keys]
    if any(mixed):
        _log.warning(
            "%d runs share their modules with runs that other source code made (source_flag in cells.csv); "
            "do not compare them before running the older ones again",
            sum(mixed),
        )
    return cells.assign(
        source_flag=["mixed" if flag else "" for flag in mixed],
    )
