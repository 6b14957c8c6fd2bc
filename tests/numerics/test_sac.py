"""Soft actor-critic: densities of squashed actions by change of variables, and losses of constant networks by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from kshot.learning import sac

D, A, LATENT = 3, 2, 4


def test_log_density_of_squashed_actions_by_numerical_change_of_variables() -> None:
    """A histogram-free check: the density of tanh(u) from the slope of its distribution function."""
    distribution = (torch.tensor([[0.4]], dtype=torch.float64), torch.tensor([[-0.3]], dtype=torch.float64))
    normal = torch.distributions.Normal(distribution[0], distribution[1].exp())
    for u in (-1.5, 0.0, 0.4, 2.0):
        noise = (torch.tensor([[u]], dtype=torch.float64) - distribution[0]) / distribution[1].exp()
        action, log_prob = sac.squash(distribution, noise)
        step = 1e-6
        slope = (normal.cdf(torch.atanh(action + step)) - normal.cdf(torch.atanh(action - step))) / (2 * step)
        assert float(log_prob) == pytest.approx(float(slope.log()), abs=1e-6)


def test_log_density_stays_finite_where_tanh_rounds_to_one() -> None:
    action, log_prob = sac.squash((torch.tensor([[30.0]]), torch.tensor([[0.0]])), torch.zeros(1, 1))
    assert float(action) == 1.0
    # log N(u; u, 1) - log(1 - tanh(u)^2), where 1 - tanh(u)^2 = 4 exp(-2 u) for large u
    assert float(log_prob) == pytest.approx(-0.5 * np.log(2 * np.pi) - np.log(4) + 60, rel=1e-5)


def test_target_bootstraps_after_time_limits_and_not_after_terminations() -> None:
    target = sac.q_target(torch.tensor([2.0, 2.0]), torch.tensor([0.0, 1.0]), torch.tensor([10.0, 10.0]), 0.9)
    np.testing.assert_allclose(target, [11.0, 2.0])


def constant(value: float, size: int, outputs: int = 1) -> dict[str, Tensor]:
    """A network that returns ``value`` whatever it is given."""
    return {"weight_0": torch.zeros(size, outputs), "bias_0": torch.full((outputs,), value)}


def test_losses_of_constant_networks_by_hand() -> None:
    """Q1 = 1, Q2 = 3, target V = 10, V = 4; reward 2 and gamma .5: targets 7 and, where terminated, 2."""
    nets = replace(
        sac.Networks.initial(D, A, LATENT, (8,), 1.0, seed=0),
        critic_1=constant(1.0, D + A + LATENT),
        critic_2=constant(3.0, D + A + LATENT),
        value=constant(4.0, D + LATENT),
        target_value=constant(10.0, D + LATENT),
        policy=constant(0.0, D + LATENT, 2 * A),
    )
    obs, action, z = torch.zeros(2, D), torch.zeros(2, A), torch.zeros(2, LATENT)
    batch = sac.Batch(obs, action, torch.full((2,), 2.0), obs, torch.tensor([0.0, 1.0]))
    expected = ((1 - 7) ** 2 + (1 - 2) ** 2) / 2 + ((3 - 7) ** 2 + (3 - 2) ** 2) / 2
    assert float(sac.critic_loss(nets, batch, z, 0.5)) == pytest.approx(expected)
    losses = sac.actor_losses(nets, batch, z, torch.zeros(2, A), 0.25)
    log_prob = -0.5 * A * np.log(2 * np.pi)  # at u = 0 with unit variance, where tanh has slope 1
    assert float(losses.policy) == pytest.approx(log_prob - 1, rel=1e-6)  # the smaller critic; nothing to regularise
    assert float(losses.value) == pytest.approx((4 - (1 - log_prob)) ** 2, rel=1e-6)
    assert float(losses.entropy) == pytest.approx(-log_prob, rel=1e-6)
    shifted = replace(nets, policy=constant(2.0, D + LATENT, 2 * A))
    change = sac.actor_losses(shifted, batch, z, torch.zeros(2, A), 0.25).policy - (
        sac.actor_losses(shifted, batch, z, torch.zeros(2, A), 0.0).policy
    )
    assert float(change) == pytest.approx(0.25 * (4 + 4), rel=1e-5)
