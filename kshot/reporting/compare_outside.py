"""Episodes that were played elsewhere, as a side of a comparison: a CSV or parquet file, checked completely.

``results/README.md`` says which columns it has. The test tasks are those of the suite that it is compared with.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from kshot import records
from kshot.errors import ConfigError, suggest
from kshot.reporting.aggregate import task_rows
from kshot.reporting.compare_sides import Side, make_side, printable
from kshot.reporting.evidence import IntendedTest
from kshot.reporting.policy_scores import IDENTITY, PolicyScores
from kshot.reporting.run_files import Outcomes, reduce_curve
from kshot.reporting.schemas import CELL_COLUMNS, SUMMARY_COLUMNS, Point
from kshot.suites.run import LARGEST

SUFFIXES = (".csv", ".parquet")
NAMES, WHOLE, FLAGS = ("family", "algorithm", "task", "mode"), ("seed", "k", "episode"), ("success_any", "success_last")
REQUIRED = (*NAMES, *WHOLE, "return", *FLAGS)
DEFAULTS: dict[str, Any] = {
    "evidence": "rollouts",
    "test_actions": "",
    "adaptation_updates": 0,
    "adaptation_steps": 0,
    "first_success": -1,
}
"""Columns that may be left out. Without ``test_actions`` a learner is tested by the one kind of actions that it has
rows of, or by sampled ones."""
MODES, EVIDENCES = ("mean", "sampled"), ("rollouts", "demonstrations")
LONGEST_NAME = 64
_TRUTH = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}


def read_outside(path: Path, ours: Side) -> Side:
    """The learners in a file of episodes, with the test tasks of ``ours``.

    Raises:
        ConfigError: with one line for every kind of mistake in the file.
    """
    frame = _columns(path, _raw(path))
    _check(path, frame, ours)
    points: list[Point] = []
    scores, tasks, cells = [], [], []
    for family, name, rows in _learners(frame):
        classes = ours.classes[family]
        seeds = sorted(set(rows["seed"].tolist()))
        outcomes = {seed: _outcomes(path, rows[rows["seed"] == seed], classes, ours) for seed in seeds}
        evidence, tested = rows["evidence"].iloc[0], _tested(rows)
        identity = dict(zip(IDENTITY, (family, name, "algorithm", evidence), strict=True))
        policy = PolicyScores(path.name, identity, outcomes)
        scores.append(policy.scores())
        table = policy.summary(len(outcomes))
        points += [Point(*values) for values in zip(*(table[c].tolist() for c in SUMMARY_COLUMNS), strict=True)]
        tasks.append(task_rows(identity, outcomes, tested, sorted(set(rows["k"].tolist()))))
        row: dict[str, Any] = dict.fromkeys(CELL_COLUMNS, "") | identity | {"state": "ok"}
        row |= {"test_actions": tested.actions, "adaptation_episodes": tested.block, "max_evidence": tested.limit}
        cells += [row | {"seed": seed} for seed in outcomes]
    return make_side(
        path.name,
        pd.DataFrame(cells, columns=list(CELL_COLUMNS)),
        points,
        pd.concat(scores, ignore_index=True),
        pd.concat(tasks, ignore_index=True),
        outside=True,
    )


def _learners(frame: pd.DataFrame) -> Iterable[tuple[str, str, pd.DataFrame]]:
    """(family, name, rows) of every learner."""
    for (family, name), rows in frame.groupby(["family", "algorithm"], sort=True):
        yield str(family), str(name), rows


def _raw(path: Path) -> pd.DataFrame:
    """The file as it is; of CSV, text."""
    if not path.is_file():
        raise ConfigError([f"{path}: no such file"])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # lines with more fields than the first
            if path.suffix == ".csv":
                return pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False)
            return pd.read_parquet(path)
    except (ValueError, OSError, pa.ArrowException, pd.errors.ParserWarning) as error:
        detail = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError([f"{path}: not readable as {path.suffix[1:]} ({detail})"]) from None


def _columns(path: Path, raw: pd.DataFrame) -> pd.DataFrame:
    """The columns that count, each of one type; raises ConfigError with a line for every column that is not."""
    if absent := [name for name in REQUIRED if name not in raw]:
        raise ConfigError([f"{path}: lacks the column{'s' * (len(absent) > 1)} {', '.join(absent)}"])
    if not len(raw):
        raise ConfigError([f"{path}: holds no episodes"])
    raw = raw.reset_index(drop=True).assign(**{name: v for name, v in DEFAULTS.items() if name not in raw})
    first = 2 if path.suffix == ".csv" else 1
    found: dict[str, pd.Series[Any]] = {}
    problems = []

    def keep(name: str, values: pd.Series[Any], good: pd.Series[bool], expected: str) -> None:
        found[name] = values
        if not good.all():
            at = int(np.flatnonzero(~good.to_numpy())[0])
            shown = printable(str(raw[name].iloc[at]))[:LONGEST_NAME]
            problems.append(f"{path}: line {at + first}: {name} is {shown!r}, expected {expected}")

    for name in NAMES:
        text = raw[name].astype(str)
        good = text.map(lambda value: 0 < len(value) <= LONGEST_NAME and printable(value) == value)
        good &= raw[name].notna()
        if name == "mode":
            keep(name, text, text.isin(MODES), " or ".join(MODES))
        else:
            keep(name, text, good, f"1 to {LONGEST_NAME} printable ASCII characters")
    for name, choices in (("evidence", EVIDENCES), ("test_actions", ("", *MODES))):
        text = raw[name].astype(str)
        keep(name, text, text.isin(choices), " or ".join(filter(None, choices)))
    for name in (*WHOLE, "adaptation_updates", "adaptation_steps", "first_success"):
        number = pd.to_numeric(raw[name], errors="coerce").astype(np.float64)
        least = -1 if name == "first_success" else 0
        most = 2**53 if name == "adaptation_steps" else LARGEST
        good = (number % 1 == 0) & (number >= least) & (number <= most)
        keep(name, number.where(good, 0).astype(np.int64), good, f"a whole number from {least} to {most}")
    number = pd.to_numeric(raw["return"], errors="coerce").astype(np.float64)
    keep("return", number, number.abs() < np.inf, "a finite number")
    for name in FLAGS:
        flag = raw[name].astype(str).str.lower().map(_TRUTH)
        keep(name, flag.eq(True), flag.notna(), "true or false")
    if problems:
        raise ConfigError(problems)
    return pd.DataFrame(found)


def _check(path: Path, frame: pd.DataFrame, ours: Side) -> None:
    """Raise ConfigError with a line for every way in which the rows do not fit each other or the suite."""
    problems = []
    if unknown := [name for name in frame["family"].unique() if name not in ours.families]:
        known = suggest(unknown[0], ours.families)
        raise ConfigError([f"{path}: family {unknown[0]!r} is none of {ours.label}'s{known}"])
    wrong = frame[frame["success_last"] & ~frame["success_any"]]
    if len(wrong):
        problems.append(f"{_where(path, wrong)} success_last without success_any: the last step is one of all")
    again = frame[frame.duplicated(["family", "algorithm", "seed", "mode", "k", "task", "episode"])]
    if len(again):
        row = again.iloc[0]
        problems.append(f"{_where(path, again)} episode {row['episode']} of task {row['task']!r} occurs twice")
    for family, name, rows in _learners(frame):
        where = f"{path}: {name!r} on {family!r}"
        for column in ("evidence", "test_actions"):
            if rows[column].nunique() > 1:
                problems.append(f"{where}: {column} is not the same in all rows")
        if _tested(rows).actions not in set(rows["mode"]):
            problems.append(f"{where}: no row of the actions it is to be tested by, {_tested(rows).actions}")
        problems += _task_problems(where, rows, set(ours.classes[family].index))
    if problems:
        raise ConfigError(problems)


def _task_problems(where: str, rows: pd.DataFrame, known: set[str]) -> Iterable[str]:
    """Test tasks that are unknown or missing, and seeds that were not tested like the first."""
    if unknown := sorted(set(rows["task"]) - known):
        yield f"{where}: task {unknown[0]!r} is none of the family's {len(known)} test tasks ({_count(unknown)})"
        return
    first: pd.Series[int] | None = None
    for seed, run in rows.groupby("seed", sort=True):
        counts = run.groupby(["mode", "k", "task"]).size().unstack(fill_value=0).reindex(columns=sorted(known))
        if counts.isna().any(axis=None) or (counts == 0).any(axis=None):
            empty = counts.columns[(counts.isna() | (counts == 0)).any(axis=0)]
            yield f"{where}: seed {seed} lacks task {empty[0]!r} at some k ({_count(empty.tolist())})"
            return
        if (counts.nunique(axis=1) > 1).any():
            mode, k = counts.index[counts.nunique(axis=1) > 1][0]
            yield f"{where}: seed {seed} has not the same number of {mode} episodes at k = {k} on every task"
            return
        played = counts.iloc[:, 0]
        first = played if first is None else first
        if not played.equals(first):
            yield f"{where}: seed {seed} was tested at other k, or by other numbers of episodes, than the first seed"
            return


def _count(names: Sequence[str]) -> str:
    return f"{len(names)} such task{'s' * (len(names) > 1)}"


def _where(path: Path, rows: pd.DataFrame) -> str:
    row = rows.iloc[0]
    return (
        f"{path}: line {rows.index[0] + (2 if path.suffix == '.csv' else 1)}: {row['algorithm']!r}, seed {row['seed']}:"
    )


def _tested(rows: pd.DataFrame) -> IntendedTest:
    """How a learner is to be tested: as it says, or as its rows let one guess."""
    modes = set(rows["mode"])
    actions = rows["test_actions"].iloc[0] or (modes.pop() if len(modes) == 1 else "sampled")
    ks = sorted(set(rows.loc[rows["mode"] == actions, "k"].tolist())) or [0]
    return IntendedTest(actions, next((k for k in ks if k > 0), 1), ks[-1])


def _outcomes(path: Path, run: pd.DataFrame, classes: pd.Series[str], ours: Side) -> Outcomes:
    family = str(run["family"].iloc[0])
    trial = 1 if run["evidence"].iloc[0] == "demonstrations" else ours.summary.families[family].episodes_per_trial
    known = {name: run[name] for name in run.columns if name in records.CURVE_SCHEMA.names}
    rest: dict[str, Any] = {"suite": "", "kind": "algorithm", "split": "test", "status": "ok", "config_hash": ""}
    rest |= {"adaptation_episodes": 0, "env_steps": 0, "optimal_return": np.nan, "held_out_log_likelihood": np.nan}
    rest |= {"stage": -1, "group": run["task"].map(classes)}
    whole = pd.DataFrame(known).assign(**rest)[records.CURVE_SCHEMA.names]
    curve = pa.Table.from_pandas(whole, schema=records.CURVE_SCHEMA, preserve_index=False)
    return reduce_curve(path, curve, len(classes), trial)
