"""Demonstrations: Metaworld's scripted experts at work, told the goal, made diverse, and read as paths of cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kshot import seeding
from kshot.envs.metaworld._references import Controller, expert
from kshot.envs.metaworld._tasks import Goal
from kshot.envs.metaworld.engine import prototype
from kshot.envs.metaworld_hand._abilities import CELL, Ability
from kshot.envs.metaworld_hand._arms import Arms
from kshot.envs.metaworld_hand._world import GRIP, STAY, HandWorld
from kshot.types import Array

NOISE = 0.2
"""Standard deviation of what is added to the expert's motion, in units of its action."""
SPREAD = 0.08
"""Metres by which the hand may be elsewhere, along each axis, when a demonstration begins."""
_START_STEPS = 20
_MOST_STEPS = 260
_SETTLING = 40  # steps that an expert goes on after its first success: it is then where it wants to be
_SETTLED = 0.015
_INSIDE = 0.004  # metres beyond a cell's face at which the hand counts as in the next: noise is no change of mind
_PARALLEL = 64
_MOVE_NUMBER = np.array([9, 3, 1])


@dataclass(frozen=True)
class Path:
    """One demonstration; H decisions.

    Attributes:
        hand: [H + 1, 3] metres.
        held: [H + 1] whether the object has been taken hold of.
        action: [H].
        object: [3] where the object was at the beginning.
        attempts: how many demonstrations were tried until this one succeeded.
    """

    hand: Array
    held: Array
    action: Array
    object: Array
    attempts: int = 1


def told(ability: Ability, goal: Goal) -> Controller:
    """Metaworld's expert of the class, aiming so that what has to reach the target does."""
    target = prototype(goal[0], False).snapshot(goal).target
    return expert(goal[0], target + np.array(ability.aim))


def demonstrate(
    world: HandWorld, goals: Sequence[Goal], keys: Array, noise: float = NOISE, spread: float = SPREAD
) -> list[Path | None]:
    """One attempt per goal, its noise and start decided by ``keys`` [n]; None where it failed."""
    found: list[Path | None] = []
    for first in range(0, len(goals), _PARALLEL):
        part = slice(first, first + _PARALLEL)
        found += _demonstrated(world, goals[part], keys[part], noise, spread)
    return found


def _demonstrated(
    world: HandWorld, goals: Sequence[Goal], keys: Array, noise: float, spread: float
) -> list[Path | None]:
    ability, n = world.ability, len(goals)
    arms = Arms(ability, n)
    arms.reset(goals)
    objects = arms.obs[:, 4:7].copy()
    everyone, free = np.arange(n), np.full(n, ability.gain)
    if spread > 0:
        shift = spread * (2 * seeding.uniform(keys[:, None], np.arange(3)) - 1)
        low = np.array(ability.low) + CELL / 2
        start = np.clip(arms.hand + shift, low, low + CELL * (np.array(ability.shape) - 1))
        arms.servo(everyone, start, np.full(n, ability.effort), free, _START_STEPS)
    controllers = [told(ability, goal) for goal in goals]
    left = np.full(n, _MOST_STEPS)
    hands, successes = [arms.hand.copy()], [np.zeros(n, dtype=bool)]
    for t in range(_MOST_STEPS):
        going = np.flatnonzero(left > 0)
        if len(going) == 0:
            break
        wanted = np.stack([controllers[i](arms.obs[i], t) for i in going])
        wanted[:, :3] = np.clip(wanted[:, :3], -1, 1) + noise * seeding.noise(keys[going], t, 3, "continuous")
        arms.step(going, wanted)
        hands.append(arms.hand.copy())
        successes.append(arms.success.copy())
        left[going] -= 1
        left[arms.success & (left > _SETTLING)] = _SETTLING
    arms.close()
    hand, success = np.stack(hands, axis=1), np.stack(successes, axis=1)
    return [_path(world, hand[i], objects[i]) if success[i, -1] else None for i in range(n)]


def _path(world: HandWorld, hand: Array, thing: Array) -> Path | None:
    """The hand's way [t, 3] as decisions; None where cells cannot tell it."""
    end = hand[-5:].mean(axis=0)
    arrived = int((np.linalg.norm(hand - end, axis=1) < _SETTLED).argmax())
    if world.ability.grip is None:
        before, after = _cells(world, [*hand[: arrived + 1], end]), list[Array]()
    else:
        contact = thing + np.array(world.ability.grip.contact)
        touching = np.abs(hand - contact).max(axis=1) < CELL
        if not touching.any():
            return None
        touched = int(touching.argmax())
        before = _approach(world, _cells(world, hand[: touched + 1]), thing)
        after = _cells(world, [contact, *hand[touched : max(arrived, touched) + 1], end])
    places = before + after
    padding = world.decisions + 1 - len(places)
    if padding < 0 or world.outside(np.array(places)).any():
        return None
    index = np.stack(np.unravel_index(world.cell(np.array(places)), world.ability.shape), axis=-1)
    moves = np.diff(index, axis=0)
    action = (moves + 1) @ _MOVE_NUMBER
    if after:
        moves[len(before) - 1], action[len(before) - 1] = 0, GRIP
    if np.abs(moves).max(initial=0) > 1:
        return None
    return Path(
        hand=np.array([*places, *[places[-1]] * padding]),
        held=np.array([False] * len(before) + [bool(after)] * (len(after) + padding)),
        action=np.array([*action, *[STAY] * padding]),
        object=thing,
    )


def _approach(world: HandWorld, places: list[Array], thing: Array) -> list[Array]:
    """The way up to where the object can be taken hold of: cut where it was last possible, or led on to there."""
    grip = world.ability.grip
    assert grip is not None
    near = world.near(thing[None])[0]
    possible = [i for i, place in enumerate(places) if near[world.cell(place)]]
    if possible:
        return places[: possible[-1] + 1]
    goal = world.centres[world.cell(thing + np.array(grip.contact) + np.array(grip.clearance))]
    led = list(places)
    while not near[world.cell(led[-1])]:
        here = world.centres[world.cell(led[-1])]
        led.append(here + CELL * np.sign(np.rint((goal - here) / CELL)))
    return led


def _cells(world: HandWorld, way: Sequence[Array] | Array) -> list[Array]:
    """The places on the way at which the hand enters another cell, after the first place."""
    cells = world.cell(np.array(way)).tolist()
    here, entered = cells[0], [way[0]]
    for place, cell in zip(way[1:], cells[1:], strict=True):
        if cell != here and np.abs(place - world.centres[here]).max() > CELL / 2 + _INSIDE:
            entered.append(place)
            here = cell
    return entered
