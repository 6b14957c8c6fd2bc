"""Episodes that were played elsewhere stand beside a suite's, marked as such, once they are checked completely."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kshot.errors import ConfigError
from kshot.reporting import compare_report, tex
from kshot.reporting.aggregate import aggregate
from kshot.reporting.compare_outside import REQUIRED
from kshot.reporting.compare_sides import find_side
from kshot.suites.run import RunConfig
from tests import synthetic

pytestmark = pytest.mark.contract

POINT = replace(synthetic.POINT, n_tasks=6, k=(0, 10), episodes_per_trial=1)
RUNS = synthetic.runs_of([POINT], learners=("maml", "rl2"), seeds=3)
TASK = "test-00000-point"


def load(_: Path) -> tuple[dict[str, str], list[RunConfig]]:
    raise AssertionError("the numbers alone are enough")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("outside")
    synthetic.write_suite([POINT], RUNS, root)
    aggregate(RUNS, root)
    return root


@pytest.fixture
def episodes() -> pd.DataFrame:
    """RL² as if somebody else had played it."""
    frames = [synthetic.curve(POINT, replace(run, seed=run.seed + 50)) for run in RUNS if run.algorithm == "rl2"]
    whole = pd.concat(frames, ignore_index=True).assign(seed=lambda frame: frame["seed"] - 50)
    return whole[(whole["mode"] == "sampled") & whole["k"].isin([0, 10])][list(REQUIRED)].reset_index(drop=True)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_learners_from_outside_stand_beside_ours_and_are_marked(
    suffix: str, root: Path, episodes: pd.DataFrame, tmp_path: Path
) -> None:
    theirs = episodes.assign(algorithm="their<b>|$x_1")
    both = pd.concat([episodes, theirs], ignore_index=True)
    path = tmp_path / f"th<i>eirs.{suffix}"
    both.to_csv(path, index=False) if suffix == "csv" else both.to_parquet(path)
    comparison = compare_report.read("made-up", str(path), load, root)
    rows = {(row.a, row.b): row for row in comparison.rows}
    assert list(rows) == [("maml", ""), ("rl2", "rl2"), ("", "their<b>|$x_1")]
    assert rows["rl2", "rl2"].headline.contrast is not None and rows["rl2", "rl2"].headline.contrast.tested
    alone = rows["", "their<b>|$x_1"].headline.b
    expected = both[(both["algorithm"] == "their<b>|$x_1") & (both["k"] == 10)]["success_last"].mean()
    assert ("note", "point: no suite says what its headline measure is; compared by success_last.") in comparison.notes
    assert alone is not None and alone.mean == pytest.approx(expected) and alone.n_seeds == 3
    compare_report.write(comparison, tmp_path / "out")
    texts = {name: (tmp_path / "out" / name).read_text() for name in ("index.html", "compare.md", "compare.tex")}
    assert all("from outside: th" in text for text in texts.values())
    assert "their<b>" not in texts["index.html"] + texts["compare.md"]
    assert "th<i>" not in texts["index.html"] + texts["compare.md"]
    assert r"their&lt;b&gt;\|" in texts["compare.md"] and tex.escape("their<b>|$x") in texts["compare.tex"]
    assert "from outside: th" in (tmp_path / "out" / "compare.svg").read_text()  # as a comment beside its glyphs
    assert set(pd.read_csv(tmp_path / "out" / "compare.csv")["source_b"]) == {f"from outside: {path.name}"}


def test_a_row_of_kshots_own_curve_is_read_as_kshot_reads_it(root: Path, tmp_path: Path) -> None:
    """All columns, both kinds of actions: the same means as from the runs themselves."""
    runs = [run for run in RUNS if run.algorithm == "rl2"]
    pd.concat([pd.read_parquet(run.directory(root) / "curve.parquet") for run in runs]).to_parquet(
        tmp_path / "a.parquet"
    )
    comparison = compare_report.read("made-up", str(tmp_path / "a.parquet"), load, root)
    row = next(row for row in comparison.rows if row.both)
    assert row.headline.a is not None and row.headline.b is not None
    assert row.headline.a.mean == row.headline.b.mean and row.headline.a.mode == row.headline.b.mode == "sampled"
    assert row.verdict == "not significant" and row.headline.noise is not None and row.headline.noise.paired


def put(column: str, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Another value in the first row."""
    return lambda frame: frame.astype({column: object}).assign(
        **{column: [value, *frame[column].astype(object).tolist()[1:]]}
    )


@pytest.mark.parametrize(
    "change, line",
    [
        (lambda frame: frame.drop(columns=["return", "mode"]), "lacks the columns mode, return"),
        (lambda frame: frame.head(0), "holds no episodes"),
        (put("return", np.nan), "line 2: return is '', expected a finite number"),
        (put("return", "inf"), "line 2: return is 'inf', expected a finite number"),
        (put("k", -1), "line 2: k is '-1', expected a whole number from 0 to 2147483647"),
        (put("seed", 0.5), "line 2: seed is '0.5', expected a whole number from 0 to 2147483647"),
        (put("success_any", "yes"), "line 2: success_any is 'yes', expected true or false"),
        (put("mode", "greedy"), "line 2: mode is 'greedy', expected mean or sampled"),
        (put("algorithm", "a\nb"), "line 2: algorithm is 'a?b', expected 1 to 64 printable ASCII characters"),
        (put("family", "pint"), "family 'pint' is none of made-up's (did you mean 'point'?)"),
        (put("task", "x"), "'rl2' on 'point': task 'x' is none of the family's 6 test tasks (1 such task)"),
        (
            lambda frame: frame[(frame["seed"] != 1) | (frame["task"] != TASK)],
            f"'rl2' on 'point': seed 1 lacks task {TASK!r} at some k (1 such task)",
        ),
        (
            lambda frame: frame[(frame["seed"] != 2) | (frame["k"] != 10)],
            "'rl2' on 'point': seed 2 was tested at other k, or by other numbers of episodes, than the first seed",
        ),
        (
            lambda frame: pd.concat([frame, frame.head(1)]),
            f"line 38: 'rl2', seed 0: episode 0 of task {TASK!r} occurs twice",
        ),
        (
            lambda frame: frame.assign(success_any=False, success_last=True),
            "line 2: 'rl2', seed 0: success_last without success_any: the last step is one of all",
        ),
    ],
)
def test_every_mistake_gets_a_line(
    change: Callable[[pd.DataFrame], pd.DataFrame], line: str, root: Path, episodes: pd.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "theirs.csv"
    change(episodes).to_csv(path, index=False)
    with pytest.raises(ConfigError) as error:
        compare_report.read("made-up", str(path), load, root)
    assert f"{path}: {line}" in error.value.problems
    assert all("\n" not in problem for problem in error.value.problems)


@pytest.mark.parametrize(
    "content, line",
    [(b"", "not readable as csv"), (b"a,b\n1,2,3\n", "not readable as csv"), (b"\xff\xfe", "not readable")],
)
def test_a_file_that_is_no_table_gets_one_line(content: bytes, line: str, root: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "theirs.csv", tmp_path / "theirs.parquet"):
        path.write_bytes(content)
        with pytest.raises(ConfigError) as error:
            compare_report.read("made-up", str(path), load, root)
        assert len(error.value.problems) == 1
        assert str(error.value).startswith(f"{path}: {line.replace('csv', path.suffix[1:])}")


def test_numbers_alone_are_a_side(root: Path) -> None:
    side = find_side("made-up", load, root)
    assert side.headline("point") is None and side.summary.families["point"].k == (0, 10)
