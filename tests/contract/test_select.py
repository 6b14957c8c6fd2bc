"""Choosing settings on validation tasks: the choice, the rule for ties, what is refused, and what is written."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from kshot.errors import RecordError
from kshot.reporting import page
from kshot.reporting.aggregate import aggregate
from kshot.reporting.results import load
from kshot.reporting.select import Choice, choose, distance, write_selection
from kshot.suites import resolving
from kshot.suites.model import FamilyFacts, Suite
from kshot.suites.reading import load_suite
from kshot.suites.starting_points import published
from tests import synthetic

ROWS = {"maml": {}, "low": {"inner_lr": 0.05}, "high": {"inner_lr": 0.2}, "higher": {"inner_lr": 0.4}}
"""Settings of maml on nav2d; 0.1 is the published inner_lr."""
NAV2D = synthetic.Family("nav2d", "return", (0, 40), 30)
NOISE = 2.0


def suite(seeds: int = 2, rows: dict[str, dict[str, Any]] = ROWS, split: str = "validation") -> Suite:
    evaluation = {"tasks": NAV2D.n_tasks, "k": list(NAV2D.k), "split": split}
    return load_suite(
        {
            "name": "choosing",
            "seeds": list(range(seeds)),
            "families": {"nav2d": {"steps": 1000, "evaluation": evaluation, "references": []}},
            "algorithms": {name: {"algorithm": "maml", "settings": values} for name, values in rows.items()},
        }
    )


def results(
    root: Path,
    made: Suite,
    scores: dict[str, float],
    diverged: tuple[str, int] | None = None,
    family: synthetic.Family = NAV2D,
) -> None:
    """Runs whose rows score exactly ``scores`` by sampled actions, with tasks ``NOISE`` around it, alike in all runs.

    By mean actions, which MAML is not meant to be tested with, the worst is the best.
    """
    spread = np.random.default_rng(0).standard_normal(family.n_tasks)
    spread = NOISE * (spread - spread.mean()) / spread.std(ddof=1)
    for run in made.runs():
        frame = synthetic.curve(family, replace(run, algorithm="maml")).assign(algorithm=run.algorithm)
        judged = frame["mode"] == "sampled"
        task = frame["task"].str[5:10].astype(int)
        frame["return"] = np.where(judged, scores[run.algorithm] + spread[task], -100 - scores[run.algorithm])
        frame["config_hash"] = run.config_hash
        status = "diverged" if (run.algorithm, run.seed) == diverged else "ok"
        synthetic.write_run(family, run, root, frame, status)
    aggregate(made.runs(), root)


@pytest.fixture(autouse=True)
def learners(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ROWS:
        monkeypatch.setitem(synthetic.LEARNERS, name, (0.0, 1.0, 0.0))
        monkeypatch.setitem(synthetic.BLOCKS, name, 10)


def choice(root: Path, made: Suite) -> Choice:
    pair = ("nav2d", "maml")
    return choose(load(made.runs(), root), pair, published(made)[pair].family)


def test_a_candidate_that_is_clearly_better_is_chosen(tmp_path: Path) -> None:
    made = suite()
    results(tmp_path, made, {"maml": -20.0, "low": -30.0, "high": -10.0, "higher": -40.0})
    found = choice(tmp_path, made)
    assert [candidate.row for candidate in found.candidates] == ["high", "maml", "low", "higher"]
    assert found.chosen is not None and (found.chosen.row, found.reason) == ("high", "the best")
    assert found.chosen.changed == {"inner_lr": 0.2}
    # Two runs: the interval is that of the tasks.
    half = 1.96 * NOISE / math.sqrt(NAV2D.n_tasks)
    assert (found.chosen.low, found.chosen.high) == pytest.approx((-10 - half, -10 + half), abs=1e-3)


@pytest.mark.parametrize(
    "scores, chosen, reason",
    [
        # Intervals are 1.43 wide: they overlap up to a distance of that.
        (
            {"maml": -11.4, "low": -30.0, "high": -10.0, "higher": -10.1},
            "maml",
            "tied with high, higher; nearest to the published",
        ),
        (
            {"maml": -11.5, "low": -30.0, "high": -10.1, "higher": -10.0},
            "high",
            "tied with higher; nearest to the published",
        ),
        (
            {"maml": -10.0, "low": -10.1, "high": -30.0, "higher": -30.0},
            "maml",
            "the best, tied with low; nearest to the published",
        ),
        # Half and twice the published value are equally near: the higher score decides.
        (
            {"maml": -20.0, "low": -10.1, "high": -10.0, "higher": -30.0},
            "high",
            "the best, tied with low; nearest to the published",
        ),
    ],
)
def test_of_those_that_are_tied_the_nearest_to_the_published_is_chosen(
    tmp_path: Path, scores: dict[str, float], chosen: str, reason: str
) -> None:
    made = suite()
    results(tmp_path, made, scores)
    found = choice(tmp_path, made)
    assert found.chosen is not None and (found.chosen.row, found.reason) == (chosen, reason)


@pytest.mark.parametrize("trial, metric", [(10, "return"), (20, "trial_return")])
def test_learners_that_adapt_after_a_trial_are_not_judged_by_its_return(
    tmp_path: Path, trial: int, metric: str
) -> None:
    """All they do in a trial of ten is what they did before any evidence: luck would choose."""
    made = suite(rows={"maml": {}, "high": {"inner_lr": 0.2}})
    assert made.facts is not None
    facts = made.facts.model_copy(update={"families": {"nav2d": FamilyFacts(headline="trial_return")}})
    made = made.model_copy(update={"facts": facts})
    family = replace(NAV2D, headline="trial_return", episodes_per_trial=trial)
    results(tmp_path, made, {"maml": -20.0, "high": -10.0}, family=family)
    found = choice(tmp_path, made)
    assert found.metric == metric
    if metric == "return":
        assert [candidate.score for candidate in found.candidates] == pytest.approx([-10.0, -20.0])


def test_with_three_runs_the_range_of_the_runs_decides(tmp_path: Path) -> None:
    made = suite(seeds=3)
    results(tmp_path, made, {"maml": -11.0, "low": -30.0, "high": -10.0, "higher": -40.0})
    found = choice(tmp_path, made)
    # Every run scores the same, so that nothing is tied although the tasks scatter.
    assert found.chosen is not None and (found.chosen.row, found.reason) == ("high", "the best")
    assert found.chosen.low == found.chosen.high == pytest.approx(-10.0)


def test_candidates_are_compared_at_a_k_that_all_of_them_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One row can use 20 episodes, where it is better than the other is; that one is better after 40."""
    made = suite(rows={"maml": {}, "high": {"inner_lr": 0.2}})
    monkeypatch.setitem(synthetic.LIMITS, ("nav2d", "high"), 20)
    family = replace(NAV2D, k=(0, 20, 40))
    made = load_suite(_with_points(made, family.k))
    for run in made.runs():
        limited = run.algorithm == "high"
        frame = synthetic.curve(family, replace(run, algorithm="maml")).assign(algorithm=run.algorithm)
        frame["return"] = np.where(frame["k"] == 40, 0.0, -10.0 if limited else -20.0)
        frame["config_hash"] = run.config_hash
        synthetic.write_run(family, run, tmp_path, frame[frame["k"] <= 20] if limited else frame)
    aggregate(made.runs(), tmp_path)
    found = choice(tmp_path, made)
    assert {candidate.row: candidate.score for candidate in found.candidates} == {"high": -10.0, "maml": -20.0}
    assert found.chosen is not None and found.chosen.row == "high"


def _with_points(made: Suite, points: tuple[int, ...]) -> dict[str, Any]:
    value = made.resolved()
    value["families"]["nav2d"]["evaluation"]["k"] = list(points)
    return value


def test_a_candidate_with_a_diverged_run_is_never_chosen(tmp_path: Path) -> None:
    made = suite(rows={"maml": {}, "high": {"inner_lr": 0.2}})
    results(tmp_path, made, {"maml": -20.0, "high": -10.0}, diverged=("high", 1))
    found = choice(tmp_path, made)
    assert found.chosen is not None and found.chosen.row == "maml"
    assert [(candidate.row, str(candidate.runs)) for candidate in found.candidates] == [
        ("maml", "2/2"),
        ("high", "1/2 (1 diverged)"),
    ]
    write_selection(made.runs(), tmp_path, published(made), tmp_path)
    assert "| 1/2 | diverged |" in (tmp_path / "selection.md").read_text()


def test_distance_counts_ratios_and_other_changes() -> None:
    base = {"lr": 0.1, "rates": [0.1, 0.2], "order": "second", "layers": [64, 64], "empty": [], "entropy": 0.0}
    assert distance(base, base) == 0
    assert distance(base | {"lr": 0.05}, base) == pytest.approx(math.log(2))
    assert distance(base | {"rates": [0.2, 0.4]}, base) == pytest.approx(math.log(2))
    assert distance(base | {"order": "first", "entropy": 0.1}, base) == 2
    assert distance(base | {"empty": [0.1]}, base) == 1


def test_what_is_written_can_be_pasted_into_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = suite(rows={"maml": {}, "high": {"inner_lr": 0.2, "test_lrs": [0.2, 1e-5], "curvature_stride": 1}})
    results(tmp_path, made, {"maml": -20.0, "high": -10.0})
    settings, reasons = write_selection(made.runs(), tmp_path, published(made), tmp_path / "out")
    fragment = yaml.safe_load(settings.read_text())["nav2d"]["maml"]
    assert fragment == {"inner_lr": 0.2, "test_episodes": 40, "test_lrs": [0.2, 1e-5], "curvature_stride": 1}
    chosen = made.find("nav2d", "high", 0).algorithm_settings
    assert chosen != made.find("nav2d", "maml", 0).algorithm_settings
    monkeypatch.setattr(resolving, "ALGORITHMS", tmp_path)
    text = settings.read_text().replace("nav2d:\n  maml:", "families:\n  nav2d:")
    (tmp_path / "maml.yaml").write_text(text)
    assert suite(rows={"maml": {}}).find("nav2d", "maml", 0).algorithm_settings == chosen

    table = reasons.read_text()
    assert (
        "| high | inner_lr 0.2, test_lrs [0.2, 1e-05], curvature_stride 1 |" in table
        and "**chosen**: the best" in table
    )
    assert table.index("| high |") < table.index("| maml | nothing | 0.00 |")


def test_test_tasks_are_never_touched(tmp_path: Path) -> None:
    made = suite(split="test")
    with pytest.raises(RecordError) as error:
        write_selection(made.runs(), tmp_path, {}, tmp_path)
    assert str(error.value) == (
        "suite 'choosing': no selection on test tasks: evaluate nav2d with split: validation"
    ), "before any result is read: there is none"


def test_results_that_do_not_compare_are_refused(tmp_path: Path) -> None:
    made = suite(rows={"maml": {}, "high": {"inner_lr": 0.2}})
    results(tmp_path, made, {"maml": -20.0, "high": -10.0})
    value = made.resolved()
    value["algorithms"]["high"]["families"]["nav2d"]["steps"] = 2000
    longer = load_suite(value)
    results(tmp_path, longer, {"maml": -20.0, "high": -10.0})
    with pytest.raises(RecordError, match=r"'maml' on 'nav2d': candidates maml, high have different training budgets"):
        choice(tmp_path, longer)

    (made.find("nav2d", "high", 1).directory(tmp_path) / "curve.parquet").unlink()
    aggregate(longer.runs(), tmp_path, partial=True)
    with pytest.raises(RecordError, match="1 of 4 runs are missing"):
        write_selection(longer.runs(), tmp_path, published(longer), tmp_path)


def test_the_published_settings_are_those_of_a_suite_that_says_nothing() -> None:
    found = published(suite())["nav2d", "maml"]
    assert found.code["test_episodes"] == 0 and found.family["test_episodes"] == 40
    assert found.code["inner_lr"] == found.family["inner_lr"] == 0.1


def test_a_report_on_validation_tasks_says_so(tmp_path: Path) -> None:
    made = suite()
    results(tmp_path, made, dict.fromkeys(ROWS, -20.0))
    text = page.write_page(made.resolved(), made.runs(), tmp_path, tmp_path / "out").read_text()
    assert "Evaluated on validation tasks: these numbers are for choosing settings, they are not results." in text
