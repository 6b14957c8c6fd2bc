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
from kshot.envs._worlds import SmallWorld
from kshot.envs.gridnavi import grid
from kshot.types import ActionKind, Array, Dynamics, Episodes, Evidence, FamilySpec, ReferencePolicy, Split, Task

ACTIONS: ActionKind = "discrete"
EVIDENCE: frozenset[Evidence] = frozenset({"rollouts", "demonstrations"})
EXACT_HORIZON = 15
"""The horizon at which the Bayes-optimal policy is known: one episode sees 14 goals, the next one the other seven."""
BLIND_CELL = (0, 2)


@dataclass(frozen=True)
class Settings:
    """The lengths of an episode and of a trial, and how many goals are kept for testing.

    Attributes:
        horizon: steps after which an episode is truncated.
        episodes_per_trial: length of a trial, in episodes.
        held_out: goals that only the test split has; as many others only the validation split. 0 puts all 21 goals
            into every split, as in the source.
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
        most = (len(grid.GOALS) - 1) // 2
        if not 0 <= self.held_out <= most:
            raise ValueError(f"gridnavi: held_out must be between 0 and {most}, got {self.held_out}")
        if not self.expert_beta >= 0:
            raise ValueError(f"gridnavi: expert_beta must not be negative, got {self.expert_beta}")


def build(settings: Settings) -> GridNaviFamily:
    """The family for ``settings``."""
    return GridNaviFamily(settings)


def headline(settings: Settings) -> Literal["trial_return"]:
    """What is earned while searching counts: that is what the Bayes-optimal value bounds."""
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
            world=SmallWorld(
                family="gridnavi",
                decisions=settings.horizon,
                rewards="states",
                state_features=np.eye(len(grid.CELLS)),
                states=grid.CELLS.astype(np.float64),
                table=Dynamics(successor=grid.SUCCESSOR),
                actions=len(grid.MOVES),
            ),
        )

    @property
    def references(self) -> Mapping[str, ReferencePolicy]:
        """Scripted policies.

        "random"; "task_blind", which enters the nearest possible goal and stays: any way that is on possible goals from
        step 2 on has the same expectation, and none a larger one; "posterior_sampling" and "bayes_optimal"
        (``kshot.envs.gridnavi.grid``); "oracle", which goes to the goal.
        """
        return {
            "random": lambda tasks: uniform_random(self.spec.action_space),
            "task_blind": lambda tasks: Scripted(lambda obs, step, noise: grid.towards(np.array(BLIND_CELL), obs)),
            "posterior_sampling": lambda tasks: grid.PosteriorSampling(),
            "bayes_optimal": lambda tasks: grid.BayesOptimal(),
            "oracle": lambda tasks: _to_goal(_goals(tasks)),
        }

    def tasks(self, split: Split, n: int, seed: int) -> list[Task]:
        """``n`` of the split's goals, in an order that depends on the seed; ``index`` numbers all 21.

        Raises:
            ValueError: the split has fewer goals.
        """
        members = self._members(split)
        if n > len(members):
            raise ValueError(f"gridnavi: {n} tasks asked for, the {split} split has {len(members)}")
        order = seeding.generator("gridnavi", split, seed).permutation(len(members))[:n]
        chosen = [members[i] for i in order]
        return [Task("gridnavi", split, i, (("goal", grid.GOALS[i]),), group="gridnavi") for i in chosen]

    def _members(self, split: Split) -> list[int]:
        """Indices of the goals of a split."""
        count, held = len(grid.GOALS), self.settings.held_out
        if not held:
            return list(range(count))
        order: list[int] = seeding.generator("gridnavi", "held out").permutation(count).tolist()
        return {"test": order[:held], "validation": order[held : 2 * held], "train": order[2 * held :]}[split]

    def demonstrations(self, tasks: Sequence[Task], n: int, keys: Array, arrangement: int = 0) -> Episodes:
        """``n`` episodes per task of an expert who knows the goal (``Settings.expert_beta``)."""
        goals = _goals(tasks)
        on_goal = (goals[:, None] == grid.CELLS).all(axis=-1)  # [T, S]
        reward = self.settings.expert_beta * np.where(on_goal, grid.REWARD, grid.COST)
        values = experts.table_values(reward, grid.SUCCESSOR, self.settings.horizon, over=np.logaddexp)
        streams = seeding.split(np.asarray(keys, dtype=np.uint64)[:, None], np.arange(n))
        starts = np.zeros(streams.shape, dtype=np.int64)
        states, actions = experts.soft_paths(grid.SUCCESSOR, values, starts, streams)
        success = on_goal[np.arange(len(tasks))[:, None, None], states[..., 1:]]
        return experts.shown(grid.CELLS[states].astype(np.float64), actions, success, terminated=False)

    def vector_env(self, tasks: Sequence[Task], copies: int) -> GridNaviVectorEnv:
        return GridNaviVectorEnv(np.repeat(_goals(tasks), copies, axis=0), self.settings.horizon)

    def reference(self, task: Task) -> dict[str, float]:
        """Expected episode returns, all exact; the Bayes-optimal total of a whole trial.

        "bayes_optimal_trial" does not depend on the task: it is the average over the 21 goals, for a goal that may be
        any of them. It is left out where it is not known (``EXACT_HORIZON``) or goals are held out.
        """
        goal, horizon = task["goal"], self.settings.horizon
        on_goal = max(0, horizon - 1) if goal == BLIND_CELL else 0
        values = {
            "random": grid.random_return(goal, horizon),
            "task_blind": grid.COST * horizon + (grid.REWARD - grid.COST) * on_goal,
            "oracle": grid.known_return(goal, horizon),
        }
        if horizon == EXACT_HORIZON and not self.settings.held_out:
            values["bayes_optimal_trial"] = bayes_optimal_trial(self.settings.episodes_per_trial)
        return values


class GridNaviVectorEnv(VectorEnv[Array, Array, Array]):
    """Any number of grids side by side; ``goals`` is [N, 2]. The environment has no randomness of its own."""

    def __init__(self, goals: Array, horizon: int) -> None:
        self.num_envs = len(goals)
        self.metadata = {"autoreset_mode": AutoresetMode.DISABLED}
        self.single_observation_space = spaces.Box(0.0, grid.SIDE - 1.0, (2,), np.float64)
        self.single_action_space = spaces.Discrete(len(grid.MOVES))
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._goals = goals
        self._horizon = horizon
        best = np.zeros((grid.SIDE, grid.SIDE))
        best[tuple(np.transpose(grid.GOALS))] = [grid.known_return(goal, horizon) for goal in grid.GOALS]
        self._optimal_return = best[goals[:, 0], goals[:, 1]]
        self._cell = np.zeros_like(goals)
        self._step = 0

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Put every agent at (0, 0); ``seed`` is accepted and has nothing to decide."""
        self._cell = np.zeros_like(self._goals)
        self._step = 0
        return self._cell.astype(np.float64), {"optimal_return": self._optimal_return}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """``actions`` is [N] int; episodes end by the time limit only, and the goal pays at every step on it."""
        self._cell = grid.moved(self._cell, np.clip(actions, 0, len(grid.MOVES) - 1))
        self._step += 1
        on_goal = (self._cell == self._goals).all(axis=1)
        never = np.zeros(self.num_envs, dtype=bool)
        reward = np.where(on_goal, grid.REWARD, grid.COST)
        truncated = np.full(self.num_envs, self._step >= self._horizon)
        return self._cell.astype(np.float64), reward, never, truncated, {"success": on_goal}


def bayes_optimal_trial(episodes: int) -> float:
    """Largest expected total of ``episodes`` episodes of 15 steps, the goal being uniform over 21 cells.

    No first episode can earn more than ``first_episode_bound``, and no later one more than the known goal pays;
    ``grid.BayesOptimal`` attains both: it meets 14 goals at steps 2 to 15, and in the second episode the
    other seven at the first moment at which they can be reached, as if they were known.
    """
    later = float(np.mean([grid.known_return(goal, EXACT_HORIZON) for goal in grid.GOALS]))
    return grid.first_episode_bound(EXACT_HORIZON) + (episodes - 1) * later


def _goals(tasks: Sequence[Task]) -> Array:
    return np.array([task["goal"] for task in tasks], dtype=np.int64)


def _to_goal(goals: Array) -> Scripted:
    """``goals`` is [T, 2]."""
    return Scripted(lambda obs, step, noise: grid.towards(goals[:, None], obs))
