"""Two choices, one of which pays: the smallest task family, as a beginning for one of your own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from kshot import seeding
from kshot.types import ActionKind, Array, Evidence, FamilySpec, Memory, ReferencePolicy, Split, Task

ACTIONS: ActionKind = "discrete"
EVIDENCE: frozenset[Evidence] = frozenset({"rollouts"})


@dataclass(frozen=True)
class Settings:
    """Every parameter of the family, with its default.

    Attributes:
        prize: reward of the choice that pays.
    """

    prize: float = 1.0


def build(settings: Settings) -> Coins:
    """The family for ``settings``."""
    return Coins(settings)


class Coins:
    """Task ``i`` of a split pays on choice ``i % 2``; an episode is one step.

    There are but two ways to pay. A number tells tasks apart beyond that, so that there are as many as anybody asks
    for and no two splits share one; tasks of a family that is more than an example differ in what they do.
    """

    def __init__(self, settings: Settings) -> None:
        self._prize = settings.prize
        self.spec = FamilySpec("coins", 1, spaces.Discrete(2), horizon=1, episodes_per_trial=2)

    @property
    def references(self) -> Mapping[str, ReferencePolicy]:
        return {
            "random": lambda tasks: Fixed(None),
            "task_blind": lambda tasks: Fixed(np.zeros(len(tasks), dtype=np.int64)),
            "oracle": lambda tasks: Fixed(np.array([task["paid"] for task in tasks])),
        }

    def tasks(self, split: Split, n: int, seed: int) -> list[Task]:
        numbers = [seeding.key("coins", split, seed, i) for i in range(n)]
        return [Task("coins", split, i, (("paid", i % 2), ("number", numbers[i])), group="coins") for i in range(n)]

    def vector_env(self, tasks: Sequence[Task], copies: int) -> VectorEnv[Array, Array, Array]:
        return CoinsEnv(np.repeat([task["paid"] for task in tasks], copies), self._prize)

    def reference(self, task: Task) -> dict[str, float]:
        return {"random": self._prize / 2, "task_blind": self._prize / 2, "oracle": self._prize}


@dataclass(frozen=True)
class Fixed:
    """The same choice every time, or (None) whichever the noise says."""

    choice: Array | None

    def start(self, n_tasks: int, n_copies: int, keys: Array | None = None) -> Memory:
        return {}

    def act(self, obs: Array, memory: Memory, noise: Array | None) -> tuple[Array, Array, Memory]:
        shape = obs.shape[:2]
        if self.choice is not None:
            action = np.broadcast_to(self.choice[:, None], shape).copy()
        else:
            action = np.zeros(shape, dtype=np.int64) if noise is None else noise.argmax(axis=-1)
        return action, np.zeros(shape), memory

    def observe(self, memory: Memory, action: Array, reward: Array, done: Array) -> Memory:
        return memory


class CoinsEnv(VectorEnv[Array, Array, Array]):
    """All episodes at once."""

    def __init__(self, pays: Array, prize: float) -> None:
        self.metadata = {"autoreset_mode": AutoresetMode.DISABLED}
        self.num_envs = len(pays)
        self.single_observation_space = spaces.Box(0.0, 1.0, (1,))
        self.single_action_space = spaces.Discrete(2)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._pays, self._prize = pays, prize

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Array, dict[str, Any]]:
        return np.zeros((self.num_envs, 1), dtype=np.float32), {}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        won = np.clip(actions, 0, 1) == self._pays
        ended, cut = np.ones(self.num_envs, dtype=bool), np.zeros(self.num_envs, dtype=bool)
        return np.zeros((self.num_envs, 1), dtype=np.float32), won * self._prize, ended, cut, {"success": won}


def picture(task: Task, path: Array, t: int) -> Array:
    """Grey before the step; after it black or white, for which choice pays."""
    return np.full((32, 32, 3), 128 if t == 0 else 255 * task["paid"], dtype=np.uint8)
