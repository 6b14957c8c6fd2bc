"""Meta-World for planners: the hand in a box of cells, and scripted experts whose demonstrations show the goal.

The goal is hidden from observations, as in ``kshot.envs.metaworld``; only demonstrations tell it. Decisions are moves
of the hand by a cell, carried out by a fixed servo, and where a class needs it a fixed skill that takes hold of the
object. Success is Metaworld's own flag in Metaworld's own simulation. There are two kinds of tasks:

- a class of ML1 (Yu et al. 2019), with its 50 training and 50 test goals. All episodes of a task begin in the same
  layout, so that repeating a demonstrated path succeeds;
- ``reach-relative``: the goal is a position relative to the object, and the object is elsewhere in every episode, at
  least a decimetre from where it is in the demonstrations. That is the question of Xu et al. 2019 (arXiv 1805.12573):
  has the learner understood the intent, or copied the path?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from gymnasium import spaces

from kshot import seeding
from kshot.envs._experts import demonstration_episodes
from kshot.envs._scripted import constant_action, uniform_random
from kshot.envs._target_prediction import TargetPredictor, fit
from kshot.envs.metaworld._goals import Source
from kshot.envs.metaworld._goals import goals as official_goals
from kshot.envs.metaworld_hand import _references as scripts
from kshot.envs.metaworld_hand import _scenes as scenes
from kshot.envs.metaworld_hand._abstractions import CELL_SIZE, RELATIVE, abstraction
from kshot.envs.metaworld_hand._environment import EXPERT, HandVectorEnv, stages
from kshot.envs.metaworld_hand._store import Store
from kshot.envs.metaworld_hand._world import OBSERVATION_DIM, HandWorld
from kshot.types import ActionKind, Array, Episodes, Evidence, FamilySpec, Policy, ReferencePolicy, Split, Task

ACTIONS: ActionKind = "discrete"
EVIDENCE: frozenset[Evidence] = frozenset({"demonstrations"})
_FIT_TASKS = 50
"""Training tasks that the prediction of "task_blind" is fitted to."""


@dataclass(frozen=True)
class Settings:
    """Which tasks, and how many demonstrations.

    Attributes:
        task: "reach-relative", or a class of ML1 (``envs/metaworld_hand/_abstractions.py`` lists them).
        demonstrations: number of different demonstrations of every training task and arrangement.
        train_tasks: training tasks of "reach-relative"; the classes of ML1 have 50.
        goal_seed: seed of ML1's benchmark object, which decides its goals.

    Raises:
        ValueError: the task is unknown, or a number is out of range.
    """

    task: str = RELATIVE
    demonstrations: int = 16
    train_tasks: int = 128
    goal_seed: int = 0

    def __post_init__(self) -> None:
        abstraction(self.task)
        for name in ("demonstrations", "train_tasks"):
            if getattr(self, name) < 1:
                raise ValueError(f"metaworld_hand: {name} must be at least 1, got {getattr(self, name)}")
        if self.goal_seed < 0:
            raise ValueError(f"metaworld_hand: goal_seed must not be negative, got {self.goal_seed}")

    @property
    def relative(self) -> bool:
        return self.task == RELATIVE


def build(settings: Settings) -> HandFamily:
    """The family for ``settings``."""
    return HandFamily(settings)


def headline(settings: Settings) -> Literal["success_last"]:
    """Success at the end of the episode: on the way, the hand can pass the goal by chance."""
    return "success_last"


class HandFamily:
    """``kshot.types.TaskFamily`` of one task of Meta-World as planners see it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.world = HandWorld(abstraction(settings.task))
        self._store = Store(self.world, settings.demonstrations)

    @cached_property
    def spec(self) -> FamilySpec:
        low, size = np.array(self.world.abstraction.low), np.array(self.world.abstraction.shape) * CELL_SIZE / 2
        return FamilySpec(
            name="metaworld_hand",
            observation_dim=OBSERVATION_DIM,
            action_space=spaces.Discrete(self.world.actions),
            horizon=self.world.decisions,
            episodes_per_trial=1,
            evidence=EVIDENCE,
            max_sub_envs=200,
            observation_center=np.array([*(low + size), 0.0, *(low + size)]),
            observation_scale=np.array([*size, 1.0, *size]),
            world=self.world,
            stages=stages(self.world),
        )

    @property
    def references(self) -> Mapping[str, ReferencePolicy]:
        """Scripted policies.

        "random"; three that know the goal: "expert" is Metaworld's own, not bound to cells, "ceiling" follows its path
        from cell to cell, "oracle" goes straight to where that path ends; and "task_blind", which goes to where the
        path can be expected to end, given the position of the object, as in training tasks.
        """
        return {
            "random": lambda tasks: uniform_random(self.spec.action_space),
            "task_blind": lambda tasks: self.go_to_predicted_end(fit(*self.objects_and_ends, self.settings.task)),
            "oracle": lambda tasks: scripts.oracle(self.world, [self.scene(task) for task in tasks]),
            "ceiling": lambda tasks: scripts.ceiling(self.world, [self.scene(task) for task in tasks]),
            "expert": lambda tasks: constant_action(np.full(len(tasks), EXPERT)),
        }

    def tasks(self, split: Split, n: int, seed: int) -> list[Task]:
        """``n`` tasks of a split, in an order drawn from ``seed``.

        Raises:
            ValueError: the split has fewer than ``n`` tasks; validation and test of "reach-relative" are unlimited.
        """
        if self.settings.relative:
            return scenes.relative_tasks(self.world, split, n, seed, self.settings.train_tasks)
        goals = official_goals(Source("ML1", self.settings.task, self.settings.goal_seed), split)
        if n > len(goals):
            raise ValueError(f"metaworld_hand: {n} {split} tasks asked for, there are {len(goals)}")
        order = seeding.generator("metaworld_hand tasks", split, seed).permutation(len(goals))[:n]
        return [
            Task(
                "metaworld_hand",
                split,
                int(i),
                (("env_name", goals[i][0]), ("rand_vec", goals[i][1])),
                group=self.settings.task,
            )
            for i in order
        ]

    def scene(self, task: Task) -> scenes.Scene:
        """Where the object and the goal can be in a task's episodes."""
        return scenes.scene(self.world, task)

    def demonstrations(self, tasks: Sequence[Task], n: int, keys: Array, arrangement: int = 0) -> Episodes:
        """``n`` different demonstrations per task, chosen by ``keys`` [T].

        Raises:
            ValueError: a training task has fewer than ``n``.
        """
        paths = self._store.paths(tasks, n, np.asarray(keys, dtype=np.uint64), arrangement)
        hand = np.array([[path.hand for path in of_task] for of_task in paths])
        held = np.array([[path.held for path in of_task] for of_task in paths], dtype=np.float64)
        object_position = np.array([[path.object for path in of_task] for of_task in paths])
        action = np.array([[path.action for path in of_task] for of_task in paths])
        object_position = np.broadcast_to(object_position[:, :, None], hand.shape)
        success = np.zeros(action.shape, dtype=bool)
        success[..., -1] = True
        obs = np.concatenate([hand, held[..., None], object_position], axis=-1)
        return demonstration_episodes(obs, action, success, terminated=False)

    def vector_env(self, tasks: Sequence[Task], copies: int) -> HandVectorEnv:
        return HandVectorEnv(self.world, [self.scene(task) for task in tasks for _ in range(copies)])

    def reference(self, task: Task) -> dict[str, float]:
        """Empty: no return is known in closed form."""
        return {}

    @cached_property
    def objects_and_ends(self) -> tuple[Array, Array]:
        """Initial positions of the object [n, 3] and final ones of the expert's hand [n, 3], in training tasks."""
        tasks = self.tasks("train", min(_FIT_TASKS, self.settings.train_tasks if self.settings.relative else 50), 0)
        goals = [self.scene(task).goal(0) for task in tasks]
        paths = scripts.noiseless_paths(self.world, goals)
        succeeded = [path for path in paths if path is not None]
        return np.array([path.object for path in succeeded]), np.array([path.hand[-1] for path in succeeded])

    def go_to_predicted_end(self, predictor: TargetPredictor) -> Policy:
        """Take hold of the object, where the class has a grip, and go where ``predictor`` says, given its position."""
        return scripts.go_to_predicted_end(self.world, predictor)
