"""RL^2: Duan et al. 2016 (arXiv 1611.02779). The learning algorithm is a recurrent policy's hidden state.

The policy receives the observation, its last action, the last reward and whether the last episode ended, and keeps its
hidden state over the episodes of a trial; the return of the whole trial is maximised, here with PPO (Schulman et al.
2017, arXiv 1707.06347). Adapting to a task is playing it: no parameter changes.

The last reward and the end of an episode reach the policy on the first step of the next episode. Advantages are
estimated over the concatenated trial, across episode borders: what is learnt in one episode pays off in the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from kshot.learning import distributions, networks, returns
from kshot.learning.checks import check_finite, require_at_least_one, require_positive
from kshot.learning.distributions import Distribution
from kshot.seeding import generator, key
from kshot.types import ActionKind, Array, Collect, Episodes, Evidence, FamilySpec, Memory, Metrics, Policy, Task

EVIDENCE: Evidence = "rollouts"
ACTIONS: frozenset[ActionKind] = frozenset({"continuous", "discrete"})


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters of RL^2 with PPO.

    Attributes:
        hidden: width of the recurrent layer (GRU).
        encoder: width of a tanh layer before it; 0 for none.
        init_std: initial standard deviation of continuous actions.
        observation_clip: bound on normalised observations.
        reward_input_scale: factor on the reward as an input.
        reward_scale: factor on the reward as learning signal (sizes the value function's targets).
        trial_episodes: episodes per trial in training; 0 means the family's own number.
        meta_batch: tasks per update.
        trials: trials per task and update.
        epochs: passes over a batch.
        minibatches: updates per pass; trials are split, never the steps within.
        chunk: steps through which gradients flow back; 0 for the whole trial. Hidden states at chunk starts are
            recomputed with the current parameters at the start of every epoch.
        clip: PPO's bound on the probability ratio.
        discount: gamma.
        gae_lambda: lambda of generalised advantage estimation.
        lr: Adam's learning rate at the start.
        lr_end: the share of ``lr`` left at the end of the budget, reached linearly.
        entropy: weight of the entropy bonus at the start, decaying like the learning rate.
        value_weight: weight of the value loss.
        max_gradient_norm: bound on the norm of the gradient.
    """

    hidden: int = 64
    encoder: int = 0
    init_std: float = 1.0
    observation_clip: float = 5.0
    reward_input_scale: float = 1.0
    reward_scale: float = 1.0
    trial_episodes: int = 0
    meta_batch: int = 1000
    trials: int = 1
    epochs: int = 4
    minibatches: int = 4
    chunk: int = 0
    clip: float = 0.2
    discount: float = 0.99
    gae_lambda: float = 0.3
    lr: float = 3e-3
    lr_end: float = 0.02
    entropy: float = 0.01
    value_weight: float = 0.5
    max_gradient_norm: float = 1.0

    def __post_init__(self) -> None:
        require_at_least_one(self, "hidden", "meta_batch", "trials", "epochs", "minibatches")
        require_positive(self, "lr", "init_std", "clip", "reward_scale")
        if self.meta_batch * self.trials < self.minibatches:
            raise ValueError(f"minibatches ({self.minibatches}) exceed the trials of a batch: meta_batch * trials")


class ActorCritic(nn.Module):
    """Encoder -> GRU -> policy and value heads, over sequences of step inputs."""

    def __init__(self, input_dim: int, action_dim: int, continuous: bool, settings: Settings, seed: int) -> None:
        super().__init__()
        width = settings.encoder or input_dim
        # Built without values, which torch would draw from its global generator, then filled from our own.
        meta = torch.device("meta")
        self.encoder = nn.Linear(input_dim, settings.encoder, device=meta) if settings.encoder else None
        self.gru = nn.GRU(width, settings.hidden, batch_first=True, device=meta)
        self.policy_head = nn.Linear(settings.hidden, action_dim, device=meta)
        self.value_head = nn.Linear(settings.hidden, 1, device=meta)
        self.to_empty(device="cpu")
        self.log_std = nn.Parameter(torch.full((action_dim,), float(np.log(settings.init_std)))) if continuous else None
        rng = networks.torch_generator(seed)
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if name == "log_std":
                    continue
                if "bias" in name:
                    parameter.zero_()
                elif name.startswith("gru.weight_hh"):
                    for gate in parameter.chunk(3):
                        nn.init.orthogonal_(gate, generator=rng)
                elif name.endswith("weight") or name.startswith("gru.weight_ih"):
                    nn.init.xavier_uniform_(parameter, generator=rng)
            self.policy_head.weight.mul_(0.1)  # a nearly uniform first policy explores every action

    def forward(self, inputs: Tensor, hidden: Tensor) -> tuple[Distribution, Tensor, Tensor]:
        """Inputs [B, L, I], hidden [B, hidden] -> distribution over [B, L], value [B, L], last hidden."""
        encoded = inputs if self.encoder is None else torch.tanh(self.encoder(inputs))
        output, last = self.gru(encoded, hidden.unsqueeze(0).contiguous())
        head = self.policy_head(output)
        value = self.value_head(output).squeeze(-1)
        if self.log_std is None:
            return (head,), value, last.squeeze(0)
        log_std = self.log_std.clamp(min=distributions.MIN_LOG_STD).expand_as(head)
        return (head, log_std), value, last.squeeze(0)


@dataclass(frozen=True)
class RecurrentPolicy:
    """The network with the memory it starts from: zeros, or, once adapted, one memory per task.

    Memory: hidden [T, C, hidden], and the last step's action [T, C, action_dim] (one-hot if discrete),
    reward [T, C] and done [T, C], which are inputs of the next step.
    """

    network: ActorCritic
    spec: FamilySpec
    settings: Settings
    memory: Mapping[str, Array] | None = None

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        if self.memory is None:
            lead = (n_tasks, n_copies)
            hidden = np.zeros((*lead, self.settings.hidden), dtype=np.float32)
            action = np.zeros((*lead, self.spec.action_dim), dtype=np.float32)
            return {
                "hidden": hidden,
                "action": action,
                "reward": np.zeros(lead, np.float32),
                "done": np.zeros(lead, np.float32),
            }
        adapted_tasks = self.memory["reward"].shape[0]
        if adapted_tasks != n_tasks:
            raise ValueError(f"policy adapted to {adapted_tasks} tasks cannot act on {n_tasks}")
        return {name: np.repeat(value[:, None], n_copies, axis=1) for name, value in self.memory.items()}

    def inputs(self, obs: Array, action: Array, reward: Array, done: Array) -> Tensor:
        """[..., D + action_dim + 2] network inputs of steps whose *previous* step gave action, reward and done."""
        scaled = (obs - self.spec.observation_center) / self.spec.observation_scale
        clip = self.settings.observation_clip
        parts = [
            np.clip(scaled, -clip, clip),
            action,
            reward[..., None] * self.settings.reward_input_scale,
            done[..., None],
        ]
        anchor = self.network.value_head.weight
        return torch.as_tensor(np.concatenate(parts, axis=-1), dtype=anchor.dtype, device=anchor.device)

    def encode_action(self, action: Array) -> Array:
        """The action as an input: one-hot [..., n], or the continuous action clipped to the space, as executed."""
        if self.spec.action_kind == "discrete":
            return np.eye(self.spec.action_dim, dtype=np.float32)[action]
        low, high = self.spec.action_space.low, self.spec.action_space.high  # type: ignore[union-attr]  # a Box here
        return np.clip(action, low, high).astype(np.float32)

    @torch.no_grad()
    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        lead = obs.shape[:2]
        inputs = self.inputs(obs, memory["action"], memory["reward"], memory["done"]).flatten(0, 1).unsqueeze(1)
        hidden = torch.as_tensor(memory["hidden"]).to(inputs).flatten(0, 1)
        distribution, _, hidden = self.network(inputs, hidden)
        given = None if noise is None else torch.as_tensor(noise).to(inputs).flatten(0, 1).unsqueeze(1)
        action = distributions.sample(distribution, given)
        log_prob = distributions.log_prob(distribution, action)
        new_memory = {**memory, "hidden": hidden.cpu().numpy().reshape(*lead, -1)}
        action = action.squeeze(1).reshape(*lead, *action.shape[2:])
        return action.cpu().numpy(), log_prob.reshape(lead).cpu().numpy(), new_memory

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        last = {
            "action": self.encode_action(action),
            "reward": reward.astype(np.float32),
            "done": done.astype(np.float32),
        }
        return {**memory, **last}


@dataclass(frozen=True)
class Trials:
    """Trials as sequences of L steps, real steps first: inputs [B, L, I]; all others [B, L]; action as played."""

    inputs: Tensor
    action: Tensor
    reward: Array
    mask: Array
    lengths: Array
    last: Memory


class Minibatch(NamedTuple):
    """Chunks of trials for one PPO update: inputs [B, L, I], the others [B, L]."""

    inputs: Tensor
    action: Tensor
    old_log_prob: Tensor
    advantage: Tensor
    target: Tensor
    mask: Tensor


def to_trials(policy: RecurrentPolicy, episodes: Episodes, trial_episodes: int, start: Memory) -> Trials:
    """Cut a batch of episodes into trials and shift actions, rewards and dones to where the policy saw them.

    Args:
        policy: encodes the inputs.
        episodes: [T, trials * trial_episodes, H], trial by trial.
        trial_episodes: consecutive episodes that share a memory.
        start: memory [T, trials] at the beginning of every trial (its action, reward and done are the first inputs).
    """
    n = episodes.n_tasks * episodes.n_episodes // trial_episodes

    def sequence(array: Array) -> Array:
        return array.reshape(n, -1, *array.shape[3:])

    mask = sequence(episodes.mask)
    # Episodes that end early leave gaps in the concatenated trial; moving real steps to the front closes them.
    order = np.argsort(~mask, axis=1, kind="stable")

    def compact(array: Array) -> Array:
        index = order.reshape(*order.shape, *(1,) * (array.ndim - 2))
        return np.take_along_axis(array, index, axis=1)

    mask = compact(mask)
    obs, action, reward = (compact(sequence(x)) for x in (episodes.obs, episodes.action, episodes.reward))
    done = compact(sequence(episodes.terminated | episodes.truncated)).astype(np.float32)
    encoded = policy.encode_action(action)
    first = {name: start[name].reshape(n, 1, *start[name].shape[2:]) for name in ("action", "reward", "done")}
    shifted = {
        "action": np.concatenate([first["action"], encoded[:, :-1]], axis=1),
        "reward": np.concatenate([first["reward"], reward[:, :-1]], axis=1),
        "done": np.concatenate([first["done"], done[:, :-1]], axis=1),
    }
    lengths = mask.sum(axis=1)
    rows = np.arange(n)
    last = {"action": encoded[rows, lengths - 1], "reward": reward[rows, lengths - 1], "done": done[rows, lengths - 1]}
    inputs = policy.inputs(obs, **shifted)
    return Trials(inputs, torch.as_tensor(action, device=inputs.device), reward, mask, lengths, last)


def forward_chunked(
    network: ActorCritic, inputs: Tensor, hidden: Tensor, chunk: int
) -> tuple[list[tuple[Distribution, Tensor]], list[Tensor]]:
    """Run sequences chunk by chunk; returns each chunk's (distribution, value) and the hidden state it started from."""
    outputs, starts = [], []
    for part in torch.split(inputs, chunk or inputs.shape[1], dim=1):
        starts.append(hidden)
        distribution, value, hidden = network(part, hidden)
        outputs.append((distribution, value))
    return outputs, starts


class RL2:
    """See the module's docstring; the protocol is ``kshot.types.MetaLearner``."""

    trains = True
    fixed_tasks = False
    adaptation_episodes = 1

    def __init__(self, spec: FamilySpec, settings: Settings, seed: int, device: str) -> None:
        self.settings, self._spec, self._seed = settings, spec, seed
        input_dim = spec.observation_dim + spec.action_dim + 2
        continuous = spec.action_kind == "continuous"
        initial = key(seed, "initial parameters")
        self._network = ActorCritic(input_dim, spec.action_dim, continuous, settings, initial).to(device)
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=settings.lr, eps=1e-5)
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

    def policy(self) -> RecurrentPolicy:
        return RecurrentPolicy(self._network, self._spec, self.settings)

    def meta_step(self, tasks: Sequence[Task], collect: Collect, progress: float) -> Metrics:
        s = self.settings
        policy = self.policy()
        episodes = collect(policy, tasks, s.trials, self.trial_episodes)
        trials = to_trials(policy, episodes, self.trial_episodes, policy.start(len(tasks), s.trials))
        hidden = trials.inputs.new_zeros(trials.inputs.shape[0], s.hidden)

        with torch.no_grad():
            outputs, _ = forward_chunked(self._network, trials.inputs, hidden, s.chunk)
            value = torch.cat([chunk_value for _, chunk_value in outputs], dim=1)
            old_log_prob = torch.cat(
                [
                    distributions.log_prob(distribution, action)
                    for (distribution, _), action in zip(outputs, self._chunks(trials.action), strict=True)
                ],
                dim=1,
            )
        value_array = value.double().cpu().numpy()
        # A trial is over when its last episode is: nothing is bootstrapped at its end, nor cut at episode borders.
        advantage = returns.gae(trials.reward * s.reward_scale, value_array, trials.mask, s.discount, s.gae_lambda)
        target = torch.as_tensor(advantage + value_array).to(value)
        normalised = torch.as_tensor(returns.normalise(advantage, trials.mask, axes=(0, 1))).to(value)
        mask = torch.as_tensor(trials.mask).to(value)

        remaining = 1 - (1 - s.lr_end) * progress
        for group in self._optimizer.param_groups:
            group["lr"] = s.lr * remaining
        rng = generator(self._seed, "minibatches", self._iteration)
        losses = []
        for _ in range(s.epochs):
            with torch.no_grad():
                _, starts = forward_chunked(self._network, trials.inputs, hidden, s.chunk)
            for rows in np.array_split(rng.permutation(len(mask)), s.minibatches):
                index = torch.as_tensor(rows, device=mask.device)
                sequences = (trials.inputs, trials.action, old_log_prob, normalised, target, mask)
                chunks = zip(*(self._chunks(sequence[index]) for sequence in sequences), strict=True)
                for start, chunk in zip(starts, chunks, strict=True):
                    losses.append(self._update(start[index], Minibatch(*chunk), s.entropy * remaining))
        self._iteration += 1
        metrics = {name: float(np.mean([loss[name] for loss in losses])) for name in losses[0]} if losses else {}
        by_episode = episodes.returns.reshape(len(tasks), s.trials, self.trial_episodes).mean(axis=(0, 1))
        metrics |= {
            "return": float(by_episode[0]),
            "return_adapted": float(by_episode[-1]),
            "trial_return": float(by_episode.sum()),
            "success_adapted": float(episodes.success_last[:, self.trial_episodes - 1 :: self.trial_episodes].mean()),
        }
        return metrics

    def _chunks(self, sequence: Tensor) -> tuple[Tensor, ...]:
        return torch.split(sequence, self.settings.chunk or sequence.shape[1], dim=1)

    def _update(self, hidden: Tensor, batch: Minibatch, entropy_weight: float) -> Metrics:
        """One PPO update on a minibatch of chunks (Schulman et al. 2017, eq. 9)."""
        s = self.settings
        total = batch.mask.sum()
        if total == 0:  # a chunk that lies behind the end of all its trials
            return dict.fromkeys(("policy_loss", "value_loss", "entropy", "clip_fraction"), 0.0)

        def mean(value: Tensor) -> Tensor:
            return (value * batch.mask).sum() / total

        distribution, value, _ = self._network(batch.inputs, hidden)
        ratio = (distributions.log_prob(distribution, batch.action) - batch.old_log_prob).exp()
        clipped = ratio.clamp(1 - s.clip, 1 + s.clip)
        policy_loss = -mean(torch.minimum(ratio * batch.advantage, clipped * batch.advantage))
        value_loss = mean((value - batch.target) ** 2)
        entropy = mean(distributions.entropy(distribution))
        loss = policy_loss + s.value_weight * value_loss - entropy_weight * entropy
        check_finite("the PPO loss", loss)
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        norm = nn.utils.clip_grad_norm_(self._network.parameters(), s.max_gradient_norm)
        check_finite("the PPO gradient", norm)
        self._optimizer.step()
        return {
            "policy_loss": float(policy_loss.detach()),
            "value_loss": float(value_loss.detach()),
            "entropy": float(entropy.detach()),
            "clip_fraction": float(mean(((ratio - 1).abs() > s.clip).to(ratio)).detach()),
        }

    @torch.no_grad()
    def adapt(self, policy: Policy, evidence: Episodes) -> RecurrentPolicy:
        """The policy whose trials start from the memory left by the evidence's episodes, played in order."""
        if not isinstance(policy, RecurrentPolicy):
            raise TypeError(f"RL2 cannot adapt a {type(policy).__name__}")
        start = policy.start(evidence.n_tasks, 1)
        trials = to_trials(policy, evidence, evidence.n_episodes, start)
        hidden = torch.as_tensor(start["hidden"]).to(trials.inputs).flatten(0, 1)
        # Sequences differ in length: run step by step and keep the hidden state of each one's last real step.
        steps = torch.as_tensor(trials.lengths, device=hidden.device)
        for t in range(int(trials.lengths.max())):
            _, _, following = policy.network(trials.inputs[:, t : t + 1], hidden)
            hidden = torch.where((t < steps).unsqueeze(-1), following, hidden)
        return replace(policy, memory={"hidden": hidden.cpu().numpy(), **trials.last})

    def state_dict(self) -> dict[str, Any]:
        return {
            "network": self._network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "iteration": self._iteration,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._iteration = state["iteration"]


def build(spec: FamilySpec, settings: Settings, seed: int, device: str) -> RL2:
    return RL2(spec, settings, seed, device)
