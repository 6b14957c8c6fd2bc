"""What is seen of a maze from each of its cells, as cells or as pixels."""

from __future__ import annotations

import numpy as np

from kshot.envs.maze.layouts import Mazes
from kshot.types import Array

TILE = 3
"""Pixels along the side of a cell."""
BRIGHTEST = 255
_FLOOR, _WALL, _GOAL, _AGENT = (0, 0, 0), (100, 100, 100), (0, 255, 0), (255, 0, 0)


def windows(mazes: Mazes, view: int) -> Array:
    """[B, S * S, view, view] what is around each cell: 0 floor, 1 wall, 2 the goal; beyond the border are walls."""
    batch, side = mazes.is_open.shape[:2]
    half = view // 2
    kinds = np.where(mazes.is_open, 0, 1).astype(np.uint8)
    kinds.reshape(batch, -1)[np.arange(batch), mazes.goal] = 2
    padded = np.pad(kinds, ((0, 0), (half, half), (half, half)), constant_values=1)
    around = np.lib.stride_tricks.sliding_window_view(padded, (view, view), axis=(1, 2))
    return np.ascontiguousarray(around).reshape(batch, side * side, view, view)


def as_cells(seen: Array) -> Array:
    """[..., view * view * 2] uint8 of windows [..., view, view]: for every cell whether it is a wall, and the goal."""
    return np.stack([seen == 1, seen == 2], axis=-1).reshape(*seen.shape[:-2], -1).astype(np.uint8)


def as_pixels(seen: Array) -> Array:
    """[..., (view * TILE)^2 * 3] uint8, RGB pixels of windows [..., view, view]; the agent is a dot in the middle.

    A wall has a dark joint along two sides, as bricks have.
    """
    tiles = np.zeros((3, TILE, TILE, 3), dtype=np.uint8)
    tiles[0], tiles[1], tiles[2] = _FLOOR, _WALL, _GOAL
    tiles[1, 0] = tiles[1, :, 0] = np.array(_WALL) // 2
    view = seen.shape[-1]
    drawn = np.moveaxis(tiles[seen], -4, -3)  # [..., view, TILE, view, TILE, 3]: rows of cells, rows of pixels, ...
    drawn = np.ascontiguousarray(drawn).reshape(*seen.shape[:-2], view * TILE, view * TILE, 3)
    drawn[..., view * TILE // 2, view * TILE // 2, :] = _AGENT
    return drawn.reshape(*seen.shape[:-2], -1)


def read(obs: Array, view: int) -> tuple[Array, Array]:
    """[B, view, view] where walls are, and where the goal is, in observations [B, D] of either kind."""
    if obs.shape[-1] == 2 * view**2:
        seen = obs.reshape(-1, view, view, 2) > 0.5
        return seen[..., 0], seen[..., 1]
    corners = obs.reshape(-1, view, TILE, view, TILE, 3)[:, :, -1, :, -1] * BRIGHTEST  # one pixel of each cell
    return corners[..., 0] > 0.5 * _WALL[0], corners[..., 1] > 0.5 * BRIGHTEST
