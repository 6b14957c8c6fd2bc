"""Metaworld's own evaluators on kshot's environments: ``metaworld.evaluation.evaluation(agent, for_evaluator(env))``.

They ask for what Gymnasium's vectors of single environments have: ``get_attr``, ``call``, and the return of an episode
in ``final_info``. Everything else stays as it is, the numbers included.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorWrapper
from metaworld.env_dict import ALL_V3_ENVIRONMENTS

from kshot.envs.metaworld._benchmarks import BenchmarkVectorEnv
from kshot.types import Array


def for_evaluator(env: Any) -> EvaluatorEnv:
    """``env``, made by ``gymnasium.make_vec("kshot/...")``, as Metaworld's evaluators use an environment.

    ``metalearning_evaluation`` says when goals are drawn. ``evaluation`` does not: pass ``new_goal_each_episode=True``
    to ``make_vec`` where each episode is to have a new one, which is the default of MT1 to MT50. With
    ``defects=("shared-seed",)`` they are drawn in Metaworld's order.

    Raises:
        TypeError: it is another environment.
        ValueError: its mode of autoreset is not "SameStep", which the evaluators count episodes by.
    """
    made = getattr(env, "unwrapped", env)
    if not isinstance(made, BenchmarkVectorEnv):
        raise TypeError(f"metaworld: the evaluators need an environment of make_vec, got {type(made).__name__}")
    if made.metadata["autoreset_mode"] is not AutoresetMode.SAME_STEP:
        raise ValueError('metaworld: the evaluators count episodes by autoreset_mode="SameStep"')
    return EvaluatorEnv(env, made)


class EvaluatorEnv(VectorWrapper):
    """See ``for_evaluator``; N sub-environments."""

    def __init__(self, env: Any, made: BenchmarkVectorEnv) -> None:
        super().__init__(env)
        self._made = made
        self._returns, self._lengths = np.zeros(self.num_envs), np.zeros(self.num_envs, dtype=np.int64)
        self._calls: dict[str, Callable[..., Any]] = {
            "toggle_terminate_on_success": self._terminate_on_success,
            "toggle_sample_tasks_on_reset": self._sample_on_reset,
            "sample_tasks": self._sample,
        }

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """One value for each sub-environment: "task_name", "tasks" or "terminate_on_success".

        Raises:
            AttributeError: it is none of these.
        """
        made = self._made
        if name == "task_name":
            return tuple(ALL_V3_ENVIRONMENTS[env_name].__name__ for env_name in made.names)
        if name == "tasks":  # goals, as many as there are
            return tuple(list(pool) for pool in made._pools)
        if name == "terminate_on_success":
            return (made._terminate_on_success,) * self.num_envs
        raise AttributeError(f"metaworld: the evaluators do not ask for {name!r}")

    def call(self, name: str, *arguments: Any) -> tuple[Any, ...]:
        """Tell all sub-environments something that Metaworld's wrappers understand; returns [N] of None.

        Args:
            name: "toggle_terminate_on_success" or "toggle_sample_tasks_on_reset", both with a bool, or "sample_tasks".
            arguments: of it.

        Raises:
            AttributeError: it is none of these.
        """
        if name not in self._calls:
            raise AttributeError(f"metaworld: the evaluators do not call {name!r}")
        self._calls[name](*arguments)
        return (None,) * self.num_envs

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """As in the environment itself; returns begin at zero where episodes begin."""
        mask = (options or {}).get("reset_mask")
        begun = slice(None) if mask is None else mask
        self._returns[begun], self._lengths[begun] = 0.0, 0
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, info

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """As in the environment itself; ``final_info["episode"]`` has return "r" and length "l" [N] of what ended."""
        observation, reward, terminated, truncated, info = self.env.step(actions)
        self._returns += reward
        self._lengths += 1
        ended = terminated | truncated
        if ended.any():
            info["final_info"]["episode"] = {"r": np.where(ended, self._returns, 0.0), "l": self._lengths * ended}
            self._returns[ended], self._lengths[ended] = 0.0, 0
        return observation, reward, terminated, truncated, info

    def _terminate_on_success(self, on: bool) -> None:
        self._made._terminate_on_success = bool(on)

    def _sample_on_reset(self, on: bool) -> None:
        self._made._new_goal_each_episode = bool(on)

    def _sample(self) -> None:
        self._made.sample_goals()
        self._returns[:], self._lengths[:] = 0.0, 0
