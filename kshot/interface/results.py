"""Results of a suite as a table for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from kshot.interface import frames
from kshot.reporting import csv_files, kept
from kshot.reporting.compare_sides import find_side
from kshot.reporting.grid import Grid
from kshot.reporting.schemas import CELL_COLUMNS, MADE_BY, SCORE_COLUMNS
from kshot.suites.reading import find_suite, load_suite
from kshot.suites.run import RunConfig


def load_results(
    suite_or_folder: str | Path,
    *,
    root: str | Path = "results",
    actions: Literal["intended", "both"] = "intended",
    classes: bool = False,
) -> pd.DataFrame:
    """The scores of a suite as one tidy table: a row for every run and amount of evidence K.

    Args:
        suite_or_folder: the name of a suite with results in ``root``, or its file; a folder of results that somebody
            sent; or a suite that is kept packed, such as ``reports/reference/laptop``. Nothing is written there.
        root: folder of all results.
        actions: "intended" gives rows of the kind of actions, sampled or mean, that each policy is meant to be tested
            with: these are what reports compare. "both" gives rows of both; the column ``actions`` says which.
        classes: whether classes of tasks (such as the ten of ML10) have rows of their own beside those of all together.

    Returns:
        These columns; every score is a mean over test tasks and their episodes, classes counting equally.

        - ``suite``, ``family``, ``algorithm``, ``seed``: the run, by the names of the suite.
        - ``kind``: "algorithm", or "reference" for a scripted policy, which is not trained and has seed 0.
        - ``evidence``: what K counts: "rollouts" (own episodes) or "demonstrations".
        - ``group``: a class of tasks, or "all".
        - ``actions``: "sampled" or "mean".
        - ``k``: evidence of the task that the policy had taken in. Of a scripted policy: episodes of the trial so far.
        - ``state``: "ok"; a run that is "diverged" or "missing" has one row, at k = 0, without any score.
        - ``block``: how many episodes (or demonstrations) the learner takes in at a time; 0 for a scripted policy.
        - ``limit``: the most that it can use, or <NA>.
        - ``return``: undiscounted sum of rewards of an episode.
        - ``success_any``, ``success_last``: share of episodes with success at any step, and at the last one.
        - ``first_success``: steps to the first success, over the episodes that have one; NaN if none has.
        - ``trial_return``: return collected over a whole trial, while learning. It belongs to the run, not to a K: the
          same in all of its rows. NaN for families without trials.
        - ``value_difference``: how much less than the best possible is earned; NaN where that is not known.
        - ``held_out_log_likelihood``: of an expert's decisions that were not adapted to, in nats; NaN where not known.
        - ``n_tasks``, ``n_episodes``: how many test tasks, and how many episodes on all of them, a score averages.
        - ``adaptation_steps``: environment steps in the evidence of one task.

    Raises:
        ConfigError: there is no such suite or folder.
        RecordError: it has no results, or they are damaged, or made from other settings than the suite has now.

    Examples:
        >>> frame = kshot.load_results("laptop")
        >>> frame.groupby(["family", "algorithm", "k"])["return"].mean()
    """
    place, name = Path(root), str(suite_or_folder)
    if name.endswith((".yaml", ".yml")):
        name = load_suite(find_suite(name), modules=False).name
    if (kept_numbers := _kept_numbers(Path(name))) is not None:
        scores, cells = kept_numbers
        tests = Grid(str(cells["suite"].iloc[0]), Path(), (), cells).tests
        return frames.table(str(cells["suite"].iloc[0]), scores, cells, tests, actions, classes)
    side = find_side(name, lambda file: _recorded(file, place), place)
    return frames.table(side.label, side.scores.frame, side.grid.cells, side.grid.tests, actions, classes)


def _kept_numbers(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Scores and cells that lie beside kept runs, if they were made from these: aggregating them takes much longer."""
    scores, cells = folder / "scores.csv", folder / "cells.csv"
    if not (scores.is_file() and cells.is_file() and any(folder.glob(f"*{kept.SUFFIX}"))):
        return None
    table = csv_files.read(cells, CELL_COLUMNS, MADE_BY)
    found = {place: digest[:16] for place, digest in kept.digests(folder, "curve.parquet").items()}
    columns = table[["family", "algorithm", "seed", "curve_sha256"]].itertuples(index=False, name=None)
    noted = {f"{family}/{name}/seed-{seed}": digest for family, name, seed, digest in columns if digest}
    return (csv_files.read(scores, SCORE_COLUMNS, MADE_BY), table) if noted == found else None


def _recorded(file: Path, root: Path) -> tuple[dict[str, Any], Sequence[RunConfig]]:
    """What users wrote of a suite, and its runs, without importing any algorithm."""
    suite = load_suite(find_suite(str(file), root, prefer_results=True), recorded=True)
    return suite.resolved(facts=False), suite.runs()
