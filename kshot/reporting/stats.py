"""The statistics of the reports: what is averaged, and how sure the average is.

**The unit is one training run.** A run's score is the mean over its test tasks and their episodes, within one class of
tasks. Trimming is only ever done over such scores: the interquartile mean of raw 0/1 outcomes would call a policy that
succeeds nine times in ten perfect.

**Point estimates** are the mean and the interquartile mean (IQM) over runs and strata: Agarwal, Schwarzer, Castro,
Courville & Bellemare, "Deep reinforcement learning at the edge of the statistical precipice", NeurIPS 2021, with the
reference implementation in google-research/rliable (``rliable/metrics.py``, ``rliable/library.py``).

**Intervals** are that paper's: 95 % percentile intervals of a stratified bootstrap, which draws runs with replacement
within each stratum. A stratum is a matrix [runs, columns] whose rows are drawn whole. In the paper every task is
trained on its own, so a stratum has one column. A meta-trained run is one model scored on all the classes of its
family: its scores rise and fall together, and drawing each class apart would make the interval too short (by a factor
of up to sqrt(classes)). So the classes of one family are the columns of one stratum, and families are the strata.

**Limits.** Fewer than three runs give no interval (NaN). Percentile intervals are somewhat short when there are few
runs: for normal scores, ten runs cover the truth in about nine of ten experiments, three in about three of four.
Intervals speak about training seeds; how well the *test tasks* pin a number down is the standard error over tasks.

All randomness comes from a generator given by the caller: equal scores and generator, equal interval. (rliable's
``random_state`` does not do this: ``library.py`` draws from numpy's global generator.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Array = NDArray[Any]
Statistic = Callable[[Array], Array]
"""Reduces the last axis."""

REPETITIONS = 2_000
MINIMUM_RUNS = 3
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval; ``lo`` and ``hi`` are NaN where there are too few runs for one."""

    value: float
    lo: float
    hi: float


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
        rows = generator.integers(len(matrix), size=(repetitions, len(matrix)))
        parts.append(matrix[rows].reshape(repetitions, -1))
    return np.concatenate(parts, axis=1)


def estimate(
    strata: Sequence[Array],
    statistic: Statistic,
    generator: np.random.Generator,
    repetitions: int = REPETITIONS,
) -> Estimate:
    """``statistic`` of all scores, with its stratified bootstrap interval.

    Args:
        strata: score matrices [runs, columns] or [runs]; see the module's introduction.
        statistic: ``mean`` or ``trimmed``.
        generator: from ``kshot.seeding.generator``.
        repetitions: bootstrap samples.

    Raises:
        ValueError: there is no stratum, a stratum is empty, or a score is not finite.
    """
    matrices = [_matrix(scores) for scores in strata]
    if not matrices or any(matrix.size == 0 for matrix in matrices):
        raise ValueError("a stratum without scores has no estimate")
    values = np.concatenate([matrix.ravel() for matrix in matrices])
    if not np.isfinite(values).all():
        raise ValueError("scores must be finite; leave out what is missing and say so")
    value = float(statistic(values))
    if min(len(matrix) for matrix in matrices) < MINIMUM_RUNS:
        return Estimate(value, np.nan, np.nan)
    return Estimate(value, *_percentile_interval(statistic(resample(matrices, generator, repetitions))))


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


def improvement_estimate(
    x: Sequence[Array], y: Sequence[Array], generator: np.random.Generator, repetitions: int = REPETITIONS
) -> Estimate:
    """``probability_of_improvement`` with its interval: runs of X and of Y are drawn apart within each stratum."""
    value = probability_of_improvement(x, y)
    if min(len(runs) for runs in [*x, *y]) < MINIMUM_RUNS:
        return Estimate(value, np.nan, np.nan)
    draws = [
        _wins(resample([a], generator, repetitions), resample([b], generator, repetitions))
        for a, b in zip(x, y, strict=True)
    ]
    return Estimate(value, *_percentile_interval(np.mean(draws, axis=0)))


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
    se = standard_error(difference)
    half = float(stdtrit(a.size - 1, 0.5 + CONFIDENCE / 2)) * se if a.size > 1 else np.nan
    centre = float(difference.mean())
    return Difference(centre, se, centre - half, centre + half, a.size)


def standard_error(values: Array) -> float:
    """Standard error of the mean of independent values; NaN for fewer than two."""
    flat = np.ravel(np.asarray(values, dtype=np.float64))
    return float(flat.std(ddof=1) / np.sqrt(flat.size)) if flat.size > 1 else np.nan


def stratified_standard_error(groups: Sequence[Array]) -> float:
    """Standard error of the mean of class means, with the classes fixed and the tasks within each a sample."""
    errors = np.array([standard_error(values) for values in groups])
    return float(np.sqrt(np.square(errors).sum()) / len(errors))


def _matrix(scores: Array) -> Array:
    values = np.asarray(scores, dtype=np.float64)
    return values[:, None] if values.ndim == 1 else values


def _wins(a: Array, b: Array) -> Array:
    """[R] share of pairs (run of a, run of b) in which a is higher, ties half; a is [R, n], b is [R, m]."""
    difference = a[:, :, None] - b[:, None, :]
    return np.asarray(((difference > 0) + 0.5 * (difference == 0)).mean(axis=(1, 2)))


def _percentile_interval(replicates: Array) -> tuple[float, float]:
    tail = (1 - CONFIDENCE) / 2
    lo, hi = np.quantile(replicates, [tail, 1 - tail])
    return float(lo), float(hi)
