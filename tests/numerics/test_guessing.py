"""Guessing a hidden place from what is seen."""

from __future__ import annotations

import numpy as np

from kshot import seeding
from kshot.envs._guessing import average, fitted, linear


def numbers(name: str, *shape: int) -> np.ndarray:
    return seeding.generator("guessing", name).normal(size=shape)


def test_what_is_seen_is_used_where_it_tells_the_place() -> None:
    seen, weights = numbers("seen", 20, 5), numbers("weights", 5, 3)
    seen[:, 2] = 0.7  # what never varies tells nothing
    seen[:, 4] = seen[:, 0] + seen[:, 1]  # nor does what is known already
    new = numbers("new", 4, 6, 5)
    new[..., 2], new[..., 4] = 0.7, new[..., 0] + new[..., 1]
    np.testing.assert_allclose(fitted(seen, seen @ weights + 3.0)(new), new @ weights + 3.0, atol=1e-9)


def test_the_mean_is_kept_where_nothing_tells_the_place() -> None:
    seen, places = numbers("seen", 50, 5), numbers("places", 50, 3)
    guess = fitted(seen, places)
    np.testing.assert_array_equal(guess(numbers("new", 4, 5)), np.broadcast_to(places.mean(axis=0), (4, 3)))
    # Within the tasks that it was fitted to, a linear function always looks better than the mean.
    errors = [np.linalg.norm(fit(seen, places)(seen) - places, axis=1).mean() for fit in (linear, average)]
    assert errors[0] < errors[1]


def test_where_it_pays_the_middle_is_the_median() -> None:
    seen, places = numbers("seen", 50, 5), numbers("places", 50, 3)
    np.testing.assert_array_equal(fitted(seen, places, "push-v3")(seen[0]), np.median(places, axis=0))
    np.testing.assert_array_equal(fitted(seen, places, "reach-v3")(seen[0]), places.mean(axis=0))


def test_one_task_is_enough_for_a_mean() -> None:
    np.testing.assert_array_equal(fitted(np.ones((1, 2)), np.full((1, 3), 5.0))(np.zeros(2)), np.full(3, 5.0))
