"""The city of the buses: its cells, its bus lines under every id, and who gets where by which action.

Geometry as in the authors' code (ezliu/dream, envs/city.py and envs/grid.py). A cell (x, y) has the number 9 x + y.
An id says where the buses go: four useful ones, and with distraction four more. Buses go both ways.
"""

from __future__ import annotations

from functools import cache
from itertools import permutations
from typing import Literal

import numpy as np

from kshot.types import Array

Variant = Literal["plain", "distract", "map"]
VARIANTS: tuple[Variant, ...] = ("plain", "distract", "map")
SIDE = 9
CELLS = np.array([(x, y) for x in range(SIDE) for y in range(SIDE)])
"""[81, 2] all cells, in the order of their numbers."""
LEFT, UP, RIGHT, DOWN, STAY, RIDE, END = range(7)
MOVES = np.array([(-1, 0), (0, 1), (1, 0), (0, -1), (0, 0)])
"""[5, 2] what the actions before RIDE add to the position."""
START, MAP = 4 * SIDE + 4, 7 * SIDE + 3
GOALS = np.array([0, SIDE * SIDE - 1, SIDE - 1, (SIDE - 1) * SIDE])
"""[4] the corners (0, 0), (8, 8), (0, 8), (8, 0): one of them is the goal of an episode."""
STOPS = ((4, 5), (5, 4), (3, 4), (4, 3))
"""Where the useful buses start, next to the start."""
DESTINATIONS = ((0, 1), (0, 7), (8, 1), (8, 7))
"""Where they go, in some order: next to the corners."""
USELESS_STOPS = ((5, 5), (3, 3), (3, 5), (5, 3))
USELESS_DESTINATIONS = ((0, 4), (4, 0), (8, 4), (4, 8))
LINES = len(tuple(permutations(DESTINATIONS)))
"""24, the number of orders of four destinations."""


def n_ids(variant: Variant) -> int:
    """24, with distraction 24 * 24: useful order = id % 24, useless order = id // 24."""
    return LINES**2 if variant == "distract" else LINES


@cache
def rides(variant: Variant, mirrored: bool) -> Array:
    """[ids, 81] the cell that a ride from each cell leads to under each id; the cell itself where no bus stops.

    ``mirrored`` exchanges x and y of the useful destinations, (0, 1) becoming (1, 0): as near to the corners as before.
    """
    table = np.tile(np.arange(SIDE * SIDE), (n_ids(variant), 1))
    useful = [(y, x) if mirrored else (x, y) for x, y in DESTINATIONS]
    for row in range(len(table)):
        lines = list(zip(STOPS, list(permutations(useful))[row % LINES], strict=True))
        if variant == "distract":
            lines += zip(USELESS_STOPS, list(permutations(USELESS_DESTINATIONS))[row // LINES], strict=True)
        for (a, b), (c, d) in lines:
            table[row, a * SIDE + b], table[row, c * SIDE + d] = c * SIDE + d, a * SIDE + b
    table.setflags(write=False)
    return table


@cache
def walks() -> Array:
    """[81, 5] the cell that each move leads to; walls stop."""
    table = np.asarray(np.clip(CELLS[:, None] + MOVES, 0, SIDE - 1) @ np.array([SIDE, 1]))
    table.setflags(write=False)
    return table


@cache
def successors(variant: Variant, mirrored: bool) -> Array:
    """[ids, 81, 7] the cell that each action leads to."""
    ride = rides(variant, mirrored)[:, :, None]
    table = np.concatenate([np.broadcast_to(walks(), (len(ride), *walks().shape)), ride], axis=2)
    table = np.concatenate([table, np.broadcast_to(np.arange(SIDE * SIDE)[:, None], ride.shape)], axis=2)
    table.setflags(write=False)
    return table


def action_towards(target: Array, cell: Array) -> Array:
    """[...] the next move of the shortest walk from ``cell`` to ``target``, numbers of cells, along x first."""
    dx, dy = np.moveaxis(CELLS[target] - CELLS[cell], -1, 0)
    return np.select([dx < 0, dx > 0, dy > 0, dy < 0], [LEFT, RIGHT, UP, DOWN], STAY).astype(np.int64)


@cache
def shortest(variant: Variant, mirrored: bool) -> Array:
    """[ids, 4, 81] an action that begins a shortest way to each goal for who knows the id; the first of several.

    Distances are relaxed until nothing changes.
    """
    table = successors(variant, mirrored)[:, :, :END]
    ids = np.arange(len(table))[:, None, None]
    actions = np.zeros((len(table), len(GOALS), SIDE * SIDE), dtype=np.int64)
    for row, goal in enumerate(GOALS):
        distance = np.full((len(table), SIDE * SIDE), SIDE * SIDE)
        distance[:, goal] = 0
        while True:
            nearer = np.minimum(distance, 1 + distance[ids, table].min(axis=2))
            if (nearer == distance).all():
                break
            distance = nearer
        actions[:, row] = distance[ids, table].argmin(axis=2)
    return actions
