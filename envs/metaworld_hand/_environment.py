"""The environment: a planner's decisions, carried out in Metaworld's simulation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from kshot.envs._streams import Streams
from kshot.envs.metaworld._tasks import Goal
from kshot.envs.metaworld_hand._abilities import CELL
from kshot.envs.metaworld_hand._arms import STEPS_PER_MOVE, Arms
from kshot.envs.metaworld_hand._experts import told
from kshot.envs.metaworld_hand._scenes import Scene
from kshot.envs.metaworld_hand._world import GRIP, MOVES, OBSERVATION_DIM, STAY, HandWorld
from kshot.types import Array

EXPERT = -1
"""Not an action of learners: one decision of the scripted expert, for the reference of that name."""


def stages(world: HandWorld) -> tuple[str, ...]:
    """Where an episode can fail, for ``kshot.types.FamilySpec.stages``."""
    if world.ability.grip is None:
        return "elsewhere at the end", "success at the end"
    return "object never sought", "object missed", "object held, elsewhere at the end", "success at the end"


class HandVectorEnv(VectorEnv[Array, Array, Array]):
    """Decisions of a planner, carried out in Metaworld's simulation.

    Observations are [N, 7]: the hand, whether the object was taken hold of, and where the object was at the beginning.
    Rewards and successes are Metaworld's after the last environment step of a decision; ``info["stage"]`` counts in
    ``stages``.
    """

    def __init__(self, world: HandWorld, places: Sequence[Scene]) -> None:
        self.num_envs = len(places)
        self.metadata = {"autoreset_mode": AutoresetMode.DISABLED}
        self.single_observation_space = spaces.Box(-np.inf, np.inf, (OBSERVATION_DIM,), np.float64)
        self.single_action_space = spaces.Discrete(world.actions)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._world, self._scenes = world, list(places)
        self._arms = Arms(world.ability, self.num_envs)
        self._streams = Streams("metaworld_hand", self.num_envs, "where the object is")
        self._steps = 0

    def reset(
        self, *, seed: int | Sequence[int] | Array | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Begin the next episode; see ``Streams.reset`` for ``seed`` and what is refused."""
        self._streams.reset(seed)
        keys = self._streams.keys(self._streams.episode)
        self._goals: list[Goal] = [scene.drawn(int(key)) for scene, key in zip(self._scenes, keys, strict=True)]
        self._arms.reset(self._goals)
        self._objects = self._arms.obs[:, 4:7].copy()
        self._held = np.zeros(self.num_envs, dtype=bool)
        self._there = np.zeros(self.num_envs, dtype=bool)
        self._steps = 0
        return self._observation(), {}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """``actions`` is [N] int. Taking hold where that is not possible, and moving out of the box, is staying."""
        world, ability = self._world, self._world.ability
        expert = np.asarray(actions) == EXPERT
        actions = np.clip(actions, 0, world.actions - 1)
        grips = (actions == GRIP) & ~self._held & (ability.grip is not None)
        cells = world.cell(self._arms.hand)
        if grips.any():
            grips &= world.near(self._objects)[np.arange(self.num_envs), cells]
        if expert.any():
            self._driven(np.flatnonzero(expert))
        if grips.any():
            chosen = np.flatnonzero(grips)
            self._there[chosen] = self._arms.take_hold(chosen, self._objects[chosen])
            self._held |= grips
        moving = np.flatnonzero(~grips & ~expert)
        if len(moving):
            low, size = np.array(ability.low), np.array(ability.shape)
            index = np.stack(np.unravel_index(cells[moving], ability.shape), axis=-1)
            shift = MOVES[np.where(actions[moving] == GRIP, STAY, actions[moving])]
            targets = low + CELL * (np.clip(index + shift, 0, size - 1) + 0.5)
            held, grip = self._held[moving], ability.grip
            effort = np.where(held, ability.effort if grip is None else grip.effort, ability.effort)
            gain = np.where(held, ability.gain if grip is None else grip.gain, ability.gain)
            self._arms.servo(moving, targets, effort, gain)
        self._steps += 1
        never = np.zeros(self.num_envs, dtype=bool)
        truncated = np.full(self.num_envs, self._steps >= world.decisions)
        ended = self._arms.success & truncated
        # Without a grip nothing is ever held, and the stages before success are one.
        got = np.where(self._held, np.where(self._there, 2, 1), 0)
        stage = np.where(ended, len(stages(world)) - 1, got)
        info = {"success": self._arms.success.copy(), "stage": stage}
        return self._observation(), self._arms.reward.copy(), never, truncated, info

    def _driven(self, chosen: Array) -> None:
        """The scripted expert's own steps, as many as a decision may take."""
        controllers = [told(self._world.ability, self._goals[i]) for i in chosen]
        for t in range(STEPS_PER_MOVE):
            wanted = [control(self._arms.obs[i], t) for control, i in zip(controllers, chosen, strict=True)]
            self._arms.step(chosen, np.stack(wanted))

    def _observation(self) -> Array:
        return np.concatenate([self._arms.hand, self._held[:, None], self._objects], axis=1)

    def close_extras(self, **kwargs: Any) -> None:
        """Give back the simulations."""
        self._arms.close()
