"""Whether the best learner of a section is told from another by the seeds that there are, and how many it would take.

**The test** is Welch's t-test over the runs' headline scores (Welch, "The generalization of 'Student's' problem when
several different population variances are involved", Biometrika 34 (1947) 28-35). It needs no equal spreads, and with
three runs a side it errs in 3 to 6 of 100 experiments on learners that are equal. (Ranks cannot tell three runs from
three others at the 5 % level at all, and Student's test errs in up to 10 of 100 where spreads differ.)

**The best is chosen by the same scores**, so that comparing it with each of the others at 5 % would call some of six
equal learners behind in every fourth experiment. The comparisons with the best share the 5 % out by Holm's rule (Holm,
"A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979) 65-70): the
clearest of m is judged at 5 % / m, the next at 5 % / (m - 1), and so on until one fails, at whose level all others are
judged. Then the learner that is truly best is called behind in at most 5 of 100 experiments, whatever the others are
like: what multiple comparisons with the best are held to (Hsu, Annals of Statistics 12 (1984) 1136-1144). What is not
told from the best is tied with it. (That *some* learner as good as the best is called behind happens in up to 6 of 100
experiments with three seeds, and in more with many seeds and many equal learners: in 12 with ten of each.) Intervals
have the level at which the comparison was judged, so that those of learners that are behind, and only those, lie above
0.

**Seeds needed** are for a two-sided two-sample t-test of the same level with power .8, if the difference of the means
and the pooled spread over seeds are what was seen (noncentral t; Cohen, Statistical Power Analysis for the Behavioral
Sciences, 1988, chapter 2). Both are estimates from few runs: the number is a rough one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import nctdtr, stdtr, stdtrit

from kshot.reporting.names import policy_name
from kshot.reporting.results import Array, Results
from kshot.reporting.sections import Section
from kshot.reporting.stats import MINIMUM_RUNS
from kshot.reporting.values import digits_for, number

LEVEL, POWER = 0.05, 0.8
MOST = 100
"""Beyond so many seeds, a number says no more than that it is large."""


@dataclass(frozen=True)
class Separation:
    """How far one learner is ahead of another.

    Attributes:
        difference: of their mean headline scores; NaN where one has none.
        lo: lower end of its interval, of the level at which the comparison was judged; NaN with fewer than three runs
            of either.
        hi: upper end.
        decided: whether the two are told apart; if not, they are tied, or have too few runs.
        seeds_needed: about how many seeds of each would tell them apart, ``MOST`` + 1 for more than ``MOST``; None
            where they are already, or where nothing can be said: fewer than three runs, no spread, or a difference that
            is 0 as it is shown.
    """

    difference: float
    lo: float = math.nan
    hi: float = math.nan
    decided: bool = False
    seeds_needed: int | None = None

    @property
    def needed(self) -> str:
        """``about 7``, ``more than 100``, or nothing."""
        if self.seeds_needed is None:
            return ""
        return f"about {self.seeds_needed}" if self.seeds_needed <= MOST else f"more than {MOST}"


def ranked(results: Results, section: Section) -> list[str]:
    """The learners that have headline scores, from the highest mean to the lowest; equal ones in the suite's order."""
    means = {name: results.headline_scores(section, name) for name in section.judged}
    return sorted((name for name in means if means[name].size), key=lambda name: -float(means[name].mean()))


def separated(results: Results, section: Section, best: str, other: str) -> Separation:
    """Whether ``best`` is told from ``other`` on the section's headline measure, at its K.

    Args:
        results: of the suite.
        section: in which they are compared.
        best: the learner that ``ranked`` has first.
        other: another learner.
    """
    x, y = (results.headline_scores(section, name) for name in (best, other))
    if not (x.size and y.size):
        return Separation(math.nan)
    difference = float(x.mean() - y.mean())
    if min(x.size, y.size) < MINIMUM_RUNS:
        return Separation(difference)
    others = [results.headline_scores(section, name) for name in ranked(results, section) if name != best]
    level = holm([welch_test(x, of) for of in others if of.size >= MINIMUM_RUNS], welch_test(x, y))
    lo, hi = welch_interval(x, y, level)
    decided = not lo <= 0 <= hi
    spread, shown = pooled_spread(x, y), number(difference, digits(results, section))
    if decided or spread == 0 or float(shown) == 0:
        return Separation(difference, lo, hi, decided)
    # Where spreads differ, Welch's test takes some more than the formula says.
    needed = max(seeds_needed(difference, spread, level), 1 + min(x.size, y.size))
    return Separation(difference, lo, hi, decided, needed)


def power_line(found: Separation, best: str, other: str) -> str:
    """``about 7 seeds would separate one from another here``; nothing where no number is known."""
    if not found.needed:
        return ""
    return f"{found.needed} seeds would separate {policy_name(best)} from {policy_name(other)} here"


def digits(results: Results, section: Section) -> int:
    """Decimals by which a section's headline scores are shown."""
    points = [results.summary.point(section.family, name, section.metric, section.k) for name, _ in section.policies]
    return digits_for(point.mean for point in points if point is not None)


def holm(probabilities: Sequence[float], one: float) -> float:
    """The level at which a comparison is judged that has the probability ``one``, among all with ``probabilities``.

    By Holm's rule the two differ where ``one`` is no larger than this level, and only there.
    """
    level = LEVEL / max(1, len(probabilities))
    for i, probability in enumerate(sorted(probabilities)):
        level = LEVEL / (len(probabilities) - i)
        if probability > level or probability >= one:
            break
    return level


def welch_test(x: Array, y: Array) -> float:
    """The two-sided probability of Welch's t-test; 0 where there is a difference without any spread.

    Equal learners whose runs all come out at one of two scores differ without a spread in at most 1 of 32 experiments
    with three runs a side (twice p^3 (1 - p)^3).
    """
    difference, error, freedom = _welch(x, y)
    if error == 0:
        return float(difference == 0)
    return 2 * float(stdtr(freedom, -abs(difference) / error))


def welch_interval(x: Array, y: Array, level: float = LEVEL) -> tuple[float, float]:
    """The interval of mean(x) - mean(y) that fails to hold the truth with probability ``level``.

    It is a single point where neither has any spread.
    """
    difference, error, freedom = _welch(x, y)
    half = float(stdtrit(freedom, 1 - level / 2)) * error if error else 0.0
    return difference - half, difference + half


def _welch(x: Array, y: Array) -> tuple[float, float, float]:
    """Difference of the means, its standard error, and Satterthwaite's degrees of freedom (NaN without an error)."""
    difference, parts = float(np.mean(x) - np.mean(y)), [0.0, 0.0]
    if np.ptp(x) > 0 or np.ptp(y) > 0:  # of equal numbers, a variance can come out as a rounding error
        parts = [float(np.var(values, ddof=1)) / len(values) for values in (x, y)]
    variance = sum(parts)
    if variance == 0:
        return difference, 0.0, math.nan
    freedom = variance**2 / sum(part**2 / (len(values) - 1) for part, values in zip(parts, (x, y), strict=True))
    return difference, math.sqrt(variance), freedom


def pooled_spread(x: Array, y: Array) -> float:
    """The standard deviation that two samples have in common."""
    if np.ptp(x) == np.ptp(y) == 0:
        return 0.0
    squares = sum(float(np.square(values - np.mean(values)).sum()) for values in (x, y))
    return math.sqrt(squares / (len(x) + len(y) - 2))


def seeds_needed(difference: float, spread: float, level: float = LEVEL, power: float = POWER) -> int:
    """Runs a side at which a two-sided two-sample t-test finds ``difference`` with probability ``power``.

    Args:
        difference: of the two means, in the unit of the scores.
        spread: standard deviation over runs, the same of both; above 0.
        level: of the test.
        power: as above.

    Returns:
        The smallest number that is enough, at least 3; ``MOST`` + 1 if that is above ``MOST``.
    """
    runs = np.arange(MINIMUM_RUNS, MOST + 1)
    freedom, shift = 2.0 * (runs - 1), abs(difference) / spread * np.sqrt(runs / 2)
    critical = stdtrit(freedom, 1 - level / 2)
    found = 1 - nctdtr(freedom, shift, critical) + nctdtr(freedom, shift, -critical)
    enough = runs[found >= power]
    return int(enough[0]) if enough.size else MOST + 1
