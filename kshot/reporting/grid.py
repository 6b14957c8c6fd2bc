"""Every run that a suite asks for, and what became of it: ``cells.csv``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from kshot import checksums
from kshot.errors import RecordError
from kshot.reporting import csv_files, sums
from kshot.reporting.evidence import IntendedTest, of_cell
from kshot.reporting.names import Pair
from kshot.reporting.run_files import curve_path, same_hash
from kshot.reporting.schemas import CELL_COLUMNS, MADE_BY
from kshot.reporting.values import RunCount
from kshot.suites.run import RunConfig


@dataclass(frozen=True)
class Grid:
    """The complete grid of a suite's runs.

    Attributes:
        suite: its name.
        root: folder of all results.
        runs: all of them.
        cells: ``cells.csv``: a row for each, with its state and where it came from.
    """

    suite: str
    root: Path
    runs: tuple[RunConfig, ...]
    cells: pd.DataFrame

    @property
    def folder(self) -> Path:
        """Where the suite's numbers lie."""
        return self.root / self.suite

    @property
    def missing(self) -> int:
        """How many runs have no results yet."""
        return int((self.cells["state"] == "missing").sum())

    @cached_property
    def learners(self) -> tuple[str, ...]:
        """Names of all learners of the suite: they share out the colours."""
        return tuple(dict.fromkeys(run.algorithm for run in self.runs if run.kind == "algorithm"))

    @cached_property
    def pairs(self) -> dict[Pair, RunConfig]:
        """Every pair in the suite's order, with one of its runs for what all of them have in common."""
        return {(run.family, run.algorithm): run for run in self.runs}

    @cached_property
    def tests(self) -> dict[Pair, IntendedTest]:
        """How every policy with results is meant to be tested."""
        ok = self.cells[self.cells["state"] == "ok"].drop_duplicates(["family", "algorithm"])
        return {(cell["family"], cell["algorithm"]): of_cell(cell) for cell in ok.to_dict("records")}

    @cached_property
    def run_counts(self) -> dict[Pair, RunCount]:
        """How many runs of every pair count."""
        states: dict[Pair, list[str]] = {}
        for family, name, state in self._columns("family", "algorithm", "state"):
            states.setdefault((family, name), []).append(state)
        return {pair: _run_count(found) for pair, found in states.items()}

    @cached_property
    def without_training(self) -> frozenset[Pair]:
        """Learners whose training changed nothing: what they do, they know from a task's own evidence."""
        columns = self._columns("family", "algorithm", "kind", "state", "train_updates")
        return frozenset(
            (family, name)
            for family, name, kind, state, updates in columns
            if (kind, state) == ("algorithm", "ok") and updates == 0
        )

    def _columns(self, *names: str) -> Iterable[tuple[Any, ...]]:
        return zip(*(self.cells[name].tolist() for name in names), strict=True)


def _run_count(states: Sequence[str]) -> RunCount:
    lost = [f"{states.count(state)} {state}" for state in ("diverged", "missing") if state in states]
    return RunCount(states.count("ok"), len(states), ", ".join(lost))


def suite_name(runs: Sequence[RunConfig]) -> str:
    """The suite that all ``runs`` belong to. Raises RecordError when there is none, or more than one."""
    names = sorted({run.suite for run in runs})
    if len(names) != 1:
        raise RecordError(f"expected the runs of one suite, got {len(runs)} runs of {names or 'none'}")
    return names[0]


def read_grid(runs: Sequence[RunConfig], root: Path) -> Grid:
    """The grid of ``runs`` as ``aggregate`` found it.

    Raises:
        RecordError: a file of ``aggregate`` is missing or damaged, or the runs or their settings have changed since.
    """
    suite = suite_name(runs)
    sums.verify(root / suite)
    cells = csv_files.read(root / suite / "cells.csv", CELL_COLUMNS, MADE_BY)
    _check_fresh(cells, runs, root)
    return Grid(suite, root, tuple(runs), cells)


def _check_fresh(cells: pd.DataFrame, runs: Sequence[RunConfig], root: Path) -> None:
    """The aggregate was made from exactly these runs and from their files as they are now."""
    folder = root / runs[0].suite
    keys = zip(cells["family"], cells["algorithm"], cells["seed"], strict=True)
    known = dict(zip(keys, zip(cells["config_hash"], cells["curve_sha256"], strict=True), strict=True))
    for run in runs:
        path = curve_path(run, root)
        digest = checksums.sha256(path)[:16] if path.is_file() else ""
        if known.pop((run.family, run.algorithm, run.seed), None) != (run.config_hash, digest):
            if digest:  # numbers cannot be made anew from results of other settings
                evaluated = path.with_name("evaluate.json")
                same_hash(evaluated, str(checksums.read_record(evaluated).get("config_hash")), run.config_hash)
            raise RecordError(f"{folder / 'cells.csv'}: not made from {path} as it is now; run `kshot aggregate` again")
    if known:
        family, algorithm, seed = next(iter(known))
        raise RecordError(
            f"{folder / 'cells.csv'}: lists {family}/{algorithm}/seed-{seed}, which the suite no longer asks for; "
            "run `kshot aggregate` again"
        )
