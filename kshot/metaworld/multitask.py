"""Meta-World's multi-task benchmarks as Gymnasium environments: ``gym.make_vec("kshot/MT10", num_envs=10)``.

The target is part of the observation, followed by the number of the class as a one-hot vector. There is nothing to
adapt to and no test split: all classes are trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import batch_space
from metaworld import env_dict

from kshot.envs.metaworld._benchmarks import BenchmarkVectorEnv, fresh_seed, require_class
from kshot.envs.metaworld._goals import GOALS_PER_CLASS
from kshot.envs.metaworld._tasks import Goal, check_class
from kshot.envs.metaworld._vector import OBSERVATION_DIM
from kshot.envs.metaworld.engine import prototype
from kshot.errors import suggest
from kshot.types import Array

BENCHMARKS = ("MT1", "MT10", "MT25", "MT50")


class MultiTaskVectorEnv(BenchmarkVectorEnv):
    """Sub-environments of several classes, whose observations say which class it is.

    Observations are float64 [N, 39 + C]: those of ``MetaWorldVectorEnv`` with the target in view, then a one-hot vector
    of the C classes (none if ``one_hot`` is off), then what ``recurrent_info`` appends.

    Args:
        pools: the goals of each sub-environment, all of one class.
        one_hot: append the one-hot vector.
        settings: of ``BenchmarkVectorEnv`` and ``MetaWorldVectorEnv``.
    """

    def __init__(self, pools: Sequence[Sequence[Goal]], one_hot: bool = True, **settings: Any) -> None:
        super().__init__(pools, goal_observable=True, **settings)
        classes = list(dict.fromkeys(self.names)) if one_hot else []
        self._one_hot = np.array([[name == other for other in classes] for name in self.names], dtype=np.float64)
        without: Any = self.single_observation_space
        low = np.insert(without.low, [OBSERVATION_DIM] * len(classes), 0.0)
        high = np.insert(without.high, [OBSERVATION_DIM] * len(classes), 1.0)
        self.single_observation_space = spaces.Box(low, high, dtype=np.float64)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)

    def _observation(self) -> Array:
        obs = super()._observation()
        extended: Array = np.concatenate([obs[:, :OBSERVATION_DIM], self._one_hot, obs[:, OBSERVATION_DIM:]], axis=1)
        return extended


def classes(benchmark: str, env_name: str = "") -> list[str]:
    """The classes of a benchmark, in its order; ``env_name`` is that of MT1.

    Raises:
        ValueError: a name is unknown.
    """
    if benchmark not in BENCHMARKS:
        raise ValueError(f"metaworld: unknown benchmark {benchmark!r}{suggest(benchmark, BENCHMARKS)}")
    if benchmark == "MT1":
        check_class(env_name)
        return [env_name]
    return list(getattr(env_dict, f"{benchmark}_V3"))


@cache
def goals(benchmark: str, env_name: str = "", seed: int = 0) -> tuple[Goal, ...]:
    """All goals of a benchmark, 50 per class, in its order: those that ``metaworld.MT10(seed)`` has.

    Raises:
        ValueError: a name is unknown, or the seed is negative.
    """
    names = classes(benchmark, env_name)
    if seed < 0:
        raise ValueError(f"metaworld: the seed of the goals must not be negative, got {seed}")
    stream = np.random.RandomState(seed)
    return tuple((name, vec) for name in names for vec in prototype(name, False).draw(GOALS_PER_CLASS, stream))


def make(
    benchmark: str,
    num_envs: int = 1,
    env_name: str = "",
    seed: int | None = 0,
    goal_seed: int | None = None,
    goals_per_class: int | None = None,
    new_goal_each_episode: bool = True,
    **settings: Any,
) -> MultiTaskVectorEnv:
    """The environment behind ``kshot/MT10`` and its siblings.

    Args:
        benchmark: "MT1", "MT10", "MT25" or "MT50".
        num_envs: a multiple of the number of classes; all sub-environments of a class draw from all of its goals.
        env_name: the class of MT1.
        seed: of the goals themselves, and of the order in which they are drawn; None draws one.
        goal_seed: of the goals themselves, instead of ``seed``.
        goals_per_class: use only the first goals of each class.
        new_goal_each_episode: draw at every reset, as Metaworld's multi-task environments do.
        settings: of ``MultiTaskVectorEnv``, ``BenchmarkVectorEnv`` and ``MetaWorldVectorEnv``.

    Raises:
        ValueError: an unknown name, none where MT1 needs one, or a number of sub-environments that does not fit the
            classes.
    """
    if benchmark == "MT1":
        require_class(env_name, "kshot/MT1")
    names = classes(benchmark, env_name)
    per_class, remainder = divmod(num_envs, len(names))
    if remainder or not per_class:
        raise ValueError(
            f"metaworld: {benchmark} has {len(names)} classes: num_envs must be a multiple, got {num_envs}"
        )
    seed = fresh_seed() if seed is None else seed
    every = goals(benchmark, env_name, seed if goal_seed is None else goal_seed)
    pools = [[goal for goal in every if goal[0] == name][:goals_per_class] for name in names]
    repeated = [pool for pool in pools for _ in range(per_class)]
    return MultiTaskVectorEnv(repeated, seed=seed, new_goal_each_episode=new_goal_each_episode, **settings)
