"""What SpriteGrid looks like: procedurally drawn sprites and ground, as pixels.

Everything is drawn from fixed seeds, so sprite 17 is the same in every process and version.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from kshot import seeding
from kshot.types import Array

SEEN, UNSEEN = 100, 50
"""Sprites of training tasks, and how many others test tasks have where they are to be new, and validation tasks."""
SIDE = 5
"""Pixels along the side of a cell."""
PIXELS = SIDE * SIDE * 3
"""Numbers per cell: red, green and blue of its pixels."""
GROUND = np.array([[0.55, 0.40, 0.25], [0.25, 0.55, 0.20]])
"""[2, 3] colours of dirt and grass."""
GRAIN = 0.06
"""Standard deviation of the ground's pixels."""
LEAST_MASK = 8
"""Every sprite covers at least so many of its cell's 25 pixels."""


@cache
def sprites() -> tuple[Array, Array]:
    """Masks [200, 5, 5] of what a sprite covers, and its colours [200, 5, 5, 3]: symmetric, two random colours."""
    masks, colours = [], []
    for number in range(SEEN + 2 * UNSEEN):
        rng = seeding.generator("spritegrid", "sprite", number)
        half = rng.random((SIDE, 3)) < 0.6
        while (mask := _mirrored(half)).sum() < LEAST_MASK:
            half = rng.random((SIDE, 3)) < 0.6
        second = _mirrored(rng.random((SIDE, 3)) < 0.5)
        pair = rng.random((2, 3))
        masks.append(mask)
        colours.append(np.where(second[..., None], pair[1], pair[0]))
    return np.stack(masks), np.stack(colours)


def _mirrored(half: Array) -> Array:
    """[5, 3] -> [5, 5], the two left columns repeated on the right."""
    return np.concatenate([half, half[:, 1::-1]], axis=1)


def blobs(keys: Array, side: int) -> Array:
    """[B, side, side] 0 or 1: smoothed noise above its mean of 0, so that equal ground lies together."""
    noise = seeding.noise(keys, 0, side * side, "continuous").reshape(-1, side, side)
    padded = np.pad(noise, ((0, 0), (1, 1), (1, 1)))
    smooth = sum(padded[:, i : i + side, j : j + side] for i in range(3) for j in range(3))
    return np.asarray(smooth > 0, dtype=np.int64)


def rendered(cells: Array, ground: Array, keys: Array) -> Array:
    """[B, S, 75] the pixels of all cells, 0 to 1, the ground showing through the holes of sprites.

    ``cells`` [B, S] holds 0 for nothing and 1 + a sprite's number; ``ground`` [B, S] 0 for dirt and 1 for grass;
    ``keys`` [B] decide the ground's grain.
    """
    masks, colours = sprites()
    grain = seeding.noise(keys, 1, cells.shape[1] * PIXELS, "continuous").reshape(*cells.shape, SIDE, SIDE, 3)
    below = np.clip(GROUND[ground][..., None, None, :] + GRAIN * grain, 0.0, 1.0)
    number = np.maximum(cells - 1, 0)
    covered = masks[number] & (cells > 0)[..., None, None]
    return np.where(covered[..., None], colours[number], below).reshape(*cells.shape, PIXELS)
