"""What a report compares has one K, the actions each learner is meant for, and says how sure it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kshot import records
from kshot.errors import RecordError
from kshot.reporting import figures, page, sums, tables
from kshot.reporting.aggregate import aggregate
from kshot.reporting.evidence import IntendedTest, answering, common
from kshot.reporting.figures import headline as headline_figure
from kshot.reporting.results import Results, load
from kshot.reporting.sections import Section
from kshot.reporting.tables._common import brackets
from kshot.reporting.values import Cell, RunCount, html
from tests import synthetic

pytestmark = pytest.mark.contract

POINT = replace(synthetic.POINT, n_tasks=12, k=(0, 1, 2, 3, 10, 25), episodes_per_trial=4)
BANDIT = replace(synthetic.BANDIT, n_tasks=12)
LEARNERS = ("rl2", "maml", "pearl")


@pytest.fixture(scope="module")
def limits() -> Iterator[None]:
    """RL2 can use nothing beyond its trial of four."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(synthetic.LIMITS, ("point", "rl2"), 3)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, limits: None) -> Results:
    root = tmp_path_factory.mktemp("compared")
    runs = synthetic.runs_of([POINT, BANDIT], LEARNERS, seeds=5)
    runs = [run for run in runs if (run.family, run.algorithm) != ("bandit", "pearl")]
    synthetic.write_suite([POINT, BANDIT], runs, root)
    aggregate(runs, root)
    return load(runs, root)


def raw(data: Results, family: str, name: str, mode: str, k: int) -> pd.Series[float]:
    """Returns of all episodes that a learner played at one point."""
    runs = [run for run in data.grid.runs if (run.family, run.algorithm) == (family, name)]
    frames = [records.read_table(run.directory(data.grid.root) / "curve.parquet", records.CURVE_SCHEMA) for run in runs]
    frame = pd.concat(frames)
    return frame[(frame["mode"] == mode) & (frame["k"] == k)]["return"]


def section(data: Results, family: str) -> Section:
    return next(section for section in data.sections if section.family == family)


def numbers(data: Results, name: str) -> pd.DataFrame:
    return pd.DataFrame(next(table for table in tables.build(data) if table.name == name).numbers)


def text(data: Results, name: str, title: str) -> pd.DataFrame:
    table = next(table for table in tables.build(data) if table.name == name)
    return next(part for part in table.parts if part.title == title).text()


# Which K


def test_learners_are_compared_at_the_largest_k_that_all_of_them_reach(data: Results) -> None:
    assert section(data, "point").k == 3
    rows = numbers(data, "headline").query("family == 'point'").set_index("algorithm")
    assert set(rows["k"]) == {3}
    expected = {
        "rl2": raw(data, "point", "rl2", "sampled", 3).mean(),
        "pearl": raw(data, "point", "pearl", "mean", 3).mean(),
        "maml": raw(data, "point", "maml", "sampled", 0).mean(),  # within its first block of ten
        "random": raw(data, "point", "random", "sampled", 0).mean(),
    }
    assert rows["score"][list(expected)].to_dict() == pytest.approx(expected)
    assert rows["at_k"][list(expected)].to_dict() == pytest.approx(expected)
    assert rows["at_k_k"][["rl2", "pearl", "maml"]].tolist() == [3, 3, 0]
    assert rows["adaptation_steps"][["rl2", "maml"]].tolist() == [3 * POINT.horizon, 0]
    shown = text(data, "headline", "point").set_index("policy")
    assert "K = 3" in shown and not any(f"K = {k}" in shown for k in (1, 2, 10, 25))
    assert shown["evidence"][["rl2", "maml", "random"]].tolist() == ["300 steps", "0 steps", ""]
    assert shown["actions"][["rl2", "maml", "pearl", "oracle"]].tolist() == ["sampled", "sampled", "mean", "sampled"]
    ranks = shown.index.tolist()
    assert ranks.index("maml") > max(ranks.index("rl2"), ranks.index("pearl"))


def test_everything_that_ranks_uses_that_k_and_those_actions(data: Results) -> None:
    random, oracle = data.summary.scale("point", "return")
    at_k = raw(data, "point", "maml", "sampled", 0).mean()
    row = numbers(data, "headline").query("family == 'point' and algorithm == 'maml'").iloc[0]
    assert row["normalised"] == pytest.approx((at_k - random) / (oracle - random))
    for name, mode, k in (("rl2", "sampled", 3), ("pearl", "mean", 3), ("maml", "sampled", 0)):
        runs = data.scores.frame.query("family == 'point' and metric == 'return' and group == 'all'")
        runs = runs[(runs["algorithm"] == name) & (runs["mode"] == mode) & (runs["k"] == k)].sort_values("seed")
        assert data.headline_scores(section(data, "point"), name).tolist() == runs["score"].tolist()
        point = data.summary.point("point", name, "return", 3)
        assert point is not None and (point.mode, point.k) == (mode, k)
        tasks = data.task_values("point", name, "return", 3)
        assert tasks is not None and tasks.mean() == pytest.approx(point.mean)
    pairs = numbers(data, "improvement").set_index(["x", "y"])
    rl2, pearl = (data.headline_scores(section(data, "point"), name) for name in ("rl2", "pearl"))
    wins = np.mean(rl2[:, None] > pearl[None])
    assert pairs.loc[("rl2", "pearl"), "probability"] == pytest.approx(wins)


def test_a_learner_on_blocks_has_a_value_at_every_k_and_rl2_none_beyond_its_trial(data: Results) -> None:
    rows = numbers(data, "after_k").query("family == 'point'")
    used = rows.set_index(["algorithm", "k"])["used_k"]
    assert used["maml"].to_dict() == {0: 0, 1: 0, 2: 0, 3: 0, 10: 10, 25: 20}
    assert used["rl2"].to_dict() == {0: 0, 1: 1, 2: 2, 3: 3}
    assert data.summary.point("point", "rl2", "return", 10) is None
    shown = text(data, "after_k", "point").set_index("policy")
    start, held = shown.loc["maml", ["K = 0", "K = 3"]]
    assert held.replace("\u2020", "") == start and "\u2020" in held and "\u2020" not in start
    assert shown.loc["rl2", "K = 10"] == "" and "\u2020" not in shown.loc["rl2", "K = 3"] + shown.loc["maml", "K = 10"]
    beyond = data.summary.point("point", "maml", "return", "all")
    assert beyond is not None and beyond.k == 20


def test_all_the_evidence_stands_apart_with_its_k_in_every_cell(data: Results) -> None:
    shown = text(data, "all_evidence", "point").set_index("policy")
    for name, k in (("rl2", 3), ("maml", 20), ("pearl", 25)):
        assert all(shown.loc[name, column].endswith(f" at K = {k}") for column in ("score", "normalised"))
        assert shown.loc[name, "evidence"] == f"{k * POINT.horizon:,} steps"
    row = numbers(data, "all_evidence").query("family == 'point'").set_index("algorithm").loc["maml"]
    assert row["score"] == pytest.approx(raw(data, "point", "maml", "sampled", 20).mean())


def test_no_second_view_where_all_can_use_the_same(tmp_path: Path) -> None:
    runs = synthetic.runs_of([POINT], ("pearl", "reptile"), seeds=1)
    synthetic.write_suite([POINT], runs, tmp_path)
    aggregate(runs, tmp_path)
    found = load(runs, tmp_path)
    assert section(found, "point").k == 25
    assert "all_evidence" not in [table.name for table in tables.build(found)]
    assert "evidence" not in text(found, "headline", "point")


def test_a_scripted_policy_that_learns_has_nothing_beyond_its_trial(tmp_path: Path) -> None:
    runs = synthetic.runs_of([POINT], ("pearl",), ("random", "oracle", "thompson"), seeds=1)
    synthetic.write_suite([POINT], runs, tmp_path)
    run = next(run for run in runs if run.algorithm == "thompson")
    once = synthetic.curve(POINT, run)
    frame = pd.concat([once.assign(k=k, adaptation_episodes=k) for k in range(4)])
    synthetic.write_run(POINT, run, tmp_path, frame)
    aggregate(runs, tmp_path)
    found = load(runs, tmp_path)
    assert found.summary.point("point", "thompson", "return", 25) is None
    there = found.summary.point("point", "thompson", "return", 3)
    assert there is not None and there.k == 3
    assert found.summary.point("point", "random", "return", 25) is not None


def test_rules_of_evidence() -> None:
    trial, blocks, free = IntendedTest("sampled", 1, 3), IntendedTest("sampled", 10), IntendedTest("mean", 1)
    assert common((0, 2, 5, 40), [trial, blocks]) == 2
    assert common((0, 5, 40), [blocks, free]) == 40
    assert common((0, 5), [trial]) == 0
    assert answering([0, 10, 20], 19) == 10
    assert blocks.adapts_within(11) and not blocks.adapts_within(10) and trial.adapts_within(4)


# Trials


def test_learners_that_cannot_adapt_within_a_trial_are_not_ranked_by_it(data: Results) -> None:
    bandit = section(data, "bandit")
    assert (bandit.judged, bandit.metric) == (("rl2",), "trial_return")
    rows = numbers(data, "headline").query("family == 'bandit'").set_index("algorithm")
    assert np.isnan(rows.loc["maml", ["score", "normalised"]].astype(float)).all()
    assert np.isfinite(rows.loc["maml", ["first", "at_k"]].astype(float)).all()
    shown = text(data, "headline", "bandit")
    learners = shown["policy"].tolist()
    assert learners.index("maml") == learners.index("rl2") + 1
    assert shown.set_index("policy").loc["maml", "trial"] == "adapts after 10"
    across = numbers(data, "normalised").set_index("algorithm")
    assert across.loc["rl2", "families"] == "point bandit" and across.loc["maml", "families"] == "point"
    assert data.headline_scores(bandit, "maml").size == 0


def test_where_nobody_adapts_within_a_trial_single_episodes_are_the_headline(tmp_path: Path) -> None:
    runs = synthetic.runs_of([BANDIT], ("maml", "fomaml"), seeds=1)
    synthetic.write_suite([BANDIT], runs, tmp_path)
    aggregate(runs, tmp_path)
    found = load(runs, tmp_path)
    assert section(found, "bandit").metric == "return"
    shown = text(found, "headline", "bandit")
    assert "trial" not in shown and "K = 10" in shown


# How sure


def test_five_seeds_have_intervals_and_three_a_range(data: Results, tmp_path: Path) -> None:
    shown = text(data, "headline", "point").set_index("policy")
    assert re.fullmatch(r"-[\d.]+ \[-[\d.]+, -[\d.]+\]", shown.loc["rl2", "K = 3"])
    assert re.fullmatch(r"\[-[\d.]+, -[\d.]+\]", shown.loc["rl2", "over seeds and tasks"])
    assert shown.loc["random", "over seeds and tasks"] == ""
    captions = {table.name: table.caption for table in tables.build(data)}
    assert "95 % bootstrap interval over seeds" in captions["headline"] and "range" not in captions["after_k"]

    three = [run for run in data.grid.runs if run.seed < 3]
    aggregate_three = [replace(run, suite="three") for run in three]
    synthetic.write_suite([POINT, BANDIT], aggregate_three, tmp_path)
    aggregate(aggregate_three, tmp_path)
    few = load(aggregate_three, tmp_path)
    shown = text(few, "headline", "point").set_index("policy")
    assert re.fullmatch(r"-[\d.]+ \[-[\d.]+ to -[\d.]+\]", shown.loc["rl2", "K = 3"])
    assert "over seeds and tasks" not in shown
    scores = few.headline_scores(section(few, "point"), "rl2")
    row = numbers(few, "headline").query("family == 'point' and algorithm == 'rl2'").iloc[0]
    assert (row["score_lo"], row["score_hi"]) == pytest.approx((scores.min(), scores.max()))
    for table in tables.build(few):
        assert "95 % bootstrap interval" not in table.caption, table.name
        if table.name in ("headline", "after_k", "normalised", "all_evidence"):
            assert "range of 3 seeds" in table.caption, table.name
    assert "improvement" not in [table.name for table in tables.build(few)]
    words = page.write_page({}, aggregate_three, tmp_path, tmp_path / "report").read_text()
    assert "is the range of 3 seeds, from the lowest to the highest" in words
    assert re.search(r"<small>range \[.[\d.]+ to .[\d.]+\]</small>", words)


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ([1, 2, 2], "without an interval: fewer than three seeds"),
        ([1, 3, 3], "with the range of 3 seeds, from the lowest to the highest [a to b], which is no interval"),
        ([3, 4], "with the range of 3 or 4 seeds, from the lowest to the highest [a to b], which is no interval"),
        ([1, 5, 10], "with 95 % bootstrap interval over seeds"),
        (
            [4, 10],
            "with 95 % bootstrap interval over seeds [a, b] or, where there are too few, the range of 4 [a to b]",
        ),
    ],
)
def test_captions_call_things_what_they_are(runs: list[int], words: str) -> None:
    assert brackets(runs) == words


def test_a_cell_shows_which_it_is() -> None:
    assert str(Cell(1.0, 1, 0.5, 2.0, n=5)) == str(Cell(1.0, 1, 0.5, 2.0)) == "1.0 [0.5, 2.0]"
    assert str(Cell(1.0, 1, 0.5, 2.0, n=3)) == "1.0 [0.5 to 2.0]"
    based = Cell(0.9, 2, 0.6, 1.0, note="3 families, n = 5")
    assert str(based) == "0.90 [0.60, 1.00] (3 families, n = 5)"
    assert html(based) == "<b>0.90</b><small>95 % [0.60, 1.00] · 3 families, n = 5</small>"
    at = Cell(-1.0, 1, -2.0, 0.5, n=4, k=40)
    assert str(at) == "-1.0 [-2.0 to 0.5] at K = 40"
    assert html(at) == "<b>\N{MINUS SIGN}1.0</b><small>range [\N{MINUS SIGN}2.0 to 0.5] · K = 40</small>"
    lost = Cell(-0.5, 1, error=0.25, median=-0.04)
    assert str(lost) == "-0.5 ± 0.2 (0.0)"
    assert html(lost) == "<b>\N{MINUS SIGN}0.5</b><small>± 0.2</small><small>median 0.0</small>"
    assert html(Cell(0.5, 1, median=0.4)) == "<b>0.5</b><small>median 0.4</small>", "of one task there is no error"
    assert (str(Cell(np.nan, k=3)), html(Cell(np.nan, k=3))) == ("", "")
    assert (str(RunCount(2, 3, "1 diverged")), str(RunCount(3, 3))) == ("2/3 (1 diverged)", "3/3")
    assert html(RunCount(2, 3, "1 diverged")) == "2/3<small>1 diverged</small>"
    assert html("0.80 [0.76, 0.86] at K = 10 <b>") == "0.80 [0.76, 0.86] at K = 10 &lt;b&gt;", "text is not read again"


def test_improvement_says_what_it_is_based_on_and_is_never_certain(data: Results) -> None:
    shown = text(data, "improvement", "").set_index("row beats column")
    assert shown.loc["rl2", "pearl"].endswith("(1 family, n = 5)")
    assert shown.loc["pearl", "pearl"] == ""
    found = numbers(data, "improvement")
    assert (found["probability_hi"] - found["probability_lo"] > 0.1).all()
    certain = found[found["probability"] == 1]
    assert len(certain) and (certain["probability_lo"] < 0.95).all()


def test_four_seeds_make_no_probability(tmp_path: Path) -> None:
    """Five of one and four of the other, of which one diverged, are too few."""
    runs = synthetic.runs_of([POINT], LEARNERS, seeds=5)
    synthetic.write_suite([POINT], runs, tmp_path)
    lost = next(run for run in runs if (run.algorithm, run.seed) == ("pearl", 2))
    synthetic.write_run(POINT, lost, tmp_path, status="diverged")
    aggregate(runs, tmp_path)
    found = load(runs, tmp_path)
    shown = text(found, "improvement", "").set_index("row beats column")
    assert shown.loc["rl2", "pearl"] == "too few runs (1 family, n = 5 and 4)" and "n = 5" in shown.loc["rl2", "maml"]


# The figure, and what cannot be read


def test_the_headline_figure_compares_at_one_k_and_names_every_other(data: Results) -> None:
    figure = figures.draw(headline_figure, data, data.sections)
    panels = {axes.get_title().split(" ")[0]: axes for axes in figure.axes}
    point, bandit = panels["point"], panels["bandit"]
    assert point.get_xlabel() == "return, K = 3" and bandit.get_xlabel() == "return of a trial"
    assert [label.get_text() for label in bandit.get_yticklabels()] == ["rl2"]
    names = [label.get_text() for label in point.get_yticklabels()]
    drawn = {(round(float(x), 6), float(y)) for line in point.lines for x, y in zip(*line.get_data(), strict=True)}
    for y, name in enumerate(names):
        there = data.summary.point("point", name, "return", 3)
        assert there is not None
        assert (round(there.mean, 6), float(y)) in drawn
    labels = {note.get_text(): note.xy for note in point.texts if note.get_text().startswith("K = ")}  # type: ignore[attr-defined]  # annotations
    assert set(labels) == {"K = 20", "K = 25"}
    most = data.summary.point("point", "maml", "return", "all")
    assert most is not None and labels["K = 20"] == (most.mean, names.index("maml"))


def test_evaluations_that_do_not_say_how_to_test_are_one_clear_line(tmp_path: Path) -> None:
    runs = synthetic.runs_of([POINT], ("rl2",), (), seeds=1)
    synthetic.write_suite([POINT], runs, tmp_path)
    path = runs[0].directory(tmp_path) / "evaluate.json"
    synthetic.sign(path, without=["adaptation_episodes"])
    with pytest.raises(RecordError) as error:
        aggregate(runs, tmp_path)
    expected = f"{path}: does not say how much the policy adapts on at a time; run the evaluation again"
    assert str(error.value) == expected


def test_numbers_of_an_older_version_are_one_clear_line(tmp_path: Path) -> None:
    runs = synthetic.runs_of([POINT], ("rl2",), (), seeds=1)
    synthetic.write_suite([POINT], runs, tmp_path)
    path = aggregate(runs, tmp_path)
    pd.read_csv(path, dtype=str).drop(columns=["mean_lo_tasks"]).to_csv(path, index=False)
    sums.write_record(path.parent)
    with pytest.raises(RecordError, match=r"summary.csv: lacks mean_lo_tasks; run `kshot aggregate` again"):
        load(runs, tmp_path)
