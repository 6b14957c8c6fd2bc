"""One run's files, checked and reduced to its outcome on every test task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from kshot import checksums, records
from kshot.errors import RecordError
from kshot.reporting.evidence import noted
from kshot.reporting.schemas import CELL_COLUMNS, EPISODE_METRICS, JUDGED_METRICS, stage_metric
from kshot.suites.run import RunConfig

Array = NDArray[Any]
State = Literal["ok", "diverged", "missing"]
Point = tuple[str, int]
"""(mode, k)."""
_NUMBERS = (
    *("k", "episode", "adaptation_updates", "adaptation_steps", "first_success", "stage"),
    *(*EPISODE_METRICS, "optimal_return", "held_out_log_likelihood"),
)
"""The columns of a curve that are reduced."""


@dataclass(frozen=True)
class Outcomes:
    """What one run achieved on each of T test tasks at each of P points (mode, k).

    Attributes:
        points: the P points, mean mode first, k increasing.
        tasks: the T task ids, sorted.
        groups: [T] class of each task.
        values: metric -> [P, T] mean over the point's episodes: all of ``EPISODE_METRICS``; of ``JUDGED_METRICS`` those
            that are known anywhere, NaN elsewhere; for families with stages, the share of episodes that got to each of
            them and no further (``stage_metric``).
        first_success: [P, T] steps to the first success, summed over the episodes that succeeded.
        successes: [P, T] number of those episodes.
        episodes: [P] episodes per task.
        updates: [P] mean number of adaptations so far.
        steps: [P] mean number of environment steps in the evidence.
        trial_return: [T] return summed over a trial, or None where the episodes played do not make up a trial.
        trial_episodes: number of episodes in a trial.
    """

    points: tuple[Point, ...]
    tasks: tuple[str, ...]
    groups: Array
    values: Mapping[str, Array]
    first_success: Array
    successes: Array
    episodes: Array
    updates: Array
    steps: Array
    trial_return: Array | None
    trial_episodes: int

    @cached_property
    def classes(self) -> list[tuple[str, Array]]:
        """(name, indices of its tasks) of each class."""
        return [(str(name), np.flatnonzero(self.groups == name)) for name in sorted(set(self.groups))]


def curve_path(run: RunConfig, root: Path) -> Path:
    return run.directory(root) / "curve.parquet"


def missing_reason(run: RunConfig, root: Path) -> str:
    """Why there is no curve yet, from what the run left behind."""
    progress = run.directory(root) / "progress.json"
    if not progress.is_file():
        return "not started"
    try:
        value = checksums.read_record(progress)
    except RecordError:
        return f"unknown, since {progress.name} is damaged"
    message = str(value.get("message", "")).strip()
    return f"{value.get('state', 'unknown')}{': ' if message else ''}{message}"


def read_cell(run: RunConfig, root: Path) -> tuple[dict[str, Any], Outcomes | None]:
    """One row of cells.csv and, for a run that is ok, its outcomes.

    Raises:
        RecordError: a file is damaged, belongs to another run, was made from other settings, or is incomplete.
    """
    folder = run.directory(root)
    path = curve_path(run, root)
    row: dict[str, Any] = dict.fromkeys(CELL_COLUMNS, "")
    row |= {"suite": run.suite, "family": run.family, "algorithm": run.algorithm, "kind": run.kind, "seed": run.seed}
    row |= {"evidence": run.evidence, "config_hash": run.config_hash}
    if not path.is_file():
        return row | {"state": "missing", "reason": missing_reason(run, root)}, None

    evaluated = checksums.read_record(folder / "evaluate.json")
    same_hash(folder / "evaluate.json", str(evaluated.get("config_hash")), run.config_hash)
    trained: dict[str, Any] = {}
    if run.kind == "algorithm":
        trained = checksums.read_record(folder / "run.json")
        same_hash(folder / "run.json", str(trained.get("train_hash")), run.train_hash)
    checksums.verify(path, evaluated)
    curve = records.read_arrow(path, records.CURVE_SCHEMA)
    _check_identity(path, curve, run)

    states = (*curve["status"].unique().to_pylist(), evaluated.get("status"), trained.get("status"))
    diverged = "diverged" in states
    train_seconds, evaluate_seconds = (float(part.get("wall_seconds", 0.0)) for part in (trained, evaluated))
    peaks = [part.get("peak_memory_gb") for part in (trained, evaluated)]  # records of earlier versions lack it
    row |= {
        "state": "diverged" if diverged else "ok",
        "reason": str(trained.get("reason") or evaluated.get("reason") or "") if diverged else "",
        "source_digest": str(evaluated.get("source_digest", "")),
        "train_source_digest": str(trained.get("source_digest", "")),
        "git_commit": str(evaluated.get("git_commit", "")),
        "git_dirty": bool(evaluated.get("git_dirty", False) or trained.get("git_dirty", False)),
        "train_env_steps": int(trained.get("env_steps", 0)),
        "train_updates": trained.get("updates", ""),
        "train_seconds": train_seconds,
        "threads": trained.get("hardware", {}).get("threads", ""),
        "evaluate_env_steps": int(evaluated.get("env_steps", 0)),
        "evaluate_seconds": evaluate_seconds,
        "wall_seconds": train_seconds + evaluate_seconds,
        "peak_memory_gb": max((known for known in peaks if known is not None), default=""),
        "curve_sha256": evaluated["files"][path.name][:16],
    }
    if diverged:
        return row, None
    tested = noted(folder / "evaluate.json", evaluated, run)
    row |= {"test_actions": tested.actions, "adaptation_episodes": tested.block or ""}
    row |= {"max_evidence": "" if tested.limit is None else tested.limit}
    family = evaluated.get("family", {})
    # What is collected over a trial means nothing to a learner whose evidence is not played.
    trial = 1 if row["evidence"] == "demonstrations" else int(family.get("episodes_per_trial", 1))
    return row, reduce_curve(path, curve, run.evaluation.tasks, trial, len(family.get("stages", ())))


def same_hash(path: Path, found: str, expected: str) -> None:
    """Raise RecordError when the file at ``path`` was made from other settings than the suite has now."""
    if found != expected:
        raise RecordError(
            f"{path}: made from other settings (hash {found}) than the suite now asks for ({expected}): it was "
            "changed, or a default in the code was; `kshot run SUITE` makes again what that affects"
        )


def _check_identity(path: Path, curve: pa.Table, run: RunConfig) -> None:
    """Every row belongs to this run: names equal the folder's, settings equal the suite's."""
    expected = {
        "suite": run.suite,
        "family": run.family,
        "algorithm": run.algorithm,
        "kind": run.kind,
        "seed": run.seed,
        "split": run.evaluation.split,
    }
    for column, value in expected.items():
        wrong = [found for found in curve[column].unique().to_pylist() if found != value]
        if wrong:
            raise RecordError(f"{path}: has rows of {column} {wrong[0]}, but this folder is for {column} {value}")
    for found in curve["config_hash"].unique().to_pylist():
        same_hash(path, str(found), run.config_hash)
    unknown = sorted(set(curve["status"].unique().to_pylist()) - set(records.STATUSES), key=str)
    if unknown:
        raise RecordError(f"{path}: status {unknown[0]!r} is none of {', '.join(records.STATUSES)}")


def reduce_curve(path: Path, curve: pa.Table, n_tasks: int, trial_episodes: int, n_stages: int = 0) -> Outcomes:
    """Sum a curve's rows up to one value per point and task.

    Raises:
        RecordError: there are no rows; the number of tasks is not ``n_tasks``; a return is not finite; a task is in two
            classes; a row occurs twice; or the tasks have other numbers of episodes, which would weight them unequally.
    """
    if not len(curve):
        raise RecordError(f"{path}: has no rows, although its run is ok; run its evaluation again")
    columns = {name: curve[name].to_numpy() for name in _NUMBERS}
    if not np.isfinite(columns["return"]).all():
        raise RecordError(f"{path}: holds a return that is not finite in a run that is ok; run its evaluation again")
    task_ids, task = _codes(path, curve, "task")
    if len(task_ids) != n_tasks:
        raise RecordError(f"{path}: holds {len(task_ids)} test tasks, the suite asks for {n_tasks}")
    groups = _task_groups(path, curve, task, task_ids)

    modes, mode = _codes(path, curve, "mode")  # sorted: mean before sampled
    k, ks = pd.factorize(columns["k"], sort=True)
    point, flat = pd.factorize(mode * len(ks) + k, sort=True)
    shape = (len(flat), len(task_ids))
    cell = point * shape[1] + task

    def total(weights: Array | None = None) -> Array:
        return np.bincount(cell, weights=weights, minlength=shape[0] * shape[1]).reshape(shape)

    count = total()
    episodes = count.max(axis=1)
    points = tuple((modes[code // len(ks)], int(ks[code % len(ks)])) for code in flat)
    if (count != episodes[:, None]).any():
        p, t = np.argwhere(count != episodes[:, None])[0]
        raise RecordError(
            f"{path}: task {task_ids[t]} has {count[p, t]} episodes at k={points[p][1]} ({points[p][0]}), other tasks "
            f"{episodes[p]}; every task must have the same number. Run its evaluation again"
        )
    episode = columns["episode"]
    if not pd.Index(cell * (int(episode.max()) + 1) + episode).is_unique:
        raise RecordError(f"{path}: the same episode occurs twice; run its evaluation again")

    def mean_of(values: Any) -> Array:
        return total(np.asarray(values, dtype=np.float64)) / count

    def per_task(column: str) -> Array:
        return mean_of(columns[column])

    values = {column: per_task(column) for column in EPISODE_METRICS}
    judged = (columns["optimal_return"] - columns["return"], columns["held_out_log_likelihood"])
    found = {metric: mean_of(column) for metric, column in zip(JUDGED_METRICS, judged, strict=True)}
    values |= {metric: value for metric, value in found.items() if np.isfinite(value).any()}
    values |= {stage_metric(i): mean_of(columns["stage"] == i) for i in range(n_stages)}
    first = columns["first_success"].astype(np.float64)
    return Outcomes(
        points=points,
        tasks=tuple(task_ids),
        groups=groups,
        values=values,
        first_success=total(np.where(first >= 0, first, 0.0)),
        successes=total((first >= 0).astype(np.float64)).astype(np.int64),
        episodes=episodes,
        updates=per_task("adaptation_updates").mean(axis=1),
        steps=per_task("adaptation_steps").mean(axis=1),
        trial_return=trial_return(points, values["return"], episodes, trial_episodes),
        trial_episodes=trial_episodes,
    )


def trial_return(points: Sequence[Point], returns: Array, episodes: Array, n: int) -> Array | None:
    """[T] return that sampled actions collect over the first ``n`` episodes on a task.

    Episode j is played by the policy that has taken in the most evidence not exceeding j. For a learner that adapts
    after every episode this is the plain sum over k = 0..n-1; for one that adapts on blocks it is the sum over blocks;
    for a policy that never adapts (sampled rows at k=0 only) it is n times its mean return.

    Args:
        points: P points (mode, k).
        returns: [P, T] mean return of the point's episodes.
        episodes: [P] episodes per task at the point.
        n: length of a trial.

    Returns:
        None where a trial is a single episode, or the episodes played leave a gap in it.
    """
    sampled = sorted((k, p) for p, (mode, k) in enumerate(points) if mode == "sampled")
    if n < 2 or not sampled or sampled[0][0] != 0:
        return None
    ends = [k for k, _ in sampled[1:]] + [n]
    total = np.zeros(returns.shape[1])
    for (k, p), end in zip(sampled, ends, strict=True):
        played = min(end, n) - k
        if played <= 0:
            break
        if len(sampled) > 1 and episodes[p] < played:
            return None
        total += played * returns[p]
    return total


def _codes(path: Path, curve: pa.Table, name: str) -> tuple[list[str], Array]:
    """Sorted distinct values of a column that occur, and the index of each row's value among them.

    Raises:
        RecordError: a row has no value.
    """
    column = curve[name].combine_chunks()
    if column.null_count:
        raise RecordError(f"{path}: has rows without a {name}; run its evaluation again")
    used, code = np.unique(column.indices.to_numpy(), return_inverse=True)
    names = np.asarray(column.dictionary.to_pylist(), dtype=object)[used]
    order = np.argsort(names)
    rank = np.empty(len(names), dtype=np.int64)
    rank[order] = np.arange(len(names))
    return [str(name) for name in names[order]], rank[code]


def _task_groups(path: Path, curve: pa.Table, task: Array, task_ids: Sequence[str]) -> Array:
    """[T] class name of each task."""
    names, group = _codes(path, curve, "group")
    of_task = np.zeros(len(task_ids), dtype=np.int64)
    of_task[task] = group
    wrong = np.flatnonzero(of_task[task] != group)
    if len(wrong):
        raise RecordError(f"{path}: task {task_ids[task[wrong[0]]]} is in more than one group")
    return np.asarray(names, dtype=object)[of_task]
