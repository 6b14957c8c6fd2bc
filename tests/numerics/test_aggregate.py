"""The numbers of ``summary.csv`` and its companions against sums by hand and against pandas over the raw rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kshot import records
from kshot.reporting.aggregate import aggregate
from kshot.reporting.run_files import trial_return
from tests import synthetic

pytestmark = pytest.mark.numerics

SMALL = replace(synthetic.ML10, name="small", classes=("near", "far"), k=(0, 1, 2), n_tasks=5, episodes_per_trial=3)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Summary, scores, outcomes by task, and all raw rows of a small suite."""
    tmp_path = tmp_path_factory.mktemp("results")
    runs = synthetic.runs_of([SMALL], learners=("rl2", "maml"), seeds=4)
    synthetic.write_suite([SMALL], runs, tmp_path)
    path = aggregate(runs, tmp_path)
    raw = [pd.read_parquet(run.directory(tmp_path) / "curve.parquet") for run in runs]
    tasks = pd.read_parquet(path.with_name("tasks.parquet"))
    return pd.read_csv(path), pd.read_csv(path.with_name("scores.csv")), tasks, pd.concat(raw).astype({"group": str})


def pick(frame: pd.DataFrame, **values: object) -> pd.DataFrame:
    for column, value in values.items():
        frame = frame[frame[column] == value]
    return frame


@pytest.mark.parametrize("metric", ["return", "success_any", "success_last"])
@pytest.mark.parametrize("mode", ["mean", "sampled"])
def test_scores_of_classes_are_plain_means_of_the_rows(results, metric: str, mode: str) -> None:
    _, scores, _, raw = results
    found = pick(scores, metric=metric, mode=mode)
    found = found[found["group"] != "all"].set_index(["algorithm", "seed", "group", "k"])["score"]
    expected = pick(raw, mode=mode).groupby(["algorithm", "seed", "group", "k"], observed=True)[metric].mean()
    assert len(found) == len(expected) > 0
    pd.testing.assert_series_equal(found.sort_index(), expected.sort_index(), check_names=False, check_index_type=False)


def test_classes_count_equally_and_the_summary_averages_runs(results) -> None:
    summary, scores, _, _ = results
    by_class = pick(scores, algorithm="rl2", mode="mean", k=2, metric="return")
    near, far = (pick(by_class, group=name)["score"].to_numpy() for name in ("near", "far"))
    assert pick(by_class, group="all")["score"].to_numpy() == pytest.approx((near + far) / 2)
    row = pick(summary, algorithm="rl2", mode="mean", k=2, metric="return", group="all").iloc[0]
    assert row["mean"] == pytest.approx(np.mean([near, far]))
    ordered = np.sort(np.concatenate([near, far]))  # 8 scores: two fall off at each end
    assert row["iqm"] == pytest.approx(ordered[2:6].mean())
    assert row["mean_lo"] <= row["mean"] <= row["mean_hi"]
    assert (row["n_seeds"], row["n_seeds_expected"], row["n_tasks"], row["n_episodes"]) == (4, 4, 5, 20)


def test_four_runs_have_their_range_and_no_interval_over_tasks(results) -> None:
    summary, scores, _, _ = results
    key = {"algorithm": "rl2", "mode": "sampled", "k": 1, "metric": "return", "group": "all"}
    row, runs = pick(summary, **key).iloc[0], pick(scores, **key)["score"]
    assert (row["mean_lo"], row["mean_hi"]) == pytest.approx((runs.min(), runs.max()))
    assert np.isnan([row["mean_lo_tasks"], row["mean_hi_tasks"]]).all()


def test_intervals_over_runs_and_tasks_redraw_the_rows(tmp_path: Path) -> None:
    """Five runs: for the mean of two classes, against draws of runs and of the tasks in each class, one by one."""
    runs = synthetic.runs_of([SMALL], learners=("rl2",), references=("oracle",), seeds=5)
    synthetic.write_suite([SMALL], runs, tmp_path)
    summary = pd.read_csv(aggregate(runs, tmp_path))
    raw = pd.concat([pd.read_parquet(run.directory(tmp_path) / "curve.parquet") for run in runs[:5]])
    rows = pick(raw, mode="sampled", k=2).astype({"group": str, "task": str})
    table = rows.pivot_table(index="seed", columns=["group", "task"], values="return")
    near, far = (table[name].to_numpy() for name in ("near", "far"))
    rng, drawn = np.random.default_rng(1), []
    for _ in range(4000):
        seeds = rng.integers(5, size=5)
        means = [part[np.ix_(seeds, rng.integers(part.shape[1], size=part.shape[1]))].mean() for part in (near, far)]
        drawn.append(np.mean(means))
    key = {"algorithm": "rl2", "mode": "sampled", "k": 2, "metric": "return"}
    row = pick(summary, group="all", **key).iloc[0]
    expected = np.quantile(drawn, [0.025, 0.975])
    assert (row["mean_lo_tasks"], row["mean_hi_tasks"]) == pytest.approx(expected, abs=0.06 * np.ptp(expected))
    assert row["mean_hi_tasks"] - row["mean_lo_tasks"] > row["mean_hi"] - row["mean_lo"]
    assert np.isfinite(pick(summary, group="near", **key)["mean_lo_tasks"]).all()
    assert pick(summary, algorithm="oracle")["mean_lo_tasks"].isna().all(), "one run"
    assert pick(summary, metric="first_success")["mean_lo_tasks"].isna().all()


def test_steps_to_success_are_averaged_over_the_successes_alone(results) -> None:
    summary, scores, _, raw = results
    rows = pick(raw, algorithm="maml", mode="sampled", k=0)
    rows = rows[rows["first_success"] >= 0]
    by_seed = rows.groupby("seed")["first_success"].mean()
    found = pick(scores, algorithm="maml", mode="sampled", k=0, metric="first_success", group="all")
    assert found.set_index("seed")["score"].to_dict() == pytest.approx(by_seed.to_dict())
    row = pick(summary, algorithm="maml", mode="sampled", k=0, metric="first_success", group="all").iloc[0]
    assert row["mean"] == pytest.approx(by_seed.mean())
    assert row["n_episodes"] == len(rows)
    assert np.isnan(row["task_se"])


def test_a_policy_that_never_succeeds_has_no_steps_to_success(tmp_path: Path) -> None:
    runs = synthetic.runs_of([synthetic.POINT], learners=("maml",), references=(), seeds=3)
    for run in runs:
        frame = synthetic.curve(synthetic.POINT, run)
        frame = frame.assign(success_any=False, success_last=False, first_success=np.int64(-1))
        synthetic.write_run(synthetic.POINT, run, tmp_path, frame)
    summary = pd.read_csv(aggregate(runs, tmp_path))
    rows = pick(summary, metric="first_success")
    assert rows["mean"].isna().all()
    assert (rows["n_seeds"] == 0).all()
    assert (rows["n_episodes"] == 0).all()
    assert (pick(summary, metric="success_any")["mean"] == 0).all()


def test_task_standard_error_is_over_seed_averaged_tasks(results) -> None:
    summary, _, tasks, raw = results
    rows = pick(raw, algorithm="rl2", mode="mean", k=2)
    by_task = rows.groupby(["group", "task"], observed=True)["return"].mean()
    near, far = (by_task[name].to_numpy() for name in ("near", "far"))
    row = pick(summary, algorithm="rl2", mode="mean", k=2, metric="return")
    assert pick(row, group="near")["task_se"].item() == pytest.approx(near.std(ddof=1) / np.sqrt(len(near)))
    both = np.sqrt(near.var(ddof=1) / len(near) + far.var(ddof=1) / len(far)) / 2
    assert pick(row, group="all")["task_se"].item() == pytest.approx(both)
    found = pick(tasks, algorithm="rl2", mode="mean", k=2).set_index("task")["return"]
    expected = by_task.droplevel("group")
    assert found.sort_index().to_numpy() == pytest.approx(expected.sort_index().to_numpy())


def test_tasks_hold_what_is_compared_the_first_and_the_last_k_and_the_trial(results) -> None:
    _, _, tasks, _ = results
    rows = pick(tasks, algorithm="rl2")
    points = {("mean", 0), ("mean", 2), ("sampled", 0), ("sampled", 1), ("sampled", 2), ("sampled", 3)}
    assert set(zip(rows["mode"], rows["k"], strict=True)) == points
    assert rows["trial_return"].notna().sum() == SMALL.n_tasks


def test_trial_return_of_a_learner_is_the_sum_of_its_episodes(results) -> None:
    _, scores, _, raw = results
    rows = pick(raw, algorithm="rl2", mode="sampled")
    rows = rows[rows["k"] < SMALL.episodes_per_trial]
    totals = rows.groupby(["seed", "group", "task"], observed=True)["return"].sum()
    found = pick(scores, algorithm="rl2", metric="trial_return", group="near").set_index("seed")["score"]
    expected = totals.groupby(["seed", "group"]).mean().xs("near", level="group")
    assert found.to_dict() == pytest.approx(expected.to_dict())
    assert set(pick(scores, metric="trial_return")["k"]) == {3}


def test_trial_return_of_a_policy_without_memory_is_n_times_its_mean(results) -> None:
    summary, _, _, raw = results
    rows = pick(raw, algorithm="oracle", group="far")
    found = pick(summary, algorithm="oracle", metric="trial_return", group="far")["mean"].item()
    assert found == pytest.approx(3 * rows["return"].mean())


@pytest.mark.parametrize(
    ("points", "returns", "episodes", "n", "expected"),
    [
        # One episode at each k: 1 + 2 + 4; what was played at k = 3 belongs to no trial of three.
        ([("sampled", 0), ("sampled", 1), ("sampled", 2), ("sampled", 3)], [1, 2, 4, 8], [1, 1, 1, 1], 3, 7),
        # Blocks of two: two episodes that average 1, then one of the block that averages 10.
        ([("sampled", 0), ("sampled", 2)], [1, 10], [2, 2], 3, 12),
        # A block longer than the trial.
        ([("sampled", 0), ("sampled", 5)], [1, 10], [5, 5], 3, 3),
        # No adaptation at all, however few episodes were played.
        ([("sampled", 0)], [1], [1], 3, 3),
        # Mean actions are not what a trial is played with.
        ([("mean", 0), ("sampled", 0), ("mean", 3)], [100, 1, 100], [1, 1, 1], 3, 3),
        # An episode of the trial is missing: k = 1 was not played.
        ([("sampled", 0), ("sampled", 2)], [1, 10], [1, 1], 3, None),
        # The trial is longer than what was played.
        ([("sampled", 0), ("sampled", 1)], [1, 10], [1, 1], 3, None),
        # A trial of one episode is an episode.
        ([("sampled", 0)], [1], [1], 1, None),
        ([("mean", 0)], [1], [1], 3, None),
    ],
)
def test_trial_return_by_hand(points, returns, episodes, n, expected) -> None:
    found = trial_return(points, np.array(returns, dtype=float)[:, None], np.array(episodes), n)
    assert expected is None if found is None else found.tolist() == [expected]


def test_the_order_of_rows_and_of_runs_changes_nothing(tmp_path: Path) -> None:
    runs = synthetic.runs_of([SMALL], learners=("rl2",), references=("random",), seeds=3)
    synthetic.write_suite([SMALL], runs, tmp_path / "a")
    for run in runs:
        frame = synthetic.curve(SMALL, run)
        synthetic.write_run(SMALL, run, tmp_path / "b", frame.iloc[np.argsort(frame["return"].to_numpy())])
    first = pd.read_csv(aggregate(runs, tmp_path / "a"))
    shuffled = pd.read_csv(aggregate(runs, tmp_path / "b"))
    pd.testing.assert_frame_equal(first, shuffled, rtol=1e-12)
    by_seed = pd.read_csv(aggregate(sorted(runs, key=lambda run: run.seed), tmp_path / "a"))
    key = ["algorithm", "group", "mode", "k", "metric"]
    first, by_seed = (frame.sort_values(key, ignore_index=True) for frame in (first, by_seed))
    pd.testing.assert_frame_equal(first, by_seed, rtol=1e-12)


def test_cells_say_what_training_took_where_the_record_does(tmp_path: Path) -> None:
    runs = synthetic.runs_of([SMALL], learners=("rl2",), references=("random",), seeds=2)
    synthetic.write_suite([SMALL], runs, tmp_path)
    synthetic.sign(runs[1].directory(tmp_path) / "run.json", without=["updates", "hardware"])
    aggregate(runs, tmp_path)
    cells = pd.read_csv(tmp_path / "made-up" / "cells.csv", dtype=str, keep_default_na=False)
    assert cells[["train_updates", "threads"]].to_numpy().tolist() == [["100", "1"], ["", ""], ["", ""]]


def test_a_diverged_run_counts_in_no_average(tmp_path: Path) -> None:
    runs = synthetic.runs_of([SMALL], learners=("rl2",), references=(), seeds=4)
    synthetic.write_suite([SMALL], runs[:3], tmp_path)
    three = pd.read_csv(aggregate(runs[:3], tmp_path))
    synthetic.write_run(SMALL, runs[3], tmp_path, status="diverged")
    four = pd.read_csv(aggregate(runs, tmp_path))
    assert four["mean"].tolist() == pytest.approx(three["mean"].tolist(), nan_ok=True)
    assert set(four["n_seeds_expected"]) == {4}
    assert four["n_seeds"].max() == 3
    cells = pd.read_csv(tmp_path / "made-up" / "cells.csv")
    assert cells["state"].tolist() == ["ok", "ok", "ok", "diverged"]
    assert cells["reason"].iloc[3] == "loss is not finite at iteration 12"


def test_the_raw_rows_are_what_the_schema_says() -> None:
    """The made-up data of these tests have the columns of real ones."""
    run = synthetic.runs_of([SMALL])[0]
    assert list(synthetic.curve(SMALL, run).columns) == records.CURVE_SCHEMA.names
