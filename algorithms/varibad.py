"""VariBAD: Zintgraf et al. 2020 (arXiv 1910.08348). Keep a belief over the task, and act on the belief.

An encoder reads what is seen on a task, step by step, and gives a belief: a Gaussian over a latent task variable. With
decoders that predict the rewards (and next observations) of a whole trial, past and to come, from the belief at any of
its steps, it is trained as a variational auto-encoder (section 3.1). Policy and critics see mean and log standard
deviation of the belief beside the observation, so that finding out about the task is worth what it earns later: the
objective is that of the Bayes-adaptive process (section 2.2). Adapting to a task is playing it: no parameter changes.

Where the authors use PPO, this is trained off policy, by soft actor-critic, as Dorfman et al. 2021 do (arXiv
2008.02598; github.com/Rondorf/BOReL, online_config), on a small part of the steps. The replay holds trials, and the
beliefs along all of them are computed anew before every round of updates; there those of the time when a step was taken
are kept. The process goes on over the borders of episodes, and behind a trial's end there is another episode on the
task: no step is the last one. Only continuous actions: soft actor-critic differentiates through the sampled action.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from kshot.learning import networks, sac
from kshot.learning.belief import BeliefNetwork, Predicted, elbo_losses
from kshot.learning.checks import check_finite, require_at_least_one, require_positive
from kshot.learning.networks import Params
from kshot.learning.recurrent_policy import RecurrentPolicy, input_dim
from kshot.learning.trial_replay import TrialReplay
from kshot.learning.trials import after_evidence, to_trials
from kshot.seeding import generator, key
from kshot.types import ActionKind, Array, Collect, Episodes, Evidence, FamilySpec, Memory, Metrics, Mode, Policy, Task

EVIDENCE: Evidence = "rollouts"
ACTIONS: frozenset[ActionKind] = frozenset({"continuous"})
# Both authors evaluate with the mean action (lmzintgraf/varibad, utils/evaluation.py; Rondorf/BOReL, metalearner.py).
TEST_ACTIONS: Mode = "mean"
BELIEFS_AT_ONCE = 256
"""Trials whose beliefs are computed together; bounds memory."""


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters of VariBAD with soft actor-critic; most defaults are BOReL's (online_config/args_ant_dir.py).

    Attributes:
        latent: dimension of the task variable z.
        encoder_hidden: widths of the encoder's tanh layers before the recurrent one.
        memory_width: width of the encoder's recurrent layer, a GRU.
        decoder_hidden: widths of the decoders' ReLU layers.
        reward_input_scale: factor on the reward where the encoder reads it and the decoder predicts it.
        reward_weight: weight of the squared error of a predicted reward.
        state_weight: weight of the squared error of a predicted next observation, averaged over its coordinates; 0 for
            tasks that differ in rewards alone.
        kl_weight: weight of the KL divergence of each belief from the one a step before, beside the *mean* error of a
            trial's steps. The authors add the errors of all H steps up: their weight, divided by H, is this one.
        vae_updates: updates of encoder and decoders per meta-step.
        vae_batch: trials per such update.
        vae_beliefs: steps of each of these trials whose beliefs are decoded.
        vae_steps: steps of the trial that each of them predicts.
        vae_lr: Adam's learning rate of encoder and decoders.
        hidden: widths of the ReLU layers of policy, value and critics.
        final_scale: factor on the policy's initial last layer.
        trial_episodes: episodes per trial in training; 0 means the family's own number.
        meta_batch: tasks that trials are played on in a meta-step.
        trials: trials per task and meta-step.
        initial_trials: trials per task before the first update.
        replay_trials: trials kept, of whatever tasks.
        gradient_steps: updates of policy, value and critics per meta-step.
        batch_size: steps per such update.
        discount: gamma.
        tau: share of the way that the target value function moves to the value function at every update.
        lr: Adam's learning rate of policy, value and critics.
        reward_scale: factor on the reward in the critics' targets (the inverse temperature).
        policy_regularisation: weight of the squared means and log standard deviations before tanh.
        max_gradient_norm: bound on the norm of the gradient of encoder and decoders.
    """

    latent: int = 5
    encoder_hidden: tuple[int, ...] = (64,)
    memory_width: int = 128
    decoder_hidden: tuple[int, ...] = (64, 32)
    reward_input_scale: float = 1.0
    reward_weight: float = 1.0
    state_weight: float = 0.0
    kl_weight: float = 1e-3
    vae_updates: int = 20
    vae_batch: int = 32
    vae_beliefs: int = 16
    vae_steps: int = 32
    vae_lr: float = 3e-4
    hidden: tuple[int, ...] = (128, 128, 128)
    final_scale: float = 0.01
    trial_episodes: int = 0
    meta_batch: int = 5
    trials: int = 5
    initial_trials: int = 20
    replay_trials: int = 2000
    gradient_steps: int = 2000
    batch_size: int = 256
    discount: float = 0.99
    tau: float = 0.005
    lr: float = 3e-4
    reward_scale: float = 5.0
    policy_regularisation: float = 1e-3
    max_gradient_norm: float = 1.0

    def __post_init__(self) -> None:
        require_at_least_one(self, "latent", "memory_width", "vae_updates", "vae_batch", "vae_beliefs", "vae_steps")
        require_at_least_one(self, "meta_batch", "trials", "initial_trials", "replay_trials", "gradient_steps")
        require_at_least_one(self, "batch_size")
        require_positive(self, "kl_weight", "vae_lr", "lr", "tau", "reward_scale", "reward_input_scale")
        if not self.reward_weight + self.state_weight > 0 or min(self.reward_weight, self.state_weight) < 0:
            raise ValueError(
                "reward_weight and state_weight must not be negative, nor both 0: without a decoder nothing trains the "
                f"belief; got {self.reward_weight} and {self.state_weight}"
            )


@dataclass(frozen=True)
class BeliefPolicy(RecurrentPolicy):
    """A recurrent policy whose actions are squashed into the box of actions."""

    @torch.no_grad()
    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        lead, scale = obs.shape[:2], box_of(self.spec)
        inputs = self.inputs(obs, memory["action"], memory["reward"], memory["done"]).flatten(0, 1).unsqueeze(1)
        hidden = torch.as_tensor(memory["hidden"]).to(inputs).flatten(0, 1)
        distribution, _, hidden = self.network(inputs, hidden)
        given = None if noise is None else torch.as_tensor(noise).to(inputs).flatten(0, 1).unsqueeze(1)
        action, log_prob = (x.squeeze(1).reshape(*lead, *x.shape[2:]) for x in sac.squash(distribution, given))
        # The density is that of the action in the environment's units.
        density = log_prob.cpu().numpy() - np.log(scale.half).sum()
        new_memory = {**memory, "hidden": hidden.cpu().numpy().reshape(*lead, -1)}
        return scale.denormalise(action.cpu().numpy()), density, new_memory


class VariBAD:
    """See the module's docstring; the protocol is ``kshot.types.MetaLearner``."""

    trains = True
    fixed_tasks = False
    adaptation_episodes = 1

    def __init__(self, spec: FamilySpec, settings: Settings, seed: int, device: str) -> None:
        self.settings, self._spec, self._seed, self._device = settings, spec, seed, device
        self._scale = box_of(spec)
        seen = spec.observation_dim + 2 * settings.latent
        nets = self._nets = sac.Networks.initial(seen, spec.action_dim, 0, settings.hidden, settings.final_scale, seed)
        self._decoders = make_decoders(spec, settings, seed)
        for params in (*nets.by_name().values(), *self._decoders.values()):
            for name, value in params.items():
                params[name] = value.to(device).requires_grad_(params is not nets.target_value)
        rng = networks.torch_generator(key(seed, "initial parameters", "encoder"))
        widths = (input_dim(spec), *settings.encoder_hidden)
        network = BeliefNetwork(widths, settings.memory_width, settings.latent, nets.policy, spec.observation_dim, rng)
        self._network = network.to(device)
        decoding = [value for params in self._decoders.values() for value in params.values()]
        self._vae_params = [*self._network.parameters(), *decoding]
        self._critic_params = [*nets.critic_1.values(), *nets.critic_2.values()]
        self._actor_params = [*nets.policy.values(), *nets.value.values()]
        self._optimizers = {
            name: torch.optim.Adam(params, lr=lr, fused=True)
            for name, params, lr in (
                ("vae", self._vae_params, settings.vae_lr),
                ("critic", self._critic_params, settings.lr),
                ("actor", self._actor_params, settings.lr),
            )
        }
        self._replay: TrialReplay | None = None
        self._iteration = 0

    @property
    def tasks_per_step(self) -> int:
        return self.settings.meta_batch

    @property
    def trial_episodes(self) -> int:
        return self.settings.trial_episodes or self._spec.episodes_per_trial

    @property
    def max_evidence(self) -> int:
        """The last episode of a trial has seen all the others; longer trials were never trained."""
        return self.trial_episodes - 1

    def policy(self) -> BeliefPolicy:
        return BeliefPolicy(self._network, self._spec, self.settings.reward_input_scale)

    def meta_step(self, tasks: Sequence[Task], collect: Collect, progress: float) -> Metrics:
        s = self.settings
        replay, first = self._replay, self._replay is None
        if replay is None:
            replay = self._replay = self._new_replay()
        episodes = self._play(replay, tasks, collect, s.initial_trials if first else s.trials)
        rng = generator(self._seed, "batches", self._iteration)
        noise_rng = networks.torch_generator(key(self._seed, "update noise", self._iteration))
        inferred = [self._update_belief(replay, rng, noise_rng) for _ in range(s.vae_updates)]
        beliefs = self._beliefs(replay)
        controlled = [self._update_control(replay, beliefs, rng, noise_rng) for _ in range(s.gradient_steps)]
        check_finite("a parameter of the encoder", *self._network.parameters())
        for name, params in self._parameters().items():
            check_finite(f"a parameter of the {name}", *params.values())
        self._iteration += 1
        by_episode = episodes.returns.reshape(len(tasks), -1, self.trial_episodes).mean(axis=(0, 1))
        last = episodes.success_last[:, self.trial_episodes - 1 :: self.trial_episodes]
        found = {"return": by_episode[0], "return_adapted": by_episode[-1], "success_adapted": last.mean()}
        metrics = {name: float(value) for name, value in found.items()} | {"updates": len(inferred) + len(controlled)}
        for updates in (inferred, controlled):
            metrics |= {name: float(np.mean([update[name] for update in updates])) for name in updates[0]}
        return metrics

    def _play(self, replay: TrialReplay, tasks: Sequence[Task], collect: Collect, trials: int) -> Episodes:
        """Trials by sampled actions, which join the replay."""
        policy = self.policy()
        episodes = collect(policy, tasks, trials, self.trial_episodes)
        replay.add(to_trials(policy, episodes, self.trial_episodes, policy.start(len(tasks), trials)))
        return episodes

    def _update_belief(self, replay: TrialReplay, rng: np.random.Generator, noise_rng: torch.Generator) -> Metrics:
        """One step of encoder and decoders; no gradient of the policy's reaches them, as in both authors' code."""
        s = self.settings
        rows = rng.integers(0, replay.size, s.vae_batch)
        lengths = replay.lengths[rows][:, None]
        at = torch.as_tensor(rng.integers(0, lengths + 1, (len(rows), s.vae_beliefs)))
        of = torch.as_tensor(rng.integers(0, lengths, (len(rows), s.vae_steps)))
        inputs = replay.inputs[rows][:, : int(lengths.max()) + 1].to(self._device)
        belief, _ = self._network.beliefs(inputs, inputs.new_zeros(len(rows), self._network.state_size))
        noise = torch.randn((len(rows), s.vae_beliefs, s.latent), generator=noise_rng).to(inputs)
        steps = Predicted.of(inputs, self._spec.observation_dim, self._spec.action_dim)
        losses = elbo_losses(belief, steps, self._decoders, at.to(self._device), of.to(self._device), noise)
        loss = s.reward_weight * losses.reward + s.state_weight * losses.state + s.kl_weight * losses.kl
        check_finite("the loss of the belief", loss)
        optimizer = self._optimizers["vae"]
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        norm = nn.utils.clip_grad_norm_(self._vae_params, s.max_gradient_norm)
        check_finite("the gradient of the belief", norm)
        optimizer.step()
        return {"reward_error": losses.reward.item(), "state_error": losses.state.item(), "kl": losses.kl.item()}

    @torch.no_grad()
    def _beliefs(self, replay: TrialReplay) -> Tensor:
        """[N, L + 1, 2 latent] means and log standard deviations along all trials of the replay."""
        found = []
        for inputs in torch.split(replay.inputs[: replay.size], BELIEFS_AT_ONCE):
            belief, _ = self._network.beliefs(
                inputs.to(self._device), torch.zeros(len(inputs), self._network.state_size, device=self._device)
            )
            found.append(torch.cat(belief, dim=-1))
        return torch.cat(found)

    def _update_control(
        self, replay: TrialReplay, beliefs: Tensor, rng: np.random.Generator, noise_rng: torch.Generator
    ) -> Metrics:
        """One step of the critics, then of policy and value function, on steps of all trials alike."""
        s, nets = self.settings, self._nets
        batch = self._batch(replay, beliefs, *replay.draw(rng, s.batch_size))
        nothing = batch.obs[:, :0]  # the belief is part of what soft actor-critic takes for the observation
        q_loss = sac.critic_loss(nets, batch, nothing, s.discount)
        sac.separate_step("critic", q_loss, self._critic_params, self._optimizers["critic"])
        noise = networks.standard_normal(batch.action, noise_rng)
        losses = sac.actor_losses(nets, batch, nothing, noise, s.policy_regularisation)
        sac.separate_step(
            "policy and value", losses.policy + losses.value, self._actor_params, self._optimizers["actor"]
        )
        sac.soft_update(nets.target_value, nets.value, s.tau)
        return {
            "q_loss": q_loss.item(),
            "value_loss": losses.value.item(),
            "policy_loss": losses.policy.item(),
            "entropy": losses.entropy.item(),
        }

    def _batch(self, replay: TrialReplay, beliefs: Tensor, row: Array, step: Array) -> sac.Batch:
        """Steps of the Bayes-adaptive process, whose states are an observation and the belief beside it."""
        s, obs_dim, action_dim = self.settings, self._spec.observation_dim, self._spec.action_dim
        now, then = (replay.inputs[row, t].to(self._device) for t in (step, step + 1))
        states = [torch.cat([x[:, :obs_dim], beliefs[row, t]], dim=-1) for x, t in ((now, step), (then, step + 1))]
        action = self._scale.normalise(then[:, obs_dim : obs_dim + action_dim].cpu().numpy())
        reward = replay.reward[row, step].to(now) * s.reward_scale
        return sac.Batch(states[0], torch.as_tensor(action).to(now), reward, states[1], torch.zeros_like(reward))

    def _new_replay(self) -> TrialReplay:
        return TrialReplay(self.settings.replay_trials, self.trial_episodes * self._spec.horizon, input_dim(self._spec))

    def adapt(self, policy: Policy, evidence: Episodes) -> RecurrentPolicy:
        """The policy whose trials start from the belief left by the evidence's episodes, played in order."""
        if not isinstance(policy, BeliefPolicy):
            raise TypeError(f"VariBAD cannot adapt a {type(policy).__name__}")
        return after_evidence(policy, evidence)

    def _parameters(self) -> dict[str, Params]:
        return {**self._nets.by_name(), **{f"{name} decoder": params for name, params in self._decoders.items()}}

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = {
            "encoder": self._network.state_dict(),
            "networks": {
                network: {name: value.detach() for name, value in params.items()}
                for network, params in self._parameters().items()
            },
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self._optimizers.items()},
            "iteration": self._iteration,
        }
        if self._replay is not None:
            state["replay"] = self._replay.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Without "replay", as in model files, training would begin by collecting initial trials again."""
        self._network.load_state_dict(state["encoder"])
        with torch.no_grad():
            for network, params in self._parameters().items():
                for name, value in params.items():
                    value.copy_(state["networks"][network][name])
        for name, optimizer in self._optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self._iteration = state["iteration"]
        if "replay" in state:
            self._replay = self._new_replay()
            self._replay.load_state_dict(state["replay"])


def box_of(spec: FamilySpec) -> sac.BoxScale:
    """The bounds of the actions. Raises ValueError where actions are discrete or have none."""
    if not isinstance(spec.action_space, spaces.Box):
        raise ValueError(f"VariBAD acts on continuous actions only, {spec.name!r} has {spec.action_space}")
    return sac.BoxScale.of(spec.action_space)


def make_decoders(spec: FamilySpec, settings: Settings, seed: int) -> dict[str, Params]:
    """The decoders that have weight: "reward" reads (z, s, a, s'), "state" (z, s, a)."""
    seen = settings.latent + spec.observation_dim + spec.action_dim
    sizes = {"reward": (seen + spec.observation_dim, *settings.decoder_hidden, 1)}
    if settings.state_weight:
        sizes["state"] = (seen, *settings.decoder_hidden, spec.observation_dim)
    return {
        name: networks.init_mlp(layers, networks.torch_generator(key(seed, "initial parameters", f"{name} decoder")))
        for name, layers in sizes.items()
    }


def build(spec: FamilySpec, settings: Settings, seed: int, device: str) -> VariBAD:
    return VariBAD(spec, settings, seed, device)
