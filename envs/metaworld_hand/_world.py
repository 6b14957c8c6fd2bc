"""The hand in a box of cells: Meta-World as planners see it.

States are the cells that the hand can be in, twice where a class has a grip: before and after the object was taken hold
of. Decisions move the hand to a neighbouring cell (or nowhere) or, near the object's place at the beginning of the
episode, take hold of it. What the dynamics say is an abstraction; what an episode earns is decided by the simulation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from kshot.envs._worlds import checked_paths
from kshot.envs.metaworld_hand._abilities import CELL, Ability
from kshot.types import Array, Dynamics, Episodes

HAND, HELD, OBJECT = slice(0, 3), 3, slice(4, 7)
"""An observation: where the hand is, whether it has taken hold of the object, and where that was at the beginning."""
OBSERVATION_DIM = 7
MOVES = np.array([(x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1)])
STAY, GRIP = 13, 27
"""The numbers of two actions; 0 to 26 are the moves."""
FREQUENCIES = (1.0, 2.0, 4.0)
REACH = 0.2
"""Metres; distances to the object are given in this unit."""


@dataclass(frozen=True)
class HandWorld:
    """``kshot.types.World`` of one ability."""

    ability: Ability
    rewards: Literal["states", "pairs"] = "states"

    @property
    def decisions(self) -> int:
        return self.ability.decisions

    @property
    def cells(self) -> int:
        return int(np.prod(self.ability.shape))

    @property
    def actions(self) -> int:
        return len(MOVES) + (self.ability.grip is not None)

    @cached_property
    def centres(self) -> Array:
        """[N, 3] middles of the cells, in metres."""
        index = np.stack(np.unravel_index(np.arange(self.cells), self.ability.shape), axis=-1)
        return np.asarray(self.ability.low + CELL * (index + 0.5))

    @cached_property
    def _moved(self) -> Array:
        """[N, 27] the cell that every move leads to, -1 out of the box."""
        index = np.stack(np.unravel_index(np.arange(self.cells), self.ability.shape), axis=-1)[:, None] + MOVES
        inside = ((index >= 0) & (index < self.ability.shape)).all(axis=-1)
        clipped = np.clip(index, 0, np.array(self.ability.shape) - 1)
        return np.where(inside, np.ravel_multi_index(tuple(np.moveaxis(clipped, -1, 0)), self.ability.shape), -1)

    def cell(self, place: Array) -> Array:
        """[..., 3] metres -> [...] the nearest cell of the box."""
        index = np.floor((place - np.array(self.ability.low)) / CELL).astype(np.int64)
        index = np.clip(index, 0, np.array(self.ability.shape) - 1)
        return np.asarray(np.ravel_multi_index(tuple(np.moveaxis(index, -1, 0)), self.ability.shape))

    def layout(self, obs: Array) -> Array:
        return np.asarray(obs[..., OBJECT])

    def state(self, obs: Array) -> Array:
        held = obs[..., HELD] > 0.5
        return self.cell(obs[..., HAND]) + np.where(held, self.cells, 0)

    def contact(self, layout: Array) -> Array:
        """[B] the cell that the hand is in once it has taken hold of the object."""
        grip = self.ability.grip
        assert grip is not None
        return self.cell(layout + np.array(grip.contact))

    def near(self, layout: Array) -> Array:
        """[B, N] from which cells the object can be taken hold of: the one of the approach, and its neighbours."""
        grip = self.ability.grip
        assert grip is not None
        approach = self.cell(layout + np.array(grip.contact) + np.array(grip.clearance))
        apart = np.abs(self.centres[approach][:, None] - self.centres).max(axis=-1)
        return np.asarray(apart < 1.5 * CELL)

    def dynamics(self, layout: Array) -> Dynamics:
        moved = self._moved
        if self.ability.grip is None:
            return Dynamics(successor=moved, box=self.ability.shape)
        n, batch = self.cells, len(layout)
        near, contact = self.near(layout), self.contact(layout)
        successor = np.full((batch, 2 * n, len(MOVES) + 1), -1)
        successor[:, :n, :-1] = moved
        successor[:, n:, :-1] = np.where(moved >= 0, moved + n, -1)
        successor[:, :n, GRIP] = np.where(near, contact[:, None] + n, -1)
        return Dynamics(successor=successor, box=self.ability.shape, crossing=(near, contact))

    def features(self, layout: Array) -> Array:
        """[B, S, F] the cell's place, absolute and relative to the object's, as waves too, and whether it is held."""
        low, size = np.array(self.ability.low), CELL * np.array(self.ability.shape)
        absolute = np.broadcast_to(2 * (self.centres - low) / size - 1, (len(layout), self.cells, 3))
        relative = (self.centres - layout[:, None]) / REACH
        distance = np.linalg.norm(relative, axis=-1, keepdims=True)
        angles = [0.5 * np.pi * f * x for x in (absolute, relative) for f in FREQUENCIES]
        waves = [wave(angle) for angle in angles for wave in (np.sin, np.cos)]
        features = np.concatenate([absolute, relative, distance, *waves], axis=-1)
        if self.ability.grip is None:
            return features
        phases = [np.concatenate([features, np.full_like(distance, held)], axis=-1) for held in (0.0, 1.0)]
        return np.concatenate(phases, axis=1)

    def outside(self, hand: Array) -> Array:
        """[..., 3] metres -> [...] whether a hand there has left the box; at the walls it may lean out by a cell."""
        low, size = np.array(self.ability.low), CELL * np.array(self.ability.shape)
        return np.asarray(((hand < low - CELL) | (hand > low + size + CELL)).any(axis=-1))

    def paths(self, episodes: Episodes) -> tuple[Array, Array]:
        for task, episode in np.argwhere(self.outside(episodes.obs[..., HAND]).any(axis=-1))[:1]:
            low, high = np.array(self.ability.low), np.array(self.ability.low) + CELL * np.array(self.ability.shape)
            raise ValueError(f"metaworld_hand: demonstration {episode} of task {task} leaves the box {low} to {high}")
        return checked_paths("metaworld_hand", self, episodes)
