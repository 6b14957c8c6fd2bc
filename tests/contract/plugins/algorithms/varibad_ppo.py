"""A small VariBAD (Zintgraf et al. 2020, arXiv 1910.08348): RL^2 that acts on a belief trained to decode rewards.

An example of a recurrent learner with another network and another loss; discrete actions, chunks of whole trials.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kshot.algorithms import rl2
from kshot.learning import distributions, networks
from kshot.learning.actor_critic import RecurrentNetwork
from kshot.learning.distributions import Distribution
from kshot.learning.memory_layers import GRU
from kshot.learning.recurrent_policy import input_dim
from kshot.learning.sequences import Outputs, Sequences
from kshot.seeding import key
from kshot.types import ActionKind, FamilySpec, Metrics

EVIDENCE = rl2.EVIDENCE
ACTIONS: frozenset[ActionKind] = frozenset({"discrete"})
TEST_ACTIONS = rl2.TEST_ACTIONS


@dataclass(frozen=True)
class Settings(rl2.Settings):
    """RL^2's settings; ``hidden`` is the width of all layers, ``elbo_weight`` that of the evidence lower bound."""

    latent: int = 5
    elbo_weight: float = 1.0


class BeliefNetwork(RecurrentNetwork):
    """What was seen -> belief over the task -> action and value; neither trains the encoder of the belief."""

    def __init__(self, spec: FamilySpec, s: Settings, seed: int) -> None:
        super().__init__()
        self._obs_dim, acted_on = spec.observation_dim, spec.observation_dim + 2 * s.latent

        def head(width_in: int, width_out: int) -> nn.Sequential:
            return nn.Sequential(networks.tanh_layers((width_in, s.hidden)), nn.Linear(s.hidden, width_out))

        with torch.device("meta"):
            self.encoder, self.belief = GRU(input_dim(spec), s.hidden), nn.Linear(s.hidden, 2 * s.latent)
            self.policy_head, self.value_head = head(acted_on, spec.action_dim), head(acted_on, 1)
            self.decoder = head(s.latent + spec.action_dim, 1)
        networks.initialise(self, networks.torch_generator(seed))
        self.state_size = self.encoder.state_size

    def forward(self, inputs: Tensor, state: Tensor) -> tuple[Distribution, Tensor, Tensor]:
        hidden, state = self.encoder(inputs, state)
        features = torch.cat([self.belief(hidden), inputs[..., : self._obs_dim]], dim=-1)
        return (self.policy_head(features.detach()),), features, state

    def value(self, features: Tensor, left: Tensor) -> Tensor:
        value: Tensor = self.value_head(features.detach()).squeeze(-1)
        return value


class VariBAD(rl2.RL2):
    """RL^2 whose loss also holds the negative evidence lower bound of the beliefs (eq. 9 there)."""

    _network: BeliefNetwork
    settings: Settings

    def loss(self, outputs: Outputs, batch: Sequences, entropy_weight: float) -> tuple[Tensor, Metrics]:
        loss, metrics = super().loss(outputs, batch, entropy_weight)
        mean, log_std = outputs.features[..., : 2 * self.settings.latent].chunk(2, dim=-1)
        before = tuple(torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], dim=1) for x in (mean, log_std))
        kl = (distributions.kl((mean, log_std), before) * batch.mask).sum() / batch.mask.sum()
        rng = networks.torch_generator(key(self._seed, "beliefs", self._iteration))
        z = distributions.sample((mean, log_std), networks.standard_normal(mean, rng))
        # Action and reward of every step but the last are inputs of the one after it; each belief decodes all of them.
        action, reward = batch.inputs[:, 1:, -2 - self._spec.action_dim : -2], batch.inputs[:, 1:, -2]
        steps = action.shape[1]
        pairs = (z.unsqueeze(2).expand(-1, -1, steps, -1), action.unsqueeze(1).expand(-1, z.shape[1], -1, -1))
        error = (self._network.decoder(torch.cat(pairs, dim=-1)).squeeze(-1) - reward.unsqueeze(1)) ** 2
        real = batch.mask.unsqueeze(2) * batch.mask[:, 1:].unsqueeze(1)
        reconstruction = (error * real).sum() / real.sum()
        metrics |= {"kl": float(kl.detach()), "reconstruction": float(reconstruction.detach())}
        return loss + self.settings.elbo_weight * (reconstruction + kl), metrics


def build(spec: FamilySpec, settings: Settings, seed: int, device: str) -> VariBAD:
    network = BeliefNetwork(spec, settings, key(seed, "initial parameters")).to(device)
    return VariBAD(spec, settings, network, seed)
