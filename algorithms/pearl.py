"""PEARL: Rakelly et al. 2019 (arXiv 1903.08254). Infer a latent task variable; act as if a sample of it were true.

A probabilistic encoder turns the steps seen on a task (the context) into a posterior over a latent z; policy, value and
critics receive z beside the observation and are trained by soft actor-critic (Haarnoja et al. 2018, arXiv 1801.01290)
on replayed experience. A task is explored by posterior sampling: z is drawn once per episode, the episode is played
accordingly, and what it shows narrows the posterior. Adapting changes no parameter.

Where the paper is silent this follows the authors' code (github.com/katerakelly/oyster): the value function with a
target network of the first soft actor-critic, contexts from recent data alone, rewards scaled for the critics but not
in the context. Only continuous actions: soft actor-critic differentiates through the action that the policy samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from kshot.learning import networks, sac
from kshot.learning.checks import check_finite, require_at_least_one, require_positive
from kshot.learning.latent import Context, Posterior, infer, thinned
from kshot.learning.networks import Params
from kshot.learning.replay import Replay, Transitions, buffer_bytes, require_memory, transitions
from kshot.seeding import generator, key, noise
from kshot.types import ActionKind, Array, Collect, Episodes, Evidence, FamilySpec, Memory, Metrics, Mode, Policy, Task

EVIDENCE: Evidence = "rollouts"
ACTIONS: frozenset[ActionKind] = frozenset({"continuous"})
# The authors evaluate with deterministic actions of a sampled z (katerakelly/oyster, `eval_deterministic=True` in
# rlkit/core/rl_algorithm.py).
TEST_ACTIONS: Mode = "mean"


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters of PEARL with soft actor-critic; the defaults are those of oyster, configs/default.py.

    Attributes:
        latent: dimension of z.
        hidden: widths of the ReLU layers of policy, value and critics.
        encoder_hidden: widths of the ReLU layers of the context encoder.
        final_scale: factor on the policy's initial last layer; when large, the first episodes already go where z says.
        next_obs_in_context: whether a transition's next observation is part of the context (dynamics that differ).
        training_tasks: how many tasks there are to train on; experience of each is kept.
        initial_episodes: episodes per task before the first update.
        collect_tasks: tasks on which data is collected in a meta-step.
        prior_episodes: episodes per collected task with z from the prior; they begin its recent data.
        posterior_episodes: episodes with z from the posterior given the recent data, which they then join.
        extra_posterior_episodes: further ones for the critics and the policy only, not for contexts.
        posterior_update: posterior episodes played between two updates of the posterior.
        replay_capacity: transitions kept per task.
        gradient_steps: updates per meta-step.
        meta_batch: tasks per update.
        batch_size: transitions per task and update for the critics and the policy.
        context_size: transitions per context; at test, more are thinned to that number at even distances.
        growing_context: whether contexts in training are made as at test, of the first episodes of the recent data, a
            random number of them from none; else transitions are drawn from all of it, with replacement.
        discount: gamma.
        tau: share of the way that the target value function moves to the value function at every update.
        lr: Adam's learning rate, of all networks, at the start.
        lr_end: the share of ``lr`` left at the end of the budget, reached linearly.
        reward_scale: factor on the reward in the critics' targets (the inverse temperature), not in the context.
        reward_bonus: weight of the reward itself beside the training reward, where a family tells them apart.
        kl_weight: weight of KL(q(z|c) || p(z)), averaged over the tasks of an update.
        policy_regularisation: weight of the squared means and log standard deviations before tanh.
        exploration_episodes: episodes of evidence from which on the posterior replaces the prior at test.
        test_latent: whether z is drawn from the posterior at test, or is its mean.
    """

    latent: int = 5
    hidden: tuple[int, ...] = (300, 300, 300)
    encoder_hidden: tuple[int, ...] = (200, 200, 200)
    final_scale: float = 0.01
    next_obs_in_context: bool = False
    training_tasks: int = 100
    initial_episodes: int = 10
    collect_tasks: int = 5
    prior_episodes: int = 2
    posterior_episodes: int = 0
    extra_posterior_episodes: int = 2
    posterior_update: int = 1
    replay_capacity: int = 50_000
    gradient_steps: int = 2000
    meta_batch: int = 16
    batch_size: int = 256
    context_size: int = 64
    growing_context: bool = False
    discount: float = 0.99
    tau: float = 0.005
    lr: float = 3e-4
    lr_end: float = 1.0
    reward_scale: float = 5.0
    reward_bonus: float = 0.0
    kl_weight: float = 1.6
    policy_regularisation: float = 1e-3
    exploration_episodes: int = 1
    test_latent: Mode = "sampled"

    def __post_init__(self) -> None:
        require_at_least_one(self, "latent", "training_tasks", "initial_episodes", "collect_tasks", "prior_episodes")
        require_at_least_one(self, "posterior_update", "replay_capacity", "gradient_steps", "meta_batch", "batch_size")
        require_at_least_one(self, "context_size", "exploration_episodes")
        require_positive(self, "lr", "tau", "reward_scale", "kl_weight")
        if self.collect_tasks > self.training_tasks:
            raise ValueError(f"collect_tasks ({self.collect_tasks}) exceed training_tasks ({self.training_tasks})")
        if self.test_latent not in ("sampled", "mean"):
            raise ValueError(f"test_latent must be 'sampled' or 'mean', got {self.test_latent!r}")


@dataclass(frozen=True)
class Inputs:
    """How observations, actions and rewards become tensors."""

    spec: FamilySpec
    settings: Settings
    device: str
    actions: sac.BoxScale

    @property
    def context_dim(self) -> int:
        """Size of one transition of a context: (s, a, r), and s' on request."""
        observations = 1 + self.settings.next_obs_in_context
        return observations * self.spec.observation_dim + self.spec.action_dim + 1

    def tensor(self, array: Array) -> Tensor:
        return torch.tensor(np.asarray(array, np.float32), device=self.device)

    def obs(self, obs: Array) -> Tensor:
        """[..., D] as the family normalises them."""
        return self.tensor(self.spec.normalise(obs))

    def context(self, steps: Transitions) -> Tensor:
        """[..., context_dim] what the encoder sees of each transition: the reward is the evidence, unscaled."""
        parts = [self.obs(steps.obs), self.tensor(self.actions.normalise(steps.action))]
        parts.append(self.tensor(steps.reward).unsqueeze(-1))
        if self.settings.next_obs_in_context:
            parts.append(self.obs(steps.next_obs))
        return torch.cat(parts, dim=-1)


@dataclass(frozen=True)
class PosteriorPolicy:
    """The policy pi(a | s, z) with z held for an episode, and drawn anew from the posterior for the next one.

    ``context`` is the evidence of ``episodes`` episodes so far, ``posterior`` what follows from it (None: the prior
    N(0, I)), and ``z`` says whether z is a sample of it or its mean.

    Memory: z [T, C, latent]; and, where z is random, its key [T, C] and the number of the episode [T, C].
    """

    params: Params
    inputs: Inputs
    z: Mode
    context: Context | None = None
    episodes: int = 0
    posterior: Posterior | None = None

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        if self.posterior is not None and len(self.posterior.mean) != n_tasks:
            raise ValueError(f"policy adapted to {len(self.posterior.mean)} tasks cannot act on {n_tasks}")
        if keys is None or self.z == "mean":
            return {"z": self._draw(np.zeros((n_tasks, n_copies, self.inputs.settings.latent)))}
        memory = {"key": np.asarray(keys, dtype=np.uint64), "episode": np.zeros((n_tasks, n_copies), dtype=np.int64)}
        return {**memory, "z": self._draw(self._noise(memory))}

    def _noise(self, memory: Memory) -> Array:
        """[T, C, latent] standard normal numbers that belong to each trial's key and current episode."""
        return noise(memory["key"], memory["episode"], self.inputs.settings.latent, "continuous")

    def _draw(self, standard: Array) -> Array:
        """Samples of z from standard normal ones, [T, C, latent]."""
        if self.posterior is None:
            return standard.astype(np.float32)
        mean, variance = (x.cpu().numpy()[:, None] for x in self.posterior)
        return np.asarray(mean + np.sqrt(variance) * standard, dtype=np.float32)

    @torch.no_grad()
    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        x, z = self.inputs.obs(obs), self.inputs.tensor(memory["z"])
        distribution = sac.gaussian(sac.network(self.params, x, z))
        action, log_prob = sac.squash(distribution, None if noise is None else self.inputs.tensor(noise))
        # The density is that of the action in the environment's units.
        log_prob_array = log_prob.cpu().numpy() - np.log(self.inputs.actions.half).sum()
        return self.inputs.actions.denormalise(action.cpu().numpy()), log_prob_array, memory

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        if "key" not in memory or not done.any():
            return memory
        following = {**memory, "episode": memory["episode"] + done}
        return {**following, "z": np.where(done[..., None], self._draw(self._noise(following)), memory["z"])}


class PEARL:
    """See the module's docstring; the protocol is ``kshot.types.MetaLearner``."""

    trains = True
    fixed_tasks = True
    adaptation_episodes = 1
    max_evidence: int | None = None

    def __init__(self, spec: FamilySpec, settings: Settings, seed: int, device: str) -> None:
        if not isinstance(spec.action_space, spaces.Box):
            raise ValueError(f"PEARL acts on continuous actions only, {spec.name!r} has {spec.action_space}")
        self.settings, self._seed = settings, seed
        self._inputs = Inputs(spec, settings, device, sac.BoxScale.of(spec.action_space))
        self._encoder = networks.init_mlp(
            (self._inputs.context_dim, *settings.encoder_hidden, 2 * settings.latent),
            networks.torch_generator(key(seed, "initial parameters", "encoder")),
        )
        nets = self._nets = sac.Networks.initial(
            spec.observation_dim, spec.action_dim, settings.latent, settings.hidden, settings.final_scale, seed
        )
        for params in self._networks().values():
            for name, value in params.items():
                params[name] = value.to(device).requires_grad_(params is not nets.target_value)
        self._critic_params = [*nets.critic_1.values(), *nets.critic_2.values(), *self._encoder.values()]
        self._actor_params = [*nets.policy.values(), *nets.value.values()]
        self._critic_optimizer = torch.optim.Adam(self._critic_params, lr=settings.lr, fused=True)
        self._actor_optimizer = torch.optim.Adam(self._actor_params, lr=settings.lr, fused=True)
        self._replay: Replay | None = None
        self._recent: Replay | None = None
        self._iteration = 0

    @property
    def tasks_per_step(self) -> int:
        return self.settings.training_tasks

    def _networks(self) -> dict[str, Params]:
        return {"encoder": self._encoder, **self._nets.by_name()}

    def policy(self) -> PosteriorPolicy:
        return PosteriorPolicy(self._nets.policy, self._inputs, self.settings.test_latent)

    # Algorithm 1: meta-training

    def meta_step(self, tasks: Sequence[Task], collect: Collect, progress: float) -> Metrics:
        s = self.settings
        if self._replay is None or self._recent is None:
            replay, recent = self._buffers()
            episodes = collect(self._prior_policy(), tasks, s.initial_episodes)
            for buffer in (replay, recent):
                buffer.add(np.arange(len(tasks)), episodes)
            self._replay, self._recent = replay, recent
        metrics = self._collect(self._replay, self._recent, tasks, collect)
        rng = generator(self._seed, "batches", self._iteration)
        noise_rng = networks.torch_generator(key(self._seed, "update noise", self._iteration))
        for optimizer in (self._critic_optimizer, self._actor_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = s.lr * (1 - (1 - s.lr_end) * progress)
        updates = [self._update(self._replay, self._recent, rng, noise_rng) for _ in range(s.gradient_steps)]
        for name, params in self._networks().items():
            check_finite(f"a parameter of the {name}", *params.values())
        self._iteration += 1
        means = {name: float(np.mean([update[name] for update in updates])) for name in updates[0]}
        return {"updates": len(updates), **metrics, **means}

    def _collect(self, replay: Replay, recent: Replay, tasks: Sequence[Task], collect: Collect) -> Metrics:
        """New data of a few tasks: contexts are drawn from the newest alone, off-policy learning from all."""
        s = self.settings
        rng = generator(self._seed, "collection", self._iteration)
        chosen = np.sort(rng.choice(len(tasks), s.collect_tasks, replace=False))
        playing = [tasks[i] for i in chosen]
        recent.clear(chosen)
        episodes = collect(self._prior_policy(), playing, s.prior_episodes)
        replay.add(chosen, episodes)
        recent.add(chosen, episodes)
        metrics = {"return": float(episodes.returns.mean())}
        for quota, in_context in ((s.posterior_episodes, True), (s.extra_posterior_episodes, False)):
            for first in range(0, quota, s.posterior_update):
                with torch.no_grad():
                    posterior = self._infer(recent, chosen, rng, np.ones(len(chosen)))
                policy = replace(self._prior_policy(), posterior=posterior)
                episodes = collect(policy, playing, min(s.posterior_update, quota - first))
                replay.add(chosen, episodes)
                if in_context:
                    recent.add(chosen, episodes)
                metrics["return_adapted"] = float(episodes.returns.mean())
                metrics["success_adapted"] = float(episodes.success_last.mean())
        return metrics

    def _infer(self, recent: Replay, tasks: Array, rng: np.random.Generator, share: Array) -> Posterior:
        """The posterior of ``tasks`` [M] from recent data; if contexts grow, from a ``share`` [M] of its episodes."""
        s, horizon, size = self.settings, self._inputs.spec.horizon, recent.size[tasks]
        if not s.growing_context:
            return infer(self._encoder, self._inputs.context(recent.sample(rng, tasks, s.context_size)))
        episodes = np.floor(share * (np.ceil(size / horizon) + 1)).astype(np.int64)  # a share below 1 may be none
        index, valid = thinned(np.minimum(episodes * horizon, size), s.context_size)
        mask = torch.as_tensor(valid, device=self._inputs.device)
        return infer(self._encoder, self._inputs.context(recent.take(tasks, index)), mask)

    def _update(self, replay: Replay, recent: Replay, rng: np.random.Generator, noise_rng: torch.Generator) -> Metrics:
        """One step of encoder and critics, then of value function and policy, all tasks of the batch in one call."""
        s, nets = self.settings, self._nets
        tasks = rng.integers(0, s.training_tasks, s.meta_batch)
        batch = self._batch(replay.sample(rng, tasks, s.batch_size))
        posterior = self._infer(recent, tasks, rng, rng.random(s.meta_batch))
        z = posterior.sample(networks.standard_normal(posterior.mean, noise_rng))  # [M, latent], one per task
        z = z.repeat_interleave(s.batch_size, dim=0)

        q_loss = sac.critic_loss(nets, batch, z, s.discount)
        kl = posterior.kl_from_prior().mean()
        sac.separate_step("critic and KL", q_loss + s.kl_weight * kl, self._critic_params, self._critic_optimizer)
        action_noise = networks.standard_normal(batch.action, noise_rng)
        # Neither policy nor value function trains the encoder, as in the authors' code.
        losses = sac.actor_losses(nets, batch, z.detach(), action_noise, s.policy_regularisation)
        sac.separate_step("policy and value", losses.policy + losses.value, self._actor_params, self._actor_optimizer)
        sac.soft_update(nets.target_value, nets.value, s.tau)
        return {
            "q_loss": q_loss.item(),
            "value_loss": losses.value.item(),
            "policy_loss": losses.policy.item(),
            "kl": kl.item(),
            "entropy": losses.entropy.item(),
            "posterior_std": posterior.variance.detach().sqrt().mean().item(),
        }

    def _batch(self, steps: Transitions) -> sac.Batch:
        inputs, s = self._inputs, self.settings
        parts = (
            inputs.obs(steps.obs),
            inputs.tensor(inputs.actions.normalise(steps.action)),
            inputs.tensor(steps.training_reward + s.reward_bonus * steps.reward) * s.reward_scale,
            inputs.obs(steps.next_obs),
            inputs.tensor(steps.terminated),
        )
        return sac.Batch(*(part.flatten(0, 1) for part in parts))

    def _prior_policy(self) -> PosteriorPolicy:
        return PosteriorPolicy(self._nets.policy, self._inputs, "sampled")

    def _buffers(self) -> tuple[Replay, Replay]:
        """Empty buffers: all experience, and what contexts are drawn from. Refused when they do not fit in memory."""
        s, spec = self.settings, self._inputs.spec
        recent = max(s.initial_episodes, s.prior_episodes + s.posterior_episodes) * spec.horizon
        needed = sum(buffer_bytes(spec, s.training_tasks, capacity) for capacity in (s.replay_capacity, recent))
        require_memory(needed, "lower replay_capacity or training_tasks")
        return Replay(spec, s.training_tasks, s.replay_capacity), Replay(spec, s.training_tasks, recent)

    # Algorithm 2: meta-testing

    @torch.no_grad()
    def adapt(self, policy: Policy, evidence: Episodes) -> PosteriorPolicy:
        """The policy with more context; from ``exploration_episodes`` on it draws z from the posterior given it."""
        if not isinstance(policy, PosteriorPolicy):
            raise TypeError(f"PEARL cannot adapt a {type(policy).__name__}")
        steps = self._inputs.context(transitions(evidence)).flatten(1, 2).cpu().numpy()
        context = Context.added(policy.context, steps, evidence.mask.reshape(evidence.n_tasks, -1))
        episodes, posterior = policy.episodes + evidence.n_episodes, None
        if episodes >= self.settings.exploration_episodes:
            used, mask = context.thinned(self.settings.context_size)
            posterior = infer(
                self._encoder, self._inputs.tensor(used), torch.as_tensor(mask, device=self._inputs.device)
            )
        return replace(policy, context=context, episodes=episodes, posterior=posterior)

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = {
            "networks": {
                network: {name: value.detach() for name, value in params.items()}
                for network, params in self._networks().items()
            },
            "critic_optimizer": self._critic_optimizer.state_dict(),
            "actor_optimizer": self._actor_optimizer.state_dict(),
            "iteration": self._iteration,
        }
        if self._replay is not None and self._recent is not None:
            state["replay"] = {"all": self._replay.state_dict(), "recent": self._recent.state_dict()}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Without "replay", as in model files, training would begin by collecting initial data again."""
        with torch.no_grad():
            for network, params in self._networks().items():
                for name, value in params.items():
                    value.copy_(state["networks"][network][name])
        self._critic_optimizer.load_state_dict(state["critic_optimizer"])
        self._actor_optimizer.load_state_dict(state["actor_optimizer"])
        self._iteration = state["iteration"]
        if "replay" in state:
            self._replay, self._recent = self._buffers()
            self._replay.load_state_dict(state["replay"]["all"])
            self._recent.load_state_dict(state["replay"]["recent"])


def build(spec: FamilySpec, settings: Settings, seed: int, device: str) -> PEARL:
    return PEARL(spec, settings, seed, device)
