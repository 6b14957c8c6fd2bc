"""A belief over the task at every step, and the bound it is trained on (Zintgraf et al. 2020, arXiv 1910.08348)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kshot.learning import distributions, networks, sac
from kshot.learning.actor_critic import RecurrentNetwork
from kshot.learning.distributions import Distribution
from kshot.learning.memory_layers import GRU
from kshot.learning.networks import Params

MIN_LOG_STD, MAX_LOG_STD = -5.0, 2.0
"""Bounds on the log standard deviation of a belief: what the policy sees, and what KL divergences divide by."""


class BeliefNetwork(RecurrentNetwork):
    """The encoder q(z | what was seen so far), and the policy pi(a | s, belief) that acts on it.

    A belief is a diagonal Gaussian (mean, log_std), [..., latent] each.

    Args:
        widths: of the inputs, which begin with the observation, and of the tanh layers before the recurrent layer.
        hidden: width of the recurrent layer, a GRU.
        latent: dimension of z.
        policy: parameters of the policy network, which belong to soft actor-critic: they are none of this module's own.
        obs_dim: size of an observation.
        generator: of the initial parameters.
    """

    def __init__(
        self, widths: Sequence[int], hidden: int, latent: int, policy: Params, obs_dim: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.policy, self._obs_dim = policy, obs_dim
        with torch.device("meta"):  # no values yet: torch would draw them from its global generator
            self.encoder = networks.tanh_layers(widths)
            self.memory = GRU(widths[-1], hidden)
            self.head = nn.Linear(hidden, 2 * latent)
        self.state_size = self.memory.state_size
        networks.initialise(self, generator)

    def beliefs(self, inputs: Tensor, state: Tensor) -> tuple[Distribution, Tensor]:
        """Beliefs [B, L, latent] after each of the inputs [B, L, I], and the state after the last one."""
        features, state = self.memory(self.encoder(inputs), state)
        mean, log_std = self.head(features).chunk(2, dim=-1)
        return (mean, log_std.clamp(MIN_LOG_STD, MAX_LOG_STD)), state

    def forward(self, inputs: Tensor, state: Tensor) -> tuple[Distribution, Tensor, Tensor]:
        """The features are the beliefs; the distribution is that of the action before tanh."""
        belief, state = self.beliefs(inputs, state)
        features = torch.cat(belief, dim=-1)
        return sac.gaussian(sac.network(self.policy, inputs[..., : self._obs_dim], features)), features, state


class Losses(NamedTuple):
    """The parts of the bound: mean squared errors of what is predicted, and the KL divergence in nats."""

    reward: Tensor
    state: Tensor
    kl: Tensor


class Predicted(NamedTuple):
    """B trials as the decoders see them: obs, next_obs [B, L, D], action [B, L, A], reward [B, L] (as evidence)."""

    obs: Tensor
    action: Tensor
    reward: Tensor
    next_obs: Tensor

    @classmethod
    def of(cls, inputs: Tensor, obs_dim: int, action_dim: int) -> Predicted:
        """From network inputs [B, L + 1, I], each of which holds the action and the reward of the step before it."""
        action, reward = inputs[:, 1:, obs_dim : obs_dim + action_dim], inputs[:, 1:, obs_dim + action_dim]
        return cls(inputs[:, :-1, :obs_dim], action, reward, inputs[:, 1:, :obs_dim])


def elbo_losses(
    belief: Distribution, steps: Predicted, decoders: Mapping[str, Params], at: Tensor, of: Tensor, noise: Tensor
) -> Losses:
    """The negative evidence lower bound (section 3.1), of E beliefs and M steps drawn from each of B trials.

    Args:
        belief: mean and log_std [B, L + 1, latent].
        steps: the trials.
        decoders: "reward" p(r | z, s, a, s') and, where next observations are predicted too, "state" p(s' | z, s, a).
        at: [B, E] indices of the beliefs.
        of: [B, M] indices of the steps that each of these predicts.
        noise: [B, E, latent] standard normal.
    """
    row = torch.arange(len(at), device=at.device)[:, None]
    mean, log_std = belief
    # The first belief is compared with the prior N(0, I), every other with the one before it.
    previous = tuple(torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], dim=1)[row, at] for x in (mean, log_std))
    chosen = (mean[row, at], log_std[row, at])
    kl = distributions.kl(chosen, previous).mean()
    z = distributions.sample(chosen, noise).unsqueeze(2).expand(-1, -1, of.shape[1], -1)  # [B, E, M, latent]
    obs, action, reward, next_obs = (
        x[row, of].unsqueeze(1).expand(-1, at.shape[1], *(-1 for _ in x[row, of].shape[1:])) for x in steps
    )
    guess = sac.network(decoders["reward"], z, obs, action, next_obs).squeeze(-1)
    reward_error = ((guess - reward) ** 2).mean()
    state_error = torch.zeros_like(reward_error)
    if "state" in decoders:
        state_error = ((sac.network(decoders["state"], z, obs, action) - next_obs) ** 2).mean()
    return Losses(reward_error, state_error, kl)
