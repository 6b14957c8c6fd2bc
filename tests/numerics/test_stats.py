"""The reports' statistics against scipy, against the published procedure written out, and against rliable's numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import scipy.stats

from kshot.reporting import stats
from kshot.seeding import generator

pytestmark = pytest.mark.numerics

# Two fixed score matrices [10 runs, 4 tasks], small enough to be written down as formulas.
RUN, TASK = np.arange(10)[:, None], np.arange(4)[None]
X = ((7 * RUN + 3 * TASK + 2 * RUN * TASK) % 11) / 11 + 0.1 * TASK
Y = ((5 * RUN + 2 * TASK + RUN * TASK) % 13) / 13 + 0.05 * TASK
# What rliable 1.2.0 (github.com/google-research/rliable) gives for them under numpy.random.seed(0):
# get_interval_estimates with 50,000 repetitions, of aggregate_mean and aggregate_iqm; with 5,000 repetitions of
# probability_of_improvement.
RLIABLE = {
    ("x", "mean"): (0.625, 0.54545455, 0.70454545),
    ("x", "iqm"): (0.66909091, 0.57727273, 0.74227273),
    ("y", "mean"): (0.50576923, 0.41538462, 0.59615385),
    ("y", "iqm"): (0.49423077, 0.3775, 0.61230769),
}
RLIABLE_IMPROVEMENT = (0.63625, 0.50625, 0.755)


def columns(scores: np.ndarray) -> list[np.ndarray]:
    """One stratum per task, as in the paper."""
    return list(scores.T)


@pytest.mark.parametrize("shape", [(1,), (3,), (4,), (7, 3), (10, 5), (2, 3, 4)])
def test_iqm_is_scipys_trimmed_mean(shape: tuple[int, ...]) -> None:
    scores = generator("iqm", *shape).normal(size=shape)
    assert stats.iqm(scores) == pytest.approx(scipy.stats.trim_mean(scores, 0.25, axis=None), rel=1e-14)


def test_iqm_by_hand() -> None:
    # Sorted: 0 1 2 3 4 5 6 100. Two are left out at each end; (2 + 3 + 4 + 5) / 4 = 3.5.
    assert stats.iqm(np.array([100, 3, 5, 1, 0, 6, 4, 2])) == 3.5


def test_iqm_of_outcomes_instead_of_runs_would_hide_failures() -> None:
    """Why the unit is a run: ten runs that succeed nine times in ten are not perfect."""
    outcomes = np.tile(np.arange(10) > 0, (10, 1)).astype(float)
    assert stats.iqm(outcomes) == 1.0
    assert stats.iqm(outcomes.mean(axis=1)) == pytest.approx(0.9)


@pytest.mark.parametrize(("name", "scores"), [("x", X), ("y", Y)])
@pytest.mark.parametrize(("label", "statistic"), [("mean", stats.mean), ("iqm", stats.trimmed)])
def test_intervals_equal_rliables(name: str, scores: np.ndarray, label: str, statistic: stats.Statistic) -> None:
    value, lo, hi = RLIABLE[name, label]
    found = stats.estimate(columns(scores), statistic, generator("golden"), repetitions=50_000)
    assert found.value == pytest.approx(value, abs=1e-8)
    # The 2.5 % quantile of 50,000 draws has a Monte-Carlo error of about .0005 here, in both.
    assert (found.lo, found.hi) == pytest.approx((lo, hi), abs=0.003)


def published_interval(
    scores: np.ndarray, label: str, repetitions: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Section 4.1 of Agarwal et al. (2021), word by word: for each task draw as many runs as there are."""
    replicates = []
    for _ in range(repetitions):
        sample = np.empty_like(scores)
        for task in range(scores.shape[1]):
            for run in range(scores.shape[0]):
                sample[run, task] = scores[rng.integers(scores.shape[0]), task]
        replicates.append(sample.mean() if label == "mean" else scipy.stats.trim_mean(sample, 0.25, axis=None))
    return float(np.percentile(replicates, 2.5)), float(np.percentile(replicates, 97.5))


@pytest.mark.parametrize(("label", "statistic"), [("mean", stats.mean), ("iqm", stats.trimmed)])
def test_intervals_equal_the_published_procedure(label: str, statistic: stats.Statistic) -> None:
    lo, hi = published_interval(Y, label, 3_000, generator("slow", label))
    found = stats.estimate(columns(Y), statistic, generator("fast", label), repetitions=20_000)
    assert (found.lo, found.hi) == pytest.approx((lo, hi), abs=0.012)


def test_one_stratum_is_scipys_bootstrap() -> None:
    scores = X[:, 0]
    slow = scipy.stats.bootstrap((scores,), np.mean, n_resamples=20_000, method="percentile", rng=generator("scipy"))
    found = stats.estimate([scores], stats.mean, generator("own"), repetitions=20_000)
    expected = (slow.confidence_interval.low, slow.confidence_interval.high)
    assert (found.lo, found.hi) == pytest.approx(expected, abs=0.01)


def coverage(draw: Sequence[list[np.ndarray]]) -> float:
    """Share of simulated experiments, whose truth is 0, that the interval covers."""
    covered = []
    for i, strata in enumerate(draw):
        found = stats.estimate(strata, stats.mean, generator("coverage", i), repetitions=500)
        covered.append(found.lo <= 0 <= found.hi)
    return float(np.mean(covered))


def test_intervals_of_ten_runs_cover_the_truth() -> None:
    rng = generator("truth")
    assert 0.85 <= coverage([[rng.normal(size=10), rng.normal(size=10)] for _ in range(300)]) <= 0.97


def test_classes_of_one_run_are_drawn_together() -> None:
    """A good run is good on all classes. Drawing each class apart would claim a certainty that is not there."""
    rng = generator("classes")
    runs = [rng.normal(size=(10, 1)) + 0.2 * rng.normal(size=(10, 5)) for _ in range(300)]
    assert 0.85 <= coverage([[matrix] for matrix in runs]) <= 0.97
    assert coverage([list(matrix.T) for matrix in runs]) < 0.75


def test_equal_scores_and_generator_give_equal_intervals() -> None:
    first, second = (stats.estimate([X], stats.trimmed, generator("again")) for _ in range(2))
    assert first == second
    assert first != stats.estimate([X], stats.trimmed, generator("another"))


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_than_three_runs_have_no_interval(n: int) -> None:
    found = stats.estimate([X, X[:n]], stats.mean, generator("few"))
    assert np.isfinite(found.value)
    assert np.isnan([found.lo, found.hi]).all()
    chance = stats.improvement_estimate([X[:, 0]], [Y[:n, 0]], generator("few"))
    assert np.isfinite(chance.value)
    assert np.isnan([chance.lo, chance.hi]).all()


@pytest.mark.parametrize("strata", [[], [np.zeros((0, 3))], [np.array([1.0, np.nan, 2.0])]])
def test_scores_that_cannot_be_averaged_are_refused(strata: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match=r"stratum without scores|must be finite"):
        stats.estimate(strata, stats.mean, generator("bad"))


def test_probability_of_improvement_is_mann_whitneys_u() -> None:
    # By hand: of the six pairs, 3 beats 1 and 2, 2 ties with 2 and beats 1: (2 + 1.5) / 4.
    assert stats.probability_of_improvement([np.array([3.0, 2.0])], [np.array([1.0, 2.0])]) == 3.5 / 4
    expected = [scipy.stats.mannwhitneyu(x, y).statistic / (len(x) * len(y)) for x, y in zip(X.T, Y[:7].T, strict=True)]
    assert stats.probability_of_improvement(columns(X), columns(Y[:7])) == pytest.approx(np.mean(expected), rel=1e-12)


def test_probability_of_improvement_equals_rliables() -> None:
    value, lo, hi = RLIABLE_IMPROVEMENT
    found = stats.improvement_estimate(columns(X), columns(Y), generator("golden"), repetitions=5_000)
    assert found.value == pytest.approx(value)
    assert (found.lo, found.hi) == pytest.approx((lo, hi), abs=0.01)


def test_probability_of_improvement_needs_the_same_strata() -> None:
    with pytest.raises(ValueError, match="4 strata and Y 3"):
        stats.probability_of_improvement(columns(X), columns(Y)[:3])


def test_paired_difference_is_the_paired_t_test() -> None:
    x, y = X.ravel(), Y.ravel()
    found = stats.paired_difference(x, y)
    expected = scipy.stats.ttest_rel(x, y).confidence_interval(0.95)
    assert found.mean == pytest.approx((x - y).mean())
    assert (found.lo, found.hi) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert found.se == pytest.approx(scipy.stats.sem(x - y))
    assert found.n == 40
    assert np.isnan(stats.paired_difference(x[:1], y[:1]).lo)
    with pytest.raises(ValueError, match="cannot be paired"):
        stats.paired_difference(x, y[1:])


def test_normalised_scores() -> None:
    assert stats.normalise(np.array([-40.0, -21.0, -2.0]), -40.0, -2.0).tolist() == [0.0, 0.5, 1.0]
    assert np.isnan(stats.normalise(np.array([1.0, 2.0]), 1.0, 1.0)).all()


def test_standard_errors() -> None:
    values = Y.ravel()
    assert stats.standard_error(values) == pytest.approx(scipy.stats.sem(values))
    assert np.isnan(stats.standard_error(np.array([1.0])))
    # Mean of two class means: half the root of the summed squares.
    both = stats.stratified_standard_error([X[:, 0], Y[:, 0]])
    assert both == pytest.approx(np.hypot(scipy.stats.sem(X[:, 0]), scipy.stats.sem(Y[:, 0])) / 2)
