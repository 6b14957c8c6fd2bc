"""The vector environment: decisions of a planner, carried out in Metaworld's simulation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from kshot.envs._streams import Streams
from kshot.envs.metaworld._tasks import Goal
from kshot.envs.metaworld_hand._abstractions import CELL_SIZE
from kshot.envs.metaworld_hand._arms import STEPS_PER_MOVE, Arms
from kshot.envs.metaworld_hand._experts import aimed_expert
from kshot.envs.metaworld_hand._scenes import Scene
from kshot.envs.metaworld_hand._world import GRIP, MOVES, OBSERVATION_DIM, STAY, HandWorld
from kshot.types import Array

EXPERT = -1
"""Instead of an action: the scripted expert acts for one decision. For the reference policy "expert" alone."""


def stages(world: HandWorld) -> tuple[str, ...]:
    """The stages that an episode can get to, for ``kshot.types.FamilySpec.stages``."""
    if world.abstraction.grip is None:
        return "elsewhere at the end", "success at the end"
    return "object never sought", "object missed", "object held, elsewhere at the end", "success at the end"


class HandVectorEnv(VectorEnv[Array, Array, Array]):
    """N arms that carry out a planner's decisions, in the scenes given.

    Observations are [N, 7]: the hand's position, whether it has taken hold of the object, and the object's position at
    the beginning of the episode. Rewards and successes are Metaworld's after the last environment step of a decision;
    ``info["stage"]`` is an index of ``stages``.
    """

    def __init__(self, world: HandWorld, scenes: Sequence[Scene]) -> None:
        self.num_envs = len(scenes)
        self.metadata = {"autoreset_mode": AutoresetMode.DISABLED}
        self.single_observation_space = spaces.Box(-np.inf, np.inf, (OBSERVATION_DIM,), np.float64)
        self.single_action_space = spaces.Discrete(world.actions)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._world, self._scenes = world, list(scenes)
        self._arms = Arms(world.abstraction, self.num_envs)
        self._streams = Streams("metaworld_hand", self.num_envs, "where the object is")
        self._steps = 0

    def reset(
        self, *, seed: int | Sequence[int] | Array | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Begin the next episode; see ``Streams.reset`` for ``seed`` and what is refused."""
        self._streams.reset(seed)
        keys = self._streams.keys(self._streams.episode)
        self._goals: list[Goal] = [scene.random_goal(int(key)) for scene, key in zip(self._scenes, keys, strict=True)]
        self._arms.reset(self._goals)
        self._objects = self._arms.obs[:, 4:7].copy()
        self._held = np.zeros(self.num_envs, dtype=bool)
        self._reached_object = np.zeros(self.num_envs, dtype=bool)
        self._steps = 0
        return self._observation(), {}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """``actions`` is [N] int. A grip that is not possible, and a move out of the box, stay in the cell."""
        world, abstraction = self._world, self._world.abstraction
        expert = np.asarray(actions) == EXPERT
        actions = np.clip(actions, 0, world.actions - 1)
        grips = (actions == GRIP) & ~self._held & (abstraction.grip is not None)
        cells = world.cell(self._arms.hand)
        if grips.any():
            grips &= world.near(self._objects)[np.arange(self.num_envs), cells]
        if expert.any():
            self._step_expert(np.flatnonzero(expert))
        if grips.any():
            chosen = np.flatnonzero(grips)
            self._reached_object[chosen] = self._arms.take_hold(chosen, self._objects[chosen])
            self._held |= grips
        moving = np.flatnonzero(~grips & ~expert)
        if len(moving):
            low, size = np.array(abstraction.low), np.array(abstraction.shape)
            index = np.stack(np.unravel_index(cells[moving], abstraction.shape), axis=-1)
            shift = MOVES[np.where(actions[moving] == GRIP, STAY, actions[moving])]
            targets = low + CELL_SIZE * (np.clip(index + shift, 0, size - 1) + 0.5)
            held, grip = self._held[moving], abstraction.grip
            effort = np.where(held, abstraction.effort if grip is None else grip.effort, abstraction.effort)
            gain = np.where(held, abstraction.gain if grip is None else grip.gain, abstraction.gain)
            self._arms.servo(moving, targets, effort, gain)
        self._steps += 1
        terminated = np.zeros(self.num_envs, dtype=bool)
        truncated = np.full(self.num_envs, self._steps >= world.decisions)
        success_at_end = self._arms.success & truncated
        # Without a grip nothing is ever held, and there is one stage before success.
        grip_stage = np.where(self._held, np.where(self._reached_object, 2, 1), 0)
        stage = np.where(success_at_end, len(stages(world)) - 1, grip_stage)
        info = {"success": self._arms.success.copy(), "stage": stage}
        return self._observation(), self._arms.reward.copy(), terminated, truncated, info

    def _step_expert(self, chosen: Array) -> None:
        """Let the scripted expert control the arms ``chosen`` for as many steps as a decision may take."""
        controllers = [aimed_expert(self._world.abstraction, self._goals[i]) for i in chosen]
        for t in range(STEPS_PER_MOVE):
            actions = [control(self._arms.obs[i], t) for control, i in zip(controllers, chosen, strict=True)]
            self._arms.step(chosen, np.stack(actions))

    def _observation(self) -> Array:
        return np.concatenate([self._arms.hand, self._held[:, None], self._objects], axis=1)

    def close_extras(self, **kwargs: Any) -> None:
        """Release the simulations."""
        self._arms.close()
