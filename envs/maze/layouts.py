"""Mazes: random layouts, where they start and end, and shortest ways through them.

A maze of R x R rooms has 2 R + 1 cells along a side: rooms at odd places, walls and passages between them, and a border
of walls. The number of cell (x, y) is (2 R + 1) x + y. B mazes are made side by side.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kshot import seeding
from kshot.types import Array

MOVES = np.array([(0, 1), (1, 0), (0, -1), (-1, 0)])
"""[4, 2] what each action adds to the position: up, right, down, left."""


class Mazes(NamedTuple):
    """B mazes.

    Attributes:
        is_open: [B, S, S] whether one can be on a cell.
        start: [B] numbers of cells.
        goal: [B] numbers of cells.
    """

    is_open: Array
    start: Array
    goal: Array


def least_distance(rooms: int) -> int:
    """Fewest steps from start to goal: those from the middle to a corner in a maze without walls.

    In every maze and from every room there is one that far away.
    """
    return 2 * (rooms - 1)


def mazes(keys: Array, rooms: int, loops: int = 0) -> Mazes:
    """Random mazes, decided by ``keys`` [B].

    Passages are a minimum spanning tree of the rooms for random weights (Kruskal 1956), so that there is one way
    between any two; then ``loops`` more, those of least weight. Start and goal are rooms, the start uniform over all,
    the goal over those that are at least ``least_distance`` steps away.
    """
    side, mazes_ = 2 * rooms + 1, np.arange(len(keys))
    room = np.arange(rooms * rooms).reshape(rooms, rooms)
    pairs = np.concatenate(
        [np.stack([room[:-1].ravel(), room[1:].ravel()], 1), np.stack([room[:, :-1].ravel(), room[:, 1:].ravel()], 1)]
    )
    places = np.stack([1 + 2 * (room // rooms).ravel(), 1 + 2 * (room % rooms).ravel()], axis=1)
    between = places[pairs].sum(axis=1) // 2  # [E, 2] the cell between two rooms
    order = seeding.uniform(seeding.split(keys, 0)[:, None], np.arange(len(pairs))).argsort(axis=1)
    is_open = np.zeros((len(keys), side, side), dtype=bool)
    is_open[:, 1::2, 1::2] = True
    label, spare = np.tile(room.ravel(), (len(keys), 1)), np.full(len(keys), loops)
    for edge in order.T:
        one, other = label[mazes_, pairs[edge, 0]], label[mazes_, pairs[edge, 1]]
        joins = one != other
        label = np.where((label == other[:, None]) & joins[:, None], one[:, None], label)
        passage = joins | (spare > 0)
        spare = spare - (passage & ~joins)
        is_open[mazes_, between[edge, 0], between[edge, 1]] |= passage
    numbers = places @ np.array([side, 1])
    start = numbers[(seeding.uniform(seeding.split(keys, 1), 0) * rooms**2).astype(np.int64)]
    far = steps_to(is_open, start).reshape(len(keys), -1)[:, numbers] >= least_distance(rooms)
    count = far.cumsum(axis=1)
    chosen = (seeding.uniform(seeding.split(keys, 1), 1) * count[:, -1]).astype(np.int64) + 1
    return Mazes(is_open, start, numbers[(count == chosen[:, None]).argmax(axis=1)])


def steps_to(is_open: Array, target: Array) -> Array:
    """[B, S, S] fewest steps from every cell to ``target`` [B], by search in breadth; -1 where there is no way."""
    side = is_open.shape[1]
    wave = np.zeros(is_open.shape, dtype=bool)
    wave.reshape(len(wave), -1)[np.arange(len(wave)), target] = True
    steps = np.where(wave, 0, -1).astype(np.int16)
    for step in range(1, side * side):
        near = np.zeros_like(wave)
        near[:, 1:] |= wave[:, :-1]
        near[:, :-1] |= wave[:, 1:]
        near[:, :, 1:] |= wave[:, :, :-1]
        near[:, :, :-1] |= wave[:, :, 1:]
        wave = near & is_open & (steps < 0)
        if not wave.any():
            break
        steps[wave] = step
    return steps


def successors(is_open: Array) -> Array:
    """[B, S * S, 4] the cell that each action leads to; one stays where a wall is in the way, and in walls."""
    side = is_open.shape[1]
    cells = np.array([(x, y) for x in range(side) for y in range(side)])
    after = np.clip(cells[:, None] + MOVES, 0, side - 1) @ np.array([side, 1])  # [S * S, 4]
    flat = is_open.reshape(len(is_open), -1)
    return np.where(flat[:, after] & flat[:, :, None], after, np.arange(side * side)[:, None])
