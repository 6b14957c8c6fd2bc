"""Returns and advantages against loops that follow the definitions word by word."""

import numpy as np
import pytest

from kshot.learning.returns import AdvantageScale, discounted_returns, gae, normalise

DISCOUNT, LAMBDA = 0.9, 0.7


def ragged(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rewards, values, mask of 12 episodes of 1 to 9 steps, with rubbish in the padding, and bootstrap values."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 10, size=(3, 4))
    mask = np.arange(9) < lengths[..., None]
    return rng.normal(size=mask.shape), rng.normal(size=mask.shape), mask, rng.normal(size=(3, 4))


def slow_return(reward: np.ndarray) -> list[float]:
    return [sum(DISCOUNT**i * r for i, r in enumerate(reward[t:])) for t in range(len(reward))]


def slow_gae(reward: np.ndarray, value: np.ndarray, bootstrap: float) -> list[float]:
    """Equation 14 of Schulman et al. 2016: the lambda-weighted mean of all n-step advantages, summed literally."""
    values = np.append(value, bootstrap)
    steps = len(reward)
    result = []
    for t in range(steps):
        n_step = []
        for n in range(1, steps - t + 1):
            rewards = sum(DISCOUNT**i * reward[t + i] for i in range(n))
            n_step.append(rewards + DISCOUNT**n * values[t + n] - values[t])
        weights = [(1 - LAMBDA) * LAMBDA**i for i in range(len(n_step) - 1)] + [LAMBDA ** (len(n_step) - 1)]
        result.append(sum(w * a for w, a in zip(weights, n_step, strict=True)))
    return result


def test_discounted_returns_equal_the_sum_over_the_real_steps() -> None:
    reward, _, mask, _ = ragged()
    fast = discounted_returns(reward, mask, DISCOUNT)
    for index in np.ndindex(3, 4):
        steps = mask[index].sum()
        np.testing.assert_allclose(fast[index][:steps], slow_return(reward[index][:steps]), atol=1e-12)
        assert (fast[index][steps:] == 0).all()


@pytest.mark.parametrize("truncated", [False, True])
def test_gae_equals_the_weighted_mean_of_n_step_advantages(truncated: bool) -> None:
    reward, value, mask, bootstrap = ragged(1)
    bootstrap = bootstrap if truncated else np.zeros_like(bootstrap)
    fast = gae(reward, value, mask, DISCOUNT, LAMBDA, bootstrap)
    for index in np.ndindex(3, 4):
        steps = mask[index].sum()
        slow = slow_gae(reward[index][:steps], value[index][:steps], bootstrap[index])
        np.testing.assert_allclose(fast[index][:steps], slow, atol=1e-12)
        assert (fast[index][steps:] == 0).all()


def test_truncation_continues_the_geometric_series_and_termination_ends_it() -> None:
    """Constant reward 1 and the right value 1/(1-gamma): nothing is surprising when the episode is merely cut off."""
    steps = 20
    reward, mask = np.ones((1, steps)), np.ones((1, steps), dtype=bool)
    value = np.full((1, steps), 1 / (1 - DISCOUNT))
    cut = gae(reward, value, mask, DISCOUNT, 1.0, bootstrap=np.array([1 / (1 - DISCOUNT)]))
    np.testing.assert_allclose(cut, 0, atol=1e-12)
    ended = gae(reward, value, mask, DISCOUNT, 1.0, bootstrap=np.array([0.0]))
    np.testing.assert_allclose(ended[0], -(DISCOUNT ** np.arange(steps, 0, -1)) / (1 - DISCOUNT), atol=1e-12)


@pytest.mark.parametrize("scale", ["deviation", "variance"])
def test_normalise_looks_at_real_steps_only(scale: AdvantageScale) -> None:
    reward, _, mask, _ = ragged(2)
    result = normalise(reward, mask, axes=(1, 2), scale=scale)
    for task in range(3):
        real = reward[task][mask[task]]
        divisor = real.std() if scale == "deviation" else real.var()
        np.testing.assert_allclose(result[task][mask[task]], (real - real.mean()) / (divisor + 1e-8), atol=1e-10)
    assert (result[~mask] == 0).all()
