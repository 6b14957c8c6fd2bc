"""Meta-World ML1, ML10, ML25 and ML45 (Yu et al. 2019, arXiv 1910.10897) through the metaworld package's own classes.

A task is a class of manipulation problem with one placement of its object and target. The target is hidden from the
39-dimensional observation; rewards are metaworld's default ("v2") ones, at most 10 per step. Episodes always run to the
horizon: an episode that stops at success would make success a matter of when to look.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, zip_longest
from typing import Literal

import numpy as np

from envs._scripted import uniform_random
from envs.metaworld import _references as scripts
from envs.metaworld._goals import Goal, check_names, goals, official_task
from envs.metaworld._vector import ACTION_SPACE, MAX_HORIZON, OBSERVATION_DIM, EnvPool, MetaWorldVectorEnv
from kshot import seeding
from kshot.types import ActionKind, Array, Evidence, FamilySpec, Policy, ReferencePolicy, Split, Task

ACTIONS: ActionKind = "continuous"
EVIDENCE: frozenset[Evidence] = frozenset({"rollouts"})
_CENTER_GOALS = 10  # training goals per class behind the observation centre: placements vary by centimetres
_SPLIT_NOUN = {"train": "training", "validation": "validation", "test": "test"}


@dataclass(frozen=True)
class Settings:
    """Which benchmark, and how long.

    Attributes:
        benchmark: ML1 (one class, unseen goals), ML10, ML25 or ML45 (unseen classes).
        task: the class of ML1, one of metaworld's 50 names; the other benchmarks fix their classes and ignore it.
        horizon: steps per episode, at most metaworld's 500.
        episodes_per_trial: length of a trial, in episodes, for learners with memory; 10 is also the number of
            adaptation episodes of metaworld's own evaluation (metaworld/evaluation.py, ``metalearning_evaluation``).
        goal_seed: seed of the benchmark object, which decides all goals.

    Raises:
        ValueError: a name is unknown or a number is out of range.
    """

    benchmark: str = "ML1"
    task: str = "reach-v3"
    horizon: int = MAX_HORIZON
    episodes_per_trial: int = 10
    goal_seed: int = 0

    def __post_init__(self) -> None:
        check_names(self.benchmark, self.task)
        if not 1 <= self.horizon <= MAX_HORIZON:
            raise ValueError(f"metaworld: horizon must be between 1 and {MAX_HORIZON}, got {self.horizon}")
        if self.episodes_per_trial < 1:
            raise ValueError(f"metaworld: episodes_per_trial must be at least 1, got {self.episodes_per_trial}")
        if self.goal_seed < 0:
            raise ValueError(f"metaworld: goal_seed must not be negative, got {self.goal_seed}")


def build(settings: Settings) -> MetaWorldFamily:
    """The family for ``settings``; draws the training and test goals (about a second for ML1)."""
    return MetaWorldFamily(settings)


def headline(settings: Settings) -> Literal["success_last"]:
    """Success at the last step: success at some step can be had without knowing the goal (see ``reach_sweep``)."""
    return "success_last"


class MetaWorldFamily:
    """``kshot.types.TaskFamily`` of one Meta-World benchmark."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._pool = EnvPool()
        self._targets: dict[Goal, Array] = {}
        self._goals("train")  # asserts that the splits are disjoint before anything runs

    @cached_property
    def spec(self) -> FamilySpec:
        """Observations are centred on their mean at reset over training tasks and divided by 0.1.

        The scale is kshot's choice, not Meta-World's: positions vary by about a decimetre within an episode.
        """
        by_class: defaultdict[str, list[Array]] = defaultdict(list)
        for goal in self._goals("train"):
            if len(by_class[goal[0]]) < _CENTER_GOALS:
                by_class[goal[0]].append(self._at_reset(goal)[0])
        return FamilySpec(
            name="metaworld",
            observation_dim=OBSERVATION_DIM,
            action_space=ACTION_SPACE,
            horizon=self.settings.horizon,
            episodes_per_trial=self.settings.episodes_per_trial,
            max_sub_envs=100,  # at 20 MB each
            observation_center=np.mean([np.mean(rows, axis=0) for rows in by_class.values()], axis=0),
            observation_scale=np.full(OBSERVATION_DIM, 0.1),
        )

    @property
    def references(self) -> Mapping[str, ReferencePolicy]:
        """Scripted policies.

        "oracle" is metaworld's expert told the true target; "mean_goal" is the same expert told the mean of its
        class's training targets; "task_blind" sweeps the goal box in reach-v3 and is "mean_goal" elsewhere.
        """
        return {
            "random": lambda tasks: uniform_random(ACTION_SPACE),
            "task_blind": self._task_blind,
            "mean_goal": lambda tasks: scripts.per_task(
                [scripts.expert(task.group, self._mean_target(task.group)) for task in tasks]
            ),
            "oracle": lambda tasks: scripts.per_task(
                [scripts.expert(task.group, self._target(_goal(task))) for task in tasks]
            ),
        }

    def tasks(self, split: Split, n: int, seed: int) -> list[Task]:
        """``n`` of the split's goals, as evenly over its classes as can be, in an order drawn from ``seed``.

        Raises:
            ValueError: the split has fewer than ``n`` goals.
        """
        every = self._goals(split)
        if n > len(every):
            raise ValueError(
                f"metaworld: {n} {_SPLIT_NOUN[split]} tasks asked for, {self.settings.benchmark} has {len(every)}"
            )
        by_class: defaultdict[str, list[Task]] = defaultdict(list)
        for i, (name, rand_vec) in enumerate(every):
            by_class[name].append(Task("metaworld", split, i, (("env_name", name), ("rand_vec", rand_vec)), group=name))
        rng = seeding.generator("metaworld tasks", split, seed)
        columns = [[group[i] for i in rng.permutation(len(group))] for group in by_class.values()]
        columns = [columns[i] for i in rng.permutation(len(columns))]
        rows = chain.from_iterable(zip_longest(*columns))
        return [task for task in rows if task is not None][:n]

    def vector_env(self, tasks: Sequence[Task], copies: int) -> MetaWorldVectorEnv:
        return MetaWorldVectorEnv([_goal(task) for task in tasks], copies, self.settings.horizon, self._pool)

    def reference(self, task: Task) -> dict[str, float]:
        """Empty: no return is known in closed form; the reference policies measure theirs."""
        return {}

    def _goals(self, split: Split) -> tuple[Goal, ...]:
        settings = self.settings
        task = settings.task if settings.benchmark == "ML1" else ""
        return goals(settings.benchmark, task, settings.goal_seed, split)

    def _at_reset(self, goal: Goal) -> tuple[Array, Array]:
        """Observation [39] and target position [3] after the reset of ``goal``'s task."""
        env = self._pool.take(goal[0])
        env.set_task(official_task(goal))
        obs, _ = env.reset()
        target = np.array(env._target_pos, dtype=np.float64)  # a copy: some classes hold a view of the simulation
        self._pool.give_back(goal[0], env)
        return obs, target

    def _target(self, goal: Goal) -> Array:
        if goal not in self._targets:
            self._targets[goal] = self._at_reset(goal)[1]
        return self._targets[goal]

    def _mean_target(self, name: str) -> Array:
        own = [goal for goal in self._goals("train") if goal[0] == name]
        # A test class of ML10, ML25 or ML45 has no training goals: ML1's of the same class stand in for them.
        drawn = own or goals("ML1", name, self.settings.goal_seed, "train")
        mean: Array = np.mean([self._target(goal) for goal in drawn], axis=0)
        return mean

    def _task_blind(self, tasks: Sequence[Task]) -> Policy:
        controllers = []
        for task in tasks:
            if task.group == "reach-v3":
                controllers.append(scripts.reach_sweep(self.settings.horizon))
            else:
                controllers.append(scripts.expert(task.group, self._mean_target(task.group)))
        return scripts.per_task(controllers)


def _goal(task: Task) -> Goal:
    return task["env_name"], task["rand_vec"]
