"""PEARL (Rakelly et al. 2019, arXiv 1903.08254) where actions are a choice among n.

The learner is ``pearl`` in everything but soft actor-critic, whose gradient runs through a continuous action. Among n
actions none is needed: critics return the value of each of them, and expectations over the policy are sums
(Christodoulou 2019, *Soft Actor-Critic for Discrete Action Settings*, arXiv 1910.07207, eqs. 10 to 12). As in ``pearl``
there is a value function with a target network, and the temperature is 1: ``reward_scale`` weighs it. Contexts and
replay hold actions as one-hot vectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor
from torch.nn.functional import log_softmax

from kshot.algorithms import pearl
from kshot.learning import distributions, networks, sac
from kshot.learning.replay_buffer import ReplayBuffer
from kshot.seeding import key
from kshot.types import ActionKind, Array, Collect, Episodes, FamilySpec, Memory, Metrics, Policy, Task

EVIDENCE = pearl.EVIDENCE
ACTIONS: frozenset[ActionKind] = frozenset({"discrete"})
TEST_ACTIONS = pearl.TEST_ACTIONS


@dataclass(frozen=True)
class Settings(pearl.Settings):
    """The settings of ``pearl``.

    Attributes:
        policy_regularisation: weight of the squared logits.
    """

    policy_regularisation: float = 0.0


class CategoricalNetworks(sac.Networks):
    """A policy with a logit, and critics with a value, for each of n actions."""

    @classmethod
    def initial(
        cls, obs_dim: int, action_dim: int, z_dim: int, hidden: Sequence[int], final_scale: float, seed: int
    ) -> CategoricalNetworks:
        """As ``sac.Networks.initial``; ``action_dim`` is n."""
        layers = (obs_dim + z_dim, *hidden, action_dim)
        policy, critic_1, critic_2 = (
            networks.init_mlp(layers, networks.torch_generator(key(seed, "initial parameters", name)), scale)
            for name, scale in (("policy", final_scale), ("critic 1", 1.0), ("critic 2", 1.0))
        )
        continuous = sac.Networks.initial(obs_dim, action_dim, z_dim, hidden, final_scale, seed)
        return cls(policy, critic_1, critic_2, continuous.value, continuous.target_value)

    def values(self, obs: Tensor, z: Tensor) -> Tensor:
        """[2, N, n] both critics' values of every action."""
        return torch.stack([sac.network(critic, obs, z) for critic in (self.critic_1, self.critic_2)])

    def q(self, obs: Tensor, action: Tensor, z: Tensor) -> Tensor:
        """[2, N] both critics' values of one-hot actions [N, n]."""
        return (self.values(obs, z) * action).sum(dim=-1)


def actor_losses(nets: CategoricalNetworks, obs: Tensor, z: Tensor, regularisation: float) -> sac.ActorLosses:
    """The losses of policy (eq. 12) and value function (eq. 10), expectations over all actions.

    ``regularisation`` weighs the squared logits.
    """
    logits = sac.network(nets.policy, obs, z)
    log_prob = log_softmax(logits, dim=-1)
    with torch.no_grad():
        q = nets.values(obs, z).min(dim=0).values
    soft_value = (log_prob.exp() * (q - log_prob)).sum(dim=-1)
    value = sac.network(nets.value, obs, z).squeeze(-1)
    return sac.ActorLosses(
        -soft_value.mean() + regularisation * (logits**2).mean(),
        ((value - soft_value.detach()) ** 2).mean(),
        distributions.entropy((logits.detach(),)).mean(),
    )


@dataclass(frozen=True)
class CategoricalPosteriorPolicy(pearl.PosteriorPolicy):
    """``pearl.PosteriorPolicy`` among n actions."""

    @torch.no_grad()
    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        x, z = self.inputs.obs(obs), self.inputs.tensor(memory["z"])
        distribution = (sac.network(self.params, x, z),)
        action = distributions.sample(distribution, None if noise is None else self.inputs.tensor(noise))
        return action.cpu().numpy(), distributions.log_prob(distribution, action).cpu().numpy(), memory


class DiscretePEARL(pearl.PEARL):
    """See the module's docstring; the protocol is ``kshot.types.MetaLearner``."""

    _nets: CategoricalNetworks

    def __init__(self, spec: FamilySpec, settings: Settings, seed: int, device: str) -> None:
        if not isinstance(spec.action_space, spaces.Discrete):
            raise ValueError(f"pearl_discrete chooses among actions, {spec.name!r} has {spec.action_space}")
        self._one_hot = np.eye(int(spec.action_space.n), dtype=np.float32)
        # A box from -1 to 1 leaves one-hot vectors as they are.
        box = spaces.Box(-1.0, 1.0, (len(self._one_hot),), np.float32)
        super().__init__(replace(spec, action_space=box), settings, seed, device)
        nets = self._nets = CategoricalNetworks.initial(
            spec.observation_dim, len(self._one_hot), settings.latent, settings.hidden, settings.final_scale, seed
        )
        for params in nets.by_name().values():
            for name, value in params.items():
                params[name] = value.to(device).requires_grad_(params is not nets.target_value)
        self._critic_params = [*nets.critic_1.values(), *nets.critic_2.values(), *self._encoder.values()]
        self._actor_params = [*nets.policy.values(), *nets.value.values()]
        self._critic_optimizer = torch.optim.Adam(self._critic_params, lr=settings.lr, fused=True)
        self._actor_optimizer = torch.optim.Adam(self._actor_params, lr=settings.lr, fused=True)

    def policy(self) -> CategoricalPosteriorPolicy:
        return CategoricalPosteriorPolicy(self._nets.policy, self._inputs, self.settings.test_latent)

    def _prior_policy(self) -> CategoricalPosteriorPolicy:
        return CategoricalPosteriorPolicy(self._nets.policy, self._inputs, "sampled")

    # Algorithm 1: meta-training

    def meta_step(self, tasks: Sequence[Task], collect: Collect, progress: float) -> Metrics:
        return super().meta_step(tasks, OneHotCollect(collect, self._one_hot), progress)

    def _update(
        self, replay: ReplayBuffer, recent: ReplayBuffer, rng: np.random.Generator, noise_rng: torch.Generator
    ) -> Metrics:
        """One step of encoder and critics, then of value function and policy, as in ``pearl``."""
        s, nets = self.settings, self._nets
        tasks = rng.integers(0, s.training_tasks, s.meta_batch)
        batch = self._batch(replay.sample(rng, tasks, s.batch_size))
        posterior = self._infer(recent, tasks, rng, rng.random(s.meta_batch))
        z = posterior.sample(networks.standard_normal(posterior.mean, noise_rng)).repeat_interleave(s.batch_size, dim=0)

        q_loss = sac.critic_loss(nets, batch, z, s.discount)
        kl = posterior.kl_from_prior().mean()
        sac.separate_step("critic and KL", q_loss + s.kl_weight * kl, self._critic_params, self._critic_optimizer)
        losses = actor_losses(nets, batch.obs, z.detach(), s.policy_regularisation)
        sac.separate_step("policy and value", losses.policy + losses.value, self._actor_params, self._actor_optimizer)
        sac.soft_update(nets.target_value, nets.value, s.tau)
        found = {"q_loss": q_loss, "value_loss": losses.value, "policy_loss": losses.policy, "kl": kl}
        found |= {"entropy": losses.entropy, "posterior_std": posterior.variance.sqrt().mean()}
        return {name: value.item() for name, value in found.items()}

    # Algorithm 2: meta-testing

    def adapt(self, policy: Policy, evidence: Episodes) -> pearl.PosteriorPolicy:
        return super().adapt(policy, replace(evidence, action=self._one_hot[evidence.action]))


@dataclass(frozen=True)
class OneHotCollect:
    """A ``Collect`` whose episodes have actions [T, E, H, n], the rows of ``one_hot`` [n, n]."""

    collect: Collect
    one_hot: Array

    def __call__(self, policy: Policy, tasks: Sequence[Task], copies: int, episodes: int = 1) -> Episodes:
        return self._vectors(self.collect(policy, tasks, copies, episodes))

    def demonstrations(self, tasks: Sequence[Task], n: int, arrangement: int = 0) -> Episodes:
        return self._vectors(self.collect.demonstrations(tasks, n, arrangement))

    def _vectors(self, played: Episodes) -> Episodes:
        return replace(played, action=self.one_hot[played.action])


def build(spec: FamilySpec, settings: Settings, seed: int, device: str) -> DiscretePEARL:
    return DiscretePEARL(spec, settings, seed, device)
