"""Mazes seen through a small window: find the goal once, and go straight there from then on.

The layout, the start and the goal are a task, the same in all its episodes. What is seen is the surroundings, never the
place, so that what was found in one episode is of use in the next only to those who remember. Layouts are made here
(``layouts``). Common with the worlds of Minigrid, as MultiRoom (Chevalier-Boisvert et al. 2023, arXiv 2306.13831;
Farama-Foundation/Minigrid, minigrid/envs/multiroom.py), are the partial view around the agent and the reward
1 - .9 t / T for arriving in step t of T; moves here are in four fixed directions instead of turns and steps, and walls
do not hide what is behind them.
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
from kshot.envs._scripted import uniform_random
from kshot.envs.maze import explorers, layouts, views
from kshot.envs.maze.layouts import MOVES, Mazes
from kshot.types import ActionKind, Array, Evidence, FamilySpec, ReferencePolicy, Split, Task

ACTIONS: ActionKind = "discrete"
EVIDENCE: frozenset[Evidence] = frozenset({"rollouts"})
LOST = 0.9
"""The share of the reward that is lost if one arrives in the last step."""
SPLIT_BUCKETS = 10
"""One in ten layouts is a test task, one in ten a validation task."""
LARGER, LOOPS = 2, 4
"""What mazes out of distribution have more: rooms along a side, or passages."""


@dataclass(frozen=True)
class Settings:
    """The size of the mazes, and how they are seen.

    Attributes:
        rooms: along a side; a maze has 2 * rooms + 1 cells along a side.
        view: cells along the side of what is seen, with oneself in the middle; odd.
        observation: "cells", two numbers for each: wall, goal; or "pixels", 3 x 3 of each cell in three colours.
        horizon: steps after which an episode is truncated.
        episodes_per_trial: length of a trial, in episodes.
        test_distribution: "same", or out of distribution: "larger" mazes with two more rooms along a side, or mazes
            with "loops", four more passages than it takes to connect all rooms.

    Raises:
        ValueError: a setting is out of its range.
    """

    rooms: int = 5
    view: int = 3
    observation: Literal["cells", "pixels"] = "cells"
    horizon: int = 100
    episodes_per_trial: int = 4
    test_distribution: Literal["same", "larger", "loops"] = "same"

    def __post_init__(self) -> None:
        for name, least, most in (("rooms", 3, 20), ("horizon", 1, None), ("episodes_per_trial", 1, None)):
            value = getattr(self, name)
            if value < least or (most is not None and value > most):
                bounds = f"between {least} and {most}" if most else f"at least {least}"
                raise ValueError(f"maze: {name} must be {bounds}, got {value}")
        if self.view < 3 or self.view % 2 == 0:
            raise ValueError(f"maze: view must be odd and at least 3, got {self.view}")
        if self.observation not in ("cells", "pixels"):
            raise ValueError(f"maze: observation must be 'cells' or 'pixels', got {self.observation!r}")
        if self.test_distribution not in ("same", "larger", "loops"):
            raise ValueError(
                f"maze: test_distribution must be 'same', 'larger' or 'loops', got {self.test_distribution!r}"
            )


def build(settings: Settings) -> MazeFamily:
    """The family for ``settings``."""
    return MazeFamily(settings)


def headline(settings: Settings) -> Literal["return"]:
    """The return, which says how soon the goal is reached: more in episode K than in the first is fewer steps."""
    return "return"


class MazeFamily:
    """``kshot.types.TaskFamily`` of mazes."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        pixels = settings.observation == "pixels"
        cells = settings.view**2
        self.spec = FamilySpec(
            name="maze",
            observation_dim=cells * views.TILE**2 * 3 if pixels else cells * 2,
            action_space=spaces.Discrete(len(MOVES)),
            horizon=settings.horizon,
            episodes_per_trial=settings.episodes_per_trial,
            evidence=EVIDENCE,
            max_sub_envs=2_000 if pixels else 10_000,
        )

    @property
    def references(self) -> Mapping[str, ReferencePolicy]:
        """Scripted policies.

        "random"; "task_blind", which draws a map of every episode and forgets it; "mapping", which keeps it for the
        trial; "oracle", which knows the maze.
        """
        return {
            "random": lambda tasks: uniform_random(self.spec.action_space),
            "task_blind": lambda tasks: self.explorer(tasks, keeps=False),
            "mapping": lambda tasks: self.explorer(tasks, keeps=True),
            "oracle": lambda tasks: explorers.Knowing(self.mazes(tasks)),
        }

    def explorer(self, tasks: Sequence[Task], keeps: bool, outward: int = 0) -> explorers.Mapping:
        """A policy that draws maps; see ``explorers.Mapping``."""
        return explorers.Mapping(2 * _rooms(tasks) + 1, self.settings.view, keeps, outward)

    def tasks(self, split: Split, n: int, seed: int) -> list[Task]:
        """``n`` tasks, each defined by a random key, rooms and loops.

        A hash of the layout says which split a maze belongs to, so that no layout is in two of them. Mazes out of
        distribution have another size, or ways that those of training never have.
        """
        rooms, loops = self.settings.rooms, 0
        if split == "test":
            rooms += LARGER * (self.settings.test_distribution == "larger")
            loops += LOOPS * (self.settings.test_distribution == "loops")
        found: list[int] = []
        base, drawn = seeding.key("maze", split, seed), 0
        while len(found) < n:
            keys = seeding.split(base, np.arange(drawn, drawn + max(64, n)))
            drawn += len(keys)
            packed = np.packbits(layouts.mazes(keys, rooms, loops).is_open.reshape(len(keys), -1), axis=1)
            for key, layout in zip(keys.tolist(), packed, strict=True):
                bucket = seeding.key("maze", "split", layout.tobytes().hex()) % SPLIT_BUCKETS
                if {0: "test", 1: "validation"}.get(bucket, "train") == split:
                    found.append(key)
        params = (("rooms", rooms), ("loops", loops))
        return [Task("maze", split, i, (("key", key), *params), group="maze") for i, key in enumerate(found[:n])]

    def mazes(self, tasks: Sequence[Task]) -> Mazes:
        """The mazes of tasks of one size."""
        loops = {task["loops"] for task in tasks}
        if len(loops) != 1:
            raise ValueError("maze: tasks of one batch must have as many loops")
        return layouts.mazes(np.array([task["key"] for task in tasks], dtype=np.uint64), _rooms(tasks), loops.pop())

    def vector_env(self, tasks: Sequence[Task], copies: int) -> MazeVectorEnv:
        return MazeVectorEnv(self, tasks, copies)

    def reference(self, task: Task) -> dict[str, float]:
        """Returns of random moves, by dynamic programming over the cells, and of a shortest way; both exact."""
        maze, horizon = self.mazes([task]), self.settings.horizon
        steps = int(layouts.steps_to(maze.is_open, maze.goal).reshape(-1)[maze.start[0]])
        return {
            "random": random_return(maze, horizon),
            "oracle": arrival_reward(steps, horizon) if steps <= horizon else 0.0,
        }


class MazeVectorEnv(VectorEnv[Array, Array, Array]):
    """``copies`` of every task side by side. The environment has no randomness of its own.

    The observation is what is seen from the cell that the agent is on; all of them are drawn when the environment is
    made.
    """

    def __init__(self, family: MazeFamily, tasks: Sequence[Task], copies: int) -> None:
        settings, mazes = family.settings, family.mazes(tasks)
        self.num_envs = len(tasks) * copies
        self.metadata = {"autoreset_mode": AutoresetMode.DISABLED}
        self.single_observation_space = spaces.Box(0.0, 1.0, (family.spec.observation_dim,), np.float32)
        self.single_action_space = family.spec.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        seen = views.windows(mazes, settings.view)
        drawn = views.as_pixels(seen) if settings.observation == "pixels" else views.as_cells(seen)
        self._rows = drawn.reshape(-1, drawn.shape[-1])
        self._brightest = np.float32(views.BRIGHTEST if settings.observation == "pixels" else 1.0)
        after = layouts.successors(mazes.is_open)
        cells = after.shape[1]
        first = np.arange(len(tasks)) * cells  # cells of all tasks are numbered through
        self._successor = (after + first[:, None, None]).reshape(-1)
        self._start = np.repeat(mazes.start + first, copies)
        self._goal = np.repeat(mazes.goal + first, copies)
        self._horizon = settings.horizon
        steps = layouts.steps_to(mazes.is_open, mazes.goal).reshape(-1)[mazes.start + first]
        best = np.where(steps <= self._horizon, arrival_reward(steps, self._horizon), 0.0)
        self._optimal_return = np.repeat(best, copies)
        self._cell, self._step = self._start, 0

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Put every agent at its start; ``seed`` is accepted and ignored."""
        self._cell, self._step = self._start, 0
        return self._observation(), {"optimal_return": self._optimal_return}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """``actions`` is [N] int. Success: the goal is reached, which ends the episode."""
        self._cell = self._successor[self._cell * len(MOVES) + np.clip(actions, 0, len(MOVES) - 1)]
        self._step += 1
        arrived = self._cell == self._goal
        reward = arrived * arrival_reward(self._step, self._horizon)
        truncated = np.full(self.num_envs, self._step >= self._horizon)
        return self._observation(), reward, arrived, truncated, {"success": arrived}

    def _observation(self) -> Array:
        return np.asarray(self._rows[self._cell] / self._brightest)


def _rooms(tasks: Sequence[Task]) -> int:
    sizes = {task["rooms"] for task in tasks}
    if len(sizes) != 1:
        raise ValueError(f"maze: tasks of one batch must be of one size, got {sorted(sizes)} rooms along a side")
    return int(sizes.pop())


def arrival_reward(steps: Any, horizon: int) -> Any:
    """The reward for arriving in step ``steps`` (a number or an array) of ``horizon``, as in Minigrid."""
    return 1.0 - LOST * steps / horizon


def random_return(maze: Mazes, horizon: int) -> float:
    """Expected return of uniform random moves in one maze."""
    after = layouts.successors(maze.is_open)[0]
    at, total = np.eye(len(after))[maze.start[0]], 0.0
    for step in range(1, horizon + 1):
        at = np.bincount(after.ravel(), np.repeat(at / len(MOVES), len(MOVES)), len(at))
        total += at[maze.goal[0]] * arrival_reward(step, horizon)
        at[maze.goal[0]] = 0.0
    return float(total)
