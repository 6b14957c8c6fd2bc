"""Simulated arms that are told places to go to: Metaworld's own physics below the decisions of a planner."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kshot.envs.metaworld._official import OfficialBatch
from kshot.envs.metaworld._tasks import Goal
from kshot.envs.metaworld._vector import OBSERVATION_DIM, Backend, default_threads
from kshot.envs.metaworld.engine import INFO_KEYS, Batch, why_inexact
from kshot.envs.metaworld_hand._abilities import Ability
from kshot.types import Array

STEPS_PER_MOVE = 12
"""Environment steps that one decision may take; the hand covers a cell in four of them at full speed."""
TOLERANCE = 0.012
"""Metres from a target at which the servo is content."""
_APPROACH_STEPS = 40
_SUCCESS = INFO_KEYS.index("success")


class Arms:
    """N simulated arms of one ability, each with its own goal.

    Attributes:
        obs: [N, 39] Metaworld's observations.
        reward: [N] of the last environment step.
        elapsed: [N] environment steps in the episode.
    """

    def __init__(self, ability: Ability, n: int) -> None:
        names = [ability.env_name] * n
        self._backend: Backend = (
            Batch(names, default_threads(), False) if why_inexact() is None else OfficialBatch(names, False, "v2")
        )
        self._ability = ability
        self.obs, self.reward = np.zeros((n, OBSERVATION_DIM)), np.zeros(n)
        self.elapsed = np.zeros(n, dtype=np.int64)
        self._actions = np.zeros((n, 4), dtype=np.float32)
        self._everyone = np.arange(n)

    def reset(self, goals: Sequence[Goal]) -> None:
        """Raises ValueError for a goal that the class cannot place."""
        self._backend.reset(self._everyone.tolist(), goals, self.obs)
        self.elapsed[:] = 0

    @property
    def hand(self) -> Array:
        """[N, 3] metres."""
        return np.asarray(self.obs[:, :3])

    @property
    def success(self) -> Array:
        """[N] Metaworld's flag after the last environment step."""
        return np.asarray(self._backend.info[:, _SUCCESS] == 1.0)

    def step(self, chosen: Array, actions: Array) -> None:
        """One environment step of the arms ``chosen`` [n] with ``actions`` [n, 4]; the others stand still in time."""
        if len(chosen):
            self._actions[chosen] = np.clip(actions, -1.0, 1.0)
            self._backend.step(chosen, self._actions, self.obs, self.reward)
            self.elapsed[chosen] += 1

    def servo(self, chosen: Array, targets: Array, effort: Array, gain: Array, steps: int = STEPS_PER_MOVE) -> None:
        """Steer the arms ``chosen`` [n] to ``targets`` [n, 3] until they are there, with given ``effort`` and ``gain``.

        At least one step is taken, so that every decision has its reward.
        """
        going = np.ones(len(chosen), dtype=bool)
        for _ in range(steps):
            error = targets[going] - self.hand[chosen[going]]
            motion = gain[going, None] * error
            self.step(chosen[going], np.concatenate([motion, effort[going, None]], axis=1))
            going[going] = np.linalg.norm(targets[going] - self.hand[chosen[going]], axis=1) > TOLERANCE
            if not going.any():
                break

    def take_hold(self, chosen: Array, objects: Array) -> Array:
        """The skill of ``Grip`` for the arms ``chosen`` [n], beside ``objects`` [n, 3]; [n] whether they got there."""
        grip = self._ability.grip
        assert grip is not None
        contact = objects + np.array(grip.contact)
        before, after = np.full(len(chosen), self._ability.effort), np.full(len(chosen), grip.effort)
        free, gain = np.full(len(chosen), self._ability.gain), np.full(len(chosen), grip.gain)
        self.servo(chosen, contact + np.array(grip.clearance), before, free, _APPROACH_STEPS)
        self.servo(chosen, contact, before, free, _APPROACH_STEPS)
        there: Array = np.linalg.norm(self.hand[chosen] - contact, axis=1) < 2 * TOLERANCE
        for _ in range(grip.closing):
            motion = gain[:, None] * (contact - self.hand[chosen])
            self.step(chosen, np.concatenate([motion, after[:, None]], axis=1))
        return there

    def close(self) -> None:
        self._backend.close()
