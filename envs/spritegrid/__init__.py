"""SpriteGrid: find out from demonstrations which of three unknown objects is wanted and what is to be avoided.

An analogue of SpriteWorld in Xu et al. 2019, "Learning a Prior over Intent via Meta-Inverse Reinforcement Learning"
(arXiv 1805.12573, section 5.1), of which we know no public code; the sizes here are ours. Tasks combine three of
100 sprites: one is the goal, two are obstacles, all on equally many cells; grass is worse than dirt. Demonstrations
show one layout of a task's objects, and every episode has another, so that what counts is which pixels matter, not
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
"""[9, 2] what each action adds to the position."""
GOAL_REWARD, OBSTACLE_REWARD, GRASS_REWARD = 4.0, -4.0, -1.0
"""Per state on a cell of that kind. For a soft-optimal expert of beta 1 to seek the goal, that must be worth more than
log 9 per step, the entropy of uniform moves."""
SPRITES_PER_TASK = 3
"""The goal's, then those of two obstacles."""
SPLIT_BUCKETS = 10
"""One in ten combinations of sprites is a test task, one in ten a validation task."""


@dataclass(frozen=True)
class Settings:
    """The size of the grid, and what test tasks are made of.

    Attributes:
        side: cells along a side.
        horizon: T, moves per episode.
        copies: cells with each of the three sprites. The same number for all: a goal on fewer cells than the obstacles
            could be recognised without a demonstration.
        test_sprites: "seen" makes test and validation tasks new combinations of the sprites of training; "unseen" makes
            them of other sprites, different ones for validation and for testing.
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
        for name, minimum in (("side", 2), ("horizon", 1), ("copies", 1)):
            if getattr(self, name) < minimum:
                raise ValueError(f"spritegrid: {name} must be at least {minimum}, got {getattr(self, name)}")
        n_objects = SPRITES_PER_TASK * self.copies
        if n_objects > self.side**2:
            raise ValueError(f"spritegrid: {n_objects} objects do not fit in {self.side**2} cells")
        if self.test_sprites not in ("seen", "unseen"):
            raise ValueError(f"spritegrid: test_sprites must be 'seen' or 'unseen', got {self.test_sprites!r}")
        if not self.expert_beta >= 0:
            raise ValueError(f"spritegrid: expert_beta must not be negative, got {self.expert_beta}")


def build(settings: Settings) -> SpriteGridFamily:
    """The family for ``settings``."""
    return SpriteGridFamily(settings)


def headline(settings: Settings) -> Literal["return"]:
    """The return: a success says only that the goal was reached, not how many obstacles were crossed."""
    return "return"


@dataclass(frozen=True)
class Layouts:
    """B layouts of a grid with S cells.

    Attributes:
        sprite: [B, S] 0 for none, else 1 + the number of the sprite on the cell.
        ground: [B, S] 0 for dirt, 1 for grass.
        keys: [B] decide the noise in the ground's pixels.
    """

    sprite: Array
    ground: Array
    keys: Array

    def encode(self) -> Array:
        """[B, 2 S + 2] numbers of the observation; a key takes two, 32 bits each, since a float holds 53 bits."""
        halves = np.stack([self.keys >> np.uint64(32), self.keys & np.uint64(0xFFFFFFFF)], axis=1)
        return np.concatenate([self.sprite, self.ground, halves], axis=1).astype(np.float64)

    @classmethod
    def decode(cls, encoded: Array) -> Layouts:
        """The inverse of ``encode``."""
        states = (encoded.shape[1] - 2) // 2
        whole = np.rint(encoded)
        high, low = whole[:, -2].astype(np.uint64), whole[:, -1].astype(np.uint64)
        return cls(
            whole[:, :states].astype(np.int64),
            whole[:, states : 2 * states].astype(np.int64),
            (high << np.uint64(32)) | low,
        )


@dataclass(frozen=True)
class GridWorld:
    """``kshot.types.World`` of SpriteGrid; an observation is the position, then the encoded layout."""

    side: int
    decisions: int
    rewards: Literal["states", "pairs"] = "states"

    def layout(self, obs: Array) -> Array:
        return np.asarray(obs[..., 2:])

    def state(self, obs: Array) -> Array:
        position = np.rint(obs[..., :2]).astype(np.int64)
        return np.asarray(position[..., 0] * self.side + position[..., 1])

    def dynamics(self, layout: Array) -> Dynamics:
        return Dynamics(successor=successors(self.side), box=(self.side, self.side))

    def features(self, layout: Array) -> Array:
        layouts = Layouts.decode(layout)
        pixels = pictures.render(layouts.sprite, layouts.ground, layouts.keys)
        # Mean 0 and variance 1, roughly: networks that see raw pixels learn much later to tell sprites apart.
        return (pixels - 0.5) / 0.25

    def paths(self, episodes: Episodes) -> tuple[Array, Array]:
        return checked_paths("spritegrid", self, episodes)


def successors(side: int) -> Array:
    """[S, 9] the cell that each action leads to, -1 off the grid."""
    cells = np.array([(x, y) for x in range(side) for y in range(side)])
    after = cells[:, None] + MOVES
    return np.where(((after >= 0) & (after < side)).all(axis=-1), after @ np.array([side, 1]), -1)


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
        """Scripted policies: "random", "oracle", which plans for the true reward, and three that plan for another one.

        "task_blind" is optimal without evidence: whatever it observes, each of the three sprites is equally likely to
        be the goal, so that it plans for an object's mean reward and avoids all objects. "nearest" goes to the nearest
        object, "rarest" to the sprite on the fewest cells (of several, the one with the smallest number).
        """

        def true_reward(tasks: Sequence[Task], layouts: Layouts) -> Array:
            copies = len(layouts.keys) // len(tasks)
            return self.reward(np.repeat(_sprites(tasks), copies, axis=0), layouts)

        return {
            "random": lambda tasks: uniform_random(self.spec.action_space),
            "task_blind": lambda tasks: self.planning_policy(mean_reward),
            "nearest": lambda tasks: self.planning_policy(nearest_reward),
            "rarest": lambda tasks: self.planning_policy(rarest_reward),
            "oracle": lambda tasks: self.planning_policy(lambda layouts: true_reward(tasks, layouts)),
        }

    def tasks(self, split: Split, n: int, seed: int) -> list[Task]:
        """``n`` different combinations (goal, obstacle, obstacle) of a split, drawn from ``seed``."""
        unseen = split != "train" and self.settings.test_sprites == "unseen"
        first, count = 0, pictures.N_SEEN
        if unseen:
            first = {"test": pictures.N_SEEN, "validation": pictures.N_SEEN + pictures.N_UNSEEN}[split]
            count = pictures.N_UNSEEN
        rng = seeding.generator("spritegrid", split, seed, self.settings.test_sprites if split != "train" else "")
        chosen: dict[tuple[int, ...], None] = {}
        while len(chosen) < n:
            sprites = tuple((first + rng.choice(count, 3, replace=False)).tolist())
            bucket = seeding.key("spritegrid", "split", *sorted(sprites)) % SPLIT_BUCKETS
            if unseen or {0: "test", 1: "validation"}.get(bucket, "train") == split:
                chosen[sprites] = None
        return [
            Task("spritegrid", split, i, (("sprites", sprites),), group="spritegrid")
            for i, sprites in enumerate(chosen)
        ]

    def random_layouts(self, sprites: Array, keys: Array) -> Layouts:
        """B layouts, decided by ``keys`` [B], of the objects of tasks whose sprites are [B, 3]."""
        order = seeding.uniform(seeding.split(keys, 0)[:, None], np.arange(self.states)).argsort(axis=1)
        sprite = np.zeros((len(keys), self.states), dtype=np.int64)
        layout, copies = np.arange(len(keys))[:, None], self.settings.copies
        for i in range(SPRITES_PER_TASK):
            sprite[layout, order[:, i * copies : (i + 1) * copies]] = 1 + sprites[:, i : i + 1]
        ground = pictures.random_ground(seeding.split(keys, 1), self.settings.side).reshape(len(keys), -1)
        return Layouts(sprite, ground, seeding.split(keys, 2))

    def reward(self, sprites: Array, layouts: Layouts) -> Array:
        """[B, S] the true reward of every cell, for tasks whose sprites are [B, 3]."""
        is_sprite = layouts.sprite[:, :, None] == 1 + sprites[:, None]
        objects = is_sprite @ np.array([GOAL_REWARD, OBSTACLE_REWARD, OBSTACLE_REWARD])
        return np.asarray(objects + GRASS_REWARD * layouts.ground)

    def demonstrations(self, tasks: Sequence[Task], n: int, keys: Array, arrangement: int = 0) -> Episodes:
        """``n`` episodes per task of an expert (``Settings.expert_beta``), from random cells of one layout."""
        sprites = _sprites(tasks)
        layout_keys = [seeding.key("spritegrid", "arrangement", arrangement, *of_task) for of_task in sprites.tolist()]
        layouts = self.random_layouts(sprites, np.array(layout_keys, dtype=np.uint64))
        side, horizon = self.settings.side, self.settings.horizon
        reward = self.settings.expert_beta * self.reward(sprites, layouts)
        values = experts.box_values(reward.reshape(-1, side, side), horizon, combine=np.logaddexp)
        episode_keys = seeding.split(np.asarray(keys, dtype=np.uint64)[:, None], np.arange(n))
        starts = (seeding.uniform(episode_keys, 0) * self.states).astype(np.int64)
        states, actions = experts.soft_paths(successors(side), values, starts, seeding.split(episode_keys, 0))
        encoded = layouts.encode()
        encoded = np.broadcast_to(encoded[:, None, None], (*states.shape, encoded.shape[1]))
        obs = np.concatenate([np.stack(np.divmod(states, side), axis=-1), encoded], axis=-1)
        task = np.arange(len(tasks))[:, None, None]
        success = layouts.sprite[task, states[..., 1:]] == 1 + sprites[:, :1, None]
        return experts.demonstration_episodes(obs, actions, success, terminated=False)

    def vector_env(self, tasks: Sequence[Task], copies: int) -> SpriteGridVectorEnv:
        return SpriteGridVectorEnv(self, np.repeat(_sprites(tasks), copies, axis=0))

    def planning_policy(self, reward_of: Callable[[Layouts], Array]) -> Scripted:
        """The optimal policy for the reward ``reward_of(layouts)`` [B, S] of cells."""
        side, successor = self.settings.side, successors(self.settings.side)

        def rule(obs: Array, step: Array, noise: Array | None) -> Array:
            lead = obs.shape[:2]
            encoded = obs[..., 2:].reshape(-1, obs.shape[-1] - 2)
            reward = reward_of(Layouts.decode(encoded))
            steps_left = self.settings.horizon - int(step.max())
            value = experts.box_values(reward.reshape(-1, side, side), steps_left)[1]
            next_values = np.where(successor >= 0, value[:, successor], -np.inf)
            world = self.spec.world
            assert world is not None
            state = world.state(obs).reshape(-1)
            return np.asarray(next_values[np.arange(len(encoded)), state].argmax(axis=-1).reshape(lead))

        return Scripted(rule)

    def reference(self, task: Task) -> dict[str, float]:
        """Empty: returns depend on the layout, which every episode draws anew."""
        return {}


class SpriteGridVectorEnv(VectorEnv[Array, Array, Array]):
    """N grids side by side, for tasks with ``sprites`` [N, 3]; every episode has another layout.

    Each sub-environment has a stream of random numbers, keyed by its seed. Key i of it decides layout and start of
    episode i.
    """

    def __init__(self, family: SpriteGridFamily, sprites: Array) -> None:
        self.num_envs = len(sprites)
        self.metadata = {"autoreset_mode": AutoresetMode.DISABLED}
        self.single_observation_space = spaces.Box(-np.inf, np.inf, (family.spec.observation_dim,), np.float64)
        self.single_action_space = spaces.Discrete(len(MOVES))
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._family, self._sprites = family, sprites
        self._successor = successors(family.settings.side)
        self._streams = Streams("spritegrid", self.num_envs, "arrangements")
        self._env_index = np.arange(self.num_envs)
        self._step = 0

    def reset(
        self, *, seed: int | Sequence[int] | Array | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Begin the next episode; see ``Streams.reset`` for ``seed`` and what is refused."""
        self._streams.reset(seed)
        keys = self._streams.keys(self._streams.episode)
        layouts = self._family.random_layouts(self._sprites, seeding.split(keys, 0))
        self._layout, self._reward = layouts.encode(), self._family.reward(self._sprites, layouts)
        self._is_goal = layouts.sprite == 1 + self._sprites[:, :1]
        self._state = (seeding.uniform(keys, 0) * self._family.states).astype(np.int64)
        self._step = 0
        side, horizon = self._family.settings.side, self._family.settings.horizon
        values = experts.box_values(self._reward.reshape(-1, side, side), horizon)[0]
        return self._observation(), {"optimal_return": values[self._env_index, self._state]}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """``actions`` is [N] int; a move off the grid stays. The first step also earns the reward of the first cell."""
        before = self._state
        after = self._successor[before, np.clip(actions, 0, len(MOVES) - 1)]
        self._state = np.where(after >= 0, after, before)
        reward = self._reward[self._env_index, self._state]
        if self._step == 0:
            reward = reward + self._reward[self._env_index, before]
        self._step += 1
        terminated = np.zeros(self.num_envs, dtype=bool)
        truncated = np.full(self.num_envs, self._step >= self._family.settings.horizon)
        success = self._is_goal[self._env_index, self._state]
        return self._observation(), reward, terminated, truncated, {"success": success}

    def _observation(self) -> Array:
        position = np.stack(np.divmod(self._state, self._family.settings.side), axis=-1)
        return np.concatenate([position, self._layout], axis=1)


def mean_reward(layouts: Layouts) -> Array:
    """[B, S] ``SpriteGridFamily.reward`` averaged over which of the three sprites is the goal."""
    mean = (GOAL_REWARD + 2 * OBSTACLE_REWARD) / SPRITES_PER_TASK
    return np.asarray(mean * (layouts.sprite > 0) + GRASS_REWARD * layouts.ground)


def nearest_reward(layouts: Layouts) -> Array:
    """[B, S] the reward if every object were the goal."""
    return np.asarray(GOAL_REWARD * (layouts.sprite > 0) + GRASS_REWARD * layouts.ground)


def rarest_reward(layouts: Layouts) -> Array:
    """[B, S] the reward if the goal were the sprite on the fewest cells; of several, that of the smallest number."""
    reward = OBSTACLE_REWARD * (layouts.sprite > 0) + GRASS_REWARD * layouts.ground
    for i, sprite in enumerate(layouts.sprite):
        numbers, counts = np.unique(sprite[sprite > 0], return_counts=True)
        rarest = numbers[counts == counts.min(initial=layouts.sprite.shape[1])][:1]
        reward[i, np.isin(sprite, rarest)] += GOAL_REWARD - OBSTACLE_REWARD
    return np.asarray(reward)


def _sprites(tasks: Sequence[Task]) -> Array:
    """[T, 3] the goal's number and those of the obstacles."""
    return np.array([task["sprites"] for task in tasks], dtype=np.int64)
