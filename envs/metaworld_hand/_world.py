"""The hand in a box of cells: what planners may know of Meta-World.

States are the cells that the hand can be in; where a class has a grip there are two of each cell, before and after the
object was taken hold of. Actions move the hand to a neighbouring cell, leave it where it is or, near the object's
initial position, take hold of the object. These dynamics are an abstraction: the simulation decides what really
happens.

A position is in metres, [3]; a cell is a number, or an index along x, y and z.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from kshot.envs._worlds import checked_paths
from kshot.envs.metaworld_hand._abstractions import CELL_SIZE, Abstraction
from kshot.types import Array, Dynamics, Episodes

HAND, HELD, OBJECT = slice(0, 3), 3, slice(4, 7)
"""Parts of an observation: position of the hand, whether it holds the object, initial position of the object."""
OBSERVATION_DIM = 7
MOVES = np.array([(x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1)])
"""[27, 3] what actions 0 to 26 add to the index of the cell."""
MOVE_STRIDES = np.array([9, 3, 1])
"""(index change + 1) @ ``MOVE_STRIDES`` is the number of the move."""
STAY, GRIP = 13, 27
"""The number of the move that stays, and of the action that takes hold of the object."""
FREQUENCIES = (1.0, 2.0, 4.0)
"""Of the sines and cosines among the features."""
DISTANCE_UNIT = 0.2
"""Metres; the unit of positions relative to the object among the features."""


@dataclass(frozen=True)
class HandWorld:
    """``kshot.types.World`` of one abstraction with N cells; the layout is the object's initial position."""

    abstraction: Abstraction
    rewards: Literal["states", "pairs"] = "states"

    @property
    def decisions(self) -> int:
        return self.abstraction.decisions

    @property
    def cells(self) -> int:
        """N."""
        return int(np.prod(self.abstraction.shape))

    @property
    def actions(self) -> int:
        """Number of actions."""
        return len(MOVES) + (self.abstraction.grip is not None)

    @cached_property
    def centres(self) -> Array:
        """[N, 3] positions of the middles of the cells."""
        index = np.stack(np.unravel_index(np.arange(self.cells), self.abstraction.shape), axis=-1)
        return np.asarray(self.abstraction.low + CELL_SIZE * (index + 0.5))

    @cached_property
    def _move_successor(self) -> Array:
        """[N, 27] the cell that each move leads to, -1 out of the box."""
        index = np.stack(np.unravel_index(np.arange(self.cells), self.abstraction.shape), axis=-1)[:, None] + MOVES
        inside = ((index >= 0) & (index < self.abstraction.shape)).all(axis=-1)
        clipped = np.clip(index, 0, np.array(self.abstraction.shape) - 1)
        return np.where(inside, np.ravel_multi_index(tuple(np.moveaxis(clipped, -1, 0)), self.abstraction.shape), -1)

    def cell(self, position: Array) -> Array:
        """[...] the cells that positions [..., 3] are in; outside the box, the nearest ones."""
        index = np.floor((position - np.array(self.abstraction.low)) / CELL_SIZE).astype(np.int64)
        index = np.clip(index, 0, np.array(self.abstraction.shape) - 1)
        return np.asarray(np.ravel_multi_index(tuple(np.moveaxis(index, -1, 0)), self.abstraction.shape))

    def layout(self, obs: Array) -> Array:
        return np.asarray(obs[..., OBJECT])

    def state(self, obs: Array) -> Array:
        held = obs[..., HELD] > 0.5
        return self.cell(obs[..., HAND]) + np.where(held, self.cells, 0)

    def contact(self, layout: Array) -> Array:
        """[B] the cell that the hand is in after the grip."""
        grip = self.abstraction.grip
        assert grip is not None
        return self.cell(layout + np.array(grip.contact))

    def near(self, layout: Array) -> Array:
        """[B, N] whether the grip is possible in a cell: in the one that it approaches from, and in its neighbours."""
        grip = self.abstraction.grip
        assert grip is not None
        approach = self.cell(layout + np.array(grip.contact) + np.array(grip.clearance))
        distance = np.abs(self.centres[approach][:, None] - self.centres).max(axis=-1)
        return np.asarray(distance < 1.5 * CELL_SIZE)

    def dynamics(self, layout: Array) -> Dynamics:
        move_successor = self._move_successor
        if self.abstraction.grip is None:
            return Dynamics(successor=move_successor, box=self.abstraction.shape)
        n = self.cells
        near, contact = self.near(layout), self.contact(layout)
        successor = np.full((len(layout), 2 * n, len(MOVES) + 1), -1)
        successor[:, :n, :-1] = move_successor
        successor[:, n:, :-1] = np.where(move_successor >= 0, move_successor + n, -1)
        successor[:, :n, GRIP] = np.where(near, contact[:, None] + n, -1)
        return Dynamics(successor=successor, box=self.abstraction.shape, crossing=(near, contact))

    def features(self, layout: Array) -> Array:
        """[B, S, F] position, absolute and relative to the object, sines and cosines of both; whether it is held."""
        low, size = np.array(self.abstraction.low), CELL_SIZE * np.array(self.abstraction.shape)
        absolute = np.broadcast_to(2 * (self.centres - low) / size - 1, (len(layout), self.cells, 3))
        relative = (self.centres - layout[:, None]) / DISTANCE_UNIT
        distance = np.linalg.norm(relative, axis=-1, keepdims=True)
        angles = [0.5 * np.pi * f * x for x in (absolute, relative) for f in FREQUENCIES]
        waves = [wave(angle) for angle in angles for wave in (np.sin, np.cos)]
        features = np.concatenate([absolute, relative, distance, *waves], axis=-1)
        if self.abstraction.grip is None:
            return features
        phases = [np.concatenate([features, np.full_like(distance, held)], axis=-1) for held in (0.0, 1.0)]
        return np.concatenate(phases, axis=1)

    def outside(self, hand: Array) -> Array:
        """[...] whether hands at [..., 3] have left the box; up to a cell beyond its walls they have not."""
        low, size = np.array(self.abstraction.low), CELL_SIZE * np.array(self.abstraction.shape)
        return np.asarray(((hand < low - CELL_SIZE) | (hand > low + size + CELL_SIZE)).any(axis=-1))

    def paths(self, episodes: Episodes) -> tuple[Array, Array]:
        for task, episode in np.argwhere(self.outside(episodes.obs[..., HAND]).any(axis=-1))[:1]:
            low = np.array(self.abstraction.low)
            high = low + CELL_SIZE * np.array(self.abstraction.shape)
            raise ValueError(f"metaworld_hand: demonstration {episode} of task {task} leaves the box {low} to {high}")
        return checked_paths("metaworld_hand", self, episodes)
