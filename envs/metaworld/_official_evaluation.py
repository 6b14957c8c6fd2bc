"""The vector environment for Metaworld's own evaluation (metaworld/evaluation.py), made by metaworld itself."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import metaworld
from gymnasium.vector import VectorEnv

from kshot.envs.metaworld._goals import Source
from kshot.types import Array

ENVS_ONE_CLASS, ENVS_PER_CLASS, GOALS_PER_CLASS = 10, 4, 40
"""ML1: ten sub-environments share its 50 goals. Several test classes: metaworld's defaults, which for five of them are
20 sub-environments (``meta_batch_size``) and 40 goals of each class (the comment at ``num_evals``)."""


def make(source: Source, horizon: int, num_envs: int | None, goals_per_class: int | None) -> VectorEnv[Any, Any, Any]:
    """Gymnasium's synchronous vector of official test environments; goals change with ``call("sample_tasks")`` only.

    The classes are metaworld's: ML25 tests on basketball-v3, which it also trains on.

    Args:
        source: benchmark, classes and seed of the goals.
        horizon: steps per episode (``max_episode_steps``).
        num_envs: a multiple of the number of test classes.
        goals_per_class: use only the first goals of each class, a multiple of the class's sub-environments.
    """
    if source.benchmark == "ML1":
        num_envs = num_envs or ENVS_ONE_CLASS
    else:
        classes = 5 if source.benchmark == "ML25" else len(source.classes("test"))
        num_envs, goals_per_class = num_envs or ENVS_PER_CLASS * classes, goals_per_class or GOALS_PER_CLASS
    options: dict[str, Any] = {
        "seed": source.seed,
        "meta_batch_size": num_envs,
        "total_tasks_per_cls": goals_per_class,
        "max_episode_steps": horizon,
        # The only way for a policy to get rewards while it is evaluated. Unscaled: the wrapper would divide them by
        # ten, but how rewards are scaled is a setting of learners.
        "recurrent_info_in_obs": True,
        "normalize_reward_in_recurrent_info": False,
    }
    if source.benchmark == "custom":
        # ``make_ml_envs_test`` sets these for the other benchmarks; this entry point leaves them to its caller.
        options |= {"split": "test", "task_select": "pseudorandom", "terminate_on_success": True}
        options |= {"train_envs": list(source.train_classes), "test_envs": list(source.test_classes)}
        return gym.make_vec("Meta-World/custom-ml-envs", vector_strategy="sync", **options)
    name = source.task if source.benchmark == "ML1" else source.benchmark
    env: VectorEnv[Array, Array, Array] = metaworld.make_ml_envs_test(name, **options)
    return env
