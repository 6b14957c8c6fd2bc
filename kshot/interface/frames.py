"""The table that results and evaluations are given as: a row for every run and amount of evidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import pandas as pd

from kshot.reporting.evidence import IntendedTest
from kshot.reporting.names import TRIAL_RETURN, Pair
from kshot.reporting.schemas import ALL

METRICS = (
    *("return", "success_any", "success_last", "first_success"),
    *(TRIAL_RETURN, "value_difference", "held_out_log_likelihood"),
)
KEYS = ("family", "algorithm", "kind", "evidence", "seed", "group", "actions", "k")
"""What tells one row from another within a suite."""
COLUMNS = (
    *("suite", *KEYS, "state", "block", "limit", *METRICS),
    *("n_tasks", "n_episodes", "adaptation_steps"),
)
"""Of every table that ``load_results`` and ``evaluate`` give, in this order; ``load_results`` says what they mean."""
_POINT = ["family", "algorithm", "kind", "evidence", "seed", "group", "mode", "k"]


def table(
    suite: str,
    scores: pd.DataFrame,
    cells: pd.DataFrame,
    tests: Mapping[Pair, IntendedTest],
    actions: Literal["intended", "both"] = "intended",
    classes: bool = False,
) -> pd.DataFrame:
    """The scores of runs as one table with ``COLUMNS``.

    Args:
        suite: its name.
        scores: rows of ``scores.csv``.
        cells: rows of ``cells.csv``: every run that the suite asks for, and what became of it.
        tests: how every policy with results is meant to be tested.
        actions: rows of the actions that each policy is meant to be tested with alone, or of both kinds.
        classes: whether classes of tasks have rows of their own, too.
    """
    trial = scores["metric"] == TRIAL_RETURN
    whole = scores[scores["metric"].isin(METRICS) & ~trial]
    # Positions of rows, not a pivot table: that would leave out combinations whose scores are all NaN.
    wide = whole.set_index([*_POINT, "metric"])["score"].unstack("metric")
    wide = wide.reindex(columns=[name for name in METRICS if name != TRIAL_RETURN])
    of_return = whole[whole["metric"] == "return"].set_index(_POINT)
    frame = wide.join(of_return[["n_tasks", "n_episodes", "adaptation_steps"]]).reset_index()
    by_run = ["family", "algorithm", "seed", "group"]
    trials = scores[trial].set_index(by_run)["score"].rename(TRIAL_RETURN)
    frame = frame.join(trials, on=by_run).rename(columns={"mode": "actions"}).assign(state="ok")
    if not classes:
        frame = frame[frame["group"] == ALL]
    pairs = list(zip(frame["family"], frame["algorithm"], strict=True))
    if actions == "intended":
        frame = frame[[tests[pair].actions == mode for pair, mode in zip(pairs, frame["actions"], strict=True)]]
    frame = pd.concat([frame, _without_scores(cells)], ignore_index=True) if _lost(cells).any() else frame
    pairs = list(zip(frame["family"], frame["algorithm"], strict=True))
    known = [tests.get(pair, IntendedTest("")) for pair in pairs]
    frame = frame.assign(suite=suite, block=[test.block for test in known])
    frame["limit"] = pd.array([pd.NA if test.limit is None else test.limit for test in known], dtype="Int64")
    whole_numbers = dict.fromkeys(("seed", "k", "block", "n_tasks", "n_episodes"), "int64")
    return _ordered(frame, cells)[list(COLUMNS)].astype(whole_numbers).reset_index(drop=True)


def _lost(cells: pd.DataFrame) -> pd.Series[bool]:
    return cells["state"] != "ok"


def _without_scores(cells: pd.DataFrame) -> pd.DataFrame:
    """A row for every run that has no scores, at k = 0: what is not there must not go unnoticed."""
    frame = cells.loc[_lost(cells), ["family", "algorithm", "kind", "evidence", "seed", "state"]]
    none: dict[str, Any] = {"group": ALL, "actions": "", "k": 0, "n_tasks": 0, "n_episodes": 0}
    return frame.assign(**none, adaptation_steps=float("nan"), **dict.fromkeys(METRICS, float("nan")))


def _ordered(frame: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """The rows in the suite's order of families and policies, then by seed, class, actions and k."""
    pairs = cells[["family", "algorithm"]].drop_duplicates()
    place = {pair: i for i, pair in enumerate(pairs.itertuples(index=False, name=None))}
    order = [place[pair] for pair in zip(frame["family"], frame["algorithm"], strict=True)]
    by = frame.assign(_place=order, _all=frame["group"] != ALL)
    return by.sort_values(["_place", "seed", "_all", "group", "actions", "k"], kind="stable")
