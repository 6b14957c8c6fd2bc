"""Simulated arms with a servo and a grip: Metaworld's own physics below the decisions of a planner."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kshot.envs.metaworld._official_backend import OfficialEnvs
from kshot.envs.metaworld._tasks import Goal
from kshot.envs.metaworld._vector import OBSERVATION_DIM, Backend, default_threads
from kshot.envs.metaworld.engine import INFO_KEYS, Batch, why_inexact
from kshot.envs.metaworld_hand._abstractions import Abstraction
from kshot.types import Array

STEPS_PER_MOVE = 12
"""Environment steps that one decision may take; at full speed the hand crosses a cell in four."""
TOLERANCE = 0.012
"""Metres from its target at which the servo stops."""
_APPROACH_STEPS = 40
_SUCCESS = INFO_KEYS.index("success")


class Arms:
    """N simulated arms of one abstraction, each with its own goal.

    Attributes:
        obs: [N, 39] Metaworld's observations.
        reward: [N] of the last environment step.
        elapsed: [N] environment steps in the episode.
    """

    def __init__(self, abstraction: Abstraction, n: int) -> None:
        names = [abstraction.env_name] * n
        self._backend: Backend = (
            Batch(names, default_threads(), False) if why_inexact() is None else OfficialEnvs(names, False, "v2")
        )
        self._abstraction = abstraction
        self.obs, self.reward = np.zeros((n, OBSERVATION_DIM)), np.zeros(n)
        self.elapsed = np.zeros(n, dtype=np.int64)
        self._actions = np.zeros((n, 4), dtype=np.float32)
        self._all = np.arange(n)

    def reset(self, goals: Sequence[Goal]) -> None:
        """Begin an episode of ``goals[i]`` with each arm i. Raises ValueError for a goal that cannot be placed."""
        self._backend.reset(self._all.tolist(), goals, self.obs)
        self.elapsed[:] = 0

    @property
    def hand(self) -> Array:
        """[N, 3] position of the hand in metres."""
        return np.asarray(self.obs[:, :3])

    @property
    def success(self) -> Array:
        """[N] Metaworld's success flag after the last environment step."""
        return np.asarray(self._backend.info[:, _SUCCESS] == 1.0)

    def step(self, chosen: Array, actions: Array) -> None:
        """One environment step of the arms ``chosen`` [n] with ``actions`` [n, 4]; the others are not simulated."""
        if len(chosen):
            self._actions[chosen] = np.clip(actions, -1.0, 1.0)
            self._backend.step(chosen, self._actions, self.obs, self.reward)
            self.elapsed[chosen] += 1

    def servo(self, chosen: Array, targets: Array, effort: Array, gain: Array, steps: int = STEPS_PER_MOVE) -> None:
        """Steer the hands of the arms ``chosen`` [n] to ``targets`` [n, 3], for at most ``steps`` environment steps.

        It is a proportional servo, with ``effort`` [n] of the gripper and ``gain`` [n]. Each arm takes at least one
        step, so that every decision has a reward.
        """
        active = np.ones(len(chosen), dtype=bool)
        for _ in range(steps):
            error = targets[active] - self.hand[chosen[active]]
            motion = gain[active, None] * error
            self.step(chosen[active], np.concatenate([motion, effort[active, None]], axis=1))
            active[active] = np.linalg.norm(targets[active] - self.hand[chosen[active]], axis=1) > TOLERANCE
            if not active.any():
                break

    def take_hold(self, chosen: Array, objects: Array) -> Array:
        """Carry out ``Grip`` with the arms ``chosen`` [n] at ``objects`` [n, 3]; [n] whether they got there."""
        grip = self._abstraction.grip
        assert grip is not None
        contact = objects + np.array(grip.contact)
        open_effort, open_gain = (np.full(len(chosen), x) for x in (self._abstraction.effort, self._abstraction.gain))
        grip_effort, grip_gain = (np.full(len(chosen), x) for x in (grip.effort, grip.gain))
        self.servo(chosen, contact + np.array(grip.clearance), open_effort, open_gain, _APPROACH_STEPS)
        self.servo(chosen, contact, open_effort, open_gain, _APPROACH_STEPS)
        reached: Array = np.linalg.norm(self.hand[chosen] - contact, axis=1) < 2 * TOLERANCE
        for _ in range(grip.closing):
            motion = grip_gain[:, None] * (contact - self.hand[chosen])
            self.step(chosen, np.concatenate([motion, grip_effort[:, None]], axis=1))
        return reached

    def close(self) -> None:
        self._backend.close()
