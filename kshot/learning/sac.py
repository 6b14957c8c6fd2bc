"""Soft actor-critic (Haarnoja et al. 2018, arXiv 1801.01290): tanh-Gaussian policy, critics, losses, soft updates.

Actions are normalised to (-1, 1) here; ``BoxScale`` translates them to the environment's bounds and back.
The temperature is 1: the weight of the entropy is set by the scale of the reward (section 5.2 there).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.nn.functional import relu, softplus

from kshot.learning import distributions, networks
from kshot.learning.checks import check_finite
from kshot.learning.distributions import Distribution
from kshot.learning.networks import Params
from kshot.seeding import key
from kshot.types import Array

MIN_LOG_STD, MAX_LOG_STD = -20.0, 2.0
"""Bounds on the policy's log standard deviation before tanh, as in the authors' code (github.com/haarnoja/sac)."""


@dataclass(frozen=True)
class BoxScale:
    """The affine map between normalised actions in [-1, 1] and a bounded box: ``center`` and ``half`` are [A]."""

    center: Array
    half: Array

    @classmethod
    def of(cls, space: spaces.Box) -> BoxScale:
        """Raises ValueError where the box has no bounds to squash actions into."""
        low, high = space.low.astype(np.float64).reshape(-1), space.high.astype(np.float64).reshape(-1)
        if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
            raise ValueError(f"actions need finite bounds, got {space}")
        return cls((high + low) / 2, (high - low) / 2)

    def normalise(self, action: Array) -> Array:
        """[..., A] environment actions, as executed (clipped to the box) -> [-1, 1]."""
        return np.asarray(np.clip((action - self.center) / self.half, -1.0, 1.0))

    def denormalise(self, action: Array) -> Array:
        """[..., A] in [-1, 1] -> environment actions."""
        return np.asarray(self.center + self.half * action)


def gaussian(head: Tensor) -> Distribution:
    """The distribution before tanh from a policy network's output [..., 2 A]: means, then log standard deviations."""
    mean, log_std = head.chunk(2, dim=-1)
    return mean, log_std.clamp(MIN_LOG_STD, MAX_LOG_STD)


def squash(distribution: Distribution, noise: Tensor | None) -> tuple[Tensor, Tensor]:
    """The action tanh(u), u ~ N(mean, std), from given standard normal noise (None: its mean), with its log-density.

    The change of variables (appendix C) subtracts log(1 - tanh(u)^2) per coordinate; written as
    2 (log 2 - u - softplus(-2 u)) it stays finite where tanh(u) rounds to 1.
    """
    u = distributions.sample(distribution, noise)
    log_slope = 2 * (math.log(2) - u - softplus(-2 * u))
    return torch.tanh(u), distributions.log_prob(distribution, u) - log_slope.sum(dim=-1)


def network(params: Mapping[str, Tensor], *inputs: Tensor) -> Tensor:
    """ReLU network on concatenated inputs, [..., in] -> [..., out]."""
    return networks.mlp(params, torch.cat(inputs, dim=-1), relu)


def q_target(reward: Tensor, terminated: Tensor, next_value: Tensor, discount: float) -> Tensor:
    """The target r + gamma V(s') (eq. 8); only a termination, never a time limit, makes the future worth nothing."""
    return reward + discount * (1 - terminated) * next_value


@dataclass(frozen=True)
class Networks:
    """Parameters of the tanh-Gaussian policy, the twin critics, the value function and its slow target.

    All of them see a vector z [..., Z] beside the observation: whatever else they depend on.
    """

    policy: Params
    critic_1: Params
    critic_2: Params
    value: Params
    target_value: Params

    @classmethod
    def initial(
        cls, obs_dim: int, action_dim: int, z_dim: int, hidden: Sequence[int], final_scale: float, seed: int
    ) -> Networks:
        """ReLU layers of widths ``hidden``; ``final_scale`` multiplies the policy's last layer."""

        def rng(name: str) -> torch.Generator:
            return networks.torch_generator(key(seed, "initial parameters", name))

        seen = obs_dim + z_dim
        value = networks.init_mlp((seen, *hidden, 1), rng("value"))
        return cls(
            policy=networks.init_mlp((seen, *hidden, 2 * action_dim), rng("policy"), final_scale),
            critic_1=networks.init_mlp((seen + action_dim, *hidden, 1), rng("critic 1")),
            critic_2=networks.init_mlp((seen + action_dim, *hidden, 1), rng("critic 2")),
            value=value,
            target_value={name: parameter.clone() for name, parameter in value.items()},
        )

    def q(self, obs: Tensor, action: Tensor, z: Tensor) -> Tensor:
        """[2, N] both critics' values."""
        return torch.stack([network(critic, obs, action, z).squeeze(-1) for critic in (self.critic_1, self.critic_2)])

    def by_name(self) -> dict[str, Params]:
        """Every network's parameters under its name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


class Batch(NamedTuple):
    """N transitions as network inputs: obs and next_obs [N, D], action [N, A] in (-1, 1), the others [N]."""

    obs: Tensor
    action: Tensor
    reward: Tensor
    next_obs: Tensor
    terminated: Tensor


def critic_loss(nets: Networks, batch: Batch, z: Tensor, discount: float) -> Tensor:
    """The critics' mean squared Bellman errors, added up (eq. 7); the gradient flows to the critics and into z [N, Z].

    In the target z is a constant.
    """
    with torch.no_grad():
        next_value = network(nets.target_value, batch.next_obs, z).squeeze(-1)
        target = q_target(batch.reward, batch.terminated, next_value, discount)
    return ((nets.q(batch.obs, batch.action, z) - target) ** 2).mean(dim=1).sum()


class ActorLosses(NamedTuple):
    """What the policy and the value function minimise, and the policy's entropy."""

    policy: Tensor
    value: Tensor
    entropy: Tensor


def actor_losses(nets: Networks, batch: Batch, z: Tensor, action_noise: Tensor, regularisation: float) -> ActorLosses:
    """The losses of policy (eq. 12) and value function (eq. 5), at actions that the policy makes of noise [N, A].

    ``regularisation`` weighs the squared means and log standard deviations before tanh.
    """
    distribution = gaussian(network(nets.policy, batch.obs, z))
    action, log_prob = squash(distribution, action_noise)
    q = nets.q(batch.obs, action, z).min(dim=0).values
    mean, log_std = distribution
    policy = (log_prob - q).mean() + regularisation * ((mean**2).mean() + (log_std**2).mean())
    value = network(nets.value, batch.obs, z).squeeze(-1)
    return ActorLosses(policy, ((value - (q - log_prob).detach()) ** 2).mean(), -log_prob.detach().mean())


@torch.no_grad()
def soft_update(target: Mapping[str, Tensor], source: Mapping[str, Tensor], tau: float) -> None:
    """Move the target's parameters the share ``tau`` of the way to the source's."""
    for name, value in target.items():
        value.lerp_(source[name], tau)


def separate_step(name: str, loss: Tensor, params: Sequence[Tensor], optimizer: torch.optim.Optimizer) -> None:
    """A gradient step on these parameters alone: those of other networks that the loss runs through stay put.

    Raises:
        FloatingPointError: the loss or its gradient, called by ``name``, is not finite; no step is taken.
    """
    check_finite(f"the {name} loss", loss)
    gradient = torch.autograd.grad(loss, params)
    check_finite(f"the {name} gradient", nn.utils.get_total_norm(gradient))
    for parameter, value in zip(params, gradient, strict=True):
        parameter.grad = value
    optimizer.step()
