"""Meta-World ML1, ML10, ML25 and ML45 (Yu et al. 2019, arXiv 1910.10897) through the metaworld package's own classes.

A task is a class of manipulation problem with one placement of its object and target: a goal. The target is hidden from
the 39-dimensional observation; rewards are metaworld's default ("v2") ones, at most 10 per step. Episodes always run to
the horizon: if they ended at success, success would depend on when one looks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, zip_longest
from typing import Literal

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from kshot import seeding
from kshot.envs._scripted import uniform_random
from kshot.envs._target_prediction import LinearPredictor, TargetPredictor, fit, fit_mean
from kshot.envs.metaworld import _observations as observations
from kshot.envs.metaworld import _official_evaluation
from kshot.envs.metaworld import _references as scripts
from kshot.envs.metaworld._goals import Source, goals
from kshot.envs.metaworld._tasks import Goal, check_class
from kshot.envs.metaworld._vector import ACTION_SPACE, MAX_HORIZON, OBSERVATION_DIM, MetaWorldVectorEnv
from kshot.envs.metaworld.engine import Snapshot, prototype
from kshot.types import ActionKind, Array, Evidence, FamilySpec, Policy, ReferencePolicy, Split, Task

ACTIONS: ActionKind = "continuous"
EVIDENCE: frozenset[Evidence] = frozenset({"rollouts"})
_SPLIT_NOUN = {"train": "training", "validation": "validation", "test": "test"}


@dataclass(frozen=True)
class Settings:
    """Which benchmark, and how long.

    Attributes:
        benchmark: ML1 (one class, unseen goals), ML10, ML25 or ML45 (unseen classes), or custom.
        task: the class of ML1, one of metaworld's 50 names; the other benchmarks fix their classes and ignore it.
        train_classes: the classes of "custom" to train on.
        test_classes: the classes of "custom" to test on, none of which is trained on.
        horizon: steps per episode, at most metaworld's 500.
        episodes_per_trial: length of a trial, in episodes, for learners with memory; 10 is also the number of
            adaptation episodes of metaworld's own evaluation (metaworld/evaluation.py, ``metalearning_evaluation``).
        goal_seed: seed of the benchmark object, which decides all goals.
        goal_observable: show the target: a multi-task problem, with nothing left to find out.
        mask_irrelevant_objects: hide the objects where all they do is name the task (reach-v3, reach-wall-v3).
        observations: what learners' networks get: "recorded", normalised by what was recorded of the training classes,
            or "raw", as in Meta-World+ (``normalize_observations`` is off there).
        backend: "engine", or "official" to step metaworld's own environments one by one; the numbers are the same.

    Raises:
        ValueError: a name is unknown or a number is out of range.
    """

    benchmark: str = "ML1"
    task: str = "reach-v3"
    train_classes: tuple[str, ...] = ()
    test_classes: tuple[str, ...] = ()
    horizon: int = MAX_HORIZON
    episodes_per_trial: int = 10
    goal_seed: int = 0
    goal_observable: bool = False
    mask_irrelevant_objects: bool = False
    observations: Literal["recorded", "raw"] = "recorded"
    backend: Literal["engine", "official"] = "engine"

    def __post_init__(self) -> None:
        check_class(self.task)
        _ = self.source
        if not 1 <= self.horizon <= MAX_HORIZON:
            raise ValueError(f"metaworld: horizon must be between 1 and {MAX_HORIZON}, got {self.horizon}")
        if self.episodes_per_trial < 1:
            raise ValueError(f"metaworld: episodes_per_trial must be at least 1, got {self.episodes_per_trial}")

    @property
    def source(self) -> Source:
        """The benchmark that the goals come from. Raises ValueError for unknown names and negative seeds."""
        return Source(self.benchmark, self.task, self.goal_seed, tuple(self.train_classes), tuple(self.test_classes))


def build(settings: Settings) -> MetaWorldFamily:
    """The family for ``settings``; draws the training and test goals (half a second for ML1)."""
    return MetaWorldFamily(settings)


def headline(settings: Settings) -> Literal["success_last"]:
    """Success at the last step: success at any step is possible without knowing the goal (``reach_sweep``)."""
    return "success_last"


def official_obstacle(settings: Settings) -> str:
    """Why Metaworld's own evaluation cannot take place with these settings; empty if it can."""
    for name in ("goal_observable", "mask_irrelevant_objects"):
        if getattr(settings, name):
            return f"the official environments have no {name}"
    return ""


class MetaWorldFamily:
    """``kshot.types.TaskFamily`` of one Meta-World benchmark."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._predictors: dict[str, LinearPredictor] = {}
        self._goals("test")  # checks that it is disjoint from the training split before anything runs

    @cached_property
    def spec(self) -> FamilySpec:
        """Observations are normalised entry by entry (``_observations``)."""
        settings = self.settings
        center, scale = np.zeros(OBSERVATION_DIM), np.ones(OBSERVATION_DIM)
        if settings.observations == "recorded":
            center, scale = observations.normaliser(
                settings.source.classes("train"), settings.mask_irrelevant_objects, settings.goal_observable
            )
        return FamilySpec(
            name="metaworld",
            observation_dim=OBSERVATION_DIM,
            action_space=ACTION_SPACE,
            horizon=self.settings.horizon,
            episodes_per_trial=self.settings.episodes_per_trial,
            # The engine needs about 20 kB for each, and far fewer than these keep its threads busy.
            max_sub_envs=1000 if self.settings.backend == "engine" else 100,
            observation_center=center,
            observation_scale=scale,
            observation_clip=observations.CLIP,
        )

    @property
    def references(self) -> Mapping[str, ReferencePolicy]:
        """Scripted policies.

        "oracle" is metaworld's expert with the true target. "task_blind" and "mean_goal" are the same expert with a
        predicted one: "task_blind" predicts it from the first observation where that tells much of it, and else takes
        the mean or median of the class's training targets (``_target_prediction``); "mean_goal" always takes their
        mean. "sweep" visits the whole goal box if all tasks are of reach-v3, and else is "task_blind".
        """
        return {
            "random": lambda tasks: uniform_random(ACTION_SPACE),
            "task_blind": lambda tasks: self.experts_with_predicted_target(
                tasks, [self._predictor(task.group) for task in tasks]
            ),
            "mean_goal": lambda tasks: self.experts_with_predicted_target(
                tasks, [fit_mean(*self.first_observations_and_targets(task.group)) for task in tasks]
            ),
            "sweep": self._sweep,
            "oracle": lambda tasks: scripts.per_task(
                [scripts.expert_with_target(task.group, _snapshot(_goal(task)).target) for task in tasks]
            ),
        }

    def tasks(self, split: Split, n: int, seed: int) -> list[Task]:
        """``n`` of the split's goals, as evenly over its classes as can be, in an order drawn from ``seed``.

        Raises:
            ValueError: the split has fewer than ``n`` goals.
        """
        split_goals = self._goals(split)
        if n > len(split_goals):
            raise ValueError(
                f"metaworld: {n} {_SPLIT_NOUN[split]} tasks asked for, {self.settings.benchmark} has {len(split_goals)}"
            )
        by_class: defaultdict[str, list[Task]] = defaultdict(list)
        for i, (name, rand_vec) in enumerate(split_goals):
            by_class[name].append(Task("metaworld", split, i, (("env_name", name), ("rand_vec", rand_vec)), group=name))
        rng = seeding.generator("metaworld tasks", split, seed)
        shuffled = [[group[i] for i in rng.permutation(len(group))] for group in by_class.values()]
        shuffled = [shuffled[i] for i in rng.permutation(len(shuffled))]
        # One task of each class in turn.
        in_turn = chain.from_iterable(zip_longest(*shuffled))
        return [task for task in in_turn if task is not None][:n]

    def vector_env(self, tasks: Sequence[Task], copies: int) -> MetaWorldVectorEnv:
        settings = self.settings
        return MetaWorldVectorEnv(
            [_goal(task) for task in tasks for _ in range(copies)],
            horizon=settings.horizon,
            autoreset_mode=AutoresetMode.DISABLED,
            goal_observable=settings.goal_observable,
            mask_irrelevant_objects=settings.mask_irrelevant_objects,
            clip_actions=True,
            backend=settings.backend,
        )

    def official_env(
        self, num_envs: int | None = None, goals_per_class: int | None = None
    ) -> VectorEnv[Array, Array, Array]:
        """See ``kshot.types.OfficialFamily`` and ``_official_evaluation.make``."""
        return _official_evaluation.make(self.settings.source, self.settings.horizon, num_envs, goals_per_class)

    def reference(self, task: Task) -> dict[str, float]:
        """Empty: no return is known in closed form."""
        return {}

    def _goals(self, split: Split) -> tuple[Goal, ...]:
        return goals(self.settings.source, split)

    def experts_with_predicted_target(self, tasks: Sequence[Task], predictors: Sequence[TargetPredictor]) -> Policy:
        """Metaworld's experts with the targets that ``predictors``, one per task, find in first observations [39]."""
        experts = [scripts.target_conditioned_expert(task.group) for task in tasks]
        return scripts.ExpertsWithPredictedTarget(experts, predictors)

    def _sweep(self, tasks: Sequence[Task]) -> Policy:
        if any(task.group != "reach-v3" for task in tasks):
            return self.references["task_blind"](tasks)
        return scripts.per_task([scripts.reach_sweep(self.settings.horizon)] * len(tasks))

    def _predictor(self, name: str) -> LinearPredictor:
        """Predicts the target from the first observation in class ``name``."""
        if name not in self._predictors:
            self._predictors[name] = fit(*self.first_observations_and_targets(name), name)
        return self._predictors[name]

    def first_observations_and_targets(self, name: str, split: Split = "train") -> tuple[Array, Array]:
        """First observations [n, 39] and targets [n, 3] of the tasks of class ``name`` in a split.

        A test class of ML10, ML25 or ML45 has no training tasks; those of ML1 for this class are used instead.
        """
        of_class = [goal for goal in self._goals(split) if goal[0] == name]
        of_class = of_class or list(goals(Source("ML1", name, self.settings.goal_seed), split))
        snapshots = [_snapshot(goal) for goal in of_class]
        return np.array([snapshot.obs for snapshot in snapshots]), np.array([snapshot.target for snapshot in snapshots])


def _snapshot(goal: Goal) -> Snapshot:
    """The state after a reset to ``goal``."""
    return prototype(goal[0], False).snapshot(goal)


def _goal(task: Task) -> Goal:
    """The goal that defines ``task``."""
    return task["env_name"], task["rand_vec"]
