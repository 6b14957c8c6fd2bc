"""Who is told from the best, and how many seeds it would take: against scipy, Cohen's tables and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from kshot.reporting import separation
from kshot.reporting.separation import Separation, holm, power_line, seeds_needed, welch_interval, welch_test
from kshot.seeding import generator

pytestmark = pytest.mark.numerics

X, Y = np.array([0.45, 0.55, 0.47]), np.array([0.41, 0.5, 0.3, 0.36])


def test_the_test_is_welchs() -> None:
    expected = scipy.stats.ttest_ind(X, Y, equal_var=False)
    assert welch_test(X, Y) == pytest.approx(expected.pvalue, rel=1e-12)
    for level in (0.05, 0.01):
        ends = expected.confidence_interval(1 - level)
        assert welch_interval(X, Y, level) == pytest.approx((ends.low, ends.high), rel=1e-12)


def test_welchs_interval_by_hand() -> None:
    """Variances 1 and 4 of three runs: error sqrt(5 / 3), freedom (5/3)^2 / ((1/3)^2 / 2 + (4/3)^2 / 2) = 50/17."""
    low, high = welch_interval(np.array([9.0, 10, 11]), np.array([2.0, 4, 6]))
    half = scipy.stats.t.ppf(0.975, 50 / 17) * np.sqrt(5 / 3)
    assert (low, high) == pytest.approx((6 - half, 6 + half))


def test_without_a_spread_every_difference_counts() -> None:
    ones, zeros = np.ones(3) * 0.1 * 3, np.zeros(3)
    assert (welch_test(ones, zeros), welch_test(ones, ones)) == (0, 1)
    assert welch_interval(ones, zeros) == (0.1 * 3, 0.1 * 3)
    assert 0 < welch_test(X, zeros) < 0.05  # one of the two is enough


@pytest.mark.parametrize(("effect", "runs"), [(0.5, 64), (0.6, 45), (0.7, 34), (0.8, 26), (1.0, 17), (1.2, 12)])
def test_seeds_needed_are_cohens(effect: float, runs: int) -> None:
    """Cohen 1988, table 2.4.1, two-sided level .05 and power .80."""
    assert seeds_needed(effect, 1.0) == seeds_needed(-3 * effect, 3.0) == runs


def test_seeds_needed_are_the_fewest_that_reach_the_power() -> None:
    """In experiments: with one run fewer the power is below .8."""
    rng, level = generator("power"), 0.02
    n = seeds_needed(1.3, 1.0, level)
    for runs, enough in ((n, True), (n - 2, False)):
        x, y = rng.normal(1.3, 1, (20_000, runs)), rng.normal(size=(20_000, runs))
        power = np.mean(scipy.stats.ttest_ind(x, y, axis=1).pvalue < level)
        assert (power >= 0.79) == enough


def test_seeds_needed_stop_at_three_and_a_hundred() -> None:
    assert seeds_needed(1e9, 1.0) == seeds_needed(5, 1.0) == 3
    assert seeds_needed(0.4, 1.0) == 100 and seeds_needed(0.39, 1.0) == separation.MOST + 1
    assert seeds_needed(1e-9, 1.0) == separation.MOST + 1


def test_what_is_said_of_seeds() -> None:
    assert power_line(Separation(0.1, -1, 1, seeds_needed=7), "maml", "rl2_transformer") == (
        "about 7 seeds would separate maml from rl2-transformer here"
    )
    assert power_line(Separation(0.1, -1, 1, seeds_needed=101), "a", "b").startswith("more than 100 seeds")
    assert power_line(Separation(0.1, 0.05, 0.2, decided=True), "a", "b") == ""


def test_levels_are_holms() -> None:
    """By hand: of four, .01 is judged at .0125 and passes, .02 at .0167 and fails; all others are judged there."""
    found = [holm([0.01, 0.02, 0.03, 0.04], one) for one in (0.01, 0.02, 0.03, 0.04)]
    assert found == pytest.approx([0.0125, 0.05 / 3, 0.05 / 3, 0.05 / 3])
    assert holm([0.001, 0.001, 0.04], 0.04) == 0.05
    assert holm([0.2], 0.2) == 0.05


def declared_behind(runs: np.ndarray) -> np.ndarray:
    """[learners] who is behind in one experiment [learners, runs], by the functions that reports use."""
    best = int(np.argmax(runs.mean(axis=1)))
    chances = [welch_test(runs[best], other) for i, other in enumerate(runs) if i != best]
    behind = np.zeros(len(runs), dtype=bool)
    for i, other in enumerate(runs):
        if i != best:
            low, high = welch_interval(runs[best], other, holm(chances, welch_test(runs[best], other)))
            behind[i] = not low <= 0 <= high
    return behind


@pytest.mark.parametrize("learners", [2, 6])
@pytest.mark.parametrize("widest", [1.0, 10.0])
def test_three_seeds_hold_their_level(learners: int, widest: float) -> None:
    """Of equal learners, also where their spreads differ, none is called behind in about 95 of 100 experiments."""
    spreads, rng = np.geomspace(1, widest, learners)[:, None], generator("level", learners)
    found = np.array([declared_behind(spreads * rng.normal(size=(learners, 3))) for _ in range(1500)])
    assert found.any(axis=1).mean() <= 0.075
    assert found[:, 0].mean() <= 0.05  # the one that is truly best, as all are
    assert unadjusted(learners, spreads) > 0.15 or learners == 2


def unadjusted(learners: int, spreads: np.ndarray) -> float:
    """How often the best of equal learners would be told from another if each pair were judged by itself."""
    rng, found = generator("unadjusted", learners), []
    for _ in range(500):
        runs = spreads * rng.normal(size=(learners, 3))
        best = int(np.argmax(runs.mean(axis=1)))
        found.append(min(welch_test(runs[best], other) for i, other in enumerate(runs) if i != best) < 0.05)
    return float(np.mean(found))


def test_the_truly_best_learner_is_hardly_ever_called_behind() -> None:
    """Two that are equally good above four that are far below, ten seeds."""
    rng, means = generator("truly best"), np.array([0, 0, -50, -50, -50, -50.0])[:, None]
    found = np.array([declared_behind(means + rng.normal(size=(6, 10))) for _ in range(800)])
    assert found[:, 0].mean() <= 0.05 and found[:, 2:].all()
