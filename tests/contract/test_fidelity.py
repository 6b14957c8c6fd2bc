"""The yardsticks: what is asked for exists, and the page says what is filed."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from kshot import records
from kshot.config import ROOT, SUITES, load_suite
from kshot.reporting import fidelity
from kshot.reporting import yardsticks as pictured


def test_yardsticks_ask_for_what_their_suites_measure() -> None:
    for item in fidelity.yardsticks():
        suite = load_suite(SUITES / f"{item.suite}.yaml")
        cell = suite.families[item.family]
        runs = {run.algorithm for run in suite.runs() if run.family == item.family}
        for row in item.rows:
            assert row.algorithm in runs, (item.title, row.algorithm)
            assert len(row.at_least) in (0, len(row.k)) and len(row.published) in (0, len(row.k)), row
            if row.algorithm in suite.algorithms and row.metric != "trial_return" and row.mode == "mean":
                assert set(row.k) <= set(cell.evaluation.k), (item.title, row)


def test_the_page_says_what_is_filed(tmp_path: Path) -> None:
    written = fidelity.write_page(ROOT / fidelity.FILED, tmp_path / "fidelity.md").read_text(encoding="utf-8")
    committed = (ROOT / fidelity.PAGE).read_text(encoding="utf-8")
    assert written.replace(str(ROOT) + "/", "") == committed


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Aggregated results of a suite in which every number asked for is 5 at K = 0 and 7.5 elsewhere."""
    summary, cells = [], []
    for item in fidelity.yardsticks():
        if item.suite != "fidelity-gridnavi":
            continue
        for row in item.rows:
            for k in row.k:
                key = {
                    "family": item.family,
                    "algorithm": row.algorithm,
                    "metric": row.metric,
                    "mode": row.mode,
                    "k": k,
                }
                value = 5.0 if k == 0 else 7.5
                numbers = {"mean": value, "mean_lo": value - 1, "mean_hi": value + 1, "n_seeds": 3, "n_tasks": 21}
                summary.append(key | {"group": "all"} | numbers)
            steps = {"train_env_steps": 2e7, "train_seconds": 600.0, "git_commit": "abc", "source_digest": "d"}
            cells.append({"family": item.family, "algorithm": row.algorithm, "state": "ok"} | steps)
    folder = tmp_path / "fidelity-gridnavi"
    folder.mkdir()
    pd.DataFrame(summary).to_csv(folder / "summary.csv", index=False)
    pd.DataFrame(cells).to_csv(folder / "cells.csv", index=False)
    return tmp_path


def test_numbers_are_filed_and_judged(results: Path, tmp_path: Path) -> None:
    path = fidelity.collect("fidelity-gridnavi", results, tmp_path / "filed")
    assert (pd.read_csv(path).query("algorithm == 'rl2'")["minutes"] == 10.0).all()
    page = fidelity.write_page(tmp_path / "filed", tmp_path / "page.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| rl2 | return")]
    assert [row.split(" | ")[6] for row in rows] == ["yes", "**no**", "**no**", "**no**"]
    assert "5.00 [4.00 to 6.00]" in rows[0] and "≥ 3.6" in rows[0] and "20,000,000" in rows[0]
    assert page.count("*Not run yet.*") == len(fidelity.yardsticks()) - 1


def test_the_picture_has_every_filed_problem_with_its_yardsticks(results: Path, tmp_path: Path) -> None:
    fidelity.collect("fidelity-gridnavi", results, tmp_path / "filed")
    (panel,) = pictured.draw(tmp_path / "filed").axes
    points = {tuple(line.get_xydata()[0]) for line in panel.lines if line.get_marker() == pictured.YARDSTICK["marker"]}
    assert points == {(0, 3.6), (1, 10.5), (2, 10.5), (3, 10.5)}
    (reached,) = (line for line in panel.lines if line.get_marker() == "D")
    assert reached.get_ydata().tolist() == [5.0, 7.5, 7.5, 7.5]
    assert not pictured.draw(tmp_path / "nothing").axes
    assert pictured.write_picture(tmp_path / "filed").read_bytes().startswith(b"\x89PNG")


def test_a_number_that_is_missing_is_named(results: Path, tmp_path: Path) -> None:
    path = results / "fidelity-gridnavi" / "summary.csv"
    pd.read_csv(path).query("k != 3").to_csv(path, index=False)
    with pytest.raises(records.RecordError, match=r"'algorithm': 'rl2'.*'k': 3"):
        fidelity.collect("fidelity-gridnavi", results, tmp_path / "filed")
    assert not (tmp_path / "filed").exists()
    with pytest.raises(records.RecordError, match="no yardstick"):
        fidelity.collect("smoke", results, tmp_path / "filed")


def test_learners_that_were_not_run_stay_as_they_were_filed(results: Path, tmp_path: Path) -> None:
    path = fidelity.collect("fidelity-gridnavi", results, tmp_path / "filed")
    before = pd.read_csv(path)
    cells = pd.read_csv(results / "fidelity-gridnavi" / "cells.csv").assign(git_commit="later")
    cells.loc[cells["algorithm"] == "rl2", "state"] = "missing"
    cells.to_csv(results / "fidelity-gridnavi" / "cells.csv", index=False)
    after = pd.read_csv(fidelity.collect("fidelity-gridnavi", results, tmp_path / "filed"))
    assert len(after) == len(before)
    assert set(after.query("algorithm == 'rl2'")["commit"]) == {"abc"}
    assert set(after.query("algorithm != 'rl2'")["commit"]) == {"later"}
    page = fidelity.write_page(tmp_path / "none", tmp_path / "page.md").read_text(encoding="utf-8")
    assert page.count("*Not run yet.*") == len(fidelity.yardsticks())
