"""RL^2: Duan et al. 2016 (arXiv 1611.02779). The learning algorithm is a recurrent policy's hidden state.

The policy receives the observation, its last action, the last reward and whether the last episode ended, and keeps its
hidden state over the episodes of a trial; the return of the whole trial is maximised, here with PPO (Schulman et al.
2017, arXiv 1707.06347). Adapting to a task is playing it: no parameter changes.

Advantages are estimated over the concatenated trial, across episode borders: what is learnt in one episode pays off in
the next. Nothing in the inputs says when the trial ends, so that a critic which reads them alone cannot know it; what
that means for the last steps is the setting ``trial_end``. Updates are made on sequences, never on shuffled steps: a
trial is cut into chunks, and each chunk's hidden state is first brought up to date by reading the steps before it (the
"burn-in" of Kapturowski et al. 2019, R2D2).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from kshot.learning import distributions, ppo, returns
from kshot.learning.actor_critic import ActorCritic
from kshot.learning.checks import check_finite, require_at_least_one, require_positive
from kshot.learning.distributions import Distribution
from kshot.learning.memory import GRU, LSTM, Transformer
from kshot.learning.sequences import Sequences, cut
from kshot.seeding import generator, key
from kshot.types import ActionKind, Array, Collect, Episodes, Evidence, FamilySpec, Memory, Metrics, Mode, Policy, Task

EVIDENCE: Evidence = "rollouts"
ACTIONS: frozenset[ActionKind] = frozenset({"continuous", "discrete"})
# Duan et al. 2016 run the policy as it was trained, by sampling: its mean action does not explore, and exploring is
# what the first episodes of a trial are for.
TEST_ACTIONS: Mode = "sampled"


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters of RL^2 with PPO.

    Attributes:
        memory: the recurrent layer, "gru" or "lstm" ("transformer": see ``rl2_transformer``).
        hidden: its width.
        encoder: widths of the tanh layers before it.
        init_std: initial standard deviation of continuous actions (of the head's: while its weights are small).
        reward_input_scale: factor on the reward as an input.
        reward_scale: factor on the reward as learning signal (sizes the value function's targets).
        border: what the policy sees of the last step at the first step of the next episode: its action, reward and
            done ("kept"), or zeros ("zeroed"), as with ``RNNBasedMetaRLWrapper`` of Meta-World 3.1.1, under whose
            autoreset the last reward and done never arrive.
        trial_episodes: episodes per trial in training; 0 means the family's own number.
        trial_end: what is worth what comes after a trial. "bootstrapped": the critic's value of another episode on the
            same task, as if the trial were cut off there (the objective is then discounted and has no horizon).
            "timed": nothing, and the critic, not the policy, sees the share of the trial that is left. "terminated":
            nothing, and the critic cannot know it, as in published code with a recurrent critic.
        std: standard deviation of continuous actions: one "free" parameter per coordinate, or a "head" beside that of
            the mean, so that it depends on what was seen (Meta-World+: ``std_type=StdType.MLP_HEAD``).
        meta_batch: tasks per update.
        trials: trials per task and update.
        epochs: passes over a batch.
        minibatches: updates per pass; chunks are split among them, never the steps within.
        chunk: steps of a trial that are learnt from as one sequence, through which gradients flow back; 0 for the
            whole trial.
        burn_in: steps read before each chunk but a trial's first, from the hidden state left there by the policy that
            played.
        clip: PPO's bound on the probability ratio.
        discount: gamma.
        gae_lambda: lambda of generalised advantage estimation.
        lr: Adam's learning rate at the start.
        lr_end: the share of ``lr`` left at the end of the budget, reached linearly.
        entropy: weight of the entropy bonus at the start, decaying like the learning rate.
        value_weight: weight of the value loss.
        max_gradient_norm: bound on the norm of the gradient.
    """

    memory: Literal["gru", "lstm", "transformer"] = "gru"
    hidden: int = 64
    encoder: tuple[int, ...] = ()
    init_std: float = 1.0
    reward_input_scale: float = 1.0
    reward_scale: float = 1.0
    border: Literal["kept", "zeroed"] = "kept"
    trial_episodes: int = 0
    trial_end: Literal["bootstrapped", "timed", "terminated"] = "timed"
    std: Literal["free", "head"] = "free"
    meta_batch: int = 1000
    trials: int = 1
    epochs: int = 4
    minibatches: int = 4
    chunk: int = 0
    burn_in: int = 0
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
        with torch.device("meta"):
            self.make_memory(1)  # refuses what does not fit together
        if self.meta_batch * self.trials < self.minibatches and not self.chunk:
            raise ValueError(f"minibatches ({self.minibatches}) exceed the trials of a batch: meta_batch * trials")
        if not 0 <= self.burn_in < max(self.chunk, 1):
            raise ValueError(f"burn_in must be shorter than a chunk ({self.chunk} steps), got {self.burn_in}")

    def make_memory(self, width_in: int) -> GRU | LSTM | Transformer:
        """The recurrent layer over inputs of a given width."""
        if self.memory == "transformer":
            raise ValueError("memory must be 'gru' or 'lstm'; use rl2_transformer for a transformer")
        return GRU(width_in, self.hidden) if self.memory == "gru" else LSTM(width_in, self.hidden)


@dataclass(frozen=True)
class RecurrentPolicy:
    """The network with the memory it starts from: zeros, or, once adapted, one memory per task.

    Memory: hidden [T, C, state_size], and the last step's action [T, C, action_dim] (one-hot if discrete),
    reward [T, C] and done [T, C], which are inputs of the next step.
    """

    network: ActorCritic
    spec: FamilySpec
    settings: Settings
    memory: Mapping[str, Array] | None = None

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        if self.memory is None:
            lead = (n_tasks, n_copies)
            widths = {
                "hidden": (self.network.memory.state_size,),
                "action": (self.spec.action_dim,),
                "reward": (),
                "done": (),
            }
            return {name: np.zeros((*lead, *width), dtype=np.float32) for name, width in widths.items()}
        adapted_tasks = self.memory["reward"].shape[0]
        if adapted_tasks != n_tasks:
            raise ValueError(f"policy adapted to {adapted_tasks} tasks cannot act on {n_tasks}")
        return {name: np.repeat(value[:, None], n_copies, axis=1) for name, value in self.memory.items()}

    def inputs(self, obs: Array, action: Array, reward: Array, done: Array) -> Tensor:
        """[..., D + action_dim + 2] network inputs of steps whose *previous* step gave action, reward and done."""
        parts = [
            self.spec.normalise(obs),
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

    def last_step(self, action: Array, reward: Array, done: Array) -> Memory:
        """What the next step's input holds of this one: action as returned by ``act``, the others of its shape."""
        last = {"action": self.encode_action(action), "reward": reward, "done": done}
        if self.settings.border == "zeroed":
            inside = ~done.astype(bool)
            last = {
                name: value * inside.reshape(inside.shape + (1,) * (value.ndim - inside.ndim))
                for name, value in last.items()
            }
        return {name: value.astype(np.float32) for name, value in last.items()}

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        return {**memory, **self.last_step(action, reward, done)}


@dataclass(frozen=True)
class Trials:
    """B trials as sequences of L steps, real steps first: all [B, L] but inputs [B, L + 1, I]; action as played.

    ``reward`` is the learning signal; ``left`` the share of the trial that is left before a step, all episodes counting
    alike; ``last`` [B] the action, reward and done that the step after the trial sees. That step's input follows the
    trial's last one: another episode on the task, which begins as the last one began.
    """

    inputs: Tensor
    left: Tensor
    action: Tensor
    reward: Array
    mask: Array
    lengths: Array
    last: Memory


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
    order = None if mask.all() else np.argsort(~mask, axis=1, kind="stable")

    def compact(array: Array) -> Array:
        sequences = sequence(array)
        if order is None:
            return sequences
        return np.take_along_axis(sequences, order.reshape(*order.shape, *(1,) * (sequences.ndim - 2)), axis=1)

    mask, action = compact(episodes.mask), compact(episodes.action)
    following = policy.last_step(action, compact(episodes.reward), compact(episodes.terminated | episodes.truncated))
    rows, lengths = np.arange(n), mask.sum(axis=1)
    first = {name: start[name].reshape(n, 1, *start[name].shape[2:]) for name in following}
    seen = {name: np.concatenate([first[name], value[:, :-1]], axis=1) for name, value in following.items()}
    last = {name: value[rows, lengths - 1] for name, value in following.items()}
    inputs = pad(policy.inputs(compact(episodes.obs), **seen), (0, 0, 0, 1))
    restart = episodes.obs[:, trial_episodes - 1 :: trial_episodes, 0].reshape(n, -1)
    inputs[rows, lengths] = policy.inputs(restart, **last)
    return Trials(
        inputs=inputs,
        left=torch.as_tensor(compact(_left(episodes, trial_episodes))).to(inputs),
        action=torch.tensor(action, device=inputs.device),
        reward=compact(episodes.training_reward),
        mask=mask,
        lengths=lengths,
        last=last,
    )


def _left(episodes: Episodes, trial_episodes: int) -> Array:
    """[T, E, H] share of the trial that is left before each step."""
    episode = np.arange(episodes.n_episodes)[:, None] % trial_episodes
    begun = episode + np.arange(episodes.mask.shape[2]) / episodes.mask.shape[2]
    return np.broadcast_to(1 - begun / trial_episodes, episodes.mask.shape).copy()


class Reading(NamedTuple):
    """What a network says of trials: log_prob and value of every step [B, L], the value [B] of what comes after them.

    ``states`` [B, n_chunks, S] are those where the chunks' burn-ins begin.
    """

    log_prob: Tensor
    value: Tensor
    value_after: Tensor
    states: Tensor


@torch.no_grad()
def read(network: ActorCritic, trials: Trials, chunk: int, burn_in: int) -> Reading:
    """Run trials through a network, chunk by chunk."""
    length = trials.mask.shape[1]
    begins = [max(0, at - burn_in) for at in range(0, length, chunk)]
    state = trials.inputs.new_zeros(trials.inputs.shape[0], network.memory.state_size)
    left = pad(trials.left, (0, 1))
    log_probs, values, states = [], [], []
    for begin, end in itertools.pairwise([*begins, length + 1]):
        states.append(state)
        distribution, features, state = network(trials.inputs[:, begin:end], state)
        values.append(network.value(features, left[:, begin:end]))
        played = trials.action[:, begin:end]
        taken = tuple(parameter[:, : played.shape[1]] for parameter in distribution)
        log_probs.append(distributions.log_prob(taken, played))
    value = torch.cat(values, dim=1)
    after = value[np.arange(len(value)), trials.lengths]
    return Reading(torch.cat(log_probs, dim=1), value[:, :-1], after, torch.stack(states, dim=1))


class RL2:
    """See the module's docstring; the protocol is ``kshot.types.MetaLearner``."""

    trains = True
    fixed_tasks = False
    adaptation_episodes = 1

    def __init__(self, spec: FamilySpec, settings: Settings, seed: int, device: str) -> None:
        if settings.std == "head" and spec.action_kind == "discrete":
            raise ValueError(f"std 'head' is of continuous actions, {spec.name!r} has discrete ones; use 'free'")
        self.settings, self._spec, self._seed = settings, spec, seed
        self._network = ActorCritic(
            (spec.observation_dim + spec.action_dim + 2, *settings.encoder),
            settings.make_memory,
            spec.action_dim,
            std=None if spec.action_kind == "discrete" else settings.std,
            init_std=settings.init_std,
            timed=settings.trial_end == "timed",
            seed=key(seed, "initial parameters"),
        ).to(device)
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=settings.lr, eps=1e-5, fused=True)
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
        chunk = s.chunk or trials.mask.shape[1]

        reading = read(self._network, trials, chunk, s.burn_in)
        advantage = self.advantage(trials, reading)
        normalised = returns.normalise(advantage, trials.mask, axes=(0, 1))
        arrays = (normalised, advantage + reading.value.numpy(force=True), trials.mask)
        weight, target, mask = (torch.tensor(array).to(reading.value) for array in arrays)
        steps = (trials.action, reading.log_prob, weight, target, trials.left, mask)
        sequences = cut(trials.inputs[:, :-1], reading.states, steps, chunk, s.burn_in)

        metrics = self._optimise(sequences, 1 - (1 - s.lr_end) * progress)
        self._iteration += 1
        by_episode = episodes.returns.reshape(len(tasks), s.trials, self.trial_episodes).mean(axis=(0, 1))
        metrics |= {
            "return": float(by_episode[0]),
            "return_adapted": float(by_episode[-1]),
            "trial_return": float(by_episode.sum()),
            "success_adapted": float(episodes.success_last[:, self.trial_episodes - 1 :: self.trial_episodes].mean()),
        }
        return metrics

    def advantage(self, trials: Trials, reading: Reading) -> Array:
        """[B, L] generalised advantage estimates over whole trials, across episode borders."""
        s = self.settings
        value, after = (x.double().cpu().numpy() for x in (reading.value, reading.value_after))
        bootstrap = after if s.trial_end == "bootstrapped" else None
        return returns.gae(trials.reward * s.reward_scale, value, trials.mask, s.discount, s.gae_lambda, bootstrap)

    def _optimise(self, sequences: Sequences, remaining: float) -> Metrics:
        """Epochs of PPO updates; ``remaining`` is the share of learning rate and entropy bonus that is left."""
        s = self.settings
        for group in self._optimizer.param_groups:
            group["lr"] = s.lr * remaining
        rng = generator(self._seed, "minibatches", self._iteration)
        losses = []
        for _ in range(s.epochs):
            n = len(sequences.mask)  # fewer where short trials leave fewer chunks than minibatches
            for rows in np.array_split(rng.permutation(n), min(s.minibatches, n)):
                index = torch.as_tensor(rows, device=sequences.mask.device)
                losses.append(self._update(Sequences(*(x[index] for x in sequences)), s.entropy * remaining))
        means = {name: float(np.mean([loss[name] for loss in losses])) for name in losses[0]}
        return {"updates": len(losses), **means}

    def _chunk_outputs(self, batch: Sequences) -> tuple[Distribution, Tensor]:
        """Distribution and value at every step of the chunks, each read after its burn-in."""
        state, burn_in = batch.state, self.settings.burn_in
        if burn_in:
            with torch.no_grad():
                _, _, warm = self._network(batch.inputs[:, :burn_in], state)
            state = torch.where(batch.first.unsqueeze(1), state, warm)
        distribution, features, _ = self._network(batch.inputs[:, burn_in:], state)
        return distribution, self._network.value(features, batch.left)

    def _update(self, batch: Sequences, entropy_weight: float) -> Metrics:
        """One PPO update on a minibatch of chunks (Schulman et al. 2017, eq. 9)."""
        s = self.settings
        total = batch.mask.sum()

        def mean(value: Tensor) -> Tensor:
            return (value * batch.mask).sum() / total

        distribution, value = self._chunk_outputs(batch)
        ratio = distributions.ratio(distribution, batch.action, batch.old_log_prob)
        policy_loss = -mean(ppo.clipped_surrogate(ratio, batch.advantage, s.clip))
        value_loss = mean((value - batch.target) ** 2)
        entropy = mean(distributions.entropy(distribution))
        loss = policy_loss + s.value_weight * value_loss - entropy_weight * entropy
        check_finite("the PPO loss", loss)
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        norm = nn.utils.clip_grad_norm_(self._network.parameters(), s.max_gradient_norm)
        check_finite("the PPO gradient", norm)
        self._optimizer.step()
        metrics = {
            "policy_loss": float(policy_loss.detach()),
            "value_loss": float(value_loss.detach()),
            "entropy": float(entropy.detach()),
            "clip_fraction": float(mean(ppo.out_of_bounds(ratio, s.clip).to(ratio)).detach()),
        }
        if distributions.kind(distribution) == "continuous":
            metrics["policy_std"] = float(mean(distribution[1].exp().mean(dim=-1)).detach())
        return metrics

    @torch.no_grad()
    def adapt(self, policy: Policy, evidence: Episodes) -> RecurrentPolicy:
        """The policy whose trials start from the memory left by the evidence's episodes, played in order."""
        if not isinstance(policy, RecurrentPolicy):
            raise TypeError(f"RL2 cannot adapt a {type(policy).__name__}")
        start = policy.start(evidence.n_tasks, 1)
        trials = to_trials(policy, evidence, evidence.n_episodes, start)
        hidden = torch.as_tensor(start["hidden"]).to(trials.inputs).flatten(0, 1)
        # What all sequences have is read in one go; the rest step by step, keeping each one's state at its last step.
        steps = torch.as_tensor(trials.lengths, device=hidden.device)
        common, longest = int(trials.lengths.min()), int(trials.lengths.max())
        _, _, hidden = policy.network(trials.inputs[:, :common], hidden)
        for t in range(common, longest):
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
