"""Scripted policies: Metaworld's experts with the true or a predicted target, and a sweep of reach-v3's goal box."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from metaworld.policies import ENV_POLICY_MAP
from metaworld.policies.policy import Policy as ExpertPolicy

from kshot.envs._scripted import Scripted
from kshot.envs._target_prediction import TargetPredictor
from kshot.types import Array, Memory

Controller = Callable[[Array, int], Array]
"""(obs [39], step in the episode) -> action [4]."""
TargetController = Callable[[Array, Array], Array]
"""(obs [39], target [3] in metres) -> action [4]."""

REACH_GOAL_BOX = ((-0.1, 0.8, 0.05), (0.1, 0.9, 0.3))
"""Lowest and highest target of reach-v3, in metres (metaworld/envs/sawyer_reach_v3.py, goal_low and goal_high)."""
_SWEEP_GAIN = 10.0
_HAND_ABOVE_FINGERS = 0.045
"""Metres from the finger tips, whose position the reward measures, up to the hand position of the observation."""


def per_task(controllers: Sequence[Controller]) -> Scripted:
    """The policy that acts on task ``t`` by ``controllers[t]`` and ignores the noise."""

    def rule(obs: Array, step: Array, noise: Array | None) -> Array:
        action = np.empty((*obs.shape[:2], 4))
        for t, control in enumerate(controllers):
            for c in range(obs.shape[1]):
                action[t, c] = control(obs[t, c], int(step[t, c]))
        return action

    return Scripted(rule)


def expert_with_target(name: str, target: Array) -> Controller:
    """Metaworld's scripted policy of class ``name``, for the target at ``target`` [3]."""
    expert = target_conditioned_expert(name)
    return lambda obs, step: expert(obs, target)


def target_conditioned_expert(name: str) -> TargetController:
    """Metaworld's scripted policy of class ``name``, as a function of observation and target."""
    make: Callable[[], ExpertPolicy] = ENV_POLICY_MAP[name]
    policy = make()

    def act(obs: Array, target: Array) -> Array:
        obs_with_target = obs.copy()
        obs_with_target[-3:] = target
        with warnings.catch_warnings():
            # The experts warn at nearly every step that their gains exceed the action range, which is then clipped.
            warnings.simplefilter("ignore", UserWarning)
            return policy.get_action(obs_with_target)

    return act


@dataclass(frozen=True)
class ExpertsWithPredictedTarget:
    """Experts for the target that a predictor finds in the first observation of each episode; one of both per task."""

    experts: Sequence[TargetController]
    predictors: Sequence[TargetPredictor]

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        return {"step": np.zeros((n_tasks, n_copies), dtype=np.int64), "target": np.zeros((n_tasks, n_copies, 3))}

    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        predicted = np.stack([predict(of_task) for predict, of_task in zip(self.predictors, obs, strict=True)])
        target = np.where(memory["step"][..., None] == 0, predicted, memory["target"])
        action = np.empty((*obs.shape[:2], 4))
        for t, expert in enumerate(self.experts):
            for c in range(obs.shape[1]):
                action[t, c] = expert(obs[t, c], target[t, c])
        return action, np.zeros(obs.shape[:2]), memory | {"target": target}

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        return memory | {"step": np.where(done, 0, memory["step"] + 1)}


def reach_sweep(horizon: int) -> Controller:
    """Visit a raster of 3 x 2 x 5 points in reach-v3's goal box, each for an equal share of the horizon.

    Every target in the box is within 0.0486 m of a point, less than the success radius of 0.05 m: success at some step
    of an episode takes no knowledge of the target.
    """
    counts = (3, 2, 5)
    axes = [lo + (hi - lo) * (np.arange(n) + 0.5) / n for lo, hi, n in zip(*REACH_GOAL_BOX, counts, strict=True)]
    points = []
    for ix, x in enumerate(axes[0]):
        for iy, y in enumerate(axes[1][:: 1 if ix % 2 == 0 else -1]):
            points += [(x, y, z) for z in axes[2][:: 1 if (2 * ix + iy) % 2 == 0 else -1]]
    hand_positions = np.array(points) + np.array([0.0, 0.0, _HAND_ABOVE_FINGERS])

    def control(obs: Array, step: int) -> Array:
        target = hand_positions[min(step * len(hand_positions) // horizon, len(hand_positions) - 1)]
        return np.append(np.clip(_SWEEP_GAIN * (target - obs[:3]), -1.0, 1.0), 0.0)

    return control
