"""Bernoulli bandits: k arms with unknown means, n pulls per trial (Duan et al. 2016, RL^2, arXiv 1611.02779, sec. 3.1).

A task is a vector of arm means drawn from U[0, 1]^k; pulling arm a pays 1 with probability mean[a], else 0. The
observation is the constant 1 and tells nothing. As in the authors' code (florensacc/rllab-curriculum,
sandbox/rocky/neural_learner/envs/mab_env.py) one pull is one episode, which ends with ``terminated``, and n episodes
make a trial. The Bayes-optimal total of a trial is known exactly for small n, so a learner can be judged absolutely.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from kshot import seeding
from kshot.envs import _experts as experts
from kshot.envs._mdps import MDP
from kshot.envs._scripted import constant_action, uniform_random
from kshot.envs._streams import Streams
from kshot.envs._worlds import TabularWorld
from kshot.envs.bandit import index_policies
from kshot.types import ActionKind, Array, Dynamics, Episodes, Evidence, FamilySpec, ReferencePolicy, Split, Task

ACTIONS: ActionKind = "discrete"
EVIDENCE: frozenset[Evidence] = frozenset({"rollouts", "demonstrations"})
SUCCESS_MARGIN = 0.05
"""A pull counts as a success when its arm's mean is at most this far below the best arm's (kshot's definition)."""
LARGEST_EXACT_TRIAL = 16
"""Longest trial, in pulls, whose Bayes-optimal value is computed: that takes seconds, twice as many for each more."""


@dataclass(frozen=True)
class Settings:
    """The size of the problem.

    Attributes:
        arms: k, the number of arms.
        pulls: n, the pulls per trial, which is the number of episodes per trial.
        expert_beta: inverse temperature of the demonstrating expert, who pulls arm a with a probability proportional
            to exp(beta mean[a]).

    Raises:
        ValueError: ``arms`` < 2, ``pulls`` < 1 or a negative ``expert_beta``.
    """

    arms: int = 5
    pulls: int = 10
    expert_beta: float = 20.0

    def __post_init__(self) -> None:
        if self.arms < 2:
            raise ValueError(f"bandit: arms must be at least 2, got {self.arms}")
        if self.pulls < 1:
            raise ValueError(f"bandit: pulls must be at least 1, got {self.pulls}")
        if not self.expert_beta >= 0:
            raise ValueError(f"bandit: expert_beta must not be negative, got {self.expert_beta}")


def build(settings: Settings) -> BanditFamily:
    """The family for ``settings``."""
    return BanditFamily(settings)


def headline(settings: Settings) -> Literal["trial_return"]:
    """Total reward over the trial, while learning: the figure of the literature."""
    return "trial_return"


class BanditFamily:
    """``kshot.types.TaskFamily`` of Bernoulli bandits."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.spec = FamilySpec(
            name="bandit",
            observation_dim=1,
            action_space=spaces.Discrete(settings.arms),
            horizon=1,
            episodes_per_trial=settings.pulls,
            evidence=EVIDENCE,
            world=TabularWorld(
                family="bandit",
                decisions=1,
                rewards="pairs",
                reward_features=np.eye(settings.arms)[None],
                state_observations=np.ones((1, 1)),
                shared_dynamics=Dynamics(successor=np.zeros((1, settings.arms), dtype=np.int64)),
                n_actions=settings.arms,
            ),
        )

    @property
    def references(self) -> Mapping[str, ReferencePolicy]:
        """Scripted policies; "thompson", "ucb1" and "greedy" learn over a trial (``index_policies``)."""
        arms, pulls = self.settings.arms, self.settings.pulls
        width = index_policies.UCB_WIDTHS[pulls > index_policies.LONG_TRIAL]
        return {
            "random": lambda tasks: uniform_random(self.spec.action_space),
            # All arms look alike without rewards, so that any fixed arm is as good as any other.
            "task_blind": lambda tasks: constant_action(np.zeros(len(tasks), dtype=np.int64)),
            "thompson": lambda tasks: index_policies.thompson(arms),
            "ucb1": lambda tasks: index_policies.ucb1(arms, width),
            "greedy": lambda tasks: index_policies.greedy(arms),
            "oracle": lambda tasks: constant_action(_means(tasks).argmax(axis=1)),
        }

    def tasks(self, split: Split, n: int, seed: int) -> list[Task]:
        """``n`` draws of U[0, 1]^k; each split and seed has a stream of its own, so splits share no task."""
        keys = seeding.split(seeding.key("bandit", split, seed), np.arange(n))
        means = seeding.uniform(keys[:, None], np.arange(self.settings.arms)).tolist()
        return [Task("bandit", split, i, (("means", tuple(mean)),), group="bandit") for i, mean in enumerate(means)]

    def demonstrations(self, tasks: Sequence[Task], n: int, keys: Array, arrangement: int = 0) -> Episodes:
        """``n`` pulls per task of an expert who knows the means (``Settings.expert_beta``)."""
        means = _means(tasks)
        model = MDP(np.ones((*means[:, None].shape, 1)), means[:, None])
        policy = experts.soft_optimal_policy(model, 1, self.settings.expert_beta)
        states, arms = experts.sampled_paths(model, policy, n, keys)
        success = _is_success(means)[np.arange(len(tasks))[:, None, None], arms]
        return experts.demonstration_episodes(np.ones((*states.shape, 1)), arms, success, terminated=True)

    def vector_env(self, tasks: Sequence[Task], copies: int) -> BanditVectorEnv:
        return BanditVectorEnv(np.repeat(_means(tasks), copies, axis=0))

    def reference(self, task: Task) -> dict[str, float]:
        """Expected reward of one pull at random and of the best arm; the Bayes-optimal total of a whole trial.

        "bayes_optimal_trial" is an average over all tasks, the same for each of them. It is left out for trials longer
        than ``LARGEST_EXACT_TRIAL``.
        """
        means = task["means"]
        values = {"random": sum(means) / len(means), "oracle": max(means)}
        if self.settings.pulls <= LARGEST_EXACT_TRIAL:
            values["bayes_optimal_trial"] = bayes_optimal_trial(self.settings.arms, self.settings.pulls)
        return values


class BanditVectorEnv(VectorEnv[Array, Array, Array]):
    """N bandits side by side, with ``means`` [N, k].

    Each sub-environment has a stream of random numbers, keyed by its seed. Number i decides the reward of episode i,
    which therefore depends neither on the other sub-environments nor on the arms pulled before.
    """

    def __init__(self, means: Array) -> None:
        self.num_envs, arms = means.shape
        self.metadata = {"autoreset_mode": AutoresetMode.DISABLED}
        self.single_observation_space = spaces.Box(1.0, 1.0, (1,), np.float64)
        self.single_action_space = spaces.Discrete(arms)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._means = means
        self._is_success, self._best_mean = _is_success(means), means.max(axis=1)
        self._env_index = np.arange(self.num_envs)
        self._streams = Streams("bandit", self.num_envs, "the rewards")

    def reset(
        self, *, seed: int | Sequence[int] | Array | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Begin the next episode; see ``Streams.reset`` for ``seed`` and what is refused."""
        self._streams.reset(seed)
        return np.ones((self.num_envs, 1)), {"optimal_return": self._best_mean}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """Pull one arm each; ``actions`` is [N] int. Reward is 0.0 or 1.0 and every episode terminates."""
        arms = np.clip(actions, 0, self._means.shape[1] - 1)
        reward = (self._streams.uniform(self._streams.episode) < self._means[self._env_index, arms]).astype(np.float64)
        ended = np.ones(self.num_envs, dtype=bool)
        return np.ones((self.num_envs, 1)), reward, ended, ~ended, {"success": self._is_success[self._env_index, arms]}


def _means(tasks: Sequence[Task]) -> Array:
    return np.array([task["means"] for task in tasks], dtype=np.float64)


def _is_success(means: Array) -> Array:
    """[N, k] whether pulling an arm counts as a success, for arms with ``means`` [N, k]."""
    return np.asarray(means >= means.max(axis=1, keepdims=True) - SUCCESS_MARGIN)


def bayes_optimal_trial(arms: int, pulls: int) -> float:
    """Largest expected total reward of ``pulls`` pulls when the means are drawn from U[0, 1]^arms.

    Exact dynamic programming over the posterior (Bellman 1956). An arm with s successes and f failures has the
    posterior Beta(1 + s, 1 + f), whose mean is (s + 1) / (s + f + 2). Arms are exchangeable, so that a state is the
    sorted multiset of the (s, f) of all arms pulled so far.

    Raises:
        ValueError: ``pulls`` exceeds ``LARGEST_EXACT_TRIAL``: the state space would be too large.
    """
    if pulls > LARGEST_EXACT_TRIAL:
        raise ValueError(f"bandit: the exact value is limited to {LARGEST_EXACT_TRIAL} pulls, got {pulls}")
    # No more arms than pulls can be tried: others change nothing.
    return _bayes_optimal(min(arms, pulls), pulls)


@cache
def _bayes_optimal(arms: int, pulls: int) -> float:
    @cache
    def value(state: tuple[tuple[int, int], ...]) -> float:
        pulls_left = pulls - sum(s + f for s, f in state)
        if pulls_left == 0:
            return 0.0
        choices = set(state) | ({(0, 0)} if len(state) < arms else set())
        return max(pull(state, arm) for arm in choices)

    def pull(state: tuple[tuple[int, int], ...], arm: tuple[int, int]) -> float:
        other_arms = list(state)
        if arm in other_arms:
            other_arms.remove(arm)
        s, f = arm
        p = (s + 1) / (s + f + 2)
        won, lost = (tuple(sorted([*other_arms, new])) for new in ((s + 1, f), (s, f + 1)))
        return p * (1.0 + value(won)) + (1.0 - p) * value(lost)

    return value(())
