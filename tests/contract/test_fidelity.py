"""The yardsticks: what is asked for exists, and the page says what is filed."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from matplotlib.text import Text

from kshot.errors import RecordError
from kshot.places import ROOT, SUITES
from kshot.reporting import fidelity, style, sums
from kshot.reporting import fidelity_picture as pictured
from kshot.reporting.csv_files import read as read_csv
from kshot.suites.reading import load_suite


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


def test_learners_of_one_table_share_their_training_steps() -> None:
    for item in fidelity.yardsticks():
        suite = load_suite(SUITES / f"{item.suite}.yaml")
        asked = {row.algorithm for row in item.rows} - {"untrained"}  # which takes no training step
        runs = [run for run in suite.runs() if run.family == item.family and run.algorithm in asked]
        budgets = {run.algorithm: run.steps for run in runs if run.kind == "algorithm"}
        assert set(budgets.values()) == {item.steps}, f"{item.title}: put each budget in a table of its own: {budgets}"


def test_tasks_that_a_table_shares_with_another_are_the_same() -> None:
    shared = 0
    for item in fidelity.yardsticks():
        own, *others = (
            (family, load_suite(SUITES / f"{suite}.yaml").families[family]) for suite, family in item.places
        )
        for other in others:
            here, there = own[1], other[1]
            assert here.evaluation.tasks == there.evaluation.tasks and here.evaluation.split == there.evaluation.split
            # Names of cells do not enter, and a mask changes what is seen, neither tasks nor rewards.
            modules = [cell.family or name for name, cell in (own, other)]
            settings = [
                {name: value for name, value in cell.settings.items() if name != "mask_irrelevant_objects"}
                for cell in (here, there)
            ]
            assert modules[0] == modules[1] and settings[0] == settings[1]
            shared += 1
    assert shared >= 3


def test_the_yardstick_of_the_start_on_nav2d_is_standing_still_less_one() -> None:
    item = next(item for item in fidelity.yardsticks() if item.family == "nav2d")
    numbers = fidelity.filed_numbers(item.suite, item.family, ROOT / fidelity.FILED).set_index(["algorithm", "k"])[
        "mean"
    ]
    (start,) = (row.at_least[0] for row in item.rows if row.at_least)
    assert start == pytest.approx(numbers["task_blind", 0] - 1.0, abs=0.05)
    assert numbers["maml", 0] >= start > numbers["task_blind", 0] - 1.1


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
            steps |= {"train_updates": 400, "threads": 2}
            cells.append({"family": item.family, "algorithm": row.algorithm, "state": "ok"} | steps)
    folder = tmp_path / "fidelity-gridnavi"
    folder.mkdir()
    for name in sums.FILES:
        (folder / name).touch()
    rewrite(folder / "summary.csv", pd.DataFrame(summary))
    rewrite(folder / "cells.csv", pd.DataFrame(cells))
    return tmp_path


def rewrite(path: Path, frame: pd.DataFrame) -> None:
    """Put another table in the place of one that ``aggregate`` wrote."""
    frame.to_csv(path, index=False)
    sums.write_record(path.parent)


def test_numbers_are_filed_and_judged(results: Path, tmp_path: Path) -> None:
    path = fidelity.collect("fidelity-gridnavi", results, tmp_path / "filed")
    assert (pd.read_csv(path).query("algorithm == 'rl2'")["minutes"] == 10.0).all()
    page = fidelity.write_page(tmp_path / "filed", tmp_path / "page.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| rl2 | return")]
    rows = [row for row in rows if "*not measured*" not in row]
    assert [row.split(" | ")[6] for row in rows] == ["yes", "**no**", "**no**", "**no**"]
    assert "5.00 [4.00 to 6.00]" in rows[0] and "≥ 3.6" in rows[0]
    assert rows[0].endswith("| 3 | 20,000,000 | 400 | 10.0 | 20.0 |")
    others = [row for item in fidelity.yardsticks() if item.suite != "fidelity-gridnavi" for row in item.rows]
    assert page.count("*not measured*") == sum(len(row.k) for row in others)
    assert "| pearl | return | mean | 3 | *not measured* | ≥ -13 |" in page
    (best,) = (line for line in page.splitlines() if line.startswith("| *best known"))
    assert best.startswith("| *best known: rl2* | return | sampled | 1 | 7.50 [6.50 to 8.50]")


def test_the_best_known_return_may_be_a_learners(tmp_path: Path) -> None:
    filed = ROOT / fidelity.FILED
    items = {item.title: item for item in fidelity.yardsticks()}
    reach = items["ML1-reach, 5 million steps"]
    best = fidelity.best_known(reach, "return", filed)
    numbers = pd.read_csv(filed / "reference-ml1.csv").query("metric == 'return'")  # of two families, on the same tasks
    oracle = numbers.loc[numbers["algorithm"] == "oracle", "mean"].max()
    assert best is not None and best["mean"] == numbers["mean"].max() > oracle
    masked = [name for name in items if name.startswith("ML1-reach, masked")]
    for name in masked:  # one of the same suite, one of another
        same = fidelity.best_known(items[name], "return", filed)
        assert same is not None and (same["algorithm"], same["mean"]) == (best["algorithm"], best["mean"])
    assert fidelity.best_known(reach, "success_last", filed) is None
    assert fidelity.best_known(reach, "return", tmp_path) is None
    panels = {panel.get_title(): panel for panel in pictured.draw(filed).axes}
    for title in (reach.title, *masked):
        assert best["mean"] in [line.get_ydata()[0] for line in panels[title].lines], title
        assert f"best known ({best['algorithm']})" in [text.get_text() for text in panels[title].texts]


def test_numbers_filed_without_updates_and_core_minutes_are_shown_without(results: Path, tmp_path: Path) -> None:
    path = results / "fidelity-gridnavi" / "cells.csv"
    rewrite(path, pd.read_csv(path).drop(columns=["train_updates", "threads"]))
    filed = fidelity.collect("fidelity-gridnavi", results, tmp_path / "filed")
    for drop in ([], list(fidelity.LATER)):
        pd.read_csv(filed).drop(columns=drop).to_csv(filed, index=False)
        page = fidelity.write_page(tmp_path / "filed", tmp_path / "page.md").read_text(encoding="utf-8")
        assert "| 20,000,000 |  | 10.0 |  |" in page


def test_learners_that_took_other_steps_are_named(results: Path, tmp_path: Path) -> None:
    filed = fidelity.collect("fidelity-gridnavi", results, tmp_path / "filed")
    said = "Rows with other steps are no comparison"
    assert said not in fidelity.write_page(tmp_path / "filed", tmp_path / "page.md").read_text(encoding="utf-8")
    frame = pd.read_csv(filed)
    frame.loc[frame["algorithm"] == "random", "steps"] = 1e6
    frame.to_csv(filed, index=False)
    page = fidelity.write_page(tmp_path / "filed", tmp_path / "page.md").read_text(encoding="utf-8")
    assert f"{said} at equal budgets. Steps here: rl2 20,000,000, " in page and "random 1,000,000." in page


@pytest.mark.parametrize("digest", ["1234567e12", "00123456"])
def test_hashes_that_look_like_numbers_are_filed_as_they_are(results: Path, tmp_path: Path, digest: str) -> None:
    path = results / "fidelity-gridnavi" / "cells.csv"
    rewrite(path, pd.read_csv(path).assign(source_digest=digest, git_commit=digest))
    for _ in range(2):  # the second time, what is filed is read, too
        filed = fidelity.collect("fidelity-gridnavi", results, tmp_path / "filed")
        assert set(pd.read_csv(filed, dtype=str)["source_digest"]) == {digest}
        assert set(pd.read_csv(filed, dtype=str)["commit"]) == {digest}
        rewrite(path, pd.read_csv(path, dtype=str).assign(state="missing"))


def test_a_damaged_table_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    for text, said in (
        (None, "no such file; run `kshot aggregate` first"),
        ("seed,state\none,ok\n", "not readable as CSV"),
        ("seed\n1\n", "lacks state; run `kshot aggregate` again"),
    ):
        if text is not None:
            path.write_text(text)
        with pytest.raises(RecordError, match=said):
            read_csv(path, ("seed", "state"), "kshot aggregate")


def test_the_picture_has_every_filed_problem_with_its_yardsticks(results: Path, tmp_path: Path) -> None:
    fidelity.collect("fidelity-gridnavi", results, tmp_path / "filed")
    (panel,) = pictured.draw(tmp_path / "filed").axes
    points = {tuple(line.get_xydata()[0]) for line in panel.lines if line.get_marker() == pictured.YARDSTICK["marker"]}
    assert points == {(0, 3.6), (1, 10.5), (2, 10.5), (3, 10.5)}
    (reached,) = (line for line in panel.lines if line.get_marker() == "D")
    assert reached.get_ydata().tolist() == [5.0, 7.5, 7.5, 7.5]
    assert not pictured.draw(tmp_path / "nothing").axes
    assert pictured.write_picture(tmp_path / "filed").read_bytes().startswith(b"\x89PNG")


def test_numbers_filed_from_kept_results_are_those_that_are_kept() -> None:
    """``reference-ml1`` is filed by hand after it was packed: who forgets it is told here."""
    key = ["family", "algorithm", "metric", "mode", "k"]
    filed = pd.read_csv(ROOT / fidelity.FILED / "reference-ml1.csv").set_index(key)
    kept = pd.read_csv(ROOT / "reports/reference/reference-ml1/summary.csv").query("group == 'all'").set_index(key)
    for name in ("mean", "n_seeds", "n_tasks"):
        pd.testing.assert_series_equal(filed[name], kept.loc[filed.index, name], check_dtype=False)


def test_titles_stay_within_the_picture_and_off_the_next_panel() -> None:
    with style.context(pictured.PICTURE):
        figure = pictured.draw(ROOT / fidelity.FILED)
        style.settle(figure)
        width = figure.bbox.width
        titles = {item.title for item in fidelity.yardsticks()}
        boxes = [text.get_window_extent() for text in figure.findobj(Text) if text.get_text() in titles]
    assert len(boxes) == len(figure.axes) > 6
    for box in boxes:
        assert box.x0 >= 0 and box.x1 <= width
        assert not any(box.overlaps(other) for other in boxes if other is not box)


def test_a_number_that_is_missing_is_named(results: Path, tmp_path: Path) -> None:
    path = results / "fidelity-gridnavi" / "summary.csv"
    rewrite(path, pd.read_csv(path).query("k != 3"))
    with pytest.raises(RecordError, match=r"'algorithm': 'rl2'.*'k': 3"):
        fidelity.collect("fidelity-gridnavi", results, tmp_path / "filed")
    assert not (tmp_path / "filed").exists()
    with pytest.raises(RecordError, match="no yardstick"):
        fidelity.collect("smoke", results, tmp_path / "filed")


def test_learners_that_were_not_run_stay_as_they_were_filed(results: Path, tmp_path: Path) -> None:
    path = fidelity.collect("fidelity-gridnavi", results, tmp_path / "filed")
    before = pd.read_csv(path)
    cells = pd.read_csv(results / "fidelity-gridnavi" / "cells.csv").assign(git_commit="later")
    cells.loc[cells["algorithm"] == "rl2", "state"] = "missing"
    rewrite(results / "fidelity-gridnavi" / "cells.csv", cells)
    after = pd.read_csv(fidelity.collect("fidelity-gridnavi", results, tmp_path / "filed"))
    assert len(after) == len(before)
    assert set(after.query("algorithm == 'rl2'")["commit"]) == {"abc"}
    assert set(after.query("algorithm != 'rl2'")["commit"]) == {"later"}
    page = fidelity.write_page(tmp_path / "none", tmp_path / "page.md").read_text(encoding="utf-8")
    rows = [row for item in fidelity.yardsticks() for row in item.rows]
    assert page.count("*not measured*") == sum(len(row.k) for row in rows)
