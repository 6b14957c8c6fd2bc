"""Tasks and their scenes: where the object and the goal of an episode are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kshot import seeding
from kshot.envs.metaworld._tasks import Goal
from kshot.envs.metaworld_hand._abilities import CELL
from kshot.envs.metaworld_hand._world import HandWorld
from kshot.types import Array, Split, Task

OBJECTS = np.array([[-0.12, 0.58], [0.12, 0.82]])
"""Lowest and highest place of the object on the table, in metres."""
OBJECT_HEIGHT = 0.02
RADII = (0.15, 0.22)
"""Horizontal distance from the object to the goal; reach-v3 refuses less (sawyer_reach_v3.py, ``reset_model``)."""
HEIGHTS = (0.08, 0.28)
MOVED = 0.10
"""Metres by which the object is elsewhere at least than in the demonstrations that are adapted to."""
_DRAWS = 512


@dataclass(frozen=True)
class Scene:
    """Where things are in a task's episodes.

    Attributes:
        name: Metaworld's class.
        frozen: the ``rand_vec`` of all episodes, in a task of ML1; empty where the object moves.
        offset: [3] from the object to the goal, else.
        low: [2] lowest place of the goal on the table.
        high: [2] highest.
    """

    name: str
    frozen: tuple[float, ...] = ()
    offset: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    def goal(self, arrangement: int) -> Goal:
        """The goal of a numbered arrangement; number 0 is what demonstrations to adapt to show."""
        if self.frozen:
            return self.name, self.frozen
        first = self._placed(seeding.key("metaworld_hand", "arrangement", 0, *map(repr, self.offset)), None)
        if arrangement == 0:
            return first
        key = seeding.key("metaworld_hand", "arrangement", arrangement, *map(repr, self.offset))
        return self._placed(key, np.array(first[1][:2]))

    def drawn(self, key: int) -> Goal:
        """The goal of an episode whose randomness is ``key``."""
        return self.goal(0) if self.frozen else self._placed(key, np.array(self.goal(0)[1][:2]))

    def around(self, place: Array) -> Goal:
        """The goal of an episode whose object is at ``place`` [3]."""
        if self.frozen:
            return self.name, self.frozen
        target = place[:2] + np.array(self.offset[:2])
        return self.name, (*place[:2].tolist(), OBJECT_HEIGHT, *target.tolist(), OBJECT_HEIGHT + self.offset[2])

    def _placed(self, key: int, away_from: Array | None) -> Goal:
        """The first object place out of a stream at which the goal is in the box and which is far enough away."""
        share = seeding.uniform(np.asarray(key, dtype=np.uint64), np.arange(2 * _DRAWS)).reshape(_DRAWS, 2)
        objects = OBJECTS[0] + share * (OBJECTS[1] - OBJECTS[0])
        goals = objects + np.array(self.offset[:2])
        fits = ((goals >= np.array(self.low)) & (goals <= np.array(self.high))).all(axis=1)
        if away_from is not None:
            fits &= np.linalg.norm(objects - away_from, axis=1) >= MOVED
        if not fits.any():
            raise RuntimeError(f"metaworld_hand: no place for an object whose goal is {self.offset} from it")
        i = int(fits.argmax())
        return self.around(objects[i])


def scene(world: HandWorld, task: Task) -> Scene:
    """The scene of a task of ``relative_tasks``, or of ML1."""
    if task.group == world.ability.env_name:
        return Scene(task["env_name"], frozen=task["rand_vec"])
    low, high = _goal_box(world)
    return Scene(world.ability.env_name, offset=task["offset"], low=tuple(low.tolist()), high=tuple(high.tolist()))


def _goal_box(world: HandWorld) -> tuple[Array, Array]:
    """Lowest and highest place of a goal, half a cell inside the box of the hand, which has to get above it."""
    low = np.array(world.ability.low) - np.array(world.ability.aim) + CELL / 2
    high = low + CELL * (np.array(world.ability.shape) - 1)
    return low[:2], high[:2]


def relative_tasks(world: HandWorld, split: Split, n: int, seed: int, train_tasks: int) -> list[Task]:
    """Tasks of a hidden offset from the object to the goal.

    Raises:
        ValueError: more training tasks than there are.
    """
    if split == "train":
        if n > train_tasks:
            raise ValueError(f"metaworld_hand: {n} train tasks asked for, there are {train_tasks}")
        order = seeding.generator("metaworld_hand tasks", split, seed).permutation(train_tasks)[:n]
        offsets = _offsets(world, seeding.generator("metaworld_hand", "training tasks"), train_tasks)
        return [_task(split, int(i), offsets[i]) for i in order]
    drawn = _offsets(world, seeding.generator("metaworld_hand tasks", split, seed), n)
    return [_task(split, i, offset) for i, offset in enumerate(drawn)]


def _task(split: Split, index: int, offset: Array) -> Task:
    return Task("metaworld_hand", split, index, (("offset", tuple(offset.tolist())),), group="reach-relative")


def _offsets(world: HandWorld, rng: np.random.Generator, n: int) -> Array:
    """[n, 3] offsets of goals; those for which the object could not be moved far enough are drawn again."""
    low, high = _goal_box(world)
    found: list[Array] = []
    while len(found) < n:
        radius, angle, height = rng.uniform(*RADII), rng.uniform(0, 2 * np.pi), rng.uniform(*HEIGHTS)
        offset = np.array([radius * np.cos(angle), radius * np.sin(angle), height - OBJECT_HEIGHT])
        room = np.minimum(OBJECTS[1], high - offset[:2]) - np.maximum(OBJECTS[0], low - offset[:2])
        if (room > 0).all() and np.linalg.norm(room) > 2 * MOVED:  # from any place in it, another is far enough
            found.append(offset)
    return np.array(found)
