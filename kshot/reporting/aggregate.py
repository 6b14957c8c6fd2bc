"""From the runs of a suite to its numbers: ``summary.csv`` and the finer files it is made from.

Written into ``<root>/<suite>/``, coarsest first:

- ``summary.csv``   one row per (family, algorithm, group, mode, k, metric), with intervals;
- ``scores.csv``    the same per run: the matrix that the statistics work on;
- ``tasks.parquet`` the outcome on every test task, averaged over seeds: with the actions a learner is meant to be
  tested by at every k that a suite asks for, with the others at the first and the last;
- ``cells.csv``     every run the suite expects, with its state and provenance;
- ``aggregate.json`` the checksums of these files.

Every process reads one run at a time and reduces it to one value per task: memory does not grow with the runs.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kshot import computed_again, records
from kshot.computed_again import Again
from kshot.errors import RecordError
from kshot.reporting import csv_files, side_by_side, sums
from kshot.reporting.evidence import IntendedTest, answering, of_cell
from kshot.reporting.grid import suite_name
from kshot.reporting.policy_scores import IDENTITY, PolicyScores, measures
from kshot.reporting.run_files import Outcomes, curve_path, read_cell
from kshot.reporting.schemas import (
    CELL_COLUMNS,
    EPISODE_METRICS,
    JUDGED_METRICS,
    TASKS_SCHEMA,
)
from kshot.suites.run import RunConfig

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

    sums_of = side_by_side.each(lambda members: _sums(members, root), _by_algorithm(runs))
    test_tasks: dict[str, tuple[Path, tuple[str, ...]]] = {}
    for found in sums_of:
        for run, tasks in found.test_tasks:
            _check_same_tasks(run, root, tasks, test_tasks)
    cells = [cell for found in sums_of for cell in found.cells]
    frames = [found.frames for found in sums_of if found.frames is not None]
    if not frames:
        raise RecordError(f"suite {suite!r}: no run under {root / suite} can be averaged (all are missing or diverged)")

    folder = root / suite
    cell_frame = _finish(pd.DataFrame(cells, columns=list(CELL_COLUMNS)), runs, computed_again.read(folder))
    scores, tasks, summary = (pd.concat(parts, ignore_index=True) for parts in zip(*frames, strict=True))
    records.write_table(folder / "tasks.parquet", tasks, TASKS_SCHEMA)
    csv_files.write(folder / "scores.csv", scores)
    csv_files.write(folder / "cells.csv", cell_frame)
    csv_files.write(folder / "summary.csv", summary)
    sums.write_record(folder)
    return folder / "summary.csv"


@dataclass(frozen=True)
class _Sums:
    """What is known of one algorithm on one family.

    Attributes:
        cells: rows of cells.csv.
        test_tasks: the tasks that each run with results was evaluated on.
        frames: rows of scores.csv, tasks.parquet and summary.csv; None without results.
    """

    cells: list[dict[str, Any]]
    test_tasks: list[tuple[RunConfig, tuple[str, ...]]]
    frames: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame] | None


def _sums(members: Sequence[RunConfig], root: Path) -> _Sums:
    """Read the runs of one algorithm on one family."""
    cells: list[dict[str, Any]] = []
    outcomes: dict[int, Outcomes] = {}
    test_tasks: list[tuple[RunConfig, tuple[str, ...]]] = []
    for run in members:
        cell, outcome = read_cell(run, root)
        cells.append(cell)
        if outcome is not None:
            outcomes[run.seed] = outcome
            test_tasks.append((run, outcome.tasks))
    if not outcomes:
        return _Sums(cells, test_tasks, None)
    first = next(cell for cell in cells if cell["state"] == "ok")
    identity = {key: first[key] for key in IDENTITY}
    _check_same_points(members[0], root, outcomes)
    policy = PolicyScores(suite_name(members), identity, outcomes)
    tasks = task_rows(identity, outcomes, of_cell(first), members[0].evaluation.k)
    return _Sums(cells, test_tasks, (policy.scores(), tasks, policy.summary(len(members))))


def _by_algorithm(runs: Sequence[RunConfig]) -> list[list[RunConfig]]:
    """The runs of each (family, algorithm), in the order in which they first occur."""
    cells: dict[tuple[str, str], list[RunConfig]] = {}
    for run in runs:
        cells.setdefault((run.family, run.algorithm), []).append(run)
    return list(cells.values())


def _check_same_tasks(
    run: RunConfig, root: Path, own: tuple[str, ...], seen: dict[str, tuple[Path, tuple[str, ...]]]
) -> None:
    path = curve_path(run, root)
    first, tasks = seen.setdefault(run.family, (path, own))
    if tasks != own:
        different = sorted(set(tasks) ^ set(own))
        raise RecordError(
            f"{path}: its test tasks are not those of {first} ({len(different)} differ, such as {different[0]}); "
            "all runs of a family must be evaluated on the same tasks"
        )


def _check_same_points(run: RunConfig, root: Path, outcomes: dict[int, Outcomes]) -> None:
    if len({(o.points, tuple(o.episodes), tuple(measures(o))) for o in outcomes.values()}) > 1:
        folder = run.directory(root).parent
        raise RecordError(
            f"{folder}: its seeds were evaluated at different k, with different numbers of episodes or by "
            "different measures"
        )


def task_rows(
    identity: dict[str, Any], outcomes: dict[int, Outcomes], tested: IntendedTest, asked: Sequence[int]
) -> pd.DataFrame:
    """Rows of tasks.parquet of one algorithm on one family."""
    runs = list(outcomes.values())
    first, n_tasks = runs[0], len(runs[0].tasks)
    shown: list[tuple[str, int]] = []
    for mode in dict.fromkeys(mode for mode, _ in first.points):
        ks = [k for point_mode, k in first.points if point_mode == mode]
        # Learners are compared task by task with the actions that they are meant for.
        compared = {answering(ks, k) for k in asked} if mode == tested.actions else set()
        shown += [(mode, k) for k in sorted(compared | {min(ks), max(ks)})]
    at = [first.points.index(point) for point in shown]
    known = [metric for metric in (*EPISODE_METRICS, *JUDGED_METRICS) if metric in first.values]
    values = {metric: np.mean([run.values[metric][at] for run in runs], axis=0) for metric in known}
    trials = [run.trial_return for run in runs if run.trial_return is not None]
    if trials:
        shown.append(("sampled", first.trial_episodes))
        values = {metric: np.append(of, np.full(n_tasks, np.nan)) for metric, of in values.items()}
        values["trial_return"] = np.append(np.full(len(at) * n_tasks, np.nan), np.mean(trials, axis=0))
    columns: dict[str, Any] = {key: identity[key] for key in IDENTITY[:3]} | {"n_seeds": len(runs)}
    columns |= {"mode": [mode for mode, _ in shown for _ in range(n_tasks)]}
    columns |= {"k": np.repeat([k for _, k in shown], n_tasks)}
    columns |= {"group": np.tile(first.groups, len(shown)), "task": np.tile(first.tasks, len(shown))}
    return pd.DataFrame(columns | {metric: of.ravel() for metric, of in values.items()}, columns=TASKS_SCHEMA.names)


def _finish(cells: pd.DataFrame, runs: Sequence[RunConfig], notes: Sequence[Again]) -> pd.DataFrame:
    """What only shows when all runs are seen: mixed source code.

    The digest covers the shared code and the modules of one algorithm and one family, so it is compared among the runs
    that use the same two modules. Of those that are noted to give the same numbers, one stands for all.
    """
    modules = {(run.family, run.algorithm): (run.algorithm_module, run.family_module) for run in runs}
    one = computed_again.as_one(notes)
    digests: dict[tuple[str | None, str], set[str]] = {}
    used = [{cell["source_digest"], cell["train_source_digest"]} - {""} for _, cell in cells.iterrows()]
    keys = [modules[key] for key in zip(cells["family"], cells["algorithm"], strict=True)]
    for key, own in zip(keys, used, strict=True):
        digests.setdefault(key, set()).update(own)
    flags = []
    for key, own in zip(keys, used, strict=True):
        numbers = {one.get(digest, digest) for digest in digests[key]}
        several = bool(own) and len(digests[key]) > 1
        flags.append("mixed" if several and len(numbers) > 1 else "same numbers" if several else "")
    if mixed := flags.count("mixed"):
        _log.warning(
            "%d runs share their modules with runs that other source code made (source_flag in cells.csv); do not "
            "compare them before running the older ones again, or computing one again (`kshot verify --note`)",
            mixed,
        )
    return cells.assign(source_flag=flags)
