"""One side of a comparison: the numbers of a suite, wherever they lie.

A side is a suite in the results folder by its name, a folder of results that somebody sent (runs, or the files that
``aggregate`` makes of them), or a suite that is kept packed. Nothing is written beside them: what has to be unpacked or
aggregated is so in a temporary folder. Of a side's place the last folder's name alone is shown, so that the same
results give the same bytes wherever they lie.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kshot import checksums, records
from kshot.errors import ConfigError, RecordError, suggest
from kshot.reporting import csv_files, kept, sums
from kshot.reporting.aggregate import aggregate
from kshot.reporting.families import FamilyInfo
from kshot.reporting.grid import Grid
from kshot.reporting.names import TRIAL_RETURN, Pair
from kshot.reporting.redraw import LoadSuite
from kshot.reporting.results import RunScores, TaskOutcomes
from kshot.reporting.schemas import ALL, CELL_COLUMNS, MADE_BY, SCORE_COLUMNS, TASKS_SCHEMA, Point
from kshot.reporting.summary import Summary, read_points
from kshot.suites.run import RunConfig
from kshot.types import Evidence, Headline


@dataclass(frozen=True)
class Side:
    """What is compared: like ``Results``, but without need of the runs or of their suite.

    Attributes:
        label: the name of its folder or file, in printable ASCII.
        outside: whether it is a file of episodes that were played elsewhere.
        grid: its runs as far as they are known, and their states.
        summary: means over runs.
        scores: of single runs.
        tasks: outcomes by task.
    """

    label: str
    outside: bool
    grid: Grid
    summary: Summary
    scores: RunScores
    tasks: TaskOutcomes

    @property
    def source(self) -> str:
        """``laptop``, or ``from outside: theirs.csv``."""
        return f"from outside: {self.label}" if self.outside else self.label

    @property
    def families(self) -> tuple[str, ...]:
        """Names of those with results, in the suite's order."""
        return tuple(self.summary.families)

    def learners(self, family: str) -> dict[str, Evidence]:
        """What every learner with results on a family adapts on, by name."""
        points = self.summary.points
        return {p.algorithm: p.evidence for p in points if p.kind == "algorithm" and p.family == family}

    def headline(self, family: str) -> Headline | None:
        """The measure that comes first in the family's reports; None where no suite says so."""
        return next((run.headline for run in self.grid.runs if run.family == family), None)

    def point(self, pair: Pair, metric: str, k: int) -> Point | None:
        """The point that answers for ``k``, as in ``Summary.point``; None where the policy was not scored so early."""
        curve = self.summary.curve(*pair, metric)
        if not curve or (metric != TRIAL_RETURN and curve[0].k > k):
            return None
        return self.summary.point(*pair, metric, k)

    @cached_property
    def classes(self) -> Mapping[str, pd.Series[str]]:
        """By family, the class of every test task by its id."""
        frame = self.tasks.frame[["family", "task", "group"]].astype(str).drop_duplicates()
        return {str(name): rows.set_index("task")["group"] for name, rows in frame.groupby("family")}


def printable(text: str) -> str:
    """``text`` with a question mark for everything that is no printable ASCII: names that others gave to files."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)


def make_side(
    label: str,
    cells: pd.DataFrame,
    points: Sequence[Point],
    scores: pd.DataFrame,
    tasks: pd.DataFrame,
    runs: Sequence[RunConfig] = (),
    outside: bool = False,
) -> Side:
    """A side from the frames of ``aggregate``, and the runs of its suite where they are known."""
    grid = Grid(label, Path(), tuple(runs), cells)
    played: dict[str, RunConfig] = {}
    for run in runs:
        played.setdefault(run.family, run)
    named = tasks[["family", "algorithm", "mode"]].astype(str)
    keys = zip(named["family"], named["algorithm"], named["mode"], strict=True)
    intended = np.array([mode == grid.tests[family, name].actions for family, name, mode in keys], dtype=bool)
    own = tasks[intended & tasks["return"].notna().to_numpy() & (tasks["kind"] == "algorithm").to_numpy()]
    families = {}
    for family in dict.fromkeys(point.family for point in points):
        of_family = [point for point in points if point.family == family]
        known = played.get(family)
        ks = sorted(set(own.loc[own["family"] == family, "k"].tolist())) if known is None else known.evaluation.k
        families[family] = FamilyInfo(
            name=family,
            headline="return" if known is None else known.headline,
            episodes_per_trial=max((point.k for point in of_family if point.metric == TRIAL_RETURN), default=1),
            horizon=0,
            k=tuple(map(int, ks)),
            tasks=max(point.n_tasks for point in of_family),
            split="test" if known is None else known.evaluation.split,
            classes=tuple(dict.fromkeys(point.group for point in of_family if point.group != ALL)),
            known={},
        )
    summary = Summary(tuple(points), grid.tests, families)
    return Side(printable(label), outside, grid, summary, RunScores(scores), TaskOutcomes(tasks))


def find_side(name: str, load: LoadSuite, root: Path) -> Side:
    """Read a side of a comparison.

    Args:
        name: of a suite with results in ``root``; or the path of a folder of results, or of a suite that is kept.
        load: reads the suite of a resolved file, or one by its name.
        root: folder of all results.

    Raises:
        ConfigError: there is no such suite or folder.
        RecordError: it holds no results, or they are damaged or do not belong together.
    """
    by_name = "/" not in name and (root / name).is_dir()
    shown = root / name if by_name else Path(name)
    if not shown.is_dir():
        known = [path.parent.name for path in root.glob("*/suite.yaml")]
        raise ConfigError([f"{name}: no suite with results, and no folder of results{suggest(name, known)}"])
    folder = shown.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        if any(folder.glob(f"*{kept.SUFFIX}")):
            kept.unpack(folder, Path(scratch) / "unpacked")
            folder = Path(scratch) / "unpacked" / folder.name
        return _read(folder, shown, load, Path(scratch), name if by_name else None)


def _read(folder: Path, shown: Path, load: LoadSuite, scratch: Path, name: str | None) -> Side:
    """The side in ``folder``, which messages call ``shown``."""
    file = folder / kept.SUITE
    runs: Sequence[RunConfig] = load(file)[1] if file.is_file() else ()
    fresh = all((folder / name).is_file() for name in (*sums.FILES, sums.RECORD))
    if fresh:
        sums.verify(folder)
        fresh = _fresh(folder, csv_files.read(folder / "cells.csv", CELL_COLUMNS, MADE_BY))
    numbers = folder
    if not fresh:
        if not any(folder.glob("*/*/seed-*/evaluate.json")):
            raise RecordError(f"{shown}: holds no results: neither runs nor the files of `{MADE_BY}`")
        if not runs and name is not None:
            runs = load(Path(name))[1]
        if not runs:
            raise RecordError(f"{shown}: has runs, but no {kept.SUITE} that says what they are")
        numbers = _aggregated(folder, shown, runs, scratch)
    return make_side(
        shown.resolve().name,
        csv_files.read(numbers / "cells.csv", CELL_COLUMNS, MADE_BY),
        read_points(numbers),
        csv_files.read(numbers / "scores.csv", SCORE_COLUMNS, MADE_BY),
        records.read_table(numbers / "tasks.parquet", TASKS_SCHEMA),
        runs,
    )


def _fresh(folder: Path, cells: pd.DataFrame) -> bool:
    """Whether the numbers in a folder were made from the runs that lie there, if any do."""
    if not any(folder.glob("*/*/seed-*/curve.parquet")):
        return True  # the numbers alone were sent
    for family, name, seed, digest in cells[["family", "algorithm", "seed", "curve_sha256"]].itertuples(index=False):
        curve = folder / family / name / f"seed-{seed}" / "curve.parquet"
        if digest != (checksums.sha256(curve)[:16] if curve.is_file() else ""):
            return False
    return True


def _aggregated(folder: Path, shown: Path, runs: Sequence[RunConfig], scratch: Path) -> Path:
    """The numbers of a folder of runs, made in ``scratch``."""
    root = scratch / "aggregated"
    target = root / runs[0].suite
    target.mkdir(parents=True)
    for family in sorted({run.family for run in runs}):
        if (folder / family).is_dir():
            (target / family).symlink_to((folder / family).resolve())
    try:
        return aggregate(runs, root, partial=True).parent
    except RecordError as error:
        raise RecordError(str(error).replace(str(target), str(shown))) from None


def describe(side: Side) -> Mapping[str, Any]:
    """Where a side comes from, as far as its records say: commits, digests of code, and how many runs count."""
    ok = side.grid.cells[side.grid.cells["state"] == "ok"]
    learners = ok[ok["kind"] == "algorithm"]
    commits = sorted({f"{commit[:8]}{'*' * (str(dirty) == 'True')}" for commit, dirty in _commits(learners) if commit})
    total = int((side.grid.cells["kind"] == "algorithm").sum())
    return {"source": side.source, "commits": ", ".join(commits), "runs": f"{len(learners)}/{total}"}


def _commits(cells: pd.DataFrame) -> list[tuple[str, Any]]:
    return list(zip(cells["git_commit"].astype(str), cells["git_dirty"], strict=True))
