"""2D navigation: a point that starts at the origin must find a goal it cannot see (Finn et al. 2017, MAML, sec. 5.3).

Definition as in the authors' code (cbfinn/maml_rl, maml_examples/point_env_randgoal.py under rllab's ``normalize``):
goal g ~ U[-.5, .5]^2, start s = (0, 0), s' = s + 0.1 clip(a, -1, 1), reward -|s' - g| (Euclidean), horizon 100, and the
episode terminates when both coordinates are within .01 of the goal. The observation is the position alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from gymnasium import spaces

from kshot import seeding
from kshot.envs._point import STEP_SIZE, PointVectorEnv
from kshot.envs._scripted import Scripted, uniform_random
from kshot.types import ActionKind, Array, Evidence, FamilySpec, ReferencePolicy, Split, Task

ACTIONS: ActionKind = "continuous"
EVIDENCE: frozenset[Evidence] = frozenset({"rollouts"})
GOAL_BOUND = 0.5
DONE_RADIUS = 0.01
"""The episode terminates when each coordinate is closer to the goal than this."""
SUCCESS_DISTANCE = 0.05
"""Euclidean distance that counts as success: kshot's definition. The termination box would say little about whether the
goal was found: its area is a twentieth of that, and stochastic policies step over it."""
_RANDOM_EPISODES = 2048


@dataclass(frozen=True)
class Settings:
    """The lengths of an episode and of a trial.

    Attributes:
        horizon: steps after which an episode is truncated (MAML: 100).
        episodes_per_trial: length of a trial, in episodes, for learners with memory (kshot's choice).

    Raises:
        ValueError: one of them is smaller than 1.
    """

    horizon: int = 100
    episodes_per_trial: int = 4

    def __post_init__(self) -> None:
        for name in ("horizon", "episodes_per_trial"):
            if getattr(self, name) < 1:
                raise ValueError(f"nav2d: {name} must be at least 1, got {getattr(self, name)}")


def build(settings: Settings) -> Nav2DFamily:
    """The family for ``settings``."""
    return Nav2DFamily(settings)


def headline(settings: Settings) -> Literal["return"]:
    """The figure of the MAML paper."""
    return "return"


class Nav2DFamily:
    """``kshot.types.TaskFamily`` of 2D navigation."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.spec = FamilySpec(
            name="nav2d",
            observation_dim=2,
            action_space=spaces.Box(-1.0, 1.0, (2,), np.float64),
            horizon=settings.horizon,
            episodes_per_trial=settings.episodes_per_trial,
        )

    @property
    def references(self) -> Mapping[str, ReferencePolicy]:
        """Scripted policies: "random", "task_blind" (stay at the origin) and "oracle" (go to the goal).

        The origin is the best position p to wait at without knowing the goal: E|p - g| over the square of goals is
        convex and even in p, so that its minimum is p = 0.
        """
        return {
            "random": lambda tasks: uniform_random(self.spec.action_space),
            "task_blind": lambda tasks: Scripted(lambda obs, step, noise: np.zeros_like(obs)),
            "oracle": lambda tasks: _to_goal(_goals(tasks)),
        }

    def tasks(self, split: Split, n: int, seed: int) -> list[Task]:
        """``n`` draws of U[-.5, .5]^2; each split and seed has a stream of its own, so splits share no task."""
        keys = seeding.split(seeding.key("nav2d", split, seed), np.arange(n))
        goals = ((2.0 * seeding.uniform(keys[:, None], np.arange(2)) - 1.0) * GOAL_BOUND).tolist()
        return [Task("nav2d", split, i, (("goal", tuple(goal)),), group="nav2d") for i, goal in enumerate(goals)]

    def vector_env(self, tasks: Sequence[Task], copies: int) -> Nav2DVectorEnv:
        return Nav2DVectorEnv(np.repeat(_goals(tasks), copies, axis=0), self.settings.horizon)

    def reference(self, task: Task) -> dict[str, float]:
        """Episode returns: "oracle" and "task_blind" in closed form, "random" by Monte Carlo.

        The Monte Carlo uses 2,048 action sequences, the same for every task; its standard error is about 0.6.
        """
        goal, horizon = np.array(task["goal"]), self.settings.horizon
        return {
            "random": random_return(goal, horizon),
            "task_blind": standing_return(goal, horizon),
            "oracle": optimal_return(goal, horizon),
        }


class Nav2DVectorEnv(PointVectorEnv):
    """Points rewarded by minus their distance to the goal, until both coordinates are within ``DONE_RADIUS`` of it."""

    def outcome(self, offset: Array) -> tuple[Array, Array, dict[str, Any]]:
        distance = np.sqrt((offset**2).sum(axis=1))
        terminated = np.asarray((np.abs(offset) < DONE_RADIUS).all(axis=1))
        return -distance, terminated, {"success": distance < SUCCESS_DISTANCE}


def _goals(tasks: Sequence[Task]) -> Array:
    return np.array([task["goal"] for task in tasks], dtype=np.float64)


def _to_goal(goals: Array) -> Scripted:
    """Move each coordinate to that of the goals [T, 2] as fast as allowed, and stay."""
    return Scripted(lambda obs, step, noise: np.clip((goals[:, None] - obs) / STEP_SIZE, -1.0, 1.0))


def optimal_return(goal: Array, horizon: int) -> float:
    """The largest return possible for ``goal`` [2].

    After t steps no policy can have coordinate i closer to the goal than max(0, |g_i| - 0.1 t). Moving both
    coordinates at full speed attains both bounds at every t. It therefore has the smallest distance at each step and
    terminates first, which is best since rewards are negative.
    """
    steps = np.arange(1, horizon + 1)[:, None]
    offset = np.maximum(np.abs(goal) - STEP_SIZE * steps, 0.0)
    return -_sum_until_done(offset)


def standing_return(goal: Array, horizon: int) -> float:
    """The return of staying at the origin: -horizon |g|, or -|g| where the origin is within the termination box."""
    return -_sum_until_done(np.broadcast_to(goal, (horizon, 2)))


def random_return(goal: Array, horizon: int) -> float:
    """Mean return of uniform random actions, by Monte Carlo over fixed action sequences."""
    offset = _random_paths(horizon) - goal
    inside = (np.abs(offset) < DONE_RADIUS).all(axis=2)
    ended = np.maximum.accumulate(inside, axis=1)
    alive = ~np.concatenate([np.zeros((len(ended), 1), dtype=bool), ended[:, :-1]], axis=1)
    return -float((np.sqrt((offset**2).sum(axis=2)) * alive).sum(axis=1).mean())


def _sum_until_done(offset: Array) -> float:
    """Sum of the distances |``offset``| of a path from the goal [H, 2], up to and including the terminating step."""
    inside = (np.abs(offset) < DONE_RADIUS).all(axis=1)
    last = int(inside.argmax()) if inside.any() else len(offset) - 1
    return float(np.sqrt((offset[: last + 1] ** 2).sum(axis=1)).sum())


@cache
def _random_paths(horizon: int) -> Array:
    """[2048, H, 2] positions after each step of uniform random actions."""
    keys = seeding.split(seeding.key("nav2d", "random reference"), np.arange(_RANDOM_EPISODES))
    uniform = seeding.uniform(keys[:, None], np.arange(2 * horizon)).reshape(_RANDOM_EPISODES, horizon, 2)
    return np.cumsum(STEP_SIZE * (2.0 * uniform - 1.0), axis=1)
