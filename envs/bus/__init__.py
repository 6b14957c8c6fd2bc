"""The buses of DREAM: find out in one episode where they go, and take the right one in the next (Liu et al. 2021).

Definition as in the authors' code (ezliu/dream, envs/city.py, envs/grid.py, meta_exploration.py) for "Decoupling
Exploration and Exploitation for Meta-Reinforcement Learning without Sacrifices", arXiv 2008.02790, sections 5 and 6.1:
a city of 9 x 9 cells, start in the centre, one corner is the goal of an episode and is shown, -.1 per step and +1 on
the goal, which ends the episode, 20 steps. Four buses next to the start go to cells next to the corners. A task is
where they go; that is the same in both episodes of a trial, while each has a goal of its own. Who knows the buses gets
.8, who walks .3. Variants add four useless buses ("distract") or a cell that shows the task ("map").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from kshot import seeding
from kshot.envs._scripted import Scripted, uniform_random
from kshot.envs._streams import Streams
from kshot.envs.bus import beliefs, city
from kshot.envs.bus.city import END, GOALS, SIDE
from kshot.types import ActionKind, Array, Evidence, FamilySpec, ReferencePolicy, Split, Task

ACTIONS: ActionKind = "discrete"
EVIDENCE: frozenset[Evidence] = frozenset({"rollouts"})
GOAL_REWARD, STEP_REWARD = 1.0, -0.1
RIDING, WALKING = 3, 8
"""Steps to any goal: to the bus, the ride and one more; and on foot."""
DISTRACTED = (20, 2)
"""Lengths of an episode and of a trial for which useless buses are known to be useless to the best policies, too:
``beliefs.plan`` has the same value with and without them."""
TRAIN_STRIDE = 11
"""With distraction every eleventh id is a training task, all others are test tasks: the authors' rule."""


@dataclass(frozen=True)
class Settings:
    """Which of the three worlds, and how its tasks are split.

    Attributes:
        variant: "plain" (24 tasks, the same in all splits), "distract" (576 tasks, of which the published rule gives 53
            for training and 523 for testing) or "map" (24 tasks).
        horizon: steps after which an episode is truncated.
        episodes_per_trial: length of a trial; the first episode explores.
        free_exploration: in meta-training the first episode of a trial costs nothing: its ``training_reward`` is 0,
            while learners see the reward all the same (the E-RL^2 of the authors' code). Not for learners that collect
            single episodes, all of which are first ones.
        held_out: training tasks of "distract" that are kept for validation; 0 leaves all 53 for training, as published.
        test_distribution: "same", or "ood": the buses of test tasks go to other cells next to the corners, the mirror
            images of those in training.

    Raises:
        ValueError: a setting is out of its range.
    """

    variant: city.Variant = "plain"
    horizon: int = 20
    episodes_per_trial: int = 2
    free_exploration: bool = False
    held_out: int = 11
    test_distribution: Literal["same", "ood"] = "same"

    def __post_init__(self) -> None:
        if self.variant not in city.VARIANTS:
            raise ValueError(f"bus: variant must be one of {', '.join(city.VARIANTS)}, got {self.variant!r}")
        for name in ("horizon", "episodes_per_trial"):
            if getattr(self, name) < 1:
                raise ValueError(f"bus: {name} must be at least 1, got {getattr(self, name)}")
        most = len(range(0, city.n_ids("distract"), TRAIN_STRIDE)) - 1
        if not 0 <= self.held_out <= most:
            raise ValueError(f"bus: held_out must be between 0 and {most}, got {self.held_out}")
        if self.test_distribution not in ("same", "ood"):
            raise ValueError(f"bus: test_distribution must be 'same' or 'ood', got {self.test_distribution!r}")
        if self.free_exploration and self.episodes_per_trial < 2:
            raise ValueError("bus: free_exploration needs an episode after the first: episodes_per_trial >= 2, got 1")


def build(settings: Settings) -> BusFamily:
    """The family for ``settings``."""
    return BusFamily(settings)


def headline(settings: Settings) -> Literal["return"]:
    """The return, at K = 1 that of the episode after exploring, the figure of the paper."""
    return "return"


class BusFamily:
    """``kshot.types.TaskFamily`` of the three worlds with buses."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.spec = FamilySpec(
            name="bus",
            observation_dim=2 * SIDE + 1 + len(GOALS) + (city.LINES if settings.variant == "map" else 0),
            action_space=spaces.Discrete(END + 1),
            horizon=settings.horizon,
            episodes_per_trial=settings.episodes_per_trial,
            evidence=EVIDENCE,
            shared_tasks=settings.variant != "distract" and settings.test_distribution == "same",
        )

    @property
    def references(self) -> Mapping[str, ReferencePolicy]:
        """Scripted policies.

        "random"; "task_blind", which walks: the best without evidence (``beliefs.plan``); "posterior_sampling", which
        takes a sample for the truth for an episode; "bayes_optimal", which ignores useless buses; "oracle", which knows
        the buses.
        """
        settings = self.settings
        return {
            "random": lambda tasks: uniform_random(self.spec.action_space),
            "task_blind": lambda tasks: Scripted(
                lambda obs, step, noise: city.action_towards(GOALS[beliefs.goal_of(obs)], beliefs.cell_of(obs))
            ),
            "posterior_sampling": lambda tasks: beliefs.PosteriorSampling(settings.variant, _mirrored(tasks)),
            "bayes_optimal": lambda tasks: beliefs.Planning(self._plan(_mirrored(tasks))),
            "oracle": lambda tasks: _knowing(settings.variant, tasks),
        }

    def _plan(self, mirrored: bool) -> beliefs.Plan:
        s = self.settings
        weights = (0.0 if s.free_exploration else 1.0, *(1.0,) * (s.episodes_per_trial - 1))
        return beliefs.plan("map" if s.variant == "map" else "plain", mirrored, s.horizon, weights)

    def tasks(self, split: Split, n: int, seed: int) -> list[Task]:
        """``n`` of the split's tasks, in an order drawn from ``seed``; the index of a task is its id.

        Raises:
            ValueError: the split has fewer tasks.
        """
        ids = self.ids(split)
        if n > len(ids):
            raise ValueError(f"bus: {n} tasks asked for, the {split} split of {self.settings.variant!r} has {len(ids)}")
        mirrored = split == "test" and self.settings.test_distribution == "ood"
        chosen = ids[seeding.generator("bus", split, seed).permutation(len(ids))[:n]].tolist()
        return [Task("bus", split, i, (("id", i), ("mirrored", mirrored)), group="bus") for i in chosen]

    def ids(self, split: Split) -> Array:
        """The ids of a split, ascending."""
        every = np.arange(city.n_ids(self.settings.variant))
        if self.settings.variant != "distract":
            return every
        train = every[::TRAIN_STRIDE]
        if split == "test":
            return np.setdiff1d(every, train)
        kept = np.linspace(0, len(train), self.settings.held_out, endpoint=False).astype(np.int64)
        return train[kept] if split == "validation" else np.delete(train, kept)

    def vector_env(self, tasks: Sequence[Task], copies: int) -> BusVectorEnv:
        return BusVectorEnv(self, tasks, copies)

    def reference(self, task: Task) -> dict[str, float]:
        """Expected episode returns, all exact; the Bayes-optimal total of a trial for ids that are equally likely.

        It is left out where the first episode of a trial is free, and with distraction for other lengths than
        ``DISTRACTED``.
        """
        settings = self.settings
        lengths = settings.horizon, settings.episodes_per_trial
        values = {
            "random": random_return(settings.variant, task["id"], task["mirrored"], settings.horizon),
            "task_blind": arrival_return(WALKING, settings.horizon),
            "oracle": arrival_return(RIDING, settings.horizon),
        }
        if not settings.free_exploration and (settings.variant != "distract" or lengths == DISTRACTED):
            values["bayes_optimal_trial"] = self._plan(task["mirrored"]).value
        return values


class BusVectorEnv(VectorEnv[Array, Array, Array]):
    """``copies`` of every task side by side.

    The observation is x and y, one-hot, whether a bus stops here, the goal, one-hot, and with a map the id, one-hot,
    while one is on the cell of the map. Number i of a sub-environment's stream decides the goal of episode i.
    """

    def __init__(self, family: BusFamily, tasks: Sequence[Task], copies: int) -> None:
        settings = family.settings
        self.num_envs = len(tasks) * copies
        self.metadata = {"autoreset_mode": AutoresetMode.DISABLED}
        self.single_observation_space = spaces.Box(0.0, 1.0, (family.spec.observation_dim,), np.float32)
        self.single_action_space = family.spec.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        ids = np.array([task["id"] for task in tasks])
        tables = np.stack([city.successors(settings.variant, task["mirrored"])[task["id"]] for task in tasks])
        self._successor = tables.reshape(-1)
        self._offset = np.repeat(np.arange(len(tasks)), copies) * tables[0].size
        stops = np.stack([city.rides(settings.variant, mirrored)[0] for mirrored in (False, True)])
        mirrored = np.array([task["mirrored"] for task in tasks], dtype=np.int64)
        shown = _shown(stops != np.arange(SIDE * SIDE))  # [2, 4, 81, D]
        self._rows = shown.reshape(-1, shown.shape[-1])
        self._first_row = np.repeat(mirrored, copies) * len(GOALS) * SIDE * SIDE
        self._map = np.eye(city.LINES, dtype=np.float32)[np.repeat(ids, copies)] if settings.variant == "map" else None
        self._horizon, self._free_exploration = settings.horizon, settings.free_exploration
        self._streams = Streams("bus", self.num_envs, "goals")
        self._optimal_return = np.full(self.num_envs, arrival_return(RIDING, self._horizon))
        self._step = 0

    def reset(
        self, *, seed: int | Sequence[int] | Array | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Begin the next episode in the centre; see ``Streams.reset`` for ``seed`` and what is refused."""
        self._streams.reset(seed)
        goal = (self._streams.uniform(self._streams.episode) * len(GOALS)).astype(np.int64)
        self._goal_cell, self._goal_row = GOALS[goal], self._first_row + goal * SIDE * SIDE
        self._cell = np.full(self.num_envs, city.START)
        self._step = 0
        return self._observation(), {"optimal_return": self._optimal_return}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """``actions`` is [N] int. Ending an episode costs what the steps that are left would have.

        Success: the goal is reached as soon as by those who know the buses.
        """
        action = np.clip(actions, 0, END)
        self._cell = self._successor[self._offset + self._cell * (END + 1) + action]
        self._step += 1
        arrived, ended = self._cell == self._goal_cell, action == END
        reward = np.where(arrived, GOAL_REWARD, STEP_REWARD)
        reward += ended * (STEP_REWARD * max(0, self._horizon - self._step))
        truncated = np.full(self.num_envs, self._step >= self._horizon)
        info = {"success": arrived & (self._step <= RIDING)}
        if self._free_exploration:
            info["training_reward"] = reward * (self._streams.episode > 0)
        return self._observation(), reward, arrived | ended, truncated, info

    def _observation(self) -> Array:
        seen = self._rows[self._goal_row + self._cell]
        if self._map is None:
            return np.asarray(seen)
        return np.concatenate([seen, self._map * (self._cell == city.MAP)[:, None]], axis=1)


def _shown(bus: Array) -> Array:
    """[..., 4, 81, 23] what is seen of each goal and cell, where ``bus`` [..., 81] says which cells have a bus."""
    place = np.concatenate([np.eye(SIDE)[city.CELLS[:, 0]], np.eye(SIDE)[city.CELLS[:, 1]]], axis=1)
    lead = (*bus.shape[:-1], len(GOALS), SIDE * SIDE)
    parts = [place, bus[..., None, :, None], np.eye(len(GOALS))[:, None]]
    return np.concatenate([np.broadcast_to(part, (*lead, part.shape[-1])) for part in parts], axis=-1).astype("f4")


def _mirrored(tasks: Sequence[Task]) -> bool:
    """Whether the tasks, which are of one kind, are mirrored."""
    kinds = {task["mirrored"] for task in tasks}
    if len(kinds) != 1:
        raise ValueError("bus: policies that reckon with ids need tasks of one kind, all mirrored or none")
    return bool(kinds.pop())


def _knowing(variant: city.Variant, tasks: Sequence[Task]) -> Scripted:
    """Take a shortest way to the goal."""
    table = np.stack([city.shortest(variant, task["mirrored"])[task["id"]] for task in tasks])  # [T, 4, 81]
    rows = np.arange(len(tasks))[:, None]
    return Scripted(lambda obs, step, noise: table[rows, beliefs.goal_of(obs), beliefs.cell_of(obs)])


def arrival_return(steps: int, horizon: int) -> float:
    """The return of reaching the goal in ``steps`` steps, or not at all if the episode is shorter."""
    return STEP_REWARD * (steps - 1) + GOAL_REWARD if steps <= horizon else STEP_REWARD * horizon


def random_return(variant: city.Variant, number: int, mirrored: bool, horizon: int) -> float:
    """Expected return of uniform random actions on a task, over goals, by dynamic programming backwards in time."""
    after = city.successors(variant, mirrored)[number]  # [81, 7]
    arrived = after == GOALS[:, None, None]  # [4, 81, 7]
    value = np.zeros((len(GOALS), SIDE * SIDE))
    for left in range(horizon):
        going_on = STEP_REWARD + value[:, after]
        going_on[:, :, END] = STEP_REWARD * (1 + left)
        value = np.where(arrived, GOAL_REWARD, going_on).mean(axis=2)
    return float(value[:, city.START].mean())
