"""Metaworld's benchmarks as Gymnasium environments: ``gym.make_vec("kshot/ML10-train", num_envs=20, seed=1)``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from gymnasium.utils import seeding

from kshot.envs.metaworld._goals import Source, goals
from kshot.envs.metaworld._tasks import Goal
from kshot.envs.metaworld._vector import MetaWorldVectorEnv
from kshot.errors import suggest
from kshot.types import Array, Split

DEFECTS = ("ml1-train-is-test", "basketball-in-test", "shared-seed", "lost-final-step")
"""Faults of metaworld 3.1.1 that can be reproduced, for comparison with numbers that were made with them.

* ml1-train-is-test: ``Meta-World/ML1-train`` builds the test split (metaworld/__init__.py, ``register_mw_envs``: a
  lambda reads the loop variable after the loop).
* basketball-in-test: ML25 tests on basketball-v3, which it also trains on (metaworld/env_dict.py, ``ML25_V3``).
* shared-seed: all sub-environments shuffle their goals with the same seed (``_init_each_env``), so those of different
  classes always meet goals that stand at the same place in their lists.
* lost-final-step: after an autoreset, a recurrent policy sees zeros instead of the last reward and the end of the
  episode (metaworld/wrappers.py, ``RNNBasedMetaRLWrapper.reset``).
"""


class BenchmarkVectorEnv(MetaWorldVectorEnv):
    """Sub-environments that draw goals from pools of their own, without repetition until a pool is used up.

    Args:
        pools: the goals of each sub-environment, all of one class.
        seed: of the order in which goals are drawn; besides, that depends only on the sub-environment's index.
        new_goal_each_episode: draw a new goal at every reset; otherwise goals change with ``sample_goals`` only.
        shared_seed: see ``DEFECTS``.
        settings: of ``MetaWorldVectorEnv``.
    """

    def __init__(
        self,
        pools: Sequence[Sequence[Goal]],
        seed: int | None = None,
        new_goal_each_episode: bool = False,
        shared_seed: bool = False,
        **settings: Any,
    ) -> None:
        self._pools = [list(pool) for pool in pools]
        self._new_goal_each_episode = new_goal_each_episode
        self._shared_seed = shared_seed
        super().__init__([pool[0] for pool in pools], **settings)
        n = len(self._pools)
        self._rngs: list[np.random.Generator] = [np.random.default_rng(0)] * n  # until they are seeded, in a moment
        self._shuffled, self._next_index = [list(pool) for pool in self._pools], [-1] * n
        self._waiting = np.zeros(n, dtype=bool)
        """[N] whether a goal is drawn and was not played yet."""
        self._seed([fresh_seed() if seed is None else seed] * n)

    def sample_goals(self) -> tuple[Array, dict[str, Any]]:
        """Draw a new goal for every sub-environment and reset them all.

        Before the first reset, and after one with a seed, the goals are those that are drawn already.
        """
        self._draw(np.flatnonzero(~self._waiting))
        return self.reset()

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """As in ``MetaWorldVectorEnv``; a ``seed`` begins a new order of goals.

        Args:
            seed: one for all, or one for each sub-environment; None leaves an order as it is.
            options: as in ``MetaWorldVectorEnv``.

        Raises:
            ValueError: there are not as many seeds as sub-environments.
        """
        seeds = list(seed) if isinstance(seed, Sequence | np.ndarray) else [seed] * self.num_envs
        if len(seeds) != self.num_envs:
            raise ValueError(f"metaworld: {len(seeds)} seeds for {self.num_envs} sub-environments")
        self._seed(seeds)
        return super().reset(seed=seed, options=options)

    def _seed(self, seeds: Sequence[int | None]) -> None:
        """Begin new orders, and draw their first goals, where there is a seed."""
        for i, seed in enumerate(seeds):
            if seed is not None:
                shared = self._shared_seed
                self._rngs[i] = seeding.np_random(int(seed))[0] if shared else np.random.default_rng([int(seed), i])
                self._shuffled[i], self._next_index[i] = list(self._pools[i]), -1
        self._draw([i for i, seed in enumerate(seeds) if seed is not None])

    def _draw(self, chosen: Iterable[int]) -> None:
        """Take the next goal of each pool, shuffled anew whenever it begins (``PseudoRandomTaskSelectWrapper``)."""
        for i in chosen:
            self._waiting[i] = True
            pool = self._shuffled[i]
            self._next_index[i] = (self._next_index[i] + 1) % len(pool)
            if self._next_index[i] == 0:
                # numpy shuffles a list of tuples in place, element by element, as it does metaworld's list of tasks
                self._rngs[i].shuffle(pool)
            self.goals[i] = pool[self._next_index[i]]

    def _begin_episodes(self, chosen: Array) -> None:
        if self._new_goal_each_episode:
            self._draw([int(i) for i in chosen if not self._waiting[i]])
        self._waiting[chosen] = False
        super()._begin_episodes(chosen)


def fresh_seed() -> int:
    """A seed that nobody has asked for: another one each time."""
    return int(np.random.SeedSequence().generate_state(1)[0]) % 2**31


def require_class(env_name: str, id: str) -> None:
    """Raise ValueError where an environment of one class was not told which."""
    if not env_name:
        raise ValueError(f'metaworld: {id} is of one class, and env_name says which: env_name="reach-v3"')


def make(
    benchmark: str,
    split: Split,
    num_envs: int = 1,
    env_name: str = "",
    seed: int | None = 0,
    goal_seed: int | None = None,
    goals_per_class: int | None = None,
    train_classes: Sequence[str] = (),
    test_classes: Sequence[str] = (),
    defects: Sequence[str] = (),
    **settings: Any,
) -> BenchmarkVectorEnv:
    """The environment behind ``kshot/<benchmark>-<split>``.

    Args:
        benchmark: "ML1", "ML10", "ML25", "ML45" or "custom".
        split: "train", "validation" (new goals of the training classes) or "test".
        num_envs: a multiple of the number of classes; sub-environments of a class share its goals evenly. Where there
            are more than goals, each has one, and goals repeat.
        env_name: the class of ML1.
        seed: of the goals themselves, and of the order in which they are drawn; None draws one.
        goal_seed: of the goals themselves, instead of ``seed``.
        goals_per_class: use only the first goals of each class.
        train_classes: of "custom".
        test_classes: of "custom".
        defects: names out of ``DEFECTS``.
        settings: of ``BenchmarkVectorEnv`` and ``MetaWorldVectorEnv``.

    Raises:
        ValueError: an unknown name, none where ML1 needs one, or a number of sub-environments that does not fit the
            classes.
    """
    if benchmark == "ML1":
        require_class(env_name, f"kshot/ML1-{split}")
    for defect in defects:
        if defect not in DEFECTS:
            raise ValueError(f"metaworld: unknown defect {defect!r}{suggest(defect, DEFECTS)}")
    if benchmark == "ML1" and split == "train" and "ml1-train-is-test" in defects:
        split = "test"
    seed = fresh_seed() if seed is None else seed
    source = Source(
        benchmark,
        env_name,
        seed if goal_seed is None else goal_seed,
        tuple(train_classes),
        tuple(test_classes),
        keep_seen_classes="basketball-in-test" in defects,
    )
    by_class: dict[str, list[Goal]] = {}
    for goal in goals(source, split):
        by_class.setdefault(goal[0], []).append(goal)
    envs_per_class, remainder = divmod(num_envs, len(by_class))
    if remainder or not envs_per_class:
        raise ValueError(
            f"metaworld: {benchmark}-{split} has {len(by_class)} classes: num_envs must be a multiple, got {num_envs}"
        )
    pools = []
    for goals_of_class in by_class.values():
        used = goals_of_class[:goals_per_class]
        pools += [used[i % len(used) :: envs_per_class] for i in range(envs_per_class)]
    return BenchmarkVectorEnv(
        pools,
        seed,
        shared_seed="shared-seed" in defects,
        lost_final_step="lost-final-step" in defects,
        **settings,
    )
