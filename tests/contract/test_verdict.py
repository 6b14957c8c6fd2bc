"""The sentence that a report begins with: nothing that the runs cannot carry, and what qualifies it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from kshot.reporting.aggregate import aggregate
from kshot.reporting.results import Results, load
from kshot.reporting.tables import after_k
from kshot.reporting.values import HELD, Cell
from kshot.reporting.verdict import verdict
from tests import synthetic

pytestmark = pytest.mark.contract

FAMILY = replace(synthetic.ML10, name="hands", n_tasks=10, k=(0, 10), classes=())
Successes = Mapping[str, tuple[int, int]]
"""On how many of ten tasks a policy succeeds at the last step, and at any."""


def results_of(root: Path, policies: Successes, seeds: int = 1) -> Results:
    """Results in which policies succeed so often, whatever the K and whatever the seed."""
    scripted = [name for name in policies if name in synthetic.REFERENCES]
    learners = [name for name in policies if name not in scripted]
    runs = synthetic.runs_of([FAMILY], learners, scripted, seeds)
    for run in runs:
        last, any_step = policies[run.algorithm]
        frame = synthetic.curve(FAMILY, run)
        number = frame["task"].str.extract(r"test-(\d+)-")[0].astype(int)
        frame = frame.assign(success_last=number < last, success_any=number < any_step)
        frame["first_success"] = frame["success_any"].map({True: 3, False: -1})
        synthetic.write_run(FAMILY, run, root, frame)
    aggregate(runs, root)
    return load(runs, root)


def test_single_runs_stand_with_their_error_over_the_tasks(tmp_path: Path) -> None:
    results = results_of(tmp_path, {"rl2": (5, 5), "maml": (3, 3), "untrained": (0, 0), "oracle": (10, 10)})
    error = (0.25 / 9) ** 0.5  # of five successes in ten tasks
    assert verdict(results, results.sections[0]) == (
        f"at K = 10, success at the last step, sampled actions: rl2 0.50 ± {error:.2f}; then maml 0.30, untrained 0.00 "
        "(single runs: no ranking). None beats its own K = 0 beyond chance. Scripted: oracle 1.00."
    )


def test_who_comes_first_at_any_step_is_said_where_it_is_another(tmp_path: Path) -> None:
    results = results_of(tmp_path, {"rl2": (5, 6), "maml": (3, 7), "oracle": (4, 10)})
    said = verdict(results, results.sections[0])
    assert " 0.17 (at any step maml 0.70, rl2 0.60); then maml 0.30 (" in said
    assert said.endswith(" None beats its own K = 0 beyond chance. Scripted: oracle 0.40 (no bound).")


def test_who_comes_first_at_any_step_is_not_said_where_it_is_the_same(tmp_path: Path) -> None:
    results = results_of(tmp_path, {"rl2": (5, 7), "maml": (3, 7), "oracle": (4, 4)})
    said = verdict(results, results.sections[0])
    assert "at any step" not in said
    assert said.endswith(" Scripted: oracle 0.40 (no bound).")


@pytest.mark.parametrize(("successes", "shown"), [(6, False), (9, True)])
def test_a_learner_is_above_task_blind_only_beyond_chance(tmp_path: Path, successes: int, shown: bool) -> None:
    """By the interval of the difference over tasks: 6 of 10 beside 4 of 10 is [-0.10, 0.50]."""
    results = results_of(tmp_path, {"rl2": (successes, 10), "task_blind": (4, 10)})
    said = verdict(results, results.sections[0])
    assert ("None beats task-blind or its own K = 0 beyond chance." in said) is not shown


@pytest.mark.parametrize("high", ["maml", "pearl"])
def test_who_has_not_adapted_yet_is_told_apart_and_ranked_with_nobody(tmp_path: Path, high: str) -> None:
    """MAML adapts on ten episodes, PEARL on single ones; the first of both at K = 10 is ahead at any step as well."""
    family = replace(FAMILY, k=(0, 2, 10))
    runs = synthetic.runs_of([family], ["maml", "pearl"], [], 1)
    for run in runs:
        frame = synthetic.curve(family, run).assign(success_last=run.algorithm == high, success_any=True)
        frame.loc[frame["task"].str.startswith("test-00000"), "success_last"] = False
        frame["first_success"] = 3
        synthetic.write_run(family, run, tmp_path, frame)
    aggregate(runs, tmp_path)
    results = load(runs, tmp_path)
    scores = {name: "0.90" if name == high else "0.00" for name in ("maml", "pearl")}
    said = verdict(results, results.sections[0].at(2))
    assert said.startswith(f"at K = 2, success at the last step, mean actions: pearl {scores['pearl']}")
    assert (
        f" in a single run. Not adapted yet: maml {scores['maml']}." in said
        and "ranking" not in said
        and HELD not in said
    )
    said = verdict(results, results.sections[0].at(10))
    assert said.startswith(f"at K = 10, success at the last step, each by the actions it is meant for: {high} 0.90 ± ")
    assert f"; then {'pearl' if high == 'maml' else 'maml'} 0.00 (single runs: no ranking)." in said
    assert "Not adapted" not in said


def test_where_none_has_adapted_yet_nobody_is_first(tmp_path: Path) -> None:
    family = replace(FAMILY, k=(0, 2, 10))
    runs = synthetic.runs_of([family], ["maml", "fomaml"], [], 1)
    synthetic.write_suite([family], runs, tmp_path)
    aggregate(runs, tmp_path)
    results = load(runs, tmp_path)
    said = verdict(results, results.sections[0].at(2))
    assert re.fullmatch(
        r"at K = 2, success at the last step, sampled actions: none has adapted yet "
        r"\([a-z]*maml [0-9.]+, [a-z]*maml [0-9.]+\)\.",
        said,
    )


def test_only_single_runs_have_an_error_and_none_that_is_zero(tmp_path: Path) -> None:
    """0 of 10 is no certainty; the caption explains marks that are there, and no others."""
    policies = {"rl2": (5, 5), "untrained": (0, 0)}
    table = after_k.build(results_of(tmp_path / "one", policies))
    assert "± " not in str(table.parts[0].rows[1].values["K = 10"])
    assert str(table.parts[0].rows[0].values["K = 10"]) == "0.50 ± 0.17"
    assert "±: standard error over the test tasks" in table.caption and "†" not in table.caption
    table = after_k.build(results_of(tmp_path / "three", policies, seeds=3))
    assert str(table.parts[0].rows[0].values["K = 10"]) == "0.50 [0.50 to 0.50]"
    assert "±" not in table.caption


def test_a_caption_explains_scores_from_before_the_episodes(tmp_path: Path) -> None:
    family = replace(FAMILY, k=(0, 2, 10))
    runs = synthetic.runs_of([family], ["maml"], [], 3)
    synthetic.write_suite([family], runs, tmp_path)
    aggregate(runs, tmp_path)
    table = after_k.build(load(runs, tmp_path))
    value = table.parts[0].rows[0].values["K = 2"]
    assert isinstance(value, Cell) and value.held
    assert "†: not adapted yet, the score of K = 0" in table.caption
