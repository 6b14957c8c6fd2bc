"""Scripted policies: Metaworld's experts, told a target or a guess, and a sweep that finds reach's unknown goals."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from metaworld.policies import ENV_POLICY_MAP
from metaworld.policies.policy import Policy as ExpertPolicy

from kshot.envs import _guessing as guessing
from kshot.envs._scripted import Scripted
from kshot.types import Array, Memory

Controller = Callable[[Array, int], Array]
"""(obs [39], step in the episode) -> action [4]."""
Told = Callable[[Array, Array], Array]
"""(obs [39], target [3]) -> action [4]."""

REACH_GOAL_BOX = ((-0.1, 0.8, 0.05), (0.1, 0.9, 0.3))
"""Lowest and highest target of reach-v3, in metres (metaworld/envs/sawyer_reach_v3.py, goal_low and goal_high)."""
_SWEEP_GAIN = 10.0
# The reward measures the finger tips, which hang this many metres below the hand position of the observation.
_HAND_ABOVE_FINGERS = 0.045


def per_task(controllers: Sequence[Controller]) -> Scripted:
    """The policy that plays task ``t`` with ``controllers[t]``; it ignores the noise."""

    def rule(obs: Array, step: Array, noise: Array | None) -> Array:
        action = np.empty((*obs.shape[:2], 4))
        for t, control in enumerate(controllers):
            for c in range(obs.shape[1]):
                action[t, c] = control(obs[t, c], int(step[t, c]))
        return action

    return Scripted(rule)


def expert(name: str, goal: Array) -> Controller:
    """Metaworld's scripted policy of class ``name``, told that the target is at ``goal`` [3]."""
    act = told_expert(name)
    return lambda obs, step: act(obs, goal)


def told_expert(name: str) -> Told:
    """Metaworld's scripted policy of class ``name``, told a target at every step."""
    make: Callable[[], ExpertPolicy] = ENV_POLICY_MAP[name]
    policy = make()

    def act(obs: Array, goal: Array) -> Array:
        told = obs.copy()
        told[-3:] = goal
        with warnings.catch_warnings():
            # The experts warn at nearly every step that their gains exceed the action range, which is then clipped.
            warnings.simplefilter("ignore", UserWarning)
            return policy.get_action(told)

    return act


@dataclass(frozen=True)
class Guessing:
    """One of ``experts`` per task, told what its guess makes of the episode's first observation."""

    experts: Sequence[Told]
    guesses: Sequence[guessing.Guessing]

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        return {"step": np.zeros((n_tasks, n_copies), dtype=np.int64), "goal": np.zeros((n_tasks, n_copies, 3))}

    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        guessed = np.stack([guess(row) for guess, row in zip(self.guesses, obs, strict=True)])
        goal = np.where(memory["step"][..., None] == 0, guessed, memory["goal"])
        action = np.empty((*obs.shape[:2], 4))
        for t, act in enumerate(self.experts):
            for c in range(obs.shape[1]):
                action[t, c] = act(obs[t, c], goal[t, c])
        return action, np.zeros(obs.shape[:2]), memory | {"goal": goal}

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        return memory | {"step": np.where(done, 0, memory["step"] + 1)}


def reach_sweep(horizon: int) -> Controller:
    """Raster of 3 x 2 x 5 points over reach-v3's goal box, visited in equal shares of the horizon.

    Every place in the box is within 0.0486 m of a point, inside the success radius of 0.05 m: a success at some step
    of the episode needs no knowledge of the goal at all.
    """
    counts = (3, 2, 5)
    cells = [lo + (hi - lo) * (np.arange(n) + 0.5) / n for lo, hi, n in zip(*REACH_GOAL_BOX, counts, strict=True)]
    points = []
    for ix, x in enumerate(cells[0]):
        for iy, y in enumerate(cells[1][:: 1 if ix % 2 == 0 else -1]):
            points += [(x, y, z) for z in cells[2][:: 1 if (2 * ix + iy) % 2 == 0 else -1]]
    hand = np.array(points) + np.array([0.0, 0.0, _HAND_ABOVE_FINGERS])

    def control(obs: Array, step: int) -> Array:
        target = hand[min(step * len(hand) // horizon, len(hand) - 1)]
        return np.append(np.clip(_SWEEP_GAIN * (target - obs[:3]), -1.0, 1.0), 0.0)

    return control
