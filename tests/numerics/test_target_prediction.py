"""Predicting a hidden target from an observation."""

from __future__ import annotations

import numpy as np

from kshot import seeding
from kshot.envs._target_prediction import fit, fit_linear, fit_mean


def numbers(name: str, *shape: int) -> np.ndarray:
    return seeding.generator("guessing", name).normal(size=shape)


def test_inputs_are_used_where_they_tell_the_target() -> None:
    inputs, weights = numbers("seen", 20, 5), numbers("weights", 5, 3)
    inputs[:, 2] = 0.7  # what never varies tells nothing
    inputs[:, 4] = inputs[:, 0] + inputs[:, 1]  # nor does what is known already
    new = numbers("new", 4, 6, 5)
    new[..., 2], new[..., 4] = 0.7, new[..., 0] + new[..., 1]
    np.testing.assert_allclose(fit(inputs, inputs @ weights + 3.0)(new), new @ weights + 3.0, atol=1e-9)


def test_the_mean_is_predicted_where_nothing_tells_the_target() -> None:
    inputs, targets = numbers("seen", 50, 5), numbers("places", 50, 3)
    predictor = fit(inputs, targets)
    np.testing.assert_array_equal(predictor(numbers("new", 4, 5)), np.broadcast_to(targets.mean(axis=0), (4, 3)))
    # On the tasks that it was fitted to, a linear function always looks better than the mean.
    errors = [np.linalg.norm(f(inputs, targets)(inputs) - targets, axis=1).mean() for f in (fit_linear, fit_mean)]
    assert errors[0] < errors[1]


def test_the_constant_of_some_classes_is_the_median() -> None:
    inputs, targets = numbers("seen", 50, 5), numbers("places", 50, 3)
    np.testing.assert_array_equal(fit(inputs, targets, "push-v3")(inputs[0]), np.median(targets, axis=0))
    np.testing.assert_array_equal(fit(inputs, targets, "reach-v3")(inputs[0]), targets.mean(axis=0))


def test_one_task_is_enough_for_a_mean() -> None:
    np.testing.assert_array_equal(fit(np.ones((1, 2)), np.full((1, 3), 5.0))(np.zeros(2)), np.full(3, 5.0))
