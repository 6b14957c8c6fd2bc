"""What figures, tables and the page are made from: the files of ``aggregate``, checked to fit the runs as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kshot import records
from kshot.reporting import csv_files, stats
from kshot.reporting.families import read_families
from kshot.reporting.grid import Grid, read_grid
from kshot.reporting.names import At
from kshot.reporting.schemas import ALL, MADE_BY, SCORE_COLUMNS, TASKS_SCHEMA, Point
from kshot.reporting.sections import Section, sections
from kshot.reporting.summary import Summary, read_points
from kshot.reporting.training import TrainingRecords
from kshot.suites.run import RunConfig

Array = NDArray[Any]


@dataclass(frozen=True)
class RunScores:
    """The score of every run: ``scores.csv``.

    Attributes:
        frame: a row for every run, metric, kind of actions and K.
    """

    frame: pd.DataFrame

    def at(self, point: Point | None) -> Array:
        """[runs] scores that a point averages, by seed; none where there is no point."""
        if point is None:
            return np.zeros(0)
        key = (point.family, point.algorithm, point.metric, point.mode, point.k)
        return np.array([score for _, score in sorted(self._by_point.get(key, ()))])

    def seeds(self, family: str, policy: str, metric: str) -> set[int]:
        """Seeds of the runs that count."""
        return {
            seed for key, scores in self._by_point.items() if key[:3] == (family, policy, metric) for seed, _ in scores
        }

    @cached_property
    def _by_point(self) -> dict[tuple[str, str, str, str, int], list[tuple[int, float]]]:
        found: dict[tuple[str, str, str, str, int], list[tuple[int, float]]] = {}
        whole = self.frame[self.frame["group"] == ALL]
        names = ("family", "algorithm", "metric", "mode", "k", "seed", "score")
        for *key, seed, score in zip(*(whole[name].tolist() for name in names), strict=True):
            if np.isfinite(score):
                found.setdefault(tuple(key), []).append((seed, score))
        return found


@dataclass(frozen=True)
class TaskOutcomes:
    """What every policy reached on every test task, averaged over runs: ``tasks.parquet``.

    Attributes:
        frame: a row for every policy, kind of actions, K and task.
    """

    frame: pd.DataFrame

    def at(self, point: Point | None) -> pd.Series[float] | None:
        """By task id, what a point averages; empty at points whose tasks are not kept, None where there is no point."""
        if point is None:
            return None
        rows = self._by_point.get((point.family, point.algorithm, point.mode, point.k), self.frame.iloc[:0])
        values: pd.Series[float] = rows.set_index("task")[point.metric]
        return values.dropna().sort_index()

    @cached_property
    def _by_point(self) -> dict[tuple[Any, ...], pd.DataFrame]:
        by = self.frame.groupby(["family", "algorithm", "mode", "k"], sort=False, observed=True)
        return {tuple(key): rows for key, rows in by}


@dataclass(frozen=True)
class Results:
    """Everything about one suite that can be shown.

    Attributes:
        grid: every run that it asks for.
        sections: who is compared with whom.
        summary: means and intervals.
        scores: of single runs.
        tasks: outcomes by task.
        training: what learners recorded while they trained.
    """

    grid: Grid
    sections: tuple[Section, ...]
    summary: Summary
    scores: RunScores
    tasks: TaskOutcomes
    training: TrainingRecords

    def headline_scores(self, section: Section, policy: str) -> Array:
        """[runs] headline scores of a policy at the section's K; none of a learner that is not judged by them."""
        if policy in section.finished and policy not in section.judged:
            return np.zeros(0)
        return self.scores.at(self.summary.point(section.family, policy, section.metric, section.k))

    def normalised_scores(self, section: Section, policy: str) -> Array:
        """[runs] the same on the scale from the random policy (0) to the oracle (1)."""
        scale = self.summary.scale(section.family, section.metric)
        return stats.normalise(self.headline_scores(section, policy), *scale)

    def task_values(self, family: str, policy: str, metric: str, at: At) -> pd.Series[float] | None:
        """Seed-averaged outcome by task id at the point that answers for K; None where there is none."""
        return self.tasks.at(self.summary.point(family, policy, metric, at))


def load(runs: Sequence[RunConfig], root: Path) -> Results:
    """Read what ``aggregate`` wrote for these runs.

    Raises:
        RecordError: a file is missing or damaged, or the runs have changed since.
    """
    grid = read_grid(runs, root)
    points = read_points(grid.folder)
    summary = Summary(points, grid.tests, read_families(grid, points))
    return Results(
        grid=grid,
        sections=sections(grid, summary),
        summary=summary,
        scores=RunScores(csv_files.read(grid.folder / "scores.csv", SCORE_COLUMNS, MADE_BY)),
        tasks=TaskOutcomes(records.read_table(grid.folder / "tasks.parquet", TASKS_SCHEMA)),
        training=TrainingRecords(grid.runs, root),
    )
