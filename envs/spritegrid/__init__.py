"""SpriteGrid: find out from demonstrations which of three unknown objects is wanted and what is to be avoided.

An analogue of SpriteWorld in Xu et al. 2019, "Learning a Prior over Intent via Meta-Inverse Reinforcement Learning"
(arXiv 1805.12573, section 5.1), of which we know no public code; the sizes here are ours. Tasks combine three of
100 sprites: one is the goal, two are obstacles, all on equally many cells; grass is worse than dirt. Demonstrations
show one arrangement of a task's objects, and every episode has another, so that what counts is which pixels matter, not
where the expert went. Moves go to the eight neighbours or nowhere. The reward of a cell is earned in all T + 1 states
of an episode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from kshot import seeding
from kshot.envs import _experts as experts
from kshot.envs._scripted import Scripted, uniform_random
from kshot.envs._streams import Streams
from kshot.envs._worlds import checked_paths
from kshot.envs.spritegrid import pictures
from kshot.types import ActionKind, Array, Dynamics, Episodes, Evidence, FamilySpec, ReferencePolicy, Split, Task

ACTIONS: ActionKind = "discrete"
EVIDENCE: frozenset[Evidence] = frozenset({"demonstrations"})
MOVES = np.array([(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)])
"""[9, 2] what each action adds to the cell."""
GOAL_REWARD, OBSTACLE_REWARD, GRASS_REWARD = 4.0, -4.0, -1.0
"""Per state on a cell of that kind. Reaching the goal must be worth more than log 9 per step to an expert of beta 1."""
KINDS = 3
"""Sprites of a task: the goal's, then those of two obstacles."""
HELD_OUT = 10
"""One in ten combinations of sprites is a test task, one in ten a validation task."""


@dataclass(frozen=True)
class Settings:
    """The size of the world.

    Attributes:
        side: cells along a side.
        horizon: T, moves per episode.
        copies: cells with each of the three sprites. The same number for all: a goal that stood on fewer cells than the
            obstacles could be told without a demonstration.
        test_sprites: whether test and validation tasks are new combinations of the sprites of training, or of sprites
            never seen, other ones for validation than for testing.
        expert_beta: inverse temperature of the demonstrating expert, who is soft-optimal for beta times the reward.

    Raises:
        ValueError: a size below 1, more objects than cells, or a negative ``expert_beta``.
    """

    side: int = 12
    horizon: int = 18
    copies: int = 8
    test_sprites: Literal["seen", "unseen"] = "seen"
    expert_beta: float = 2.0

    def __post_init__(self) -> None:
        for name, least in (("side", 2), ("horizon", 1), ("copies", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"spritegrid: {name} must be at least {least}, got {getattr(self, name)}")
        if KINDS * self.copies > self.side**2:
            raise ValueError(f"spritegrid: {KINDS * self.copies} objects do not fit in {self.side**2} cells")
        if self.test_sprites not in ("seen", "unseen"):
            raise ValueError(f"spritegrid: test_sprites must be 'seen' or 'unseen', got {self.test_sprites!r}")
        if not self.expert_beta >= 0:
            raise ValueError(f"spritegrid: expert_beta must not be negative, got {self.expert_beta}")


def build(settings: Settings) -> SpriteGridFamily:
    """The family for ``settings``."""
    return SpriteGridFamily(settings)


def headline(settings: Settings) -> Literal["return"]:
    """The return: reaching the goal across obstacles counts as a success, but not for as much."""
    return "return"


@dataclass(frozen=True)
class Arrangement:
    """B arrangements: ``cells`` [B, S] 0 or 1 + sprite, ``ground`` [B, S] 0 or 1, ``keys`` [B] of its grain."""

    cells: Array
    ground: Array
    keys: Array

    @property
    def layout(self) -> Array:
        """[B, 2 S + 2] as the observation shows it; keys are two halves of 32 bits, since a float holds 53."""
        halves = np.stack([self.keys >> np.uint64(32), self.keys & np.uint64(0xFFFFFFFF)], axis=1)
        return np.concatenate([self.cells, self.ground, halves], axis=1).astype(np.float64)

    @classmethod
    def of(cls, layout: Array) -> Arrangement:
        """From layouts [B, 2 S + 2]."""
        states = (layout.shape[1] - 2) // 2
        whole = np.rint(layout)
        high, low = whole[:, -2].astype(np.uint64), whole[:, -1].astype(np.uint64)
        return cls(
            whole[:, :states].astype(np.int64),
            whole[:, states : 2 * states].astype(np.int64),
            (high << np.uint64(32)) | low,
        )


@dataclass(frozen=True)
class GridWorld:
    """``kshot.types.World`` of SpriteGrid; an observation is the cell's coordinates, then the layout."""

    side: int
    decisions: int
    rewards: Literal["states", "pairs"] = "states"

    def layout(self, obs: Array) -> Array:
        return np.asarray(obs[..., 2:])

    def state(self, obs: Array) -> Array:
        cell = np.rint(obs[..., :2]).astype(np.int64)
        return np.asarray(cell[..., 0] * self.side + cell[..., 1])

    def dynamics(self, layout: Array) -> Dynamics:
        return Dynamics(successor=successors(self.side), box=(self.side, self.side))

    def features(self, layout: Array) -> Array:
        arrangement = Arrangement.of(layout)
        pixels = pictures.rendered(arrangement.cells, arrangement.ground, arrangement.keys)
        # Mean 0 and variance 1, roughly: from pixels as they are, networks learn much later to tell sprites apart.
        return (pixels - 0.5) / 0.25

    def paths(self, episodes: Episodes) -> tuple[Array, Array]:
        return checked_paths("spritegrid", self, episodes)


def successors(side: int) -> Array:
    """[S, 9] the cell that every move leads to, -1 off the grid."""
    cells = np.array([(x, y) for x in range(side) for y in range(side)])
    reached = cells[:, None] + MOVES
    return np.where(((reached >= 0) & (reached < side)).all(axis=-1), reached @ np.array([side, 1]), -1)


class SpriteGridFamily:
    """``kshot.types.TaskFamily`` of SpriteGrid."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.states = settings.side**2
        self.spec = FamilySpec(
            name="spritegrid",
            observation_dim=2 + 2 * self.states + 2,
            action_space=spaces.Discrete(len(MOVES)),
            horizon=settings.horizon,
            episodes_per_trial=1,
            evidence=EVIDENCE,
            max_sub_envs=2_000,
            world=GridWorld(settings.side, settings.horizon),
        )

    @property
    def references(self) -> Mapping[str, ReferencePolicy]:
        """Scripted policies: "random", "oracle", which is optimal for the reward, and some that see objects alone.

        "task_blind" is optimal without evidence: all that it may see leaves each of the three sprites equally likely to
        be the goal, so it plans for the mean reward of an object, and avoids all. "nearest" goes to the nearest object,
        "rarest" to the sprite on the fewest cells (of several, to the one with the smallest number).
        """
        return {
            "random": lambda tasks: uniform_random(self.spec.action_space),
            "task_blind": lambda tasks: self.planned(blind_reward),
            "nearest": lambda tasks: self.planned(nearest_reward),
            "rarest": lambda tasks: self.planned(rarest_reward),
            "oracle": lambda tasks: self.planned(
                lambda scene: self.reward(np.repeat(_sprites(tasks), len(scene.keys) // len(tasks), axis=0), scene)
            ),
        }

    def tasks(self, split: Split, n: int, seed: int) -> list[Task]:
        """``n`` different combinations (goal, obstacle, obstacle) of a split, in an order that depends on the seed."""
        unseen = split != "train" and self.settings.test_sprites == "unseen"
        first, count = 0, pictures.SEEN
        if unseen:
            first = {"test": pictures.SEEN, "validation": pictures.SEEN + pictures.UNSEEN}[split]
            count = pictures.UNSEEN
        rng = seeding.generator("spritegrid", split, seed, self.settings.test_sprites if split != "train" else "")
        chosen: dict[tuple[int, ...], None] = {}
        while len(chosen) < n:
            sprites = tuple((first + rng.choice(count, 3, replace=False)).tolist())
            bucket = seeding.key("spritegrid", "split", *sorted(sprites)) % HELD_OUT
            if unseen or {0: "test", 1: "validation"}.get(bucket, "train") == split:
                chosen[sprites] = None
        return [
            Task("spritegrid", split, i, (("sprites", sprites),), group="spritegrid")
            for i, sprites in enumerate(chosen)
        ]

    def arranged(self, sprites: Array, keys: Array) -> Arrangement:
        """Places for the objects of tasks whose sprites are [B, 3], and ground, all decided by ``keys`` [B]."""
        order = seeding.uniform(seeding.split(keys, 0)[:, None], np.arange(self.states)).argsort(axis=1)
        cells = np.zeros((len(keys), self.states), dtype=np.int64)
        rows, count = np.arange(len(keys))[:, None], self.settings.copies
        for kind in range(KINDS):
            cells[rows, order[:, kind * count : (kind + 1) * count]] = 1 + sprites[:, kind : kind + 1]
        ground = pictures.blobs(seeding.split(keys, 1), self.settings.side).reshape(len(keys), -1)
        return Arrangement(cells, ground, seeding.split(keys, 2))

    def reward(self, sprites: Array, arrangement: Arrangement) -> Array:
        """[B, S] the true reward of every cell, for tasks whose sprites are [B, 3]."""
        kind = arrangement.cells[:, :, None] == 1 + sprites[:, None]
        objects = kind @ np.array([GOAL_REWARD, OBSTACLE_REWARD, OBSTACLE_REWARD])
        return np.asarray(objects + GRASS_REWARD * arrangement.ground)

    def demonstrations(self, tasks: Sequence[Task], n: int, keys: Array, arrangement: int = 0) -> Episodes:
        """``n`` episodes per task of an expert (``Settings.expert_beta``) from random cells of one arrangement."""
        sprites = _sprites(tasks)
        places = [seeding.key("spritegrid", "arrangement", arrangement, *row) for row in sprites.tolist()]
        scene = self.arranged(sprites, np.array(places, dtype=np.uint64))
        side, horizon = self.settings.side, self.settings.horizon
        reward = self.settings.expert_beta * self.reward(sprites, scene)
        values = experts.box_values(reward.reshape(-1, side, side), horizon, combine=np.logaddexp)
        streams = seeding.split(np.asarray(keys, dtype=np.uint64)[:, None], np.arange(n))
        starts = (seeding.uniform(streams, 0) * self.states).astype(np.int64)
        states, actions = experts.soft_paths(successors(side), values, starts, seeding.split(streams, 0))
        seen = np.broadcast_to(scene.layout[:, None, None], (*states.shape, scene.layout.shape[1]))
        at = np.stack(np.divmod(states, side), axis=-1)
        goal = scene.cells[np.arange(len(tasks))[:, None, None], states[..., 1:]] == 1 + sprites[:, :1, None]
        return experts.demonstration_episodes(np.concatenate([at, seen], axis=-1), actions, goal, terminated=False)

    def vector_env(self, tasks: Sequence[Task], copies: int) -> SpriteGridVectorEnv:
        return SpriteGridVectorEnv(self, np.repeat(_sprites(tasks), copies, axis=0))

    def planned(self, believed: Callable[[Arrangement], Array]) -> Scripted:
        """Optimal for the reward [B, S] that ``believed`` gives the cells of an arrangement."""
        side, table = self.settings.side, successors(self.settings.side)

        def rule(obs: Array, step: Array, noise: Array | None) -> Array:
            lead = obs.shape[:2]
            layout = obs[..., 2:].reshape(-1, obs.shape[-1] - 2)
            reward = believed(Arrangement.of(layout))
            left = self.settings.horizon - int(step.max())
            value = experts.box_values(reward.reshape(-1, side, side), left)[1]
            following = np.where(table >= 0, value[:, table], -np.inf)
            world = self.spec.world
            assert world is not None
            at = world.state(obs).reshape(-1)
            return np.asarray(following[np.arange(len(layout)), at].argmax(axis=-1).reshape(lead))

        return Scripted(rule)

    def reference(self, task: Task) -> dict[str, float]:
        """Nothing: returns depend on the arrangement, which every episode draws anew."""
        return {}


class SpriteGridVectorEnv(VectorEnv[Array, Array, Array]):
    """Any number of grids side by side for tasks with ``sprites`` [N, 3]; every episode has another arrangement.

    Number ``i`` of a stream keyed by the sub-environment's seed decides arrangement and start of episode ``i``.
    """

    def __init__(self, family: SpriteGridFamily, sprites: Array) -> None:
        self.num_envs = len(sprites)
        self.metadata = {"autoreset_mode": AutoresetMode.DISABLED}
        self.single_observation_space = spaces.Box(-np.inf, np.inf, (family.spec.observation_dim,), np.float64)
        self.single_action_space = spaces.Discrete(len(MOVES))
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._family, self._sprites = family, sprites
        self._table = successors(family.settings.side)
        self._streams = Streams("spritegrid", self.num_envs, "arrangements")
        self._rows = np.arange(self.num_envs)
        self._step = 0

    def reset(
        self, *, seed: int | Sequence[int] | Array | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Begin the next episode; see ``Streams.reset`` for ``seed`` and what is refused."""
        self._streams.reset(seed)
        keys = self._streams.keys(self._streams.episode)
        scene = self._family.arranged(self._sprites, seeding.split(keys, 0))
        self._layout, self._reward = scene.layout, self._family.reward(self._sprites, scene)
        self._goal = scene.cells == 1 + self._sprites[:, :1]
        self._state = (seeding.uniform(keys, 0) * self._family.states).astype(np.int64)
        self._step = 0
        side, horizon = self._family.settings.side, self._family.settings.horizon
        best = experts.box_values(self._reward.reshape(-1, side, side), horizon)[0]
        return self._observation(), {"optimal_return": best[self._rows, self._state]}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """``actions`` is [N] int; moves off the grid stay. The first step also pays for the cell it began on."""
        before = self._state
        reached = self._table[before, np.clip(actions, 0, len(MOVES) - 1)]
        self._state = np.where(reached >= 0, reached, before)
        reward = self._reward[self._rows, self._state]
        if self._step == 0:
            reward = reward + self._reward[self._rows, before]
        self._step += 1
        never = np.zeros(self.num_envs, dtype=bool)
        truncated = np.full(self.num_envs, self._step >= self._family.settings.horizon)
        return self._observation(), reward, never, truncated, {"success": self._goal[self._rows, self._state]}

    def _observation(self) -> Array:
        at = np.stack(np.divmod(self._state, self._family.settings.side), axis=-1)
        return np.concatenate([at, self._layout], axis=1)


def blind_reward(scene: Arrangement) -> Array:
    """[B, S] the mean of ``SpriteGridFamily.reward`` over which of the three sprites is the goal."""
    mean = (GOAL_REWARD + 2 * OBSTACLE_REWARD) / KINDS
    return np.asarray(mean * (scene.cells > 0) + GRASS_REWARD * scene.ground)


def nearest_reward(scene: Arrangement) -> Array:
    """[B, S] as if every object were the goal."""
    return np.asarray(GOAL_REWARD * (scene.cells > 0) + GRASS_REWARD * scene.ground)


def rarest_reward(scene: Arrangement) -> Array:
    """[B, S] as if the goal were the sprite on the fewest cells; of several, the one with the smallest number."""
    reward = OBSTACLE_REWARD * (scene.cells > 0) + GRASS_REWARD * scene.ground
    for row, cells in enumerate(scene.cells):
        sprites, counts = np.unique(cells[cells > 0], return_counts=True)
        rarest = sprites[counts == counts.min(initial=scene.cells.shape[1])][:1]
        reward[row, np.isin(cells, rarest)] += GOAL_REWARD - OBSTACLE_REWARD
    return np.asarray(reward)


def _sprites(tasks: Sequence[Task]) -> Array:
    return np.array([task["sprites"] for task in tasks], dtype=np.int64)
