"""Demonstrations: Metaworld's scripted experts, who know the goal, with noise, read as paths of cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kshot import seeding
from kshot.envs.metaworld._references import Controller, expert_with_target
from kshot.envs.metaworld._tasks import Goal
from kshot.envs.metaworld.engine import prototype
from kshot.envs.metaworld_hand._abstractions import CELL_SIZE, Abstraction
from kshot.envs.metaworld_hand._arms import Arms
from kshot.envs.metaworld_hand._world import GRIP, MOVE_STRIDES, STAY, HandWorld
from kshot.types import Array

NOISE = 0.2
"""Standard deviation of the noise in the expert's motion, in units of its action."""
SPREAD = 0.08
"""Metres by which the hand's initial position varies, along each axis and in both directions."""
_START_STEPS = 20
"""Environment steps in which the hand gets to its initial position."""
_MAX_STEPS = 260
_STEPS_AFTER_SUCCESS = 40
"""Environment steps after the first success, at the end of which the hand has come to rest."""
_REST_RADIUS = 0.015
"""Metres from its final position within which the hand counts as arrived."""
_HYSTERESIS = 0.004
"""Metres that the hand has to be beyond a cell's face to count as in the next cell: noise is not a decision."""
_SIMULATED_TOGETHER = 64


@dataclass(frozen=True)
class HandPath:
    """An expert's episode as H decisions.

    Attributes:
        hand: [H + 1, 3] positions of the hand in metres.
        held: [H + 1] whether it has taken hold of the object.
        action: [H].
        object: [3] initial position of the object in metres.
        attempts: how many episodes were simulated until this one succeeded.
    """

    hand: Array
    held: Array
    action: Array
    object: Array
    attempts: int = 1


def aimed_expert(abstraction: Abstraction, goal: Goal) -> Controller:
    """Metaworld's expert of the class, aiming beside the target by ``abstraction.aim``."""
    target = prototype(goal[0], False).snapshot(goal).target
    return expert_with_target(goal[0], target + np.array(abstraction.aim))


def demonstrate(
    world: HandWorld, goals: Sequence[Goal], keys: Array, noise: float = NOISE, spread: float = SPREAD
) -> list[HandPath | None]:
    """One attempt at a demonstration per goal; None where it failed, or is no path of cells.

    Args:
        world: its abstraction is that of all goals.
        goals: n goals of one class.
        keys: [n] decide noise and initial position.
        noise: see ``NOISE``.
        spread: see ``SPREAD``.
    """
    paths: list[HandPath | None] = []
    for first in range(0, len(goals), _SIMULATED_TOGETHER):
        part = slice(first, first + _SIMULATED_TOGETHER)
        paths += _demonstrate_together(world, goals[part], keys[part], noise, spread)
    return paths


def _demonstrate_together(
    world: HandWorld, goals: Sequence[Goal], keys: Array, noise: float, spread: float
) -> list[HandPath | None]:
    abstraction, n = world.abstraction, len(goals)
    arms = Arms(abstraction, n)
    arms.reset(goals)
    objects = arms.obs[:, 4:7].copy()
    if spread > 0:
        shift = spread * (2 * seeding.uniform(keys[:, None], np.arange(3)) - 1)
        low = np.array(abstraction.low) + CELL_SIZE / 2
        start = np.clip(arms.hand + shift, low, low + CELL_SIZE * (np.array(abstraction.shape) - 1))
        effort, gain = np.full(n, abstraction.effort), np.full(n, abstraction.gain)
        arms.servo(np.arange(n), start, effort, gain, _START_STEPS)
    controllers = [aimed_expert(abstraction, goal) for goal in goals]
    steps_left, taken = np.full(n, _MAX_STEPS), np.zeros(n, dtype=np.int64)
    hands, successes = [arms.hand.copy()], [np.zeros(n, dtype=bool)]
    for t in range(_MAX_STEPS):
        active = np.flatnonzero(steps_left > 0)
        if len(active) == 0:
            break
        actions = np.stack([controllers[i](arms.obs[i], t) for i in active])
        actions[:, :3] = np.clip(actions[:, :3], -1, 1) + noise * seeding.noise(keys[active], t, 3, "continuous")
        arms.step(active, actions)
        hands.append(arms.hand.copy())
        successes.append(arms.success.copy())
        steps_left[active] -= 1
        taken[active] += 1
        steps_left[arms.success & (steps_left > _STEPS_AFTER_SUCCESS)] = _STEPS_AFTER_SUCCESS
    arms.close()
    hand, success = np.stack(hands, axis=1), np.stack(successes, axis=1)
    # To an arm's own end: how long others went on must not tell where it came to rest.
    ends = taken + 1
    return [_as_decisions(world, hand[i, : ends[i]], objects[i]) if success[i, -1] else None for i in range(n)]


def _as_decisions(world: HandWorld, hand: Array, object_position: Array) -> HandPath | None:
    """The path of decisions that follows the hand's trajectory [t, 3].

    None if the trajectory leaves the box, never touches the object of a class with a grip, crosses more than one cell
    between two of its points, or takes more decisions than an episode has.
    """
    end = hand[-5:].mean(axis=0)
    arrived = int((np.linalg.norm(hand - end, axis=1) < _REST_RADIUS).argmax())
    if world.abstraction.grip is None:
        before, after = _cell_entries(world, [*hand[: arrived + 1], end]), list[Array]()
    else:
        contact = object_position + np.array(world.abstraction.grip.contact)
        touching = np.abs(hand - contact).max(axis=1) < CELL_SIZE
        if not touching.any():
            return None
        touched = int(touching.argmax())
        before = _approach(world, _cell_entries(world, hand[: touched + 1]), object_position)
        after = _cell_entries(world, [contact, *hand[touched : max(arrived, touched) + 1], end])
    positions = before + after
    padding = world.decisions + 1 - len(positions)
    if padding < 0 or world.outside(np.array(positions)).any():
        return None
    index = np.stack(np.unravel_index(world.cell(np.array(positions)), world.abstraction.shape), axis=-1)
    moves = np.diff(index, axis=0)
    action = (moves + 1) @ MOVE_STRIDES
    if after:
        moves[len(before) - 1], action[len(before) - 1] = 0, GRIP
    if np.abs(moves).max(initial=0) > 1:
        return None
    return HandPath(
        hand=np.array([*positions, *[positions[-1]] * padding]),
        held=np.array([False] * len(before) + [bool(after)] * (len(after) + padding)),
        action=np.array([*action, *[STAY] * padding]),
        object=object_position,
    )


def _approach(world: HandWorld, positions: list[Array], object_position: Array) -> list[Array]:
    """The path before the grip: ``positions`` up to the last one where the grip is possible.

    If it is possible at none of them, the path goes on from the last one to the cell that the grip approaches from.
    """
    grip = world.abstraction.grip
    assert grip is not None
    near = world.near(object_position[None])[0]
    possible = [i for i, position in enumerate(positions) if near[world.cell(position)]]
    if possible:
        return positions[: possible[-1] + 1]
    goal = world.centres[world.cell(object_position + np.array(grip.contact) + np.array(grip.clearance))]
    extended = list(positions)
    while not near[world.cell(extended[-1])]:
        centre = world.centres[world.cell(extended[-1])]
        extended.append(centre + CELL_SIZE * np.sign(np.rint((goal - centre) / CELL_SIZE)))
    return extended


def _cell_entries(world: HandWorld, trajectory: Sequence[Array] | Array) -> list[Array]:
    """The first position of a trajectory [t, 3], and those at which the hand enters another cell."""
    cells = world.cell(np.array(trajectory)).tolist()
    current, entries = cells[0], [trajectory[0]]
    for position, cell in zip(trajectory[1:], cells[1:], strict=True):
        if cell != current and np.abs(position - world.centres[current]).max() > CELL_SIZE / 2 + _HYSTERESIS:
            entries.append(position)
            current = cell
    return entries
