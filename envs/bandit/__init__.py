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
from kshot.envs._scripted import constant_arm, uniform_random
from kshot.envs._streams import Streams
from kshot.envs._worlds import SmallWorld
from kshot.envs.bandit import counting
from kshot.types import ActionKind, Array, Dynamics, Episodes, Evidence, FamilySpec, ReferencePolicy, Split, Task

ACTIONS: ActionKind = "discrete"
EVIDENCE: frozenset[Evidence] = frozenset({"rollouts", "demonstrations"})
SUCCESS_MARGIN = 0.05
"""A pull counts as a success when its arm's mean is at most this far below the best arm's (kshot's definition)."""
LARGEST_EXACT_TRIAL = 16
"""Longest trial whose Bayes-optimal value is computed: 16 pulls take seconds, and each further pull doubles that."""


@dataclass(frozen=True)
class Settings:
    """The size of the problem.

    Attributes:
        arms: k, the number of arms.
        pulls: n, the pulls per trial, which is the number of episodes per trial.
        expert_beta: inverse temperature of the demonstrating expert, who pulls arm a in proportion to
            exp(beta mean[a]).

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
    """What a bandit learner earns while it learns is the figure of the literature: total reward over the trial."""
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
            world=SmallWorld(
                family="bandit",
                decisions=1,
                rewards="pairs",
                state_features=np.eye(settings.arms)[None],
                states=np.ones((1, 1)),
                table=Dynamics(successor=np.zeros((1, settings.arms), dtype=np.int64)),
                actions=settings.arms,
            ),
        )

    @property
    def references(self) -> Mapping[str, ReferencePolicy]:
        """Scripted policies; "thompson", "ucb1" and "greedy" learn over a trial (``kshot.envs.bandit.counting``)."""
        arms, pulls = self.settings.arms, self.settings.pulls
        width = counting.UCB_WIDTHS[pulls > counting.MANY_PULLS]
        return {
            "random": lambda tasks: uniform_random(self.spec.action_space),
            # Before any pull all arms look alike: the best fixed arm chosen without knowing the task is any arm.
            "task_blind": lambda tasks: constant_arm(np.zeros(len(tasks), dtype=np.int64)),
            "thompson": lambda tasks: counting.thompson(arms),
            "ucb1": lambda tasks: counting.ucb1(arms, width),
            "greedy": lambda tasks: counting.greedy(arms),
            "oracle": lambda tasks: constant_arm(_means(tasks).argmax(axis=1)),
        }

    def tasks(self, split: Split, n: int, seed: int) -> list[Task]:
        """``n`` draws of U[0, 1]^k; each split and seed has a stream of its own, so splits share no task."""
        stream = seeding.split(seeding.key("bandit", split, seed), np.arange(n))
        means = seeding.uniform(stream[:, None], np.arange(self.settings.arms)).tolist()
        return [Task("bandit", split, i, (("means", tuple(row)),), group="bandit") for i, row in enumerate(means)]

    def demonstrations(self, tasks: Sequence[Task], n: int, keys: Array, arrangement: int = 0) -> Episodes:
        """``n`` pulls per task of an expert who knows the means (``Settings.expert_beta``)."""
        means = _means(tasks)
        model = MDP(np.ones((*means[:, None].shape, 1)), means[:, None])
        policy = experts.expert_policy(model, 1, self.settings.expert_beta)
        states, arms = experts.sampled_paths(model, policy, n, keys)
        rows = np.arange(len(tasks))[:, None, None]
        return experts.shown(np.ones((*states.shape, 1)), arms, _good(means)[rows, arms], terminated=True)

    def vector_env(self, tasks: Sequence[Task], copies: int) -> BanditVectorEnv:
        return BanditVectorEnv(np.repeat(_means(tasks), copies, axis=0))

    def reference(self, task: Task) -> dict[str, float]:
        """Expected reward of one pull at random and of the best arm; the Bayes-optimal total of a whole trial.

        "bayes_optimal_trial" does not depend on the task (it is the average over all tasks) and is left out for
        trials longer than ``LARGEST_EXACT_TRIAL``.
        """
        means = task["means"]
        values = {"random": sum(means) / len(means), "oracle": max(means)}
        if self.settings.pulls <= LARGEST_EXACT_TRIAL:
            values["bayes_optimal_trial"] = bayes_optimal_trial(self.settings.arms, self.settings.pulls)
        return values


class BanditVectorEnv(VectorEnv[Array, Array, Array]):
    """Any number of bandits side by side; ``means`` is [N, k].

    The reward of episode ``i`` after a seeded reset is decided by number ``i`` of a stream keyed by that sub-env's
    seed: it depends neither on the other sub-envs nor on the arms pulled before.
    """

    def __init__(self, means: Array) -> None:
        self.num_envs, arms = means.shape
        self.metadata = {"autoreset_mode": AutoresetMode.DISABLED}
        self.single_observation_space = spaces.Box(1.0, 1.0, (1,), np.float64)
        self.single_action_space = spaces.Discrete(arms)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._means = means
        self._good, self._best = _good(means), means.max(axis=1)
        self._rows = np.arange(self.num_envs)
        self._streams = Streams("bandit", self.num_envs, "the rewards")

    def reset(
        self, *, seed: int | Sequence[int] | Array | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Begin the next episode; see ``Streams.reset`` for ``seed`` and what is refused."""
        self._streams.reset(seed)
        return np.ones((self.num_envs, 1)), {"optimal_return": self._best}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """Pull one arm each; ``actions`` is [N] int. Reward is 0.0 or 1.0 and every episode terminates."""
        arms = np.clip(actions, 0, self._means.shape[1] - 1)
        reward = (self._streams.uniform(self._streams.episode) < self._means[self._rows, arms]).astype(np.float64)
        ended = np.ones(self.num_envs, dtype=bool)
        return np.ones((self.num_envs, 1)), reward, ended, ~ended, {"success": self._good[self._rows, arms]}


def _means(tasks: Sequence[Task]) -> Array:
    return np.array([task["means"] for task in tasks], dtype=np.float64)


def _good(means: Array) -> Array:
    """[N, k] whether pulling an arm counts as a success."""
    return np.asarray(means >= means.max(axis=1, keepdims=True) - SUCCESS_MARGIN)


def bayes_optimal_trial(arms: int, pulls: int) -> float:
    """Largest expected total reward of ``pulls`` pulls when the means are drawn from U[0, 1]^arms.

    Exact dynamic programming over the posterior (Bellman 1956): an arm with s successes and f failures has the
    posterior Beta(1 + s, 1 + f) and mean (s + 1) / (s + f + 2); arms are exchangeable, so a state is the sorted
    multiset of the (s, f) of the arms pulled so far.

    Raises:
        ValueError: ``pulls`` exceeds ``LARGEST_EXACT_TRIAL``, the state space would be too large.
    """
    if pulls > LARGEST_EXACT_TRIAL:
        raise ValueError(f"bandit: the exact value is limited to {LARGEST_EXACT_TRIAL} pulls, got {pulls}")
    # More arms than pulls cannot all be tried: the surplus changes nothing.
    return _bayes_optimal(min(arms, pulls), pulls)


@cache
def _bayes_optimal(arms: int, pulls: int) -> float:
    @cache
    def value(state: tuple[tuple[int, int], ...]) -> float:
        left = pulls - sum(s + f for s, f in state)
        if left == 0:
            return 0.0
        choices = set(state) | ({(0, 0)} if len(state) < arms else set())
        return max(pull(state, arm) for arm in choices)

    def pull(state: tuple[tuple[int, int], ...], arm: tuple[int, int]) -> float:
        rest = list(state)
        if arm in rest:
            rest.remove(arm)
        s, f = arm
        p = (s + 1) / (s + f + 2)
        won, lost = (tuple(sorted([*rest, new])) for new in ((s + 1, f), (s, f + 1)))
        return p * (1.0 + value(won)) + (1.0 - p) * value(lost)

    return value(())
