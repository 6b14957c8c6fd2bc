"""Random rewards: one controlled process, and the reward of every task is that of a random discriminator.

Gupta et al. 2018, "Unsupervised Meta-Learning for Reinforcement Learning" (arXiv 1806.04640) train on tasks that nobody
designed: the reward is r_z(s) = log D_phi(z | s), where D_phi is a network that guesses which of several skills led to
the state s. The simplest way to get one is not to train it (their UML-RANDOM): phi is random. Here every task has a phi
of its own. Sizes are ours. The process is a table of states with random dynamics, or a plane of cells as in nav2d; the
best return is exact by value iteration. Tasks out of distribution have true goals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from kshot import seeding
from kshot.envs import _experts as experts
from kshot.envs._scripted import Scripted, constant_action, uniform_random
from kshot.envs._streams import Streams
from kshot.envs._worlds import TabularWorld
from kshot.envs.random_reward import discriminators
from kshot.envs.random_reward.process import Process, plane, table
from kshot.envs.random_reward.sampling import PosteriorSampling
from kshot.types import ActionKind, Array, Episodes, Evidence, FamilySpec, ReferencePolicy, Split, Task

ACTIONS: ActionKind = "discrete"
EVIDENCE: frozenset[Evidence] = frozenset({"rollouts", "demonstrations"})
SUCCESS_SHARE = 0.9
"""Of the way from the random to the best return: what an episode has to earn to count as a success."""
STAY = 4
"""The plane's action without a move."""


@dataclass(frozen=True)
class Settings:
    """The process, and what its rewards are.

    Attributes:
        process: "plane", cells that one moves on in eight directions, or "table", random dynamics.
        horizon: steps after which an episode is truncated.
        episodes_per_trial: length of a trial, in episodes.
        side: of the plane, in cells.
        states: of the table.
        actions: of the table.
        skills: outputs of the discriminators.
        scale: standard deviation of their logits, roughly: the larger, the more rewards differ.
        expert_beta: inverse temperature of the demonstrating expert, who is soft-optimal for beta times the reward.
        test_distribution: "same", or "ood": the rewards of test tasks are those of goals, minus the distance in the
            plane and -1 in every other state of the table.

    Raises:
        ValueError: a setting is out of its range.
    """

    process: Literal["plane", "table"] = "plane"
    horizon: int = 20
    episodes_per_trial: int = 4
    side: int = 21
    states: int = 10
    actions: int = 5
    skills: int = 10
    scale: float = 3.0
    expert_beta: float = 3.0
    test_distribution: Literal["same", "ood"] = "same"

    def __post_init__(self) -> None:
        if self.process not in ("plane", "table"):
            raise ValueError(f"random_reward: process must be 'plane' or 'table', got {self.process!r}")
        least = {"horizon": 1, "episodes_per_trial": 1, "side": 2, "states": 2, "actions": 2, "skills": 2}
        for name, minimum in least.items():
            if getattr(self, name) < minimum:
                raise ValueError(f"random_reward: {name} must be at least {minimum}, got {getattr(self, name)}")
        if not 0 < self.scale < np.inf:
            raise ValueError(f"random_reward: scale must be positive and finite, got {self.scale}")
        if not 0 <= self.expert_beta < np.inf:
            raise ValueError(f"random_reward: expert_beta must be finite and not negative, got {self.expert_beta}")
        if self.test_distribution not in ("same", "ood"):
            raise ValueError(
                f"random_reward: test_distribution must be 'same' or 'ood', got {self.test_distribution!r}"
            )


def build(settings: Settings) -> RandomRewardFamily:
    """The family for ``settings``."""
    return RandomRewardFamily(settings)


def headline(settings: Settings) -> Literal["return"]:
    """The return of an episode, for every K."""
    return "return"


class RandomRewardFamily:
    """``kshot.types.TaskFamily`` of random rewards."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        is_plane = settings.process == "plane"
        self.process: Process = plane(settings.side) if is_plane else table(settings.states, settings.actions)
        observations = self.process.observations
        self.spec = FamilySpec(
            name="random_reward",
            observation_dim=observations.shape[1],
            action_space=spaces.Discrete(self.process.n_actions),
            horizon=settings.horizon,
            episodes_per_trial=settings.episodes_per_trial,
            max_sub_envs=10_000,
            evidence=EVIDENCE,
            world=TabularWorld(
                family="random_reward",
                decisions=settings.horizon,
                rewards="states",
                reward_features=np.eye(self.process.n_states),
                state_observations=observations,
                shared_dynamics=self.process.dynamics,
                n_actions=self.process.n_actions,
            ),
        )

    @property
    def references(self) -> Mapping[str, ReferencePolicy]:
        """Scripted policies.

        "random"; "task_blind", which stays in the middle of the plane, or always takes one action of the table, whose
        states are all alike before their rewards are known; "posterior_sampling" (table alone, exact), which learns
        over a trial; "oracle", optimal for the known reward.
        """
        settings = self.settings
        blind = STAY if settings.process == "plane" else 0
        found: dict[str, ReferencePolicy] = {
            "random": lambda tasks: uniform_random(self.spec.action_space),
            "task_blind": lambda tasks: constant_action(np.full(len(tasks), blind)),
            "oracle": lambda tasks: self._follow(self.process.optimal_actions(self.rewards(tasks), settings.horizon)),
        }
        if settings.process == "table":
            found["posterior_sampling"] = lambda tasks: PosteriorSampling(
                self.process, settings.horizon, settings.skills, settings.scale
            )
        return found

    def _follow(self, actions: Array) -> Scripted:
        """Take the actions [H, T, S] planned for each step, task and state."""
        world, tasks, last = self.spec.world, np.arange(actions.shape[1])[:, None], len(actions) - 1
        assert world is not None
        return Scripted(lambda obs, step, noise: actions[np.minimum(step, last), tasks, world.state(obs)])

    def tasks(self, split: Split, n: int, seed: int) -> list[Task]:
        """``n`` tasks, each defined by a random key, or out of distribution by its goal.

        Each split and seed has its own keys, so that splits share no task. Goals are drawn without repetition from all
        states but the start.

        Raises:
            ValueError: there are fewer goals.
        """
        if split == "test" and self.settings.test_distribution == "ood":
            goals = np.delete(np.arange(self.process.n_states), self.process.start)
            if n > len(goals):
                raise ValueError(f"random_reward: {n} tasks asked for, there are {len(goals)} goals")
            order = seeding.generator("random_reward", "goals", seed).permutation(len(goals))[:n]
            params = [(("goal", int(goals[i])),) for i in order]
        else:
            keys = seeding.split(seeding.key("random_reward", split, seed), np.arange(n)).tolist()
            params = [(("key", key),) for key in keys]
        return [Task("random_reward", split, i, pair, group="random_reward") for i, pair in enumerate(params)]

    def rewards(self, tasks: Sequence[Task]) -> Array:
        """[T, S] the reward of a step that leads to each state."""
        settings, observations = self.settings, self.process.observations
        if not tasks or tasks[0].params[0][0] == "key":
            keys = np.array([task["key"] for task in tasks], dtype=np.uint64)
            if settings.process == "table":
                return discriminators.of_states(keys, settings.states, settings.skills, settings.scale)
            return discriminators.of_positions(keys, observations, settings.skills, settings.scale)
        goals = np.array([task["goal"] for task in tasks])
        if settings.process == "table":
            return np.asarray(np.eye(self.process.n_states)[goals] - 1.0)
        return -np.asarray(np.linalg.norm(observations - observations[goals][:, None], axis=-1))

    def demonstrations(self, tasks: Sequence[Task], n: int, keys: Array, arrangement: int = 0) -> Episodes:
        """``n`` episodes per task of an expert who knows the reward (``Settings.expert_beta``)."""
        reward, horizon = self.rewards(tasks), self.settings.horizon
        states, actions = self.process.demonstrated(self.settings.expert_beta * reward, horizon, n, keys)
        task = np.arange(len(tasks))[:, None, None]
        optimal = self.process.optimal_return(reward, horizon)
        earned = reward[task, states[..., 1:]].sum(axis=-1)
        success = np.zeros(actions.shape, dtype=bool)
        success[..., -1] = earned >= self._threshold(reward, optimal)[:, None]
        return experts.demonstration_episodes(self.process.observations[states], actions, success, terminated=False)

    def _threshold(self, reward: Array, optimal: Array) -> Array:
        """[T] the return that counts as a success, a little below to allow for rounding."""
        random = self.process.random(reward, self.settings.horizon)
        return np.asarray(random + SUCCESS_SHARE * (optimal - random) - 1e-9)

    def vector_env(self, tasks: Sequence[Task], copies: int) -> RandomRewardVectorEnv:
        return RandomRewardVectorEnv(self, tasks, copies)

    def reference(self, task: Task) -> dict[str, float]:
        """Expected episode returns of random actions, of "task_blind" and of the optimal policy; all exact."""
        reward, horizon = self.rewards([task]), self.settings.horizon
        blind = STAY if self.settings.process == "plane" else 0
        return {
            "random": float(self.process.random(reward, horizon)[0]),
            "task_blind": float(self.process.repeated(reward, blind, horizon)[0]),
            "oracle": float(self.process.optimal_return(reward, horizon)[0]),
        }


class RandomRewardVectorEnv(VectorEnv[Array, Array, Array]):
    """``copies`` of every task side by side. The observation is the state, one-hot, or the position in the plane.

    A key from each sub-environment's stream for each episode decides where the table's actions lead; the plane has no
    randomness.
    """

    def __init__(self, family: RandomRewardFamily, tasks: Sequence[Task], copies: int) -> None:
        self._process, self._horizon = family.process, family.settings.horizon
        self.num_envs = len(tasks) * copies
        self.metadata = {"autoreset_mode": AutoresetMode.DISABLED}
        self._rows = self._process.observations
        bound = float(np.abs(self._rows).max())
        self.single_observation_space = spaces.Box(-bound, bound, (self._rows.shape[1],), np.float64)
        self.single_action_space = family.spec.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        reward = family.rewards(tasks)
        optimal = self._process.optimal_return(reward, self._horizon)
        self._optimal_return = np.repeat(optimal, copies)
        self._threshold = np.repeat(family._threshold(reward, optimal), copies)
        self._reward = reward.reshape(-1)
        self._offset = np.repeat(np.arange(len(tasks)), copies) * self._process.n_states
        self._streams = Streams("random_reward", self.num_envs, "where actions lead")
        self._step = 0

    def reset(
        self, *, seed: int | Sequence[int] | Array | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Begin the next episode; see ``Streams.reset`` for ``seed`` and what is refused."""
        self._streams.reset(seed)
        self._step = 0
        self._state = np.full(self.num_envs, self._process.start)
        self._earned = np.zeros(self.num_envs)
        if not self._process.successor.size:
            keys = self._streams.keys(self._streams.episode)
            self._chance = seeding.uniform(keys, np.arange(self._horizon)[:, None])  # [H, N]
        return self._rows[self._state], {"optimal_return": self._optimal_return}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """``actions`` is [N] int. Success, at the last step: the return is nearly the best (``SUCCESS_SHARE``)."""
        action = np.clip(actions, 0, self._process.n_actions - 1)
        if self._process.successor.size:
            self._state = self._process.successor[self._state, action]
        else:
            chance = self._chance[min(self._step, self._horizon - 1)]
            passed = chance[:, None] >= self._process.cumulative[self._state, action]
            self._state = np.minimum(passed.sum(axis=1), self._process.n_states - 1)  # the last sum may be below 1
        reward = self._reward[self._offset + self._state]
        self._earned = self._earned + reward
        self._step += 1
        over = self._step >= self._horizon
        success = (self._earned >= self._threshold) & (self._step == self._horizon)
        ended = np.zeros(self.num_envs, dtype=bool)
        return self._rows[self._state], reward, ended, np.full(self.num_envs, over), {"success": success}
