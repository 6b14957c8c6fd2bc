"""GridNavi: find the one cell of a 5 x 5 grid that pays (Zintgraf et al. 2020, VariBAD, arXiv 1910.08348).

Definition as in the authors' code (lmzintgraf/varibad, environments/navigation/gridworld.py, with
config/gridworld/args_grid_varibad.py): start (0, 0), goal uniform over the 21 cells that are not among the four in the
start's corner, actions stay, up, right, down, left, 15 steps per episode and 4 episodes per trial, +1 for every step
that ends on the goal and -.1 for every other. The observation is the cell. The Bayes-optimal value is known exactly.
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
from kshot.envs._scripted import Scripted, uniform_random
from kshot.envs._worlds import TabularWorld
from kshot.envs.gridnavi import grid
from kshot.types import ActionKind, Array, Dynamics, Episodes, Evidence, FamilySpec, ReferencePolicy, Split, Task

ACTIONS: ActionKind = "discrete"
EVIDENCE: frozenset[Evidence] = frozenset({"rollouts", "demonstrations"})
EXACT_HORIZON = 15
"""The horizon at which the Bayes-optimal value is known: one episode enters 14 goals, the next one the other seven."""
TASK_BLIND_CELL = (0, 2)
"""Where "task_blind" waits: one of the two possible goals nearest to the start."""


@dataclass(frozen=True)
class Settings:
    """The lengths of an episode and of a trial, and how many goals are kept for testing.

    Attributes:
        horizon: steps after which an episode is truncated.
        episodes_per_trial: length of a trial, in episodes.
        held_out: goals that only the test split has; the validation split has as many others to itself. With 0 every
            split has all 21 goals, as in the source.
        expert_beta: inverse temperature of the demonstrating expert, who is soft-optimal for beta times the reward.

    Raises:
        ValueError: a length is below 1, ``held_out`` leaves no goal for training, or ``expert_beta`` is negative.
    """

    horizon: int = 15
    episodes_per_trial: int = 4
    held_out: int = 0
    expert_beta: float = 5.0

    def __post_init__(self) -> None:
        for name in ("horizon", "episodes_per_trial"):
            if getattr(self, name) < 1:
                raise ValueError(f"gridnavi: {name} must be at least 1, got {getattr(self, name)}")
        maximum = (len(grid.GOALS) - 1) // 2
        if not 0 <= self.held_out <= maximum:
            raise ValueError(f"gridnavi: held_out must be between 0 and {maximum}, got {self.held_out}")
        if not self.expert_beta >= 0:
            raise ValueError(f"gridnavi: expert_beta must not be negative, got {self.expert_beta}")


def build(settings: Settings) -> GridNaviFamily:
    """The family for ``settings``."""
    return GridNaviFamily(settings)


def headline(settings: Settings) -> Literal["trial_return"]:
    """Total reward over the trial: what is earned while searching counts, and the Bayes-optimal value bounds it."""
    return "trial_return"


class GridNaviFamily:
    """``kshot.types.TaskFamily`` of GridNavi."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        middle = (grid.SIDE - 1) / 2.0
        self.spec = FamilySpec(
            name="gridnavi",
            observation_dim=2,
            action_space=spaces.Discrete(len(grid.MOVES)),
            horizon=settings.horizon,
            episodes_per_trial=settings.episodes_per_trial,
            observation_center=np.full(2, middle),
            observation_scale=np.full(2, middle),
            shared_tasks=settings.held_out == 0,
            evidence=EVIDENCE,
            world=TabularWorld(
                family="gridnavi",
                decisions=settings.horizon,
                rewards="states",
                reward_features=np.eye(len(grid.CELLS)),
                state_observations=grid.CELLS.astype(np.float64),
                shared_dynamics=Dynamics(successor=grid.SUCCESSOR),
                n_actions=len(grid.MOVES),
            ),
        )

    @property
    def references(self) -> Mapping[str, ReferencePolicy]:
        """Scripted policies.

        "random"; "task_blind", which goes to a nearest possible goal and stays: no path that ignores rewards has a
        larger expected return than those that are on possible goals from step 2 on; "posterior_sampling" and
        "bayes_optimal", which learn over a trial (``grid``); "oracle", which goes to the goal.
        """
        return {
            "random": lambda tasks: uniform_random(self.spec.action_space),
            "task_blind": lambda tasks: Scripted(
                lambda obs, step, noise: grid.action_towards(np.array(TASK_BLIND_CELL), obs)
            ),
            "posterior_sampling": lambda tasks: grid.PosteriorSampling(),
            "bayes_optimal": lambda tasks: grid.BayesOptimal(),
            "oracle": lambda tasks: _to_goal(_goals(tasks)),
        }

    def tasks(self, split: Split, n: int, seed: int) -> list[Task]:
        """``n`` of the split's goals, in an order drawn from ``seed``; the index of a task is that of its goal.

        Raises:
            ValueError: the split has fewer goals.
        """
        goals = self._goal_indices(split)
        if n > len(goals):
            raise ValueError(f"gridnavi: {n} tasks asked for, the {split} split has {len(goals)}")
        order = seeding.generator("gridnavi", split, seed).permutation(len(goals))[:n]
        chosen = [goals[i] for i in order]
        return [Task("gridnavi", split, i, (("goal", grid.GOALS[i]),), group="gridnavi") for i in chosen]

    def _goal_indices(self, split: Split) -> list[int]:
        """Indices in ``grid.GOALS`` of a split's goals."""
        n_goals, held_out = len(grid.GOALS), self.settings.held_out
        if not held_out:
            return list(range(n_goals))
        order: list[int] = seeding.generator("gridnavi", "held out").permutation(n_goals).tolist()
        splits: dict[Split, list[int]] = {
            "test": order[:held_out],
            "validation": order[held_out : 2 * held_out],
            "train": order[2 * held_out :],
        }
        return splits[split]

    def demonstrations(self, tasks: Sequence[Task], n: int, keys: Array, arrangement: int = 0) -> Episodes:
        """``n`` episodes per task of an expert who knows the goal (``Settings.expert_beta``)."""
        goals = _goals(tasks)
        on_goal = (goals[:, None] == grid.CELLS).all(axis=-1)  # [T, S]
        reward = self.settings.expert_beta * np.where(on_goal, grid.GOAL_REWARD, grid.OTHER_REWARD)
        values = experts.table_values(reward, grid.SUCCESSOR, self.settings.horizon, combine=np.logaddexp)
        episode_keys = seeding.split(np.asarray(keys, dtype=np.uint64)[:, None], np.arange(n))
        starts = np.zeros(episode_keys.shape, dtype=np.int64)
        states, actions = experts.soft_paths(grid.SUCCESSOR, values, starts, episode_keys)
        success = on_goal[np.arange(len(tasks))[:, None, None], states[..., 1:]]
        return experts.demonstration_episodes(grid.CELLS[states].astype(np.float64), actions, success, terminated=False)

    def vector_env(self, tasks: Sequence[Task], copies: int) -> GridNaviVectorEnv:
        return GridNaviVectorEnv(np.repeat(_goals(tasks), copies, axis=0), self.settings.horizon)

    def reference(self, task: Task) -> dict[str, float]:
        """Expected episode returns, all exact; the Bayes-optimal total of a whole trial.

        "bayes_optimal_trial" is an average over the 21 goals, the same for each task. It is left out where it is not
        known: for other horizons than ``EXACT_HORIZON``, and where goals are held out.
        """
        goal, horizon = task["goal"], self.settings.horizon
        on_goal = max(0, horizon - 1) if goal == TASK_BLIND_CELL else 0
        values = {
            "random": grid.random_return(goal, horizon),
            "task_blind": grid.OTHER_REWARD * horizon + (grid.GOAL_REWARD - grid.OTHER_REWARD) * on_goal,
            "oracle": grid.optimal_return(goal, horizon),
        }
        if horizon == EXACT_HORIZON and not self.settings.held_out:
            values["bayes_optimal_trial"] = bayes_optimal_trial(self.settings.episodes_per_trial)
        return values


class GridNaviVectorEnv(VectorEnv[Array, Array, Array]):
    """N grids side by side, with ``goals`` [N, 2]. The environment has no randomness of its own."""

    def __init__(self, goals: Array, horizon: int) -> None:
        self.num_envs = len(goals)
        self.metadata = {"autoreset_mode": AutoresetMode.DISABLED}
        self.single_observation_space = spaces.Box(0.0, grid.SIDE - 1.0, (2,), np.float64)
        self.single_action_space = spaces.Discrete(len(grid.MOVES))
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._goals = goals
        self._horizon = horizon
        optimal_return = np.zeros((grid.SIDE, grid.SIDE))
        optimal_return[tuple(np.transpose(grid.GOALS))] = [grid.optimal_return(goal, horizon) for goal in grid.GOALS]
        self._optimal_return = optimal_return[goals[:, 0], goals[:, 1]]
        self._position = np.zeros_like(goals)
        self._step = 0

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Put every agent at (0, 0); ``seed`` is accepted and ignored."""
        self._position = np.zeros_like(self._goals)
        self._step = 0
        return self._position.astype(np.float64), {"optimal_return": self._optimal_return}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """``actions`` is [N] int. Every step that ends on the goal pays; episodes end by the time limit only."""
        self._position = grid.next_position(self._position, np.clip(actions, 0, len(grid.MOVES) - 1))
        self._step += 1
        on_goal = (self._position == self._goals).all(axis=1)
        terminated = np.zeros(self.num_envs, dtype=bool)
        reward = np.where(on_goal, grid.GOAL_REWARD, grid.OTHER_REWARD)
        truncated = np.full(self.num_envs, self._step >= self._horizon)
        return self._position.astype(np.float64), reward, terminated, truncated, {"success": on_goal}


def bayes_optimal_trial(episodes: int) -> float:
    """Largest expected total of ``episodes`` episodes of 15 steps, for a goal uniform over the 21 cells.

    ``first_episode_bound`` bounds the first episode, the return for a known goal every later one. ``grid.BayesOptimal``
    attains both bounds: it enters 14 goals at steps 2 to 15, and in the second episode each of the other seven as early
    as if it were known.
    """
    later = float(np.mean([grid.optimal_return(goal, EXACT_HORIZON) for goal in grid.GOALS]))
    return grid.first_episode_bound(EXACT_HORIZON) + (episodes - 1) * later


def _goals(tasks: Sequence[Task]) -> Array:
    return np.array([task["goal"] for task in tasks], dtype=np.int64)


def _to_goal(goals: Array) -> Scripted:
    """Go to the goals [T, 2] and stay."""
    return Scripted(lambda obs, step, noise: grid.action_towards(goals[:, None], obs))
