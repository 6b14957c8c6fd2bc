"""Results that are missing, damaged or of something else are refused in one clear line, and nothing is lost."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kshot import records
from kshot.errors import RecordError
from kshot.reporting import sums
from kshot.reporting.aggregate import aggregate
from kshot.reporting.results import load
from kshot.suites.run import RunConfig
from tests import synthetic

BANDIT = replace(synthetic.BANDIT, n_tasks=8)


@pytest.fixture
def two(tmp_path: Path) -> tuple[list[RunConfig], Path]:
    """Two finished runs of one learner."""
    runs = synthetic.runs_of([BANDIT], learners=("rl2",), references=(), seeds=2)
    synthetic.write_suite([BANDIT], runs, tmp_path)
    return runs, tmp_path


def rewrite(path: Path, **columns: object) -> None:
    """Change columns of a curve."""
    frame = records.read_table(path, records.CURVE_SCHEMA)
    frame = frame.astype({c: object for c in columns}).assign(**columns)
    records.write_table(path, frame, records.CURVE_SCHEMA)
    synthetic.sign(path.with_name("evaluate.json"))


def test_all_missing_runs_are_listed(two: tuple[list[RunConfig], Path]) -> None:
    _, root = two
    grid = synthetic.runs_of([BANDIT], learners=("rl2", "maml"), references=("random",), seeds=2)
    with pytest.raises(RecordError) as error:
        aggregate(grid, root)
    listed = [line.strip() for line in str(error.value).splitlines()[1:]]
    assert listed == [str(run.directory(root) / "curve.parquet") for run in grid if run.algorithm != "rl2"]
    assert not (root / "made-up" / "summary.csv").exists()
    cells = pd.read_csv(aggregate(grid, root, partial=True).with_name("cells.csv"))
    assert cells["state"].tolist() == ["ok", "ok", "missing", "missing", "missing"]
    assert set(cells["reason"].dropna()) == {"not started"}


def test_nothing_at_all_cannot_be_aggregated(tmp_path: Path) -> None:
    runs = synthetic.runs_of([BANDIT], learners=("rl2",), references=(), seeds=1)
    with pytest.raises(RecordError, match=r"no run under .* can be averaged"):
        aggregate(runs, tmp_path, partial=True)
    with pytest.raises(RecordError, match="expected the runs of one suite"):
        aggregate([], tmp_path)
    with pytest.raises(RecordError, match=r"made-up.*other"):
        aggregate([runs[0], replace(runs[0], suite="other")], tmp_path)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("suite", "laptop"),
        ("family", "point"),
        ("algorithm", "maml"),
        ("seed", 7),
        ("kind", "reference"),
        ("split", "train"),
    ],
)
def test_rows_of_another_run_are_refused(two: tuple[list[RunConfig], Path], column: str, value: object) -> None:
    runs, root = two
    path = runs[1].directory(root) / "curve.parquet"
    rewrite(path, **{column: value})
    with pytest.raises(RecordError, match=rf"{path}: has rows of {column} {value}, but this folder is for {column}"):
        aggregate(runs, root)


def test_results_of_other_settings_are_refused_naming_both_hashes(two: tuple[list[RunConfig], Path]) -> None:
    runs, root = two
    changed = [replace(run, steps=run.steps + 1) for run in runs]
    with pytest.raises(RecordError, match=rf"{runs[0].config_hash}\).*{changed[0].config_hash}"):
        aggregate(changed, root)
    aggregate(runs, root)
    with pytest.raises(RecordError, match=r"seed-0/evaluate.json: made from other settings .* `kshot run SUITE` makes"):
        load(changed, root)  # and not that another aggregate would help
    rewrite(runs[1].directory(root) / "curve.parquet", config_hash="0123456789ab")
    with pytest.raises(RecordError, match=rf"curve.parquet: .*0123456789ab\).*{runs[1].config_hash}"):
        aggregate(runs, root)


def test_a_model_of_other_settings_is_refused(two: tuple[list[RunConfig], Path]) -> None:
    runs, root = two
    path = runs[0].directory(root) / "run.json"
    synthetic.sign(path, train_hash="0123456789ab")
    with pytest.raises(RecordError, match=rf"{path}: made from other settings \(hash 0123456789ab\)"):
        aggregate(runs, root)


def test_a_damaged_file_is_one_clear_line_and_leaves_the_old_numbers(two: tuple[list[RunConfig], Path]) -> None:
    runs, root = two
    summary = aggregate(runs, root)
    before = {path.name: path.read_bytes() for path in summary.parent.iterdir() if path.is_file()}
    assert set(before) == {*sums.FILES, sums.RECORD}
    curve = runs[1].directory(root) / "curve.parquet"
    curve.write_bytes(curve.read_bytes()[:-100])
    with pytest.raises(RecordError) as error:
        aggregate(runs, root)
    assert re.fullmatch(rf"{curve}: is not as it was written .*; delete it and run its step again", str(error.value))
    assert {path.name: path.read_bytes() for path in summary.parent.iterdir() if path.is_file()} == before


def test_incomplete_evaluations_are_refused(two: tuple[list[RunConfig], Path]) -> None:
    runs, root = two
    path = runs[0].directory(root) / "curve.parquet"
    frame = records.read_table(path, records.CURVE_SCHEMA)
    last = frame["task"].iloc[-1]
    cases = {
        "other tasks 1; every task must have the same number": frame.iloc[:-1],
        "the same episode occurs twice|every task must have the same number": pd.concat([frame, frame.tail(1)]),
        "the same episode occurs twice": frame.assign(episode=0, k=0),
        "holds 7 test tasks, the suite asks for 8": frame[frame["task"] != last],
        "has no rows": frame.iloc[:0],
        "is not finite": frame.assign(**{"return": np.where(np.arange(len(frame)) == 5, np.inf, frame["return"])}),
        "in more than one group": frame.assign(group=np.where(np.arange(len(frame)) < 20, "a", "b")),
    }
    for message, changed in cases.items():
        records.write_table(path, changed, records.CURVE_SCHEMA)
        synthetic.sign(path.with_name("evaluate.json"))
        with pytest.raises(RecordError, match=message):
            aggregate(runs, root)


def test_a_family_is_evaluated_on_the_same_tasks_throughout(two: tuple[list[RunConfig], Path]) -> None:
    runs, root = two
    path = runs[1].directory(root) / "curve.parquet"
    frame = records.read_table(path, records.CURVE_SCHEMA)
    rewrite(path, task="other-" + frame["task"].astype(str))
    with pytest.raises(RecordError, match="its test tasks are not those of"):
        aggregate(runs, root)


def test_numbers_that_no_longer_fit_the_runs_are_refused(two: tuple[list[RunConfig], Path]) -> None:
    runs, root = two
    with pytest.raises(RecordError, match=r"summary.csv: no such file; run `kshot aggregate` first"):
        load(runs, root)
    aggregate(runs, root)
    load(runs, root)
    synthetic.write_run(BANDIT, runs[0], root, synthetic.curve(BANDIT, runs[0]).assign(first_success=1))
    with pytest.raises(RecordError, match=r"not made from .*seed-0/curve.parquet as it is now; run `kshot aggregate`"):
        load(runs, root)
    aggregate(runs, root)
    with pytest.raises(RecordError, match="rl2/seed-1, which the suite no longer asks for"):
        load(runs[:1], root)
