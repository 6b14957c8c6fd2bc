"""HalfCheetah that is to run at a velocity of its own task

Of Finn et al. 2017 (MAML, arXiv 1703.03400, section 5.3), as in katerakelly/oyster, ``rlkit/envs/half_cheetah_vel.py``:
the reward of a step is -|v - v*| - 0.05 |a|^2 with the velocity v of the torso over the step and the target v*.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

CONTROL_COST = 0.05


class _TargetVelocity(gymnasium.Wrapper[Any, Any, Any, Any]):
    def __init__(self, env: gymnasium.Env[Any, Any], velocity: float) -> None:
        super().__init__(env)
        self._velocity = velocity

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        obs, _, terminated, truncated, info = self.env.step(action)
        cost = abs(info["x_velocity"] - self._velocity) + CONTROL_COST * float(np.square(action).sum())
        return obs, -cost, terminated, truncated, info


def target_velocity(velocity: float = 1.0, **values: Any) -> gymnasium.Env[Any, Any]:
    """HalfCheetah-v5 with that reward; further keyword arguments are those of ``gymnasium.make``."""
    return _TargetVelocity(gymnasium.make("HalfCheetah-v5", disable_env_checker=True, **values), velocity)
