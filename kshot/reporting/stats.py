"""The statistics of the reports: what is averaged, and how sure the average is.

**The unit is one training run.** A run's score is the mean over its test tasks and their episodes, within one class of
tasks. Trimming is only ever done over such scores: the interquartile mean of raw 0/1 outcomes would call a policy that
succeeds nine times in ten perfect.

**Point estimates** are the mean and the interquartile mean (IQM) over runs and strata: Agarwal, Schwarzer, Castro,
Courville & Bellemare, "Deep reinforcement learning at the edge of the statistical precipice", NeurIPS 2021, with the
reference implementation in google-research/rliable (``rliable/metrics.py``, ``rliable/library.py``).

**Intervals**, from five runs on, are that paper's: 95 % percentile intervals of a stratified bootstrap, which draws
runs with replacement within each stratum. A stratum is a matrix [runs, columns] whose rows are drawn whole. In the
paper every task is trained on its own, so a stratum has one column. A meta-trained run is one model scored on all the
classes of its family: its scores rise and fall together, and drawing each class apart would make the interval too short
(by a factor of up to sqrt(classes)). So the classes of one family are the columns of one stratum, and families are the
strata.

**With three or four runs** there is no interval: what is given is the range of the runs, from the lowest to the
highest, and it is called that. (The bootstrap of three runs is their range, too: each of them makes up more than 2.5 %
of its draws alone. It holds the truth in three of four experiments, which is not "95 %".) Fewer than three have none.
From five runs on, percentile intervals are still somewhat short: for normal scores, five runs cover the truth in about
83 of 100 experiments, ten in about 90.

**Tasks.** Those intervals speak about training seeds, with the test tasks as they are. Every run is tested on the same
tasks, so that the luck of their draw does not average out over runs. ``crossed`` draws both: runs, and once for all of
them the tasks within each class. This is the bootstrap of crossed factors (Owen, "The pigeonhole bootstrap", Annals of
Applied Statistics 1 (2007) 386-411); tasks drawn anew for each run would count that luck as many times smaller as there
are runs.

**The optimality gap** of that paper is the mean by which scores fall short of 1, those above 1 counting as 1. Its
**performance profiles** ("run-score distributions") are the share of scores above each threshold, families counting
equally, with pointwise bands from the same bootstrap, from five runs on.

**Probability of improvement**, from five runs on each side, has the score interval of Newcombe, "Confidence intervals
for an effect size measure based on the Mann-Whitney statistic, part 2", Statistics in Medicine 25 (2006) 559-573,
method 5, whose variance is that of Hanley & McNeil 1982. A bootstrap of runs that never overlap knows nothing but 1 and
would claim certainty.

All randomness comes from a generator given by the caller: equal scores and generator, equal interval. (rliable's
``random_state`` does not do this: ``library.py`` draws from numpy's global generator.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import stdtrit

Array = NDArray[Any]
Statistic = Callable[[Array], Array]
"""Reduces the last axis."""

REPETITIONS = 2_000
MINIMUM_RUNS = 3
"""Fewer have no uncertainty of any kind."""
INTERVAL_RUNS = 5
"""Fewer have a range in place of an interval."""
CONFIDENCE = 0.95
NORMAL = 1.959963984540054
"""The normal distribution's two-sided 95 % quantile."""
_INSIDE = 1e-12
_DRAWS_AT_ONCE = 250
"""Bootstrap samples of tasks held in memory together."""


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval, or the range of three or four runs; NaN where there are fewer."""

    value: float
    lo: float
    hi: float


def is_range(runs: float) -> bool:
    """Whether what is given for so many runs is their range, not an interval."""
    return MINIMUM_RUNS <= runs < INTERVAL_RUNS


@dataclass(frozen=True)
class Difference:
    """A mean paired difference over ``n`` tasks, its standard error and 95 % interval (Student's t over tasks)."""

    mean: float
    se: float
    lo: float
    hi: float
    n: int


def mean(values: Array) -> Array:
    """Arithmetic mean over the last axis."""
    return np.asarray(np.mean(values, axis=-1, dtype=np.float64))


def trimmed(values: Array) -> Array:
    """Interquartile mean over the last axis: the lowest and highest floor(n/4) values are left out."""
    ordered = np.sort(np.asarray(values, dtype=np.float64), axis=-1)
    n = ordered.shape[-1]
    return np.asarray(ordered[..., n // 4 : n - n // 4].mean(axis=-1))


def optimality_gap(values: Array) -> Array:
    """Mean of max(0, 1 - value) over the last axis: how far normalised scores fall short of the oracle's."""
    return mean(np.maximum(0.0, 1.0 - np.asarray(values, dtype=np.float64)))


def iqm(scores: Array) -> float:
    """Interquartile mean of all values of ``scores``, of any shape; equals ``scipy.stats.trim_mean(x, 0.25, None)``."""
    return float(trimmed(np.ravel(scores)))


def resample(strata: Sequence[Array], generator: np.random.Generator, repetitions: int = REPETITIONS) -> Array:
    """Bootstrap samples of ``strata``, each [runs, columns] or [runs]; rows are drawn whole, within their stratum.

    Returns:
        [repetitions, total number of values].
    """
    parts = []
    for scores in strata:
        matrix = _matrix(scores)
        parts.append(matrix[_rows(len(matrix), generator, repetitions)].reshape(repetitions, -1))
    return np.concatenate(parts, axis=1)


def estimate(
    strata: Sequence[Array],
    statistic: Statistic,
    generator: np.random.Generator,
    repetitions: int = REPETITIONS,
) -> Estimate:
    """``statistic`` of all scores, with its stratified bootstrap interval, or the range of few runs.

    The smallest stratum decides which. A range over several strata takes their first runs together, their second, and
    so on; it is NaN where strata differ in their numbers of runs.

    Args:
        strata: score matrices [runs, columns] or [runs]; see the module's introduction.
        statistic: ``mean``, ``trimmed`` or ``optimality_gap``.
        generator: from ``kshot.seeding.generator``.
        repetitions: bootstrap samples.

    Raises:
        ValueError: there is no stratum, a stratum is empty, or a score is not finite.
    """
    matrices = _checked(strata)
    value = float(statistic(np.concatenate([matrix.ravel() for matrix in matrices])))
    fewest, most = min(map(len, matrices)), max(map(len, matrices))
    if fewest < MINIMUM_RUNS or (is_range(fewest) and fewest < most):
        return Estimate(value, np.nan, np.nan)
    if is_range(fewest):
        each = statistic(np.concatenate(matrices, axis=1))
        return Estimate(value, float(each.min()), float(each.max()))
    lo, hi = _percentile_interval(statistic(resample(matrices, generator, repetitions)))
    return Estimate(value, float(lo), float(hi))


def estimates(
    scores: Array, statistics: Sequence[Statistic], generator: np.random.Generator, repetitions: int = REPETITIONS
) -> tuple[Array, ...]:
    """``estimate`` of M measures of the same runs by several statistics, all from the same draws of runs.

    Args:
        scores: [M, runs, columns], finite.
        statistics: ``mean``, ``trimmed``.
        generator: from ``kshot.seeding.generator``.
        repetitions: bootstrap samples.

    Returns:
        For every statistic, [3, M]: its value, and the lower and upper ends of the interval.
    """
    count, runs, _ = scores.shape
    found = [np.full((3, count), np.nan) for _ in statistics]
    for rows, statistic in zip(found, statistics, strict=True):
        rows[0] = statistic(scores.reshape(count, -1))
        if is_range(runs):
            each = statistic(scores)
            rows[1:] = each.min(axis=-1), each.max(axis=-1)
    if runs < INTERVAL_RUNS:
        return tuple(found)
    drawn = _rows(runs, generator, repetitions)
    replicates = np.empty((len(statistics), count, repetitions))
    for i, matrix in enumerate(scores):
        samples = matrix[drawn].reshape(repetitions, -1)
        replicates[:, i] = [statistic(samples) for statistic in statistics]
    for rows, of in zip(found, replicates, strict=True):
        rows[1:] = _percentile_interval(of)
    return tuple(found)


def profile(
    strata: Sequence[Array], thresholds: Array, generator: np.random.Generator, repetitions: int = REPETITIONS
) -> Array:
    """The share of scores above each threshold, strata counting equally, with its pointwise 95 % bootstrap band.

    Args:
        strata: score matrices [runs, columns] or [runs]; rows are drawn whole, within their stratum.
        thresholds: [T].
        generator: from ``kshot.seeding.generator``.
        repetitions: bootstrap samples.

    Returns:
        [3, T]: the share, and the lower and upper ends of the band; these are NaN where a stratum has fewer than five
        runs.

    Raises:
        ValueError: as ``estimate``.
    """
    matrices = _checked(strata)
    # Counts of scores, not shares: products of whole numbers are exact, whatever order they are added in.
    above = [(matrix[:, :, None] > thresholds).sum(axis=1).astype(np.float64) for matrix in matrices]
    weights = [1 / (matrix.size * len(matrices)) for matrix in matrices]
    found = np.full((3, len(thresholds)), np.nan)
    found[0] = sum(weight * counts.sum(axis=0) for weight, counts in zip(weights, above, strict=True))
    if min(map(len, matrices)) >= INTERVAL_RUNS:
        drawn = [
            weight * (_counts(generator, len(counts), repetitions) @ counts)
            for weight, counts in zip(weights, above, strict=True)
        ]
        found[1:] = _percentile_interval(np.sum(drawn, axis=0).T)
    return found


def normalise(scores: Array, random: float, oracle: float) -> Array:
    """(score - random) / (oracle - random): 0 is the random policy, 1 the oracle.

    All NaN where the oracle is not above random, since the two then span no scale.
    """
    values = np.asarray(scores, dtype=np.float64)
    return (values - random) / (oracle - random) if oracle > random else np.full(values.shape, np.nan)


def probability_of_improvement(x: Sequence[Array], y: Sequence[Array]) -> float:
    """How likely a run of X scores above a run of Y: Mann-Whitney U / (n m), ties half, averaged over strata.

    Args:
        x: one array of run scores per stratum.
        y: the same strata of the other algorithm; its numbers of runs may differ.

    Raises:
        ValueError: X and Y have other numbers of strata, or none.
    """
    if len(x) != len(y) or not x:
        raise ValueError(f"X has {len(x)} strata and Y {len(y)}; they must be the same, at least one")
    pairs = [_wins(np.asarray(a)[None], np.asarray(b)[None]) for a, b in zip(x, y, strict=True)]
    return float(np.mean(pairs))


def improvement_estimate(x: Sequence[Array], y: Sequence[Array]) -> Estimate:
    """``probability_of_improvement`` with its 95 % score interval; NaN with fewer than five runs anywhere.

    The interval holds every probability P from which the found one is at most 1.96 standard errors away, the error
    being that under P (Newcombe 2006, method 5; Hanley & McNeil 1982):

        var(P) = P (1 - P) (1 + N (1 - P) / (2 - P) + N P / (1 + P)) / (n m),  N = (n + m) / 2 - 1

    and for the average of S strata the sum of theirs, divided by S squared.
    """
    value = probability_of_improvement(x, y)
    sizes = [(len(a), len(b)) for a, b in zip(x, y, strict=True)]
    if min(map(min, sizes)) < INTERVAL_RUNS:
        return Estimate(value, np.nan, np.nan)

    def excess(p: float) -> float:
        """Positive outside the interval."""
        shape = ((1 - p) / (2 - p), p / (1 + p))
        parts = [(1 + (n + m - 2) / 2 * sum(shape)) / (n * m) for n, m in sizes]
        return abs(value - p) - NORMAL * float(np.sqrt(p * (1 - p) * sum(parts))) / len(sizes)

    # The error is 0 at 0 and 1 alone: just inside, it is larger than the distance of a value that is 0 or 1.
    lo = brentq(excess, 0.0, min(value, 1 - _INSIDE)) if value > 0 else 0.0
    hi = brentq(excess, max(value, _INSIDE), 1.0) if value < 1 else 1.0
    return Estimate(value, float(lo), float(hi))


def crossed(
    values: Array,
    classes: Sequence[Array],
    runs: np.random.Generator,
    tasks: np.random.Generator,
    repetitions: int = REPETITIONS,
) -> Array:
    """Bootstrap means of each class when runs and test tasks are both drawn, the same tasks for every run of a draw.

    Args:
        values: [M, runs, tasks] outcomes of M measures, all redrawn alike.
        classes: indices of the tasks of each class; drawn within their class.
        runs: decides the draws of runs; from ``kshot.seeding.generator``.
        tasks: decides those of tasks: give learners that are compared the same.
        repetitions: bootstrap samples.

    Returns:
        [M, classes, repetitions].
    """
    n_runs = values.shape[1]
    drawn = _counts(runs, n_runs, repetitions) / n_runs
    found = np.empty((len(values), len(classes), repetitions))
    for i, members in enumerate(classes):
        outcomes = np.asarray(values[:, :, members], dtype=np.float64)
        for first in range(0, repetitions, _DRAWS_AT_ONCE):
            chunk = slice(first, min(first + _DRAWS_AT_ONCE, repetitions))
            counts = _counts(tasks, len(members), chunk.stop - chunk.start) / len(members)
            of_runs = outcomes @ counts.T  # [M, runs, draws]
            found[:, i, chunk] = np.einsum("msr,rs->mr", of_runs, drawn[chunk])
    return found


def crossed_interval(means: Array) -> tuple[Array, Array]:
    """[...] lower and upper ends of the 95 % percentile intervals of bootstrap means [..., repetitions].

    To twelve figures: the last ones depend on how many threads multiply matrices.
    """
    lo, hi = (np.vectorize(lambda x: float(f"{x:.12g}"))(ends) for ends in _percentile_interval(means))
    return lo, hi


def paired_difference(x: Array, y: Array) -> Difference:
    """Mean of x - y over common tasks [tasks]; NaN interval for a single task.

    The tasks are the sample here: the trained runs are taken as given, so this says whether a difference holds over
    tasks like these, not whether it would hold for newly trained seeds.

    Raises:
        ValueError: the two differ in shape or hold no task.
    """
    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or a.size == 0:
        raise ValueError(f"outcomes of shapes {a.shape} and {b.shape} cannot be paired task by task")
    difference = a - b
    se = float(standard_error(difference))
    half = float(stdtrit(a.size - 1, 0.5 + CONFIDENCE / 2)) * se if a.size > 1 else np.nan
    centre = float(difference.mean())
    return Difference(centre, se, centre - half, centre + half, a.size)


def standard_error(values: Array) -> Array:
    """Standard error of the mean of independent values, over the last axis; NaN for fewer than two."""
    n = np.shape(values)[-1]
    if n < 2:
        return np.full(np.shape(values)[:-1], np.nan)
    return np.asarray(np.std(values, axis=-1, dtype=np.float64, ddof=1) / np.sqrt(n))


def stratified_standard_error(groups: Sequence[Array]) -> Array:
    """Standard error of the mean of class means, with the classes fixed and the tasks within each a sample.

    Args:
        groups: for every class, [..., tasks].

    Returns:
        [...].
    """
    errors = np.stack([standard_error(values) for values in groups], axis=-1)
    return np.asarray(np.sqrt(np.square(errors).sum(axis=-1)) / len(groups))


def _counts(generator: np.random.Generator, n: int, repetitions: int) -> Array:
    """[repetitions, n] how often each of n is drawn when n are, with replacement."""
    drawn = generator.integers(n, size=(repetitions, n)) + n * np.arange(repetitions)[:, None]
    return np.bincount(drawn.ravel(), minlength=repetitions * n).reshape(repetitions, n).astype(np.float64)


def _rows(runs: int, generator: np.random.Generator, repetitions: int) -> Array:
    """[repetitions, runs] the runs of every bootstrap sample."""
    return generator.integers(runs, size=(repetitions, runs))


def _checked(strata: Sequence[Array]) -> list[Array]:
    """Every stratum as a matrix. Raises ValueError where there are no scores, or some are not finite."""
    matrices = [_matrix(scores) for scores in strata]
    if not matrices or any(matrix.size == 0 for matrix in matrices):
        raise ValueError("a stratum without scores has no estimate")
    if not all(np.isfinite(matrix).all() for matrix in matrices):
        raise ValueError("scores must be finite; leave out what is missing and say so")
    return matrices


def _matrix(scores: Array) -> Array:
    values = np.asarray(scores, dtype=np.float64)
    return values[:, None] if values.ndim == 1 else values


def _wins(a: Array, b: Array) -> Array:
    """[R] share of pairs (run of a, run of b) in which a is higher, ties half; a is [R, n], b is [R, m]."""
    difference = a[:, :, None] - b[:, None, :]
    return np.asarray(((difference > 0) + 0.5 * (difference == 0)).mean(axis=(1, 2)))


def _percentile_interval(replicates: Array) -> Array:
    """[2, ...] ends of the 95 % interval over the last axis."""
    tail = (1 - CONFIDENCE) / 2
    return np.asarray(np.quantile(replicates, [tail, 1 - tail], axis=-1))
