"""Bands of performance profiles, the power of seeds needed in closed form, and the level of the test by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as reference

from kshot.reporting import separation, stats
from kshot.seeding import generator

pytestmark = pytest.mark.numerics


def test_a_profile_has_a_band_from_five_runs_on() -> None:
    scores = generator("scores").normal(size=(8, 3))
    thresholds = np.linspace(-2, 2, 9)
    share, low, high = stats.profile([scores], thresholds, generator("test"))
    assert ((low <= share + 1e-12) & (share <= high + 1e-12)).all() and (high - low).max() > 0.1
    again = stats.profile([scores], thresholds, generator("test"))
    assert (np.stack([share, low, high]) == again).all()


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
