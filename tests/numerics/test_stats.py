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
# get_interval_estimates with 50,000 repetitions, of aggregate_mean and aggregate_iqm; and probability_of_improvement.
RLIABLE = {
    ("x", "mean"): (0.625, 0.54545455, 0.70454545),
    ("x", "iqm"): (0.66909091, 0.57727273, 0.74227273),
    ("y", "mean"): (0.50576923, 0.41538462, 0.59615385),
    ("y", "iqm"): (0.49423077, 0.3775, 0.61230769),
}
RLIABLE_IMPROVEMENT = 0.63625
# Likewise: aggregate_optimality_gap; create_performance_profile, 50,000 repetitions, at these thresholds.
RLIABLE_GAP = {"x": (0.38409091, 0.30818182, 0.46), "y": (0.49663462, 0.40740385, 0.58644231)}
THRESHOLDS = np.array([0.0, 0.25, 0.5, 0.75, 1.0, 1.25])
RLIABLE_PROFILE = {
    "x": ([0.975, 0.875, 0.675, 0.25, 0.1, 0], [0.925, 0.775, 0.55, 0.125, 0.025, 0], [1, 0.95, 0.8, 0.375, 0.2, 0]),
    "y": ([0.975, 0.75, 0.5, 0.225, 0.05, 0], [0.925, 0.6, 0.35, 0.1, 0, 0], [1, 0.875, 0.65, 0.35, 0.125, 0]),
}


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


@pytest.mark.parametrize(("name", "scores"), [("x", X), ("y", Y)])
def test_optimality_gap_equals_rliables(name: str, scores: np.ndarray) -> None:
    found = stats.estimate(columns(scores), stats.optimality_gap, generator("gap"), repetitions=50_000)
    assert found.value == pytest.approx(RLIABLE_GAP[name][0], abs=1e-8)
    assert (found.lo, found.hi) == pytest.approx(RLIABLE_GAP[name][1:], abs=0.003)


def test_optimality_gap_by_hand() -> None:
    # Short of 1 by 1.5, 0.5, 0 and 0: what is above 1 makes up for nothing.
    assert stats.optimality_gap(np.array([[-0.5, 0.5, 1.0, 7.0]])).tolist() == [0.5]


@pytest.mark.parametrize(("name", "scores"), [("x", X), ("y", Y)])
def test_performance_profiles_equal_rliables(name: str, scores: np.ndarray) -> None:
    found = stats.profile(columns(scores), THRESHOLDS, generator("profile"), repetitions=50_000)
    assert found[0] == pytest.approx(RLIABLE_PROFILE[name][0], abs=1e-8)
    # Ends are shares of 40 scores: the same, but where a share has drawn almost 2.5 % and the next is as good.
    away = np.abs(found[1:] - RLIABLE_PROFILE[name][1:]).round(8)
    assert np.isin(away, [0, 1 / 40]).all() and (away > 0).sum() <= 1


def test_performance_profiles_by_hand() -> None:
    """A score at a threshold is not above it, and families count equally whatever their numbers of runs."""
    strata = [np.array([0.0, 0.5, 1.0, 1.0]), np.array([0.5, 0.7])]
    found = stats.profile(strata, np.array([-1, 0, 0.5, 0.6, 1]), generator("hand"))
    assert found[0] == pytest.approx([1, (0.75 + 1) / 2, (0.5 + 0.5) / 2, (0.5 + 0.5) / 2, 0])
    assert np.isnan(found[1:]).all()  # fewer than five runs
    with pytest.raises(ValueError, match="without scores"):
        stats.profile([np.zeros(0)], np.zeros(1), generator("none"))


def test_classes_of_one_run_are_drawn_together_in_profiles() -> None:
    """Ten runs, each the same on all of four classes: the band of one class, not that of forty runs."""
    scores = np.arange(10.0)[:, None] + np.zeros((1, 4))
    together = stats.profile([scores], np.array([4.5]), generator("rows"), 20_000)
    apart = stats.profile(columns(scores), np.array([4.5]), generator("rows"), 20_000)
    assert together[:, 0].tolist() == pytest.approx([0.5, 0.2, 0.8])
    assert apart[1, 0] > 0.3 and apart[2, 0] < 0.7


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


@pytest.mark.parametrize("n", [2, 4, 10])
def test_measures_of_the_same_runs_are_estimated_together_as_each_alone(n: int) -> None:
    statistics = (stats.mean, stats.trimmed)
    found = stats.estimates(np.stack([X, Y, X - Y])[:, :n], statistics, generator("together"), repetitions=300)
    for statistic, rows in zip(statistics, found, strict=True):
        for i, scores in enumerate([X, Y, X - Y]):
            alone = stats.estimate([scores[:n]], statistic, generator("together"), repetitions=300)
            np.testing.assert_array_equal(rows[:, i], [alone.value, alone.lo, alone.hi])


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_than_three_runs_have_no_interval(n: int) -> None:
    found = stats.estimate([X, X[:n]], stats.mean, generator("few"))
    assert np.isfinite(found.value)
    assert np.isnan([found.lo, found.hi]).all()


@pytest.mark.parametrize("n", [3, 4])
@pytest.mark.parametrize("statistic", [stats.mean, stats.trimmed])
def test_three_or_four_runs_have_their_range(n: int, statistic: stats.Statistic) -> None:
    found = stats.estimate([X[:n]], statistic, generator("few"))
    each = [float(statistic(row)) for row in X[:n]]
    assert (found.lo, found.hi) == (min(each), max(each))
    both = stats.estimate([X[:n], Y[:n]], statistic, generator("few"))
    each = [float(statistic(np.concatenate([x, y]))) for x, y in zip(X[:n], Y[:n], strict=True)]
    assert (both.lo, both.hi) == (min(each), max(each))
    unequal = stats.estimate([X[:n], Y], statistic, generator("few"))
    assert np.isfinite(unequal.value) and np.isnan([unequal.lo, unequal.hi]).all()


def test_what_is_a_range_and_what_an_interval() -> None:
    assert [stats.is_range(n) for n in range(1, 7)] == [False, False, True, True, False, False]


def test_the_range_of_three_runs_is_no_95_percent_interval() -> None:
    """What the bootstrap made of three runs was their range, and held the truth in three of four experiments."""
    rng = generator("range")
    held = [scores.min() <= 0 <= scores.max() for scores in rng.normal(size=(4000, 3))]
    assert np.mean(held) == pytest.approx(1 - 2 * 0.5**3, abs=0.03)


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
    found = stats.improvement_estimate(columns(X), columns(Y))
    assert found.value == pytest.approx(RLIABLE_IMPROVEMENT)
    assert found.lo < found.value < found.hi


def test_fewer_than_five_runs_on_a_side_have_no_interval_of_improvement() -> None:
    for x, y in (([X[:4, 0]], [Y[:, 0]]), ([X[:, 0], X[:, 1]], [Y[:, 0], Y[:4, 1]])):
        found = stats.improvement_estimate(x, y)
        assert np.isfinite(found.value) and np.isnan([found.lo, found.hi]).all()
    assert np.isfinite(stats.improvement_estimate([X[:5, 0]], [Y[:5, 0]]).lo)


def test_the_interval_of_improvement_solves_newcombes_equation() -> None:
    """Both ends are 1.96 standard errors away, by the variance of Hanley & McNeil at the end."""
    n, m = 6, 9
    found = stats.improvement_estimate([X[:n, 0]], [Y[:m, 0]])
    star = (n + m) / 2 - 1
    for end in (found.lo, found.hi):
        error = end * (1 - end) * (1 + star * (1 - end) / (2 - end) + star * end / (1 + end)) / (n * m)
        assert abs(found.value - end) == pytest.approx(1.959964 * np.sqrt(error), rel=1e-5)


@pytest.mark.parametrize("families", [1, 4])
def test_runs_that_never_overlap_are_not_certain(families: int) -> None:
    """A bootstrap of them gives [1.00, 1.00]."""
    better, worse = [np.arange(5.0) + 10] * families, [np.arange(5.0)] * families
    found = stats.improvement_estimate(better, worse)
    assert found.value == found.hi == 1 and 0.5 < found.lo < 0.95
    turned = stats.improvement_estimate(worse, better)
    assert (turned.value, turned.lo) == (0, 0) and turned.hi == pytest.approx(1 - found.lo, abs=1e-6)


@pytest.mark.parametrize(("families", "shift"), [(1, 0.0), (1, 2.5), (4, 1.0), (4, 4.0)])
def test_the_interval_of_improvement_covers_the_truth(families: int, shift: float) -> None:
    """Five runs a side of normal scores, also where the true probability is .998."""
    rng, truth, covered = generator("improvement", families), scipy.stats.norm.cdf(shift / np.sqrt(2)), []
    for _ in range(400):
        x, y = rng.normal(shift, 1, (families, 5)), rng.normal(size=(families, 5))
        found = stats.improvement_estimate(list(x), list(y))
        covered.append(found.lo <= truth <= found.hi)
    assert np.mean(covered) >= 0.9


# Runs and tasks together


def outcomes(rng: np.random.Generator, runs: int, tasks: int, task_effect: float) -> np.ndarray:
    """[1, runs, tasks] with effects of the run, of the task (the same for all runs), and of the pair; all of mean 0."""
    of_tasks = task_effect * rng.normal(size=(1, 1, tasks))
    return rng.normal(size=(1, runs, 1)) + of_tasks + rng.normal(size=(1, runs, tasks))


def crossed(values: np.ndarray, *keys: object, repetitions: int = 500) -> np.ndarray:
    everything = [np.arange(values.shape[2])]
    return stats.crossed(values, everything, generator("runs", *keys), generator("tasks", *keys), repetitions)[:, 0]


def test_the_variance_of_the_crossed_bootstrap_is_the_closed_form() -> None:
    """Owen 2007: the analysis of variance's parts of runs, of tasks and of what is left, each over its number."""
    values = outcomes(generator("variance"), 6, 11, 2.0)
    table = values[0]
    run, task = table.mean(axis=1, keepdims=True), table.mean(axis=0, keepdims=True)
    rest = table - run - task + table.mean()
    expected = run.var() / 6 + task.var() / 11 + (rest**2).mean() / 66
    found = crossed(values, "variance", repetitions=40_000)[0]
    assert found.mean() == pytest.approx(table.mean(), abs=0.02)
    assert found.var() == pytest.approx(expected, rel=0.03)


def test_runs_and_tasks_drawn_together_cover_what_seeds_alone_do_not() -> None:
    """With test tasks that differ, an interval over seeds alone says little about tasks like these."""
    rng, seeds_alone, both = generator("crossed"), [], []
    for i in range(300):
        values = outcomes(rng, 8, 20, 2.0)
        lo, hi = stats.crossed_interval(crossed(values, i))
        both.append(lo[0] <= 0 <= hi[0])
        alone = stats.estimate([values[0].mean(axis=1)], stats.mean, generator("alone", i), repetitions=500)
        seeds_alone.append(alone.lo <= 0 <= alone.hi)
    assert 0.9 <= np.mean(both) <= 0.98
    assert np.mean(seeds_alone) < 0.8


def test_without_an_effect_of_tasks_the_crossed_interval_is_hardly_wider() -> None:
    values = generator("none").normal(size=(1, 10, 1)) + np.zeros((1, 10, 200))
    lo, hi = stats.crossed_interval(crossed(values, "none", repetitions=4_000))
    alone = stats.estimate([values[0].mean(axis=1)], stats.mean, generator("none"), repetitions=4_000)
    assert (lo[0], hi[0]) == pytest.approx((alone.lo, alone.hi), abs=0.06)


def test_classes_are_drawn_apart_and_measures_alike() -> None:
    values = outcomes(generator("measures"), 5, 9, 1.0)
    classes = [np.array([0, 2, 4]), np.array([1, 3, 5, 6, 7, 8])]
    twice = np.concatenate([values, 10 * values])
    found = stats.crossed(twice, classes, generator("r"), generator("t"), 300)
    assert found.shape == (2, 2, 300)
    assert found[1] == pytest.approx(10 * found[0])
    alone = stats.crossed(values[:, :, classes[0]], [np.arange(3)], generator("r"), generator("t"), 300)
    assert found[0, 0] == pytest.approx(alone[0, 0])


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
