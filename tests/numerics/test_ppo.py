"""The clipped surrogate against the cases of its definition."""

import pytest
import torch

from kshot.learning import ppo


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected", "slope"),
    [
        (1.1, 2.0, 2.2, 2.0),  # within the bounds: the plain surrogate
        (1.5, 2.0, 2.4, 0.0),  # a good action is made more probable up to the bound only
        (0.5, -2.0, -1.6, 0.0),  # and a bad one less
        (1.5, -2.0, -3.0, -2.0),  # what went the wrong way is always corrected
        (0.5, 2.0, 1.0, 2.0),
    ],
)
def test_ratios_are_rewarded_up_to_the_bound(ratio: float, advantage: float, expected: float, slope: float) -> None:
    at = torch.tensor(ratio, requires_grad=True)
    value = ppo.clipped_surrogate(at, torch.tensor(advantage), 0.2)
    (gradient,) = torch.autograd.grad(value, at)
    assert float(value.detach()) == pytest.approx(expected) and float(gradient) == slope


def test_what_counts_as_clipped() -> None:
    ratio = torch.tensor([0.5, 0.85, 1.0, 1.15, 1.5])
    assert ppo.out_of_bounds(ratio, 0.2).tolist() == [True, False, False, False, True]
