"""The test by which two sets of results of one learner are told apart, and the correction for testing many learners.

A learner's score has two sources of luck: the training run and the draw of the test tasks. Both are counted, in the
test as in the interval. Their variances are added like those of min F' (Clark, "The language-as-fixed-effect fallacy",
Journal of Verbal Learning and Verbal Behavior 12 (1973) 335-359):

    t = (mean of B - mean of A) / sqrt(V_runs + V_tasks)

``V_runs`` is Welch's: of both sides, the variance of the scores of runs over their number. ``V_tasks`` is that of the
mean paired difference over test tasks, averaged over runs, within classes; where the sides have other tasks, there are
no pairs, and the variances over the tasks of both add up. What is particular to a run on a task is in both variances,
so that the test errs on the side of finding nothing. Without ``V_tasks`` it would not hold its level: three runs of one
side that all succeed on 19 of 20 tasks have no variance at all.

Degrees of freedom are those of Welch's test, but at most twice those of the side with fewer runs (three against ten
would otherwise be trusted like ten), and no more than the tasks have. With equal numbers of runs that changes nothing.

**It takes three runs on each side.** Where all comparisons are corrected for, no bootstrap or permutation of three runs
can be significant: one of 20 arrangements is the most extreme by chance. Student's t can, because it takes scores of
runs to be roughly normal. Where runs of one learner end either high or low, three or four of them can all be high on
one side and all low on the other; from five on that is too rare to matter. ``tests/numerics/test_compare_level.py``
shows by simulation what the test holds, and what it finds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from kshot.reporting.stats import CONFIDENCE, MINIMUM_RUNS, Array, standard_error, stratified_standard_error

LEVEL = 0.05
"""How often a comparison of two draws of the same thing names any learner, better or worse."""

_ROUNDING = 1e-12
"""Means that differ by no more than this share of themselves are equal."""


@dataclass(frozen=True)
class TaskNoise:
    """How far the draw of the test tasks moves a difference of means.

    Attributes:
        variance: of the mean difference; NaN where there are too few tasks to tell.
        df: its degrees of freedom.
        paired: whether both sides have the same tasks.
        tasks: how many; of the side with fewer, where they are not the same.
    """

    variance: float
    df: int
    paired: bool
    tasks: int


@dataclass(frozen=True)
class Contrast:
    """The difference of two means, B - A.

    Attributes:
        difference: of the means over runs.
        lo: lower end of its 95 % interval; NaN where there is none.
        hi: upper end.
        p: of the two-sided test, not corrected; NaN where there are fewer than three runs on a side.
        df: degrees of freedom of the interval.
    """

    difference: float
    lo: float
    hi: float
    p: float
    df: float

    @property
    def tested(self) -> bool:
        """Whether training runs are part of what was drawn; else the interval is over test tasks alone."""
        return bool(np.isfinite(self.p))


def task_noise(a: pd.Series[float], b: pd.Series[float], classes: pd.Series[str]) -> TaskNoise:
    """What the draw of the tasks does to the mean of b - a.

    Args:
        a: [tasks] outcomes averaged over runs, by task id.
        b: the same of the other side.
        classes: by task id, of all tasks of both.
    """
    if a.index.sort_values().equals(b.index.sort_values()):
        error, df = _error((b - a).dropna(), classes)
        return TaskNoise(error**2, df, True, len(a))
    (first, df_a), (second, df_b) = _error(a, classes), _error(b, classes)
    return TaskNoise(first**2 + second**2, min(df_a, df_b), False, min(len(a), len(b)))


def _error(values: pd.Series[float], classes: pd.Series[str]) -> tuple[float, int]:
    """Standard error of the mean of class means over tasks, and its degrees of freedom."""
    groups = [part.to_numpy() for _, part in values.groupby(classes.reindex(values.index))]
    if all(len(group) > 1 for group in groups) and groups:
        return float(stratified_standard_error(groups)), len(values) - len(groups)
    return float(standard_error(values.to_numpy())), len(values) - 1  # classes of one task are drawn like tasks


def contrast(a: Array, b: Array, noise: TaskNoise) -> Contrast:
    """Mean of ``b`` minus mean of ``a``, with the module's test and interval.

    Args:
        a: [runs] scores of runs, the mean over tasks each.
        b: the same of the other side; its number of runs may differ.
        noise: of the tasks. With fewer than three runs on a side the interval is over tasks alone, and without a test.

    Raises:
        ValueError: a side has no run.
    """
    if not (len(a) and len(b)):
        raise ValueError(f"{len(a)} and {len(b)} runs cannot be compared")
    difference = float(np.mean(b) - np.mean(a))
    fewest = min(len(a), len(b))
    variance, df = noise.variance, float(noise.df)
    if not np.isfinite(variance) or df < 1:
        return Contrast(difference, np.nan, np.nan, np.nan, np.nan)
    if fewest >= MINIMUM_RUNS:
        parts = [float(np.var(x, ddof=1)) / len(x) for x in (a, b)]
        own = sum(part**2 / (len(x) - 1) for part, x in zip(parts, (a, b), strict=True))
        welch = sum(parts) ** 2 / own if own > 0 else fewest - 1
        variance, df = variance + sum(parts), min(welch, 2 * (fewest - 1), df)
    half = float(stdtrit(df, 0.5 + CONFIDENCE / 2) * np.sqrt(variance))
    p = np.nan
    if fewest >= MINIMUM_RUNS:
        rounding = _ROUNDING * max(abs(float(np.mean(a))), abs(float(np.mean(b))))
        p = _two_sided(difference, variance, df) if abs(difference) > rounding else 1.0
    return Contrast(difference, difference - half, difference + half, p, df)


def _two_sided(difference: float, variance: float, df: float) -> float:
    if variance > 0:
        return float(2 * stdtr(df, -abs(difference) / np.sqrt(variance)))
    return 0.0 if difference else 1.0  # every run and every task says the same


def holm(p: Sequence[float]) -> list[float]:
    """P-values corrected for their number: below ``LEVEL``, all of them together are wrong as rarely as that.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979) 65-70;
    right however the comparisons hang together, as they do over common test tasks. NaN stands for no test, stays NaN
    and is not counted.
    """
    values = np.asarray(p, dtype=np.float64)
    made = np.flatnonzero(np.isfinite(values))
    order = made[np.argsort(values[made], kind="stable")]
    corrected = np.full(len(values), np.nan)
    scaled = values[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1.0) if len(order) else scaled
    return [float(value) for value in corrected]
