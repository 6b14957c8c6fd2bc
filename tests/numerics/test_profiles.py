"""Performance profiles, the optimality gap, and who is told from the best: by hand, by closed forms, by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as reference

from kshot.reporting import separation, stats
from kshot.seeding import generator

pytestmark = pytest.mark.numerics


def test_the_optimality_gap_is_what_is_missing_to_one() -> None:
    """Agarwal et al. 2021, arXiv 2108.13264, section 4.3: scores above 1 count as 1."""
    assert stats.optimality_gap(np.array([0.5, 1.5, 0.0, 1.0])) == pytest.approx((0.5 + 0 + 1 + 0) / 4)


def test_a_profile_is_the_share_of_scores_above_each_threshold() -> None:
    """By hand: two families of unequal numbers of runs count equally."""
    strata = [np.array([0.1, 0.5, 0.9]), np.array([0.2, 0.4, 0.6, 0.8, 1.0])]
    thresholds = np.array([-1.0, 0.4, 0.9, 2.0])
    found = stats.profile(strata, thresholds, generator("test"))
    np.testing.assert_allclose(found[0], [1.0, (2 / 3 + 3 / 5) / 2, (0 / 3 + 1 / 5) / 2, 0.0])
    assert np.isnan(found[1:]).all()  # three runs have no interval


def test_a_profile_has_a_band_from_five_runs_on() -> None:
    scores = generator("scores").normal(size=(8, 3))
    thresholds = np.linspace(-2, 2, 9)
    share, low, high = stats.profile([scores], thresholds, generator("test"))
    assert ((low <= share + 1e-12) & (share <= high + 1e-12)).all() and (high - low).max() > 0.1
    again = stats.profile([scores], thresholds, generator("test"))
    assert (np.stack([share, low, high]) == again).all()


def test_the_test_of_two_learners_is_welchs() -> None:
    x, y = generator("x").normal(1.0, 1.0, 4), generator("y").normal(0.0, 3.0, 3)
    assert separation.welch_test(x, y) == pytest.approx(reference.ttest_ind(x, y, equal_var=False).pvalue, rel=1e-9)
    interval = reference.ttest_ind(x, y, equal_var=False).confidence_interval(0.95)
    assert separation.welch_interval(x, y, 0.05) == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_holms_levels() -> None:
    """Holm 1979: the clearest of three is judged at 5 % / 3, the next at 5 % / 2; the first to fail sets the rest."""
    three = [0.001, 0.02, 0.6]
    assert [separation.holm(three, one) for one in three] == pytest.approx([0.05 / 3, 0.05 / 2, 0.05])
    none = [0.02, 0.03, 0.6]
    assert [separation.holm(none, one) for one in none] == pytest.approx([0.05 / 3] * 3)


@pytest.mark.parametrize(("difference", "spread"), [(1.0, 1.0), (0.5, 1.0), (2.0, 1.5)])
def test_the_seeds_needed_have_the_power_that_is_promised(difference: float, spread: float) -> None:
    """The power of a two-sided two-sample t-test (noncentral t), and with one seed less too little."""
    needed = separation.seeds_needed(difference, spread, 0.05)

    def power(n: int) -> float:
        shift, freedom = difference / spread * np.sqrt(n / 2), 2 * n - 2
        critical = reference.t.ppf(0.975, freedom)
        return float(reference.nct.sf(critical, freedom, shift) + reference.nct.cdf(-critical, freedom, shift))

    assert power(needed) >= 0.8 > power(needed - 1)


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_equal_learners_are_rarely_told_apart(seeds: int) -> None:
    """Of 2,000 pairs of draws from one distribution, about 5 % may be."""
    draws = generator("level", seeds).normal(size=(2000, 2, seeds))
    told = np.mean([separation.welch_test(x, y) < 0.05 for x, y in draws])
    assert told <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)
