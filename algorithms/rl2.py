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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from kshot.learning import ppo, returns
from kshot.learning.actor_critic import ActorCritic, Deviation, RecurrentNetwork
from kshot.learning.checks import check_finite, require_at_least_one, require_positive
from kshot.learning.memory_layers import GRU, LSTM, Transformer
from kshot.learning.recurrent_policy import Border, RecurrentPolicy, input_dim
from kshot.learning.sequences import Outputs, Sequences, cut, minibatches, read_chunks
from kshot.learning.trials import Reading, Trials, after_evidence, read, to_trials
from kshot.learning.value_scale import ValueScale
from kshot.seeding import generator, key
from kshot.types import ActionKind, Array, Collect, Episodes, Evidence, FamilySpec, Metrics, Mode, Policy, Task

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
        value_scale: "fixed", the critic learns values as they are, so that ``reward_scale`` has to bring them near 1;
            or "running", it starts at zero and learns their deviations from their running mean, in units of their
            running standard deviation (van Hasselt et al. 2016, PopArt), which needs no factor and follows returns
            that grow by orders of magnitude.
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
        precision: of the factors of the large matrix products that the gradients of a GRU are made of, on a processor:
            "float32", or "bfloat16", which some processors multiply several times as fast.
    """

    memory: Literal["gru", "lstm", "transformer"] = "gru"
    hidden: int = 64
    encoder: tuple[int, ...] = ()
    init_std: float = 1.0
    reward_input_scale: float = 1.0
    reward_scale: float = 1.0
    value_scale: Literal["fixed", "running"] = "fixed"
    border: Border = "kept"
    trial_episodes: int = 0
    trial_end: Literal["bootstrapped", "timed", "terminated"] = "timed"
    std: Deviation = "free"
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
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        require_at_least_one(self, "hidden", "meta_batch", "trials", "epochs", "minibatches")
        require_positive(self, "lr", "init_std", "clip", "reward_scale")
        self.check_memory()
        if self.precision != "float32" and self.memory != "gru":
            raise ValueError(f"precision 'bfloat16' is of a GRU's gradients; use 'float32' with {self.memory!r}")
        if self.meta_batch * self.trials < self.minibatches and not self.chunk:
            raise ValueError(f"minibatches ({self.minibatches}) exceed the trials of a batch: meta_batch * trials")
        if not 0 <= self.burn_in < max(self.chunk, 1):
            raise ValueError(f"burn_in must be shorter than a chunk ({self.chunk} steps), got {self.burn_in}")

    def check_memory(self) -> None:
        """Raise ValueError for settings of the recurrent layer that do not fit together."""
        if self.memory == "transformer":
            raise ValueError("memory must be 'gru' or 'lstm'; use rl2_transformer for a transformer")

    def make_memory_layer(self, width_in: int) -> GRU | LSTM | Transformer:
        """The recurrent layer over inputs of a given width."""
        if self.memory == "lstm":
            return LSTM(width_in, self.hidden)
        return GRU(width_in, self.hidden, getattr(torch, self.precision))


class RL2:
    """See the module's docstring; the protocol is ``kshot.types.MetaLearner``.

    Learners of this kind pass a network of their own, and override ``loss`` where theirs asks for more.
    """

    trains = True
    fixed_tasks = False
    adaptation_episodes = 1

    def __init__(self, spec: FamilySpec, settings: Settings, network: RecurrentNetwork, seed: int) -> None:
        self.settings, self._spec, self._network, self._seed = settings, spec, network, seed
        self._scale = ValueScale(network) if settings.value_scale == "running" else None
        self._optimizer = torch.optim.Adam(network.parameters(), lr=settings.lr, eps=1e-5, fused=True)
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
        s = self.settings
        return RecurrentPolicy(self._network, self._spec, s.reward_input_scale, s.border)

    def meta_step(self, tasks: Sequence[Task], collect: Collect, progress: float) -> Metrics:
        s = self.settings
        policy = self.policy()
        episodes = collect(policy, tasks, s.trials, self.trial_episodes)
        trials = to_trials(policy, episodes, self.trial_episodes, policy.start(len(tasks), s.trials))
        chunk = s.chunk or trials.mask.shape[1]

        reading = read(self._network, trials, chunk, s.burn_in)
        if self._scale is not None:
            value, after = self._scale.values(reading.value), self._scale.values(reading.value_after)
            reading = reading._replace(value=value, value_after=after)
        advantage = self.advantage(trials, reading)
        normalised = returns.normalise(advantage, trials.mask, axes=(0, 1))
        targets = advantage + reading.value.numpy(force=True)
        if self._scale is not None:
            targets = self._scale.standardised(targets, trials.mask)
        arrays = (normalised, targets, trials.mask)
        weight, target, mask = (torch.tensor(array).to(reading.value) for array in arrays)
        steps = (trials.action, reading.log_prob, weight, target, trials.left, mask)
        sequences = cut(trials.inputs[:, :-1], reading.states, steps, chunk, s.burn_in)

        metrics = self._optimise(sequences, 1 - (1 - s.lr_end) * progress)
        if self._scale is not None:
            metrics |= {"value_mean": self._scale.mean, "value_deviation": self._scale.deviation}
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
        updates = [
            self._update(batch, s.entropy * remaining)
            for _ in range(s.epochs)
            for batch in minibatches(sequences, rng, s.minibatches)
        ]
        means = {name: float(np.mean([update[name] for update in updates])) for name in updates[0]}
        return {"updates": len(updates), **means}

    def _update(self, batch: Sequences, entropy_weight: float) -> Metrics:
        """One gradient step on a minibatch of chunks."""
        loss, metrics = self.loss(read_chunks(self._network, batch, self.settings.burn_in), batch, entropy_weight)
        check_finite("the PPO loss", loss)
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        norm = nn.utils.clip_grad_norm_(self._network.parameters(), self.settings.max_gradient_norm)
        check_finite("the PPO gradient", norm)
        self._optimizer.step()
        return metrics

    def loss(self, outputs: Outputs, batch: Sequences, entropy_weight: float) -> tuple[Tensor, Metrics]:
        """What an update minimises, and what is logged of it, the same names in every update."""
        return ppo.loss(outputs, batch, self.settings.clip, self.settings.value_weight, entropy_weight)

    def adapt(self, policy: Policy, evidence: Episodes) -> RecurrentPolicy:
        """The policy whose trials start from the memory left by the evidence's episodes, played in order."""
        if not isinstance(policy, RecurrentPolicy):
            raise TypeError(f"RL2 cannot adapt a {type(policy).__name__}")
        return after_evidence(policy, evidence)

    def state_dict(self) -> dict[str, Any]:
        return {
            "network": self._network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "iteration": self._iteration,
            **({} if self._scale is None else {"value_scale": self._scale.state_dict()}),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._iteration = state["iteration"]
        if self._scale is not None:
            self._scale.load_state_dict(state["value_scale"])


def make_network(spec: FamilySpec, settings: Settings, seed: int) -> ActorCritic:
    """The network of the settings. Raises ValueError for a head of standard deviations that actions do not have."""
    if settings.std == "head" and spec.action_kind == "discrete":
        raise ValueError(f"std 'head' is of continuous actions, {spec.name!r} has discrete ones; use 'free'")
    return ActorCritic(
        (input_dim(spec), *settings.encoder),
        settings.make_memory_layer,
        spec.action_dim,
        std=None if spec.action_kind == "discrete" else settings.std,
        init_std=settings.init_std,
        timed=settings.trial_end == "timed",
        seed=key(seed, "initial parameters"),
    )


def build(spec: FamilySpec, settings: Settings, seed: int, device: str) -> RL2:
    return RL2(spec, settings, make_network(spec, settings, seed).to(device), seed)
