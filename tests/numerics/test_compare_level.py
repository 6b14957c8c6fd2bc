"""The test of ``kshot compare`` by simulation: how often noise is called a difference, and what it finds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats as reference
from scipy.special import expit

from kshot.reporting.compare_stats import LEVEL, TaskNoise, contrast, holm, task_noise
from kshot.reporting.stats import Array
from kshot.seeding import generator

pytestmark = pytest.mark.numerics

TASKS, LEARNERS, PAIRS = 20, 10, 400
NAMES = [f"task-{i}" for i in range(TASKS)]
CLASSES = pd.Series("all", index=NAMES)
Draw = Callable[[np.random.Generator, Array, int], Array]
"""From [tasks] and a number of runs to [runs, tasks] outcomes."""


def normal(rng: np.random.Generator, tasks: Array, runs: int) -> Array:
    own = 0.5 * rng.normal(size=(runs, 1)) + 0.3 * rng.normal(size=(runs, TASKS))
    return tasks + own + 0.7 * rng.normal(size=(runs, TASKS))


def success(rng: np.random.Generator, tasks: Array, runs: int) -> Array:
    """Two episodes on each task, most of which succeed."""
    return rng.binomial(2, expit(4 + tasks + 0.3 * rng.normal(size=(runs, 1)))) / 2


def skewed(rng: np.random.Generator, tasks: Array, runs: int) -> Array:
    return tasks + rng.lognormal(0, 0.8, (runs, 1)) + 0.5 * rng.normal(size=(runs, TASKS))


def p_value(a: Array, b: Array) -> float:
    """Of two arrays [runs, tasks]."""
    variance = float(np.var(b.mean(axis=0) - a.mean(axis=0), ddof=1)) / TASKS  # as ``task_noise``, which is slow
    return contrast(a.mean(axis=1), b.mean(axis=1), TaskNoise(variance, TASKS - 1, True, TASKS)).p


def reported(draw: Draw, runs: tuple[int, int], shift: float = 0.0, pairs: int = PAIRS) -> list[int]:
    """For every pair of draws, how many of ten learners are said to differ; the first is worse by ``shift`` in B."""
    rng = generator("compare-level", draw.__name__, *runs)
    found = []
    for _ in range(pairs):
        p = []
        for learner in range(LEARNERS):
            tasks = rng.normal(size=TASKS)
            b = draw(rng, tasks, runs[1]) - shift * (learner == 0)
            p.append(p_value(draw(rng, tasks, runs[0]), b))
        found.append(sum(value < LEVEL for value in holm(p)))
    return found


@pytest.mark.parametrize("draw", [normal, success, skewed])
@pytest.mark.parametrize("runs", [(3, 3), (3, 10), (10, 10)], ids=str)
def test_noise_is_reported_in_one_comparison_of_twenty_at_most(draw: Draw, runs: tuple[int, int]) -> None:
    alarms = sum(count > 0 for count in reported(draw, runs))
    assert alarms <= LEVEL * PAIRS, alarms


@pytest.mark.parametrize("runs, shift, share", [((3, 3), 8.0, 0.8), ((5, 5), 3.0, 0.8), ((10, 10), 1.5, 0.8)])
def test_a_regression_is_found(runs: tuple[int, int], shift: float, share: float) -> None:
    """Of 15 standard deviations of a run's score (0.53) with three runs, of 6 with five, of 3 with ten."""
    found = reported(normal, runs, shift, pairs=60)
    assert sum(count > 0 for count in found) >= share * len(found), found


def test_without_the_tasks_equal_runs_would_be_certain_of_anything() -> None:
    """Three runs that succeed on the same number of tasks have no variance: the draw of the tasks still has."""
    a, b = np.ones((3, TASKS)), np.ones((3, TASKS))
    b[:, 0] = 0
    assert contrast(a.mean(axis=1), b.mean(axis=1), TaskNoise(0.0, TASKS - 1, True, TASKS)).p < 1e-6
    noise = task_noise(*(pd.Series(x.mean(axis=0), index=NAMES) for x in (a, b)), CLASSES)
    assert contrast(a.mean(axis=1), b.mean(axis=1), noise).p == pytest.approx(p_value(a, b))
    assert p_value(a, b) > LEVEL


def test_where_tasks_agree_it_is_welchs_test() -> None:
    rng = generator("welch")
    a, b = rng.normal(size=(6, 1)) + np.zeros(TASKS), 2 * rng.normal(size=(6, 1)) + np.zeros(TASKS)
    noise = task_noise(pd.Series(0.0, index=NAMES), pd.Series(0.0, index=NAMES), CLASSES)
    found = contrast(a[:, 0], b[:, 0], noise)
    expected = reference.ttest_ind(b[:, 0], a[:, 0], equal_var=False)
    interval = expected.confidence_interval()
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.lo, found.hi) == pytest.approx((interval.low, interval.high))


def test_fewer_than_three_runs_have_an_interval_over_tasks_and_no_test() -> None:
    rng = generator("few")
    a, b = rng.normal(size=(2, 2, TASKS))
    difference = b.mean(axis=0) - a.mean(axis=0)
    noise = task_noise(*(pd.Series(x.mean(axis=0), index=NAMES) for x in (a, b)), CLASSES)
    found = contrast(a.mean(axis=1), b.mean(axis=1), noise)
    interval = reference.ttest_1samp(difference, 0).confidence_interval()
    assert not found.tested
    assert (found.lo, found.hi) == pytest.approx((interval.low, interval.high))


def test_other_tasks_are_not_paired_and_classes_are_strata() -> None:
    a = pd.Series(np.arange(6.0), index=list("abcdef"))
    classes = pd.Series(["x"] * 3 + ["y"] * 3 + ["x"], index=list("abcdefg"))
    paired = task_noise(a, 2 * a, classes)
    assert (paired.paired, paired.df, paired.variance) == (True, 4, pytest.approx((1 / 3 + 1 / 3) / 4))
    other = task_noise(a, a.rename({"a": "g"}), classes)
    assert (other.paired, other.variance) == (False, pytest.approx(2 * paired.variance))
    single = pd.Series(["x", "y"], index=list("ab"))
    assert task_noise(a[:2], 3 * a[:2], single).variance == pytest.approx(np.var([0, 2], ddof=1) / 2)


def test_holm_corrects_what_was_tested() -> None:
    found = holm([0.01, np.nan, 0.04, 0.03, 0.9])
    assert found == pytest.approx([0.04, np.nan, 0.09, 0.09, 0.9], nan_ok=True)
    assert holm([np.nan]) == pytest.approx([np.nan], nan_ok=True)


def test_what_differs_by_rounding_alone_does_not_differ() -> None:
    nothing = TaskNoise(0.0, TASKS - 1, True, TASKS)
    assert contrast(np.full(3, 0.1 + 0.2), np.full(3, 0.3), nothing).p == 1
    assert contrast(np.full(3, 0.4), np.full(3, 0.3), nothing).p < 1e-6
