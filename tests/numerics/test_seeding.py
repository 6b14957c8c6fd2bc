"""Keyed randomness: stable for ever, independent of order and grouping, and statistically sound."""

import numpy as np
import pytest
from scipy import stats

from kshot import seeding


def reference_splitmix64(state: int, n: int) -> list[int]:
    """Sequential splitmix64 in plain integers, from the published algorithm."""
    outputs, word = [], 2**64
    for _ in range(n):
        state = (state + 0x9E3779B97F4A7C15) % word
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % word
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % word
        outputs.append(z ^ (z >> 31))
    return outputs


def test_uniform_is_splitmix64_indexed_at_random() -> None:
    state = seeding.key(7, "stream")
    expected = [((z >> 11) + 0.5) * 2.0**-53 for z in reference_splitmix64(state, 50)]
    forwards = seeding.uniform(np.uint64(state), np.arange(50))
    backwards = seeding.uniform(np.uint64(state), np.arange(49, -1, -1))[::-1]
    assert forwards.tolist() == expected == backwards.tolist()


def test_published_splitmix64_vector() -> None:
    """First outputs for seed 1234567, as given with the public-domain C code (Vigna, splitmix64.c)."""
    assert reference_splitmix64(1234567, 2) == [6457827717110365317, 3203168211198807973]


def test_keys_tell_their_parts_apart() -> None:
    keys = {seeding.key(*parts) for parts in [(0, "a"), (1, "a"), (0, "b"), ("0", "a"), (0, "a", 0), (0, "a", 1), (0,)]}
    assert len(keys) == 7
    assert seeding.key(3, "noise", 5) == seeding.key(3, "noise", 5)


def test_streams_of_neighbouring_keys_are_uniform_and_uncorrelated() -> None:
    keys = seeding.split(seeding.key("test"), np.arange(400))
    u = seeding.uniform(keys[:, None], np.arange(500))
    assert stats.kstest(u.ravel(), "uniform").pvalue > 1e-3
    for axis in (0, 1):  # along a stream, and across streams at equal position
        a, b = np.take(u, range(u.shape[axis] - 1), axis), np.take(u, range(1, u.shape[axis]), axis)
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 4 / np.sqrt(a.size)


@pytest.mark.parametrize(("kind", "cdf"), [("continuous", "norm"), ("discrete", "gumbel_r")])
def test_noise_follows_its_law_and_does_not_depend_on_company(kind: str, cdf: str) -> None:
    keys = seeding.split(seeding.key("noise"), np.arange(200))
    together = np.stack([seeding.noise(keys, t, 3, kind) for t in range(50)])
    assert stats.kstest(together.ravel(), cdf).pvalue > 1e-3
    alone = seeding.noise(keys[17:18], 23, 3, kind)
    np.testing.assert_array_equal(alone[0], together[23, 17])
