"""Scripted policies that decide by cells: what the abstraction allows to those who know the goal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from kshot.envs._guessing import Guessing
from kshot.envs._scripted import Scripted
from kshot.envs.metaworld._tasks import Goal
from kshot.envs.metaworld_hand._experts import Path, demonstrate
from kshot.envs.metaworld_hand._scenes import Scene
from kshot.envs.metaworld_hand._world import GRIP, HELD, OBJECT, HandWorld
from kshot.types import Array

Paths = Callable[[Array], list[Path | None]]
"""Objects [T, C, 3] -> the experts' paths in the scenes that they belong to, task by task."""


def constant(action: int) -> Scripted:
    """Always ``action``."""
    return Scripted(lambda obs, step, noise: np.full(obs.shape[:2], action))


def plain_paths(world: HandWorld, goals: Sequence[Goal]) -> list[Path | None]:
    """The experts' own paths, without noise, from where episodes begin; None where it fails or cells cannot tell it."""
    return demonstrate(world, goals, np.zeros(len(goals), dtype=np.uint64), noise=0.0, spread=0.0)


def guessing(world: HandWorld, end: Guessing) -> Scripted:
    """Takes hold of the object, where the class has a grip, and goes where ``end`` guesses from the object's place."""

    def rule(obs: Array, step: Array, noise: Array | None) -> Array:
        return _towards(world, obs, end(obs[..., OBJECT]))

    return Scripted(rule)


def oracle(world: HandWorld, scenes: Sequence[Scene]) -> Scripted:
    """Takes hold of the object and goes straight to where the expert ends; stays where there is no such path."""
    paths = _known(world, scenes)

    def rule(obs: Array, step: Array, noise: Array | None) -> Array:
        found = paths(obs[..., OBJECT])
        here = obs[..., :3].reshape(-1, 3)
        ends = np.array([at if path is None else path.hand[-1] for path, at in zip(found, here, strict=True)])
        return _towards(world, obs, ends.reshape(*obs.shape[:2], 3))

    return Scripted(rule)


def ceiling(world: HandWorld, scenes: Sequence[Scene]) -> Scripted:
    """Follows the expert's path from cell to cell; stays where there is none."""
    paths = _known(world, scenes)

    def rule(obs: Array, step: Array, noise: Array | None) -> Array:
        found = paths(obs[..., OBJECT])
        here, t = obs[..., :3].reshape(-1, 3), step.reshape(-1)
        following = [p if path is None else path.hand[i + 1] for path, p, i in zip(found, here, t, strict=True)]
        holding = np.array([path is not None and path.held[i + 1] for path, i in zip(found, t, strict=True)])
        targets = np.array(following).reshape(*obs.shape[:2], 3)
        return _towards(world, obs, targets, holding.reshape(obs.shape[:2]))

    return Scripted(rule)


def _known(world: HandWorld, scenes: Sequence[Scene]) -> Paths:
    """The paths, worked out once for every scene."""
    known: dict[Goal, Path | None] = {}

    def paths(objects: Array) -> list[Path | None]:
        goals = [scene.around(place) for scene, row in zip(scenes, objects, strict=True) for place in row]
        new = [goal for goal in dict.fromkeys(goals) if goal not in known]
        known.update(zip(new, plain_paths(world, new), strict=True))
        return [known[goal] for goal in goals]

    return paths


def _towards(world: HandWorld, obs: Array, targets: Array, hold: Array | None = None) -> Array:
    """[T, C] the action that gets nearer to ``targets`` [T, C, 3], by way of the grip where ``hold`` is true, or None.

    Every move is possible, so that the straight way is the shortest.
    """
    lead = obs.shape[:2]
    flat = obs.reshape(-1, obs.shape[-1])
    cells, goal = world.cell(flat[:, :3]), world.cell(targets.reshape(-1, 3))
    action = np.zeros(len(flat), dtype=np.int64)
    grip = world.ability.grip
    if grip is not None:
        wanted = np.ones(len(flat), dtype=bool) if hold is None else hold.reshape(-1)
        unheld = (flat[:, HELD] < 0.5) & wanted
        approach = world.cell(flat[:, OBJECT] + np.array(grip.contact) + np.array(grip.clearance))
        near = world.near(flat[:, OBJECT])[np.arange(len(flat)), cells]
        goal = np.where(unheld, approach, goal)
        action = np.where(unheld & near, GRIP, action)
    shape = world.ability.shape
    apart = np.stack(np.unravel_index(goal, shape)) - np.stack(np.unravel_index(cells, shape))
    move = np.array([9, 3, 1]) @ (np.sign(apart) + 1)
    return np.where(action == GRIP, action, move).reshape(lead)
