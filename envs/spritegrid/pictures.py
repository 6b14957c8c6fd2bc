"""The pixels of SpriteGrid: procedurally generated sprites and ground.

All sprites come from fixed seeds: sprite 17 is the same in every process and version.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from kshot import seeding
from kshot.types import Array

N_SEEN, N_UNSEEN = 100, 50
"""Sprites 0 to 99 are those of training; the next 50 are kept for testing, the next 50 for validation."""
SIDE = 5
"""Pixels along the side of a cell."""
VALUES_PER_CELL = SIDE * SIDE * 3
"""Red, green and blue of its pixels."""
GROUND = np.array([[0.55, 0.40, 0.25], [0.25, 0.55, 0.20]])
"""[2, 3] colours of dirt and grass."""
GROUND_NOISE = 0.06
"""Standard deviation of the ground's pixels."""
MIN_COVERED = 8
"""Every sprite covers at least this many of its cell's 25 pixels."""


@cache
def sprites() -> tuple[Array, Array]:
    """Which pixels each sprite covers [200, 5, 5], and their colours [200, 5, 5, 3]: symmetric, two random colours."""
    masks, colours = [], []
    for number in range(N_SEEN + 2 * N_UNSEEN):
        rng = seeding.generator("spritegrid", "sprite", number)
        half = rng.random((SIDE, 3)) < 0.6
        while (mask := _mirrored(half)).sum() < MIN_COVERED:
            half = rng.random((SIDE, 3)) < 0.6
        second = _mirrored(rng.random((SIDE, 3)) < 0.5)
        pair = rng.random((2, 3))
        masks.append(mask)
        colours.append(np.where(second[..., None], pair[1], pair[0]))
    return np.stack(masks), np.stack(colours)


def _mirrored(half: Array) -> Array:
    """[5, 5] from [5, 3], the two left columns repeated on the right."""
    return np.concatenate([half, half[:, 1::-1]], axis=1)


def random_ground(keys: Array, side: int) -> Array:
    """[B, side, side] 0 or 1: whether smoothed noise is above 0, so that cells of equal ground form patches."""
    noise = seeding.noise(keys, 0, side * side, "continuous").reshape(-1, side, side)
    padded = np.pad(noise, ((0, 0), (1, 1), (1, 1)))
    smooth = sum(padded[:, i : i + side, j : j + side] for i in range(3) for j in range(3))
    return np.asarray(smooth > 0, dtype=np.int64)


def render(sprite: Array, ground: Array, keys: Array) -> Array:
    """[B, S, 75] the pixels of all cells, from 0 to 1; where a sprite does not cover a pixel, it is the ground's.

    Args:
        sprite: [B, S] 0 for none, else 1 + the sprite's number.
        ground: [B, S] 0 for dirt, 1 for grass.
        keys: [B] decide the noise in the ground's pixels.
    """
    masks, colours = sprites()
    noise = seeding.noise(keys, 1, sprite.shape[1] * VALUES_PER_CELL, "continuous")
    noise = noise.reshape(*sprite.shape, SIDE, SIDE, 3)
    ground_pixels = np.clip(GROUND[ground][..., None, None, :] + GROUND_NOISE * noise, 0.0, 1.0)
    number = np.maximum(sprite - 1, 0)
    covered = masks[number] & (sprite > 0)[..., None, None]
    return np.where(covered[..., None], colours[number], ground_pixels).reshape(*sprite.shape, VALUES_PER_CELL)
