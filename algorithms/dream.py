"""DREAM: Liu et al. 2021 (arXiv 2008.02790). Learn what to find out apart from how to use it.

Whoever learns to explore and to exploit end to end has to do one well before the other pays. DREAM takes them apart.
The exploitation policy is told which training task it plays: z = f(id), with noise, and a bottleneck that keeps in f
what is of use alone. The exploration policy is paid for what its steps tell about f(id): for each by how much the guess
g(tau) of a decoder, that reads the trajectory so far, comes closer to it. On an unseen task the exploration policy
plays an episode, and the exploitation policy acts by z = g(tau).

Losses and rewards are those of ``TrajectoryEmbedder`` in the authors' code (github.com/ezliu/dream, embed.py). They
learn both policies by double Q-learning; here both are learnt by PPO as RL^2's are (``rl2``), on their own rewards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kshot.algorithms import rl2
from kshot.learning import networks
from kshot.learning.actor_critic import ActorCritic, RecurrentNetwork
from kshot.learning.checks import check_finite, require_at_least_one, require_positive
from kshot.learning.distributions import Distribution
from kshot.learning.memory_layers import GRU
from kshot.learning.recurrent_policy import RecurrentPolicy, input_dim
from kshot.learning.sequences import Outputs, Sequences
from kshot.learning.trials import Trials, to_trials
from kshot.seeding import generator, key
from kshot.types import ActionKind, Array, Collect, Episodes, Evidence, FamilySpec, Memory, Metrics, Mode, Policy, Task

EVIDENCE: Evidence = "rollouts"
ACTIONS: frozenset[ActionKind] = frozenset({"continuous", "discrete"})
# As RL^2: both policies are learnt by PPO and tested as they were trained. The authors act greedily on Q-values.
TEST_ACTIONS: Mode = rl2.TEST_ACTIONS


@dataclass(frozen=True)
class Settings(rl2.Settings):
    """RL^2's settings, which both policies have; ``trial_episodes`` is not used.

    Attributes:
        trials: episodes of exploitation per task and update, and as many trials of exploration.
        training_tasks: how many tasks there are to train on, each with an id of its own.
        exploration_episodes: episodes that are played to find out about a task.
        latent: dimension of z.
        latent_noise: standard deviation of what is added to f(id) in training.
        guessed: share of the exploitation episodes of training that are played by z = g(tau), as at test, instead of
            f(id); the authors' code takes turns. Who has never been told wrong things is lost at test.
        free_norm: squared norm of f(id) that costs nothing; what is beyond it is added to the exploitation's loss. It
            is also what all begin with, and the unit of what exploration earns.
        step_cost: what every step of exploration costs.
        exploration_entropy: of the exploration policy what ``entropy`` is of the exploitation policy. It has to wait
            until f and g mean something, and must not have settled on anything before.
    """

    training_tasks: int = 100
    exploration_episodes: int = 1
    latent: int = 16
    latent_noise: float = 0.1
    guessed: float = 0.5
    free_norm: float = 10.0
    step_cost: float = 0.0
    exploration_entropy: float = 0.1
    trials: int = 8
    gae_lambda: float = 0.9
    lr: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least_one(self, "training_tasks", "exploration_episodes", "latent")
        require_positive(self, "latent_noise", "free_norm")
        if not 0.0 <= self.guessed < 1.0:
            raise ValueError(f"guessed must be at least 0 and below 1, got {self.guessed}")

    @property
    def guessing(self) -> int:
        """How many of the ``trials`` of a task are played by g(tau)."""
        return int(self.trials * self.guessed)


@dataclass(frozen=True)
class ToldPolicy(RecurrentPolicy):
    """A recurrent policy that is told something of the task beside what it observes.

    ``told`` [T, C, W], or [T, 1, W] for all copies. Memory: as ``RecurrentPolicy``, and what it is told.
    """

    told: Array = field(default_factory=lambda: np.zeros((0, 1, 0)))

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        if len(self.told) != n_tasks:
            raise ValueError(f"policy adapted to {len(self.told)} tasks cannot act on {n_tasks}")
        told = np.broadcast_to(self.told, (n_tasks, n_copies, self.told.shape[2])).astype(np.float32)
        return {**super().start(n_tasks, n_copies, keys), "told": told}

    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        return super().act(np.concatenate([obs, memory["told"]], axis=-1), memory, noise)

    def inputs(self, obs: Array, action: Array, reward: Array, done: Array) -> Tensor:
        """As ``RecurrentPolicy``, of observations [..., D + W] that end in what the policy is told."""
        seen, told = np.split(obs, [self.spec.observation_dim], axis=-1)
        inputs = super().inputs(seen, action, reward, done)
        return torch.cat([inputs, torch.tensor(told).to(inputs)], dim=-1)


class TaskInformed(RecurrentNetwork):
    """A network that reads z last of its inputs: f(id) of an id, one-hot, plus latent numbers that are given.

    In training these are noise. At test there is no id, its part of the inputs is 0, and what is given is z.

    Attributes:
        codes: [ids, latent] f(id) of all; normal at first, with ``squared_norm`` on average.
    """

    def __init__(self, network: ActorCritic, ids: int, latent: int, squared_norm: float, seed: int) -> None:
        super().__init__()
        self.network, self.state_size = network, network.state_size
        normal = torch.randn((ids, latent), generator=networks.torch_generator(seed))
        self.codes = nn.Parameter((squared_norm / latent) ** 0.5 * normal)

    def forward(self, inputs: Tensor, state: Tensor) -> tuple[Distribution, Tensor, Tensor]:
        ids, latent = self.codes.shape
        seen, told, given = inputs[..., : -ids - latent], inputs[..., -ids - latent : -latent], inputs[..., -latent:]
        distribution, features, state = self.network(torch.cat([seen, told @ self.codes + given], dim=-1), state)
        return distribution, features, state

    def value(self, features: Tensor, left: Tensor) -> Tensor:
        return self.network.value(features, left)

    def rescale_value(self, factor: float, shift: float) -> None:
        self.network.rescale_value(factor, shift)


class Decoder(nn.Module):
    """g: what the steps so far, read by a GRU, tell about z. Inputs [B, L, I] -> [B, L, latent]."""

    def __init__(self, width_in: int, width: int, latent: int, seed: int) -> None:
        super().__init__()
        with torch.device("meta"):
            self.memory = GRU(width_in, width)
            self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, latent))
        networks.initialise(self, networks.torch_generator(seed))

    def forward(self, inputs: Tensor) -> Tensor:
        features, _ = self.memory(inputs, inputs.new_zeros(len(inputs), self.memory.state_size))
        guess: Tensor = self.head(features)
        return guess


@dataclass(frozen=True)
class Relabelled:
    """Experience as ``rl2`` is to see it: a ``kshot.types.Collect`` that changes what another one returns."""

    collect: Collect
    relabel: Callable[[Episodes], Episodes]

    def __call__(self, policy: Policy, tasks: Sequence[Task], copies: int, episodes: int = 1) -> Episodes:
        return self.relabel(self.collect(policy, tasks, copies, episodes))

    def demonstrations(self, tasks: Sequence[Task], n: int, arrangement: int = 0) -> Episodes:
        return self.collect.demonstrations(tasks, n, arrangement)


class Exploitation(rl2.RL2):
    """The policy that is told the task, learnt from the family's rewards and together with f.

    Attributes:
        guesses: [T, guessing, latent] z = g(tau) by which the first trials of every task are played in the next update.
        returns: mean returns of that update's episodes, of those played by f(id) and of those played by g(tau).
    """

    settings: Settings
    _network: TaskInformed
    guesses: Array
    returns: Metrics

    @property
    def trial_episodes(self) -> int:
        return 1

    def policy(self) -> ToldPolicy:
        """As in training: told guesses, or the ids of the training tasks and noise."""
        s = self.settings
        lead = s.training_tasks, s.trials - s.guessing
        noise = generator(self._seed, "latent noise", self._iteration).standard_normal((*lead, s.latent))
        ids = np.broadcast_to(np.eye(s.training_tasks)[:, None], (*lead, s.training_tasks))
        informed = np.concatenate([ids, s.latent_noise * noise], axis=-1)
        return self.told(np.concatenate([self._guessed(self.guesses), informed], axis=1))

    def told(self, what: Array) -> ToldPolicy:
        """The policy that is told ``what`` [T, C, training_tasks + latent]."""
        s = self.settings
        return ToldPolicy(self._network, self._spec, s.reward_input_scale, s.border, told=what)

    def knowing(self, z: Array) -> ToldPolicy:
        """The policy that acts by ``z`` [T, latent]."""
        return self.told(self._guessed(z[:, None]))

    def _guessed(self, z: Array) -> Array:
        """What to tell whoever acts by ``z`` [T, C, latent]: no id."""
        return np.concatenate([np.zeros((*z.shape[:2], self.settings.training_tasks)), z], axis=-1)

    def meta_step(self, tasks: Sequence[Task], collect: Collect, progress: float) -> Metrics:
        return super().meta_step(tasks, Relabelled(collect, self._with_told), progress)

    def _with_told(self, played: Episodes) -> Episodes:
        """Episodes whose observations end in what the policy was told."""
        parts = np.split(played.returns, [self.settings.guessing], axis=1)
        names = ("return_guessed", "return_informed")
        self.returns = {name: float(part.mean()) for name, part in zip(names, parts, strict=True) if part.size}
        told = self.policy().told.astype(np.float32)
        in_steps = np.broadcast_to(told[:, :, None], (*played.obs.shape[:3], told.shape[-1]))
        obs = np.concatenate([played.obs, in_steps], axis=-1)
        return replace(played, obs=obs, final_obs=np.concatenate([played.final_obs, told], axis=-1))

    def loss(self, outputs: Outputs, batch: Sequences, entropy_weight: float) -> tuple[Tensor, Metrics]:
        """PPO's loss and the bottleneck: squared norms of f(id) beyond ``free_norm``, as in the authors' code."""
        loss, metrics = super().loss(outputs, batch, entropy_weight)
        norm = self._network.codes.square().sum(dim=1)
        excess = (norm - self.settings.free_norm).clamp(min=0).mean()
        return loss + excess, {**metrics, "squared_norm": float(norm.detach().mean())}


class Exploration(rl2.RL2):
    """The policy that finds out about the task, learnt from what its steps tell."""

    settings: Settings

    @property
    def trial_episodes(self) -> int:
        return self.settings.exploration_episodes


class DREAM:
    """See the module's docstring; the protocol is ``kshot.types.MetaLearner``."""

    trains = True
    fixed_tasks = True

    def __init__(self, spec: FamilySpec, settings: Settings, seed: int, device: str) -> None:
        self.settings, self._seed, self._iteration = settings, seed, 0
        ids, latent, width = settings.training_tasks, settings.latent, input_dim(spec)
        seeds = {part: key(seed, part) for part in ("exploitation", "exploration", "codes", "decoder")}
        with_z = FamilySpec(
            spec.name, spec.observation_dim + latent, spec.action_space, spec.horizon, spec.episodes_per_trial
        )
        network = rl2.make_network(with_z, settings, seeds["exploitation"])
        self._told = TaskInformed(network, ids, latent, settings.free_norm, seeds["codes"]).to(device)
        explorer = rl2.make_network(spec, settings, seeds["exploration"]).to(device)
        self._exploitation = Exploitation(spec, settings, self._told, seeds["exploitation"])
        explores = replace(settings, entropy=settings.exploration_entropy)
        self._exploration = Exploration(spec, explores, explorer, seeds["exploration"])
        self._decoder = Decoder(width, settings.hidden, latent, seeds["decoder"]).to(device)
        self._optimizer = torch.optim.Adam(self._decoder.parameters(), lr=settings.lr, eps=1e-5, fused=True)

    @property
    def tasks_per_step(self) -> int:
        return self.settings.training_tasks

    @property
    def adaptation_episodes(self) -> int:
        return self.settings.exploration_episodes

    @property
    def max_evidence(self) -> int:
        """What was found out by exploring is all there is: nothing is learnt while exploiting."""
        return self.settings.exploration_episodes

    def policy(self) -> RecurrentPolicy:
        """The policy that explores."""
        return self._exploration.policy()

    def meta_step(self, tasks: Sequence[Task], collect: Collect, progress: float) -> Metrics:
        """An update of the exploration policy, one of g, and one of the exploitation policy and f."""
        explored: list[Trials] = []

        def paid(played: Episodes) -> Episodes:
            trials = self._trials(self.policy(), played)
            explored.append(trials)
            return self._paid_for_telling(played, trials)

        exploration = self._exploration.meta_step(tasks, Relabelled(collect, paid), progress)
        losses = self._fit(explored[0], progress)  # after the payment, which is by the g of before
        self._exploitation.guesses = self._guesses(explored[0]).reshape(len(tasks), self.settings.trials, -1)[
            :, : self.settings.guessing
        ]
        exploitation = self._exploitation.meta_step(tasks, collect, progress)
        self._iteration += 1
        own = {"return": exploration["return"], "return_adapted": exploitation["return"], **self._exploitation.returns}
        own["success_adapted"] = exploitation["success_adapted"]
        own["updates"] = exploitation["updates"] + exploration["updates"] + len(losses)
        parts = {"exploitation": exploitation, "exploration": exploration}
        losses_of = {
            f"{name}_{metric}": value
            for name, metrics in parts.items()
            for metric, value in metrics.items()
            if metric in ("policy_loss", "value_loss", "entropy", "clip_fraction", "squared_norm")
        }
        return {**own, **losses_of, "decoder_loss": float(np.mean(losses))}

    def _trials(self, policy: RecurrentPolicy, played: Episodes) -> Trials:
        """Explorations as g reads them: as the policy saw them, and the first observation of the next episode."""
        episodes = self.settings.exploration_episodes
        return to_trials(policy, played, episodes, policy.start(played.n_tasks, played.n_episodes // episodes))

    def _distance(self, inputs: Tensor, rows: Array | slice) -> Tensor:
        """[B, L + 1] squared distances of g(tau) from f(id) before every step of training tasks' trials, and after."""
        f = self._told.codes.detach().repeat_interleave(self.settings.trials, dim=0)[rows]
        distance: Tensor = (self._decoder(inputs[rows]) - f.unsqueeze(1)).square().sum(dim=-1)
        return distance

    @torch.no_grad()
    def _paid_for_telling(self, played: Episodes, trials: Trials) -> Episodes:
        """A step earns by how much closer it brings g(tau) to f(id), less ``step_cost`` (``label_rewards`` there)."""
        s = self.settings
        distance = self._distance(trials.inputs, slice(None)).cpu().numpy() / s.free_norm
        earned = distance[:, :-1] - distance[:, 1:] - s.step_cost
        reward = np.zeros_like(played.reward)
        reward[played.mask] = earned[trials.mask]  # both hold the steps of all trials one after the other
        return replace(played, training_reward=reward)

    def _fit(self, trials: Trials, progress: float) -> list[float]:
        """Move g(tau) towards f(id) at every step of the trials; the loss of each update."""
        s = self.settings
        for group in self._optimizer.param_groups:
            group["lr"] = s.lr * (1 - (1 - s.lr_end) * progress)
        rng = generator(self._seed, "decoder", self._iteration)
        steps = np.arange(trials.inputs.shape[1]) <= trials.lengths[:, None]
        mask = torch.as_tensor(steps).to(trials.inputs)
        losses = []
        for _ in range(s.epochs):
            for rows in np.array_split(rng.permutation(len(mask)), min(s.minibatches, len(mask))):
                loss = (self._distance(trials.inputs, rows) * mask[rows]).sum() / mask[rows].sum()
                check_finite("the decoder's loss", loss)
                self._optimizer.zero_grad()
                torch.autograd.backward(loss)
                nn.utils.clip_grad_norm_(self._decoder.parameters(), s.max_gradient_norm)
                self._optimizer.step()
                losses.append(float(loss.detach()))
        return losses

    @torch.no_grad()
    def _guesses(self, trials: Trials) -> Array:
        """[B, latent] g(tau) after the last step of every trial."""
        guesses: Tensor = self._decoder(trials.inputs)[np.arange(len(trials.lengths)), trials.lengths]
        return guesses.cpu().numpy()

    def adapt(self, policy: Policy, evidence: Episodes) -> ToldPolicy:
        """The exploitation policy with z = g(evidence), which later evidence does not change."""
        if isinstance(policy, ToldPolicy):
            return replace(policy)
        if not isinstance(policy, RecurrentPolicy):
            raise TypeError(f"DREAM cannot adapt a {type(policy).__name__}")
        return self._exploitation.knowing(self._guesses(self._trials(policy, evidence)))

    def state_dict(self) -> dict[str, Any]:
        return {
            "exploitation": self._exploitation.state_dict(),
            "exploration": self._exploration.state_dict(),
            "decoder": self._decoder.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "iteration": self._iteration,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name in ("exploitation", "exploration", "decoder", "optimizer"):
            getattr(self, f"_{name}").load_state_dict(state[name])
        self._iteration = state["iteration"]


def build(spec: FamilySpec, settings: Settings, seed: int, device: str) -> DREAM:
    return DREAM(spec, settings, seed, device)
