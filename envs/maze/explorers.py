"""Scripted policies for mazes: one that knows the maze, and one that draws a map as it goes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kshot.envs.maze import layouts, views
from kshot.envs.maze.layouts import MOVES, Mazes
from kshot.types import Array, Memory

UNKNOWN, FREE, WALL, GOAL = range(4)
_FAR = np.int16(10_000)


@dataclass(frozen=True)
class Knowing:
    """Take a shortest way; it knows the mazes of its tasks, and where it is by the moves it made."""

    mazes: Mazes

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        return {"cell": np.repeat(self.mazes.start[:, None], n_copies, axis=1)}

    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        after = layouts.successors(self.mazes.is_open)
        steps = layouts.steps_to(self.mazes.is_open, self.mazes.goal).reshape(len(after), -1)
        tasks = np.arange(len(after))[:, None]
        choices = after[tasks, memory["cell"]]  # [T, C, 4]
        action = steps[tasks[..., None], choices].argmin(axis=-1)
        return action, np.zeros(action.shape), {"cell": np.take_along_axis(choices, action[..., None], axis=-1)[..., 0]}

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        return {"cell": np.where(done, self.mazes.start[:, None], memory["cell"])}


@dataclass(frozen=True)
class Mapping:
    """Draw a map of what was seen; go to the goal if it is on it, else to the nearest place next to something unknown.

    Where the goal is seen but no way to it, what is unknown counts as open: walls do not hide the goal. It sees no
    reward. The map is relative to the start, which is the same in all episodes of a task.

    Attributes:
        side: cells along a side of the maze.
        view: cells along a side of what is seen.
        keeps: whether the map outlasts an episode.
        outward: how many steps nearer a place has to be to make up for being one step nearer to the start.
    """

    side: int
    view: int
    keeps: bool
    outward: int = 0

    @property
    def trial_memory(self) -> bool:
        return self.keeps

    @property
    def _middle(self) -> int:
        return self.side - 3 + self.view // 2

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        lead, size = (n_tasks, n_copies), 2 * self._middle + 1
        middle = np.full((*lead, 2), self._middle)
        return {"map": np.zeros((*lead, size, size), dtype=np.int8), "place": middle}

    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        lead, half = obs.shape[:2], self.view // 2
        cells = np.select(list(views.read(obs.reshape(-1, obs.shape[-1]), self.view)), [WALL, GOAL], FREE)
        place = memory["place"].reshape(-1, 2)
        rows = np.arange(len(place))
        known = memory["map"].reshape(len(place), *memory["map"].shape[2:]).copy()
        window = np.arange(-half, half + 1)
        x = np.clip(place[:, 0, None] + window, 0, known.shape[1] - 1)
        y = np.clip(place[:, 1, None] + window, 0, known.shape[2] - 1)
        known[rows[:, None, None], x[:, :, None], y[:, None, :]] = cells
        action = self._way(known, place)
        there = place + MOVES[action]
        moves = known[rows, there[:, 0], there[:, 1]] != WALL
        place = np.where(moves[:, None], there, place).reshape(*lead, 2)
        return action.reshape(lead), np.zeros(lead), {"map": known.reshape(memory["map"].shape), "place": place}

    def _way(self, known: Array, place: Array) -> Array:
        """[B] the first move of a shortest way to the goal of each map [B, G, G], or to what is next to the unknown."""
        free, goal = (known == FREE) | (known == GOAL), known == GOAL
        edge = free & (_nearest(np.where(known == UNKNOWN, np.int16(0), _FAR)) == 0)
        middle = np.abs(np.arange(known.shape[1]) - self._middle)
        inward = self.outward * (2 * self._middle - middle[:, None] - middle).astype(np.int16)
        found, at_goal = goal.any(axis=(1, 2))[:, None, None], np.where(goal, np.int16(0), _FAR)
        cost = _costs(free, np.where(found, at_goal, np.where(edge, inward, _FAR)))
        cut_off = cost[np.arange(len(place)), place[:, 0], place[:, 1]] == _FAR
        if cut_off.any():
            cost[cut_off] = _costs((free | (known == UNKNOWN))[cut_off], at_goal[cut_off])
        beside = place[:, None] + MOVES
        return np.asarray(cost[np.arange(len(place))[:, None], beside[..., 0], beside[..., 1]].argmin(axis=1))

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        kept = memory["map"] if self.keeps else np.where(done[..., None, None], np.int8(UNKNOWN), memory["map"])
        return {"map": kept, "place": np.where(done[..., None], self._middle, memory["place"])}


def _costs(passable: Array, targets: Array) -> Array:
    """[B, G, G] least sum of steps through passable cells [B, G, G] and the cost of the target they lead to."""
    cost = targets
    for _ in range(cost.shape[1] ** 2):
        better = np.where(passable, np.minimum(cost, _nearest(cost) + np.int16(1)), _FAR)
        if (better == cost).all():
            break
        cost = better
    return cost


def _nearest(cost: Array) -> Array:
    """[B, G, G] the least cost among the four neighbours of each cell."""
    least = np.full_like(cost, _FAR)
    least[:, 1:] = cost[:, :-1]
    least[:, :-1] = np.minimum(least[:, :-1], cost[:, 1:])
    least[:, :, 1:] = np.minimum(least[:, :, 1:], cost[:, :, :-1])
    least[:, :, :-1] = np.minimum(least[:, :, :-1], cost[:, :, 1:])
    return least
