"""Scripted policies that decide by cells: what the abstraction allows with the true goal, or a predicted one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from kshot.envs._scripted import Scripted
from kshot.envs._target_prediction import TargetPredictor
from kshot.envs.metaworld._tasks import Goal
from kshot.envs.metaworld_hand._experts import HandPath, demonstrate
from kshot.envs.metaworld_hand._scenes import Scene
from kshot.envs.metaworld_hand._world import GRIP, HAND, HELD, MOVE_STRIDES, OBJECT, HandWorld
from kshot.types import Array

ExpertPaths = Callable[[Array], list[HandPath | None]]
"""Initial object positions [T, C, 3], in the scenes of T tasks -> the T * C experts' paths, task by task."""


def noiseless_paths(world: HandWorld, goals: Sequence[Goal]) -> list[HandPath | None]:
    """The experts' paths without noise, from where episodes begin; None where ``demonstrate`` has none."""
    return demonstrate(world, goals, np.zeros(len(goals), dtype=np.uint64), noise=0.0, spread=0.0)


def go_to_predicted_end(world: HandWorld, predictor: TargetPredictor) -> Scripted:
    """Take hold of the object, where the class has a grip, and go where ``predictor`` says, given its position [3]."""

    def rule(obs: Array, step: Array, noise: Array | None) -> Array:
        return _action_towards(world, obs, predictor(obs[..., OBJECT]))

    return Scripted(rule)


def oracle(world: HandWorld, scenes: Sequence[Scene]) -> Scripted:
    """Take hold of the object and go straight to where the expert's path ends; stay where it has none."""
    expert_paths = _cached_expert_paths(world, scenes)

    def rule(obs: Array, step: Array, noise: Array | None) -> Array:
        paths, hands = expert_paths(obs[..., OBJECT]), obs[..., HAND].reshape(-1, 3)
        ends = np.array([hand if path is None else path.hand[-1] for path, hand in zip(paths, hands, strict=True)])
        return _action_towards(world, obs, ends.reshape(*obs.shape[:2], 3))

    return Scripted(rule)


def ceiling(world: HandWorld, scenes: Sequence[Scene]) -> Scripted:
    """Follow the expert's path from cell to cell; stay where there is none."""
    expert_paths = _cached_expert_paths(world, scenes)

    def rule(obs: Array, step: Array, noise: Array | None) -> Array:
        paths, hands, t = expert_paths(obs[..., OBJECT]), obs[..., HAND].reshape(-1, 3), step.reshape(-1)
        targets = [h if path is None else path.hand[i + 1] for path, h, i in zip(paths, hands, t, strict=True)]
        hold = np.array([path is not None and path.held[i + 1] for path, i in zip(paths, t, strict=True)])
        lead = obs.shape[:2]
        return _action_towards(world, obs, np.array(targets).reshape(*lead, 3), hold.reshape(lead))

    return Scripted(rule)


def _cached_expert_paths(world: HandWorld, scenes: Sequence[Scene]) -> ExpertPaths:
    """Simulates the expert once for every goal."""
    known: dict[Goal, HandPath | None] = {}

    def expert_paths(objects: Array) -> list[HandPath | None]:
        goals = [scene.goal_for_object(o) for scene, of_task in zip(scenes, objects, strict=True) for o in of_task]
        new = [goal for goal in dict.fromkeys(goals) if goal not in known]
        known.update(zip(new, noiseless_paths(world, new), strict=True))
        return [known[goal] for goal in goals]

    return expert_paths


def _action_towards(world: HandWorld, obs: Array, targets: Array, hold: Array | None = None) -> Array:
    """[T, C] the next action on the way to ``targets`` [T, C, 3].

    Where ``hold`` [T, C] is true, or everywhere without it, the way leads to the grip first (in classes that have one).
    All moves within the box are possible, so that the straight way is a shortest one.
    """
    lead = obs.shape[:2]
    flat = obs.reshape(-1, obs.shape[-1])
    cells, goal = world.cell(flat[:, HAND]), world.cell(targets.reshape(-1, 3))
    action = np.zeros(len(flat), dtype=np.int64)
    grip = world.abstraction.grip
    if grip is not None:
        should_hold = np.ones(len(flat), dtype=bool) if hold is None else hold.reshape(-1)
        to_grip = (flat[:, HELD] < 0.5) & should_hold
        approach = world.cell(flat[:, OBJECT] + np.array(grip.contact) + np.array(grip.clearance))
        near = world.near(flat[:, OBJECT])[np.arange(len(flat)), cells]
        goal = np.where(to_grip, approach, goal)
        action = np.where(to_grip & near, GRIP, action)
    shape = world.abstraction.shape
    difference = np.stack(np.unravel_index(goal, shape)) - np.stack(np.unravel_index(cells, shape))
    move = MOVE_STRIDES @ (np.sign(difference) + 1)
    return np.where(action == GRIP, action, move).reshape(lead)
