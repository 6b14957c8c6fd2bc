"""Tasks and their scenes: where the object and the goal are in the episodes of a task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kshot import seeding
from kshot.envs.metaworld._tasks import Goal
from kshot.envs.metaworld_hand._abstractions import CELL_SIZE
from kshot.envs.metaworld_hand._world import HandWorld
from kshot.types import Array, Split, Task

OBJECT_BOX = np.array([[-0.12, 0.58], [0.12, 0.82]])
"""[2, 2] lowest and highest position of the object on the table, in metres."""
OBJECT_HEIGHT = 0.02
RADII = (0.15, 0.22)
"""Metres from the object to the goal, horizontally; reach-v3 refuses less (sawyer_reach_v3.py, ``reset_model``)."""
HEIGHTS = (0.08, 0.28)
"""Metres of the goal above the table."""
MIN_SHIFT = 0.10
"""Metres between the object and where it is in the demonstrations that are adapted to (arrangement 0), at least."""
_MAX_DRAWS = 512


@dataclass(frozen=True)
class Scene:
    """Where things can be in a task's episodes.

    Either all episodes have the same goal (tasks of ML1), or the object moves and the goal with it (tasks of a hidden
    offset).

    Attributes:
        name: Metaworld's class.
        rand_vec: that of all episodes in a task of ML1, else empty.
        offset: [3] metres from the object to the goal in a task of a hidden offset, else empty; as the following.
        low: [2] lowest position of the goal on the table, in metres.
        high: [2] highest.
    """

    name: str
    rand_vec: tuple[float, ...] = ()
    offset: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    def goal(self, arrangement: int) -> Goal:
        """The goal in layout number ``arrangement``; number 0 is that of demonstrations to adapt to."""
        if self.rand_vec:
            return self.name, self.rand_vec
        first = self._draw_goal(seeding.key("metaworld_hand", "arrangement", 0, *map(repr, self.offset)), None)
        if arrangement == 0:
            return first
        key = seeding.key("metaworld_hand", "arrangement", arrangement, *map(repr, self.offset))
        return self._draw_goal(key, np.array(first[1][:2]))

    def random_goal(self, key: int) -> Goal:
        """The goal of an episode whose randomness is ``key``."""
        return self.goal(0) if self.rand_vec else self._draw_goal(key, np.array(self.goal(0)[1][:2]))

    def goal_for_object(self, position: Array) -> Goal:
        """The goal of an episode whose object is at ``position`` [3]."""
        if self.rand_vec:
            return self.name, self.rand_vec
        target = position[:2] + np.array(self.offset[:2])
        return self.name, (*position[:2].tolist(), OBJECT_HEIGHT, *target.tolist(), OBJECT_HEIGHT + self.offset[2])

    def _draw_goal(self, key: int, away_from: Array | None) -> Goal:
        """A goal by rejection sampling: the first whose target is in the box and whose object is far from [2]."""
        uniform = seeding.uniform(np.asarray(key, dtype=np.uint64), np.arange(2 * _MAX_DRAWS)).reshape(_MAX_DRAWS, 2)
        objects = OBJECT_BOX[0] + uniform * (OBJECT_BOX[1] - OBJECT_BOX[0])
        goals = objects + np.array(self.offset[:2])
        accepted = ((goals >= np.array(self.low)) & (goals <= np.array(self.high))).all(axis=1)
        if away_from is not None:
            accepted &= np.linalg.norm(objects - away_from, axis=1) >= MIN_SHIFT
        if not accepted.any():
            raise RuntimeError(f"metaworld_hand: no place for an object whose goal is {self.offset} from it")
        i = int(accepted.argmax())
        return self.goal_for_object(objects[i])


def scene(world: HandWorld, task: Task) -> Scene:
    """The scene of a task of ML1 or of ``relative_tasks``."""
    if task.group == world.abstraction.env_name:
        return Scene(task["env_name"], rand_vec=task["rand_vec"])
    low, high = _goal_box(world)
    return Scene(world.abstraction.env_name, offset=task["offset"], low=tuple(low.tolist()), high=tuple(high.tolist()))


def _goal_box(world: HandWorld) -> tuple[Array, Array]:
    """Lowest and highest position [2] of a goal: the hand, which has to get above it, is then in the box of cells."""
    abstraction = world.abstraction
    low = np.array(abstraction.low) - np.array(abstraction.aim) + CELL_SIZE / 2
    high = low + CELL_SIZE * (np.array(abstraction.shape) - 1)
    return low[:2], high[:2]


def relative_tasks(world: HandWorld, split: Split, n: int, seed: int, train_tasks: int) -> list[Task]:
    """``n`` tasks of a hidden offset from the object to the goal.

    Training tasks are ``n`` of ``train_tasks`` fixed ones; those of other splits are drawn from ``seed``.

    Raises:
        ValueError: more training tasks than there are.
    """
    if split == "train":
        if n > train_tasks:
            raise ValueError(f"metaworld_hand: {n} train tasks asked for, there are {train_tasks}")
        order = seeding.generator("metaworld_hand tasks", split, seed).permutation(train_tasks)[:n]
        offsets = _random_offsets(world, seeding.generator("metaworld_hand", "training tasks"), train_tasks)
        return [_task(split, int(i), offsets[i]) for i in order]
    offsets = _random_offsets(world, seeding.generator("metaworld_hand tasks", split, seed), n)
    return [_task(split, i, offset) for i, offset in enumerate(offsets)]


def _task(split: Split, index: int, offset: Array) -> Task:
    return Task("metaworld_hand", split, index, (("offset", tuple(offset.tolist())),), group="reach-relative")


def _random_offsets(world: HandWorld, rng: np.random.Generator, n: int) -> Array:
    """[n, 3] metres; offsets for which the object could not be moved by ``MIN_SHIFT`` are drawn again."""
    low, high = _goal_box(world)
    offsets: list[Array] = []
    while len(offsets) < n:
        radius, angle, height = rng.uniform(*RADII), rng.uniform(0, 2 * np.pi), rng.uniform(*HEIGHTS)
        offset = np.array([radius * np.cos(angle), radius * np.sin(angle), height - OBJECT_HEIGHT])
        object_box = np.minimum(OBJECT_BOX[1], high - offset[:2]) - np.maximum(OBJECT_BOX[0], low - offset[:2])
        # A box whose diagonal is that long has, for any position in it, another one that is far enough.
        if (object_box > 0).all() and np.linalg.norm(object_box) > 2 * MIN_SHIFT:
            offsets.append(offset)
    return np.array(offsets)
