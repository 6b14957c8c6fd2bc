"""What a report says of learners that adapt on demonstrations, and that it keeps them apart from all others."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from kshot import records
from kshot.errors import RecordError
from kshot.places import ROOT
from kshot.reporting import figures, links, page, select, tables
from kshot.reporting.aggregate import aggregate
from kshot.reporting.figures import furthest_stage, inner_steps, learning_curves, value_difference
from kshot.reporting.page_facts import given_away
from kshot.reporting.results import Results, load
from kshot.reporting.schemas import Point
from kshot.reporting.sections import Section
from kshot.reporting.values import Table
from kshot.suites.run import RunConfig
from tests import synthetic

pytestmark = pytest.mark.contract

BANDIT = replace(synthetic.BANDIT, n_tasks=8, best=1.0)
STAGES = ("never attached", "attached in vain", "success")
REACH = replace(synthetic.POINT, name="reach", n_tasks=6, k=(0, 1, 5), headline="success_last", stages=STAGES)
LEARNERS = ("rl2", "mandril", "maxent_irl")
SHOWN, REACHED = ("bandit", "demonstrations"), ("reach", "demonstrations")


def grid(seeds: int = 3) -> list[RunConfig]:
    """The bandit for all, another family for learners that are shown what to do; one row is a variant."""
    references = ("random", "task_blind", "oracle", "thompson")
    bandit = synthetic.runs_of([BANDIT], LEARNERS, references, seeds)
    reach = synthetic.runs_of([REACH], LEARNERS[1:], references[:3], seeds)
    return [*bandit, *reach]


def with_validation(run: RunConfig, root: Path) -> None:
    """What a learner measured after its training, added to its record."""
    path = run.directory(root) / "train.parquet"
    frame = records.read_table(path, records.TRAIN_SCHEMA).astype({"metric": str})
    frame = frame[frame["metric"] == "loss"].head(1)
    measured = [(f"validation_loss_{k}_{n}", 1.0 / n + run.seed) for k in (1, 5) for n in (1, 3, 20)]
    rows = [frame.assign(metric=metric, value=value) for metric, value in measured]
    records.write_table(path, pd.concat([frame, *rows, frame.assign(metric="validation_odd")]), records.TRAIN_SCHEMA)
    synthetic.sign(path.with_name("run.json"))


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[RunConfig], Path]:
    root, runs = tmp_path_factory.mktemp("shown"), grid()
    synthetic.write_suite([BANDIT, REACH], runs, root)
    for run in runs:
        if run.algorithm == "mandril":
            with_validation(run, root)
    aggregate(runs, root)
    return runs, root


@pytest.fixture(scope="module")
def data(suite: tuple[list[RunConfig], Path]) -> Results:
    return load(*suite)


def raw(suite: tuple[list[RunConfig], Path], family: str, algorithm: str) -> pd.DataFrame:
    """All episodes by mean actions of one learner."""
    runs, root = suite
    chosen = [run for run in runs if (run.family, run.algorithm) == (family, algorithm)]
    frames = [records.read_table(run.directory(root) / "curve.parquet", records.CURVE_SCHEMA) for run in chosen]
    frame = pd.concat(frames).astype({"mode": str, "task": str})
    return frame[frame["mode"] == "mean"]


def section(data: Results, family: str, evidence: str) -> Section:
    return next(section for section in data.sections if (section.family, section.evidence) == (family, evidence))


def named(data: Results, name: str) -> Table:
    return next(table for table in tables.build(data) if table.name == name)


def texts(data: Results, name: str) -> dict[str, pd.DataFrame]:
    """The parts of a table as text, by title."""
    return {part.title: part.text() for part in named(data, name).parts}


def means(data: Results, family: str, name: str, metric: str) -> dict[int, float]:
    """A learner's curve, by K."""
    return {point.k: point.mean for point in data.summary.curve(family, name, metric)}


# The numbers


def test_value_differences_are_the_best_return_less_the_episodes_own(
    suite: tuple[list[RunConfig], Path], data: Results
) -> None:
    numbers = pd.DataFrame(named(data, "value_difference").numbers)
    both = {}
    for name in LEARNERS[1:]:
        rows = raw(suite, "bandit", name)
        lost = (rows["optimal_return"] - rows["return"]).groupby([rows["k"], rows["task"]]).mean()
        both[name] = lost
        found = numbers[numbers["algorithm"] == name].set_index("k")
        assert found["mean"].to_dict() == pytest.approx(lost.groupby("k").mean().to_dict())
        assert found["median"].to_dict() == pytest.approx(lost.groupby("k").median().to_dict())
        errors = lost.groupby("k").std() / np.sqrt(BANDIT.n_tasks)
        assert found["task_se"].to_dict() == pytest.approx(errors.to_dict())
    minus = both["mandril"] - both["maxent_irl"]
    found = numbers[numbers["algorithm"] == "mandril"].set_index("k")
    assert set(found["minus"]) == {"maxent_irl"}
    assert found["difference"].to_dict() == pytest.approx(minus.groupby("k").mean().to_dict())
    errors = minus.groupby("k").std() / np.sqrt(BANDIT.n_tasks)
    assert found["difference_se"].to_dict() == pytest.approx(errors.to_dict())
    assert numbers.loc[numbers["algorithm"] == "maxent_irl", "minus"].isna().all()


def test_differences_are_only_taken_between_the_same_seeds(tmp_path: Path) -> None:
    runs = [run for run in grid() if run.family == "bandit"]
    synthetic.write_suite([BANDIT], runs, tmp_path)
    lost = next(run for run in runs if (run.algorithm, run.seed) == ("mandril", 1))
    synthetic.write_run(BANDIT, lost, tmp_path, status="diverged")
    aggregate(runs, tmp_path)
    text = texts(load(runs, tmp_path), "value_difference")["bandit, from demonstrations"]
    row = text[text["policy"] == "mandril minus maxent-irl"].iloc[0]
    assert row["runs"] == "other seeds" and (row[[f"K = {k}" for k in BANDIT.k]] == "").all()


def test_likelihoods_and_stages_are_means_of_the_rows(suite: tuple[list[RunConfig], Path], data: Results) -> None:
    rows = raw(suite, "reach", "mandril")
    curve = means(data, "reach", "mandril", "held_out_log_likelihood")
    assert curve == pytest.approx(rows.groupby("k")["held_out_log_likelihood"].mean().to_dict())
    assert not data.summary.curve("reach", "mandril", "held_out_log_likelihood", "sampled")
    for i in range(len(STAGES)):
        share = means(data, "reach", "mandril", f"stage_{i}")
        assert share == pytest.approx((rows["stage"] == i).groupby(rows["k"]).mean().to_dict())
    assert data.summary.families["reach"].stages == STAGES
    assert not means(data, "bandit", "mandril", "stage_0")
    assert not means(data, "reach", "mandril", "value_difference"), "nobody knows the best return there"


# What a trial means nothing to


def test_learners_from_demonstrations_are_scored_by_single_episodes(data: Results) -> None:
    assert (section(data, "bandit", "rollouts").metric, section(data, *SHOWN).metric) == ("trial_return", "return")
    assert not data.summary.curve("bandit", "mandril", "trial_return", "sampled")
    numbers = pd.DataFrame(named(data, "headline").numbers)
    shown = numbers[(numbers["family"] == "bandit") & (numbers["evidence"] == "demonstrations")]
    assert set(shown["metric"]) == {"return"}
    row = shown.set_index("algorithm").loc["mandril"]
    assert row["score"] == row["at_k"] == data.summary.curve("bandit", "mandril", "return")[-1].mean
    random, oracle = data.summary.scale("bandit", "return")
    assert row["normalised"] == pytest.approx((row["at_k"] - random) / (oracle - random))
    assert 0 < oracle <= 1, "the scale of an episode, not of a trial of ten"
    text = texts(data, "headline")
    assert "trial" in text["bandit"].columns and "trial" not in text["bandit, from demonstrations"].columns
    assert "Bayes-optimal" not in set(text["bandit, from demonstrations"]["policy"])
    everything = pd.DataFrame(named(data, "normalised").numbers).set_index("algorithm")
    assert everything.loc["mandril", "n_families"] == 2 and everything.loc["rl2", "n_families"] == 1


def test_scripted_policies_that_learn_from_rewards_stand_beside_learners_from_rewards_alone(data: Results) -> None:
    assert "thompson" in section(data, "bandit", "rollouts").references
    assert section(data, *SHOWN).references == ("random", "task_blind", "oracle")
    for table in tables.build(data):
        for part, text in texts(data, table.name).items():
            shown = set(text.iloc[:, 0]) | set(text.columns)
            assert not ("demonstrations" in part and {"thompson", "rl2"} & shown), (table.name, part)
            assert not ("demonstrations" not in part and {"mandril", "maxent-irl"} & shown), (table.name, part)


def test_settings_of_learners_from_demonstrations_are_chosen_by_single_episodes(data: Results) -> None:
    for name, metric in (("mandril", "return"), ("rl2", "trial_return")):
        run = data.grid.pairs["bandit", name]
        assert select._judged_by(data, run, [data.summary.tests["bandit", name]])[0] == metric


# The figures and the page


def marked(panel: Axes) -> set[tuple[float, float]]:
    """(x, y) of every point that a panel marks, whichever of a curve's pieces it is on."""
    lines = [line for line in panel.lines if line.get_marker() not in ("None", "", None)]
    return {(float(x), round(float(y), 4)) for line in lines for x, y in line.get_xydata()}


def test_figures_are_drawn_where_there_is_something_to_see(data: Results) -> None:
    bandit, shown, reach = section(data, "bandit", "rollouts"), section(data, *SHOWN), section(data, *REACHED)
    assert figures.concerned(inner_steps, data) == [shown, reach]
    assert figures.concerned(furthest_stage, data) == [reach]
    assert figures.concerned(learning_curves, data) == [bandit, shown, reach]
    measured = data.training.validation
    assert set(measured["measure"]) == {"loss"}
    assert set(zip(measured["shots"], measured["steps"], strict=True)) == {(k, n) for k in (1, 5) for n in (1, 3, 20)}
    panels = figures.draw(inner_steps, data, [shown, reach]).axes
    assert len(panels) == 2
    for line in panels[0].lines:
        assert len(set(line.get_xdata())) == 1, "a line joins numbers of steps between which others were not tried"
    assert {float(x) for line in panels[0].lines for x in line.get_xdata()} == {1, 3, 20}
    marked = {float(line.get_xdata()[0]): line.get_ydata()[0] for line in panels[0].lines if len(line.get_xdata()) == 1}
    assert marked == pytest.approx({1: 2, 3: 1 + 1 / 3, 20: 1.05})  # mean over seeds 0, 1 and 2
    bars = figures.draw(furthest_stage, data, [reach]).axes[0].patches
    assert len(bars) == len(STAGES) * (2 * len(REACH.k) + 3)
    by_row: dict[float, float] = {}
    for bar in bars:
        by_row[bar.get_y()] = by_row.get(bar.get_y(), 0.0) + bar.get_width()
    assert list(by_row.values()) == pytest.approx([1.0] * len(by_row))


def test_the_figure_of_value_differences_shows_every_learner_from_demonstrations(data: Results) -> None:
    shown = section(data, *SHOWN)
    assert figures.concerned(value_difference, data) == [shown]  # nobody knows the best return on reach
    panel = figures.draw(value_difference, data, [shown]).axes[0]
    drawn = marked(panel)
    for name in shown.finished:
        curve = means(data, "bandit", name, "value_difference")
        assert {(k, round(value, 4)) for k, value in curve.items()} <= drawn
    low, high = panel.get_ylim()
    values = [value for line in panel.lines for value in line.get_ydata()]
    assert low < min(values) and high > max(values)


def test_learners_without_a_finished_run_stand_where_their_evidence_belongs(tmp_path: Path) -> None:
    runs = [run for run in grid() if run.family == "bandit"]
    synthetic.write_suite([BANDIT], [run for run in runs if run.algorithm != "mandril"], tmp_path)
    aggregate(runs, tmp_path, partial=True)
    text = page.write_page({}, runs, tmp_path, tmp_path / "report", partial=True).read_text()
    before, after = text.split('<section id="demonstrations">')
    assert "mandril" not in before.partition('<section id="families">')[2]
    assert re.search(r'data-policy="mandril".*?data-text="0/3 \(3 missing\)"', after, re.DOTALL)


def test_the_page_keeps_demonstrations_apart(suite: tuple[list[RunConfig], Path], tmp_path: Path) -> None:
    runs, root = suite
    text = page.write_page({}, runs, root, tmp_path / "both").read_text()
    before, after = text.partition('<section id="families">')[2].split('<section id="demonstrations">')
    after = after.split('<section id="together">')[0]
    assert "no reward is ever seen" in after and "Expected value difference after K" in after
    assert "mandril" not in before and "thompson" in before and "thompson" not in after and "rl2" not in after
    assert re.search(r"<b>\N{MINUS SIGN}?[\d.]+</b><small>± [\d.]+</small><small>median", after)
    assert 'aria-label="Furthest stage: reach, from demonstrations.' in after

    alone = [run for run in runs if run.family == "reach"]
    aggregate(alone, root)
    text = page.write_page({}, alone, root, tmp_path / "alone").read_text()
    assert 'id="demonstrations"' in text and 'id="families"' not in text and 'id="answer-rewards"' not in text
    aggregate(runs, root)


def test_a_family_that_one_demonstration_gives_away_is_called_so(data: Results) -> None:
    reach = section(data, *REACHED)
    assert given_away(data, reach) == ""  # nobody knows its ceiling
    untrained = data.grid.cells.assign(
        train_updates=np.where(data.grid.cells["algorithm"] == "maxent_irl", 0, data.grid.cells["train_updates"])
    )

    def with_means(of_maxent: float) -> tuple[Point, ...]:
        """The oracle as a ceiling of 0.9, and what two learners reach."""
        points = []
        for point in data.summary.points:
            if point.family == "reach" and point.metric == "success_last":
                if point.algorithm == "oracle":
                    point = replace(point, algorithm="ceiling", mean=0.9)
                elif point.algorithm == "maxent_irl" and point.k == 1:
                    point = replace(point, mean=of_maxent)
                elif point.algorithm == "mandril":
                    point = replace(point, mean=0.9)  # it was trained on other tasks
            points.append(point)
        return tuple(points)

    tests = {**data.summary.tests, ("reach", "ceiling"): data.summary.tests["reach", "oracle"]}
    for reached, updates, said in ((0.75, 0, True), (0.7, 0, False), (0.75, 100, False)):
        grid = replace(data.grid, cells=untrained if updates == 0 else data.grid.cells)
        changed = replace(data, grid=grid, summary=replace(data.summary, points=with_means(reached), tests=tests))
        text = given_away(changed, reach)
        assert ("0.75 with K = 1, and the script 'ceiling' 0.90" in text) == said == bool(text)


def test_a_page_without_demonstrations_does_not_mention_them(tmp_path: Path) -> None:
    runs = synthetic.runs_of([BANDIT], learners=("rl2",), seeds=3)
    synthetic.write_suite([BANDIT], runs, tmp_path)
    aggregate(runs, tmp_path)
    text = page.write_page({}, runs, tmp_path, tmp_path / "report").read_text()
    assert 'id="demonstrations"' not in text and 'href="#demonstrations"' not in text
    assert "value_difference" not in text.split("<pre>")[0]


def test_results_of_before_are_one_clear_line(suite: tuple[list[RunConfig], Path], tmp_path: Path) -> None:
    runs, _ = suite
    synthetic.write_suite([BANDIT, REACH], runs, tmp_path)
    path = runs[0].directory(tmp_path) / "curve.parquet"
    pd.read_parquet(path).drop(columns=["stage", "optimal_return"]).to_parquet(path)
    synthetic.sign(path.with_name("evaluate.json"))
    with pytest.raises(RecordError) as error:
        aggregate(runs, tmp_path)
    expected = f"{path}: columns differ from this version's schema in ['optimal_return', 'stage']; run its step again"
    assert str(error.value) == expected


# Pages that are kept without their results


COMMITTED = sorted((ROOT / "reports").rglob("reference/**/*.html"))


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_committed_page_leads_to_a_committed_file(path: Path) -> None:
    for target in links.targets(path.read_text(encoding="utf-8")):
        assert links.beside(target, path.parent), f"{target}: run `kshot strip-links {path.relative_to(ROOT)}`"


def test_a_page_kept_alone_links_to_what_lies_beside_it(suite: tuple[list[RunConfig], Path], tmp_path: Path) -> None:
    runs, root = suite
    out = tmp_path / "kept"
    path = page.write_page({}, runs, root, out, alone=True)
    text = path.read_text()
    assert set(links.targets(text)) == {"summary.csv", "scores.csv", "cells.csv"}
    for name in links.targets(text):
        assert (out / name).read_bytes() == (root / runs[0].suite / name).read_bytes()
    assert "tasks.parquet" in text and "not kept with this page" in text
    before = path.read_bytes()
    assert links.strip(path).read_bytes() == before

    whole = page.write_page({}, runs, root, tmp_path / "whole")
    assert len(links.targets(whole.read_text())) > 50 and "not kept with this page" not in whole.read_text()
    assert links.targets(links.strip(whole).read_text()) == []
    assert 'href="#provenance"' in whole.read_text()
    (tmp_path / "other.html").write_text("<p>a page</p>")
    with pytest.raises(RecordError, match="not a page that `kshot report` wrote"):
        links.strip(tmp_path / "other.html")
    with pytest.raises(RecordError, match="no such file"):
        links.strip(tmp_path / "none.html")


def test_what_is_left_out_is_said_in_words(suite: tuple[list[RunConfig], Path], tmp_path: Path) -> None:
    runs, root = suite
    left_out = [
        {"algorithm": ["maml", "fomaml", "reptile"], "family": ["reach", "bandit"], "reason": "no rewards"},
        {"algorithm": "pearl", "family": ("reach",), "reason": "too slow"},
    ]
    text = page.write_page({"exclude": left_out}, runs, root, tmp_path).read_text()
    assert "<dt>maml, fomaml and reptile on reach and bandit</dt><dd>no rewards</dd>" in text
    assert "<dt>pearl on reach</dt>" in text


def test_captions_describe_what_is_there(data: Results) -> None:
    for table in tables.build(data):
        shown = " ".join([*(" ".join(part.columns) for part in table.parts)])
        cells = " ".join(str(cell) for part in table.parts for cell in part.text().to_numpy().ravel())
        assert "@" not in table.caption + cells, table.name
        assert ("Over seeds and tasks:" in table.caption) == ("over seeds and tasks" in shown), table.name
        assert "ceiling" not in table.caption, table.name
        for mark, notation in (("[a, b]", r"\[-?[\d.]+, "), ("[a to b]", r"\[-?[\d.]+ to ")):
            if mark in table.caption:
                assert re.search(notation, cells), (table.name, mark)
    normalised = {table.name: table.caption for table in tables.build(data)}
    assert all("can exceed 1" in normalised[name] for name in ("headline", "normalised"))
