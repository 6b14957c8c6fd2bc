"""Which goals make up which split: Metaworld's own benchmark objects, checked for the leaks they are known for.

A goal is (class name, rand_vec): ``rand_vec`` is the vector from which the class derives the positions of its object
and its target (metaworld/sawyer_xyz_env.py, ``_get_state_rand_vec``). Goals come from ``metaworld.ML1`` and its
siblings, always with a seed: without one they would be drawn from, and with one they save and restore, the global
numpy generator (metaworld/__init__.py, ``_make_tasks``). The vector entry points are not used: ``Meta-World/ML1-train``
builds the test split in metaworld 3.1.1, because its lambda reads the loop variable ``split`` after the loop.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import metaworld
import numpy as np
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from metaworld.types import Task as OfficialTask

from kshot.registry import suggest
from kshot.types import Split

Goal = tuple[str, tuple[float, ...]]
BENCHMARKS = ("ML1", "ML10", "ML25", "ML45", "custom")
CLASSES: tuple[str, ...] = tuple(ALL_V3_ENVIRONMENTS)
# ML1 draws its test goals with seed + 1, so + 2 is the first seed that neither split of the benchmark uses.
_VALIDATION_SEED_OFFSET = 2


@dataclass(frozen=True)
class Source:
    """Which classes, and with which seed their goals are drawn.

    Attributes:
        benchmark: "ML1", "ML10", "ML25", "ML45" or "custom".
        task: the class of ML1; ignored by the others.
        seed: of the benchmark object.
        train_classes: of "custom", as ``test_classes``.
        test_classes: must not contain a class of ``train_classes``.
        keep_seen_classes: leave basketball-v3 in ML25's test split, although ML25 also trains on it.

    Raises:
        ValueError: a name is unknown, the seed is negative, or custom classes are missing, twice there, or unasked for.
    """

    benchmark: str
    task: str = ""
    seed: int = 0
    train_classes: tuple[str, ...] = ()
    test_classes: tuple[str, ...] = ()
    keep_seen_classes: bool = False

    def __post_init__(self) -> None:
        if self.benchmark not in BENCHMARKS:
            raise ValueError(f"metaworld: unknown benchmark {self.benchmark!r}{suggest(self.benchmark, BENCHMARKS)}")
        if self.seed < 0:
            raise ValueError(f"metaworld: the seed of the goals must not be negative, got {self.seed}")
        if self.benchmark == "ML1":
            check_class(self.task)
        classes = (*self.train_classes, *self.test_classes)
        if self.benchmark != "custom" and classes:
            raise ValueError(f"metaworld: train_classes and test_classes are for 'custom', not for {self.benchmark}")
        if self.benchmark == "custom":
            for name in classes:
                check_class(name)
            if not self.train_classes or not self.test_classes or len(set(classes)) < len(classes):
                raise ValueError("metaworld: 'custom' needs train_classes and test_classes, no class twice")


def check_class(task: str) -> None:
    """Raises ValueError, naming the nearest known name, for an unknown class."""
    if task not in CLASSES:
        raise ValueError(f"metaworld: unknown task {task!r}{suggest(task, CLASSES)}")


def check_goals(goals: Sequence[Goal]) -> None:
    """Raises ValueError if there are none, or one is not (class name, vector of numbers)."""
    if not goals:
        raise ValueError("metaworld: at least one goal is needed")
    for goal in goals:
        if not (isinstance(goal, tuple) and len(goal) == 2 and isinstance(goal[0], str) and isinstance(goal[1], tuple)):
            raise ValueError(f"metaworld: a goal is a pair (class name, rand_vec) of text and tuple, got {goal!r}")
        check_class(goal[0])


@cache
def goals(source: Source, split: Split) -> tuple[Goal, ...]:
    """All goals of a split, 50 per class, in the benchmark's order.

    Train and test are the benchmark's. Validation holds new goals of the training classes, drawn by the same
    generator with another seed.

    Raises:
        RuntimeError: a goal is in two splits, which the installed metaworld must not produce.
    """
    if split == "validation":
        found = _read(_benchmark(replace(source, seed=source.seed + _VALIDATION_SEED_OFFSET)).train_tasks)
        _assert_disjoint(found, (*goals(source, "train"), *goals(source, "test")))
        return found
    train, test = _train_and_test(source)
    return train if split == "train" else test


@cache
def _train_and_test(source: Source) -> tuple[tuple[Goal, ...], tuple[Goal, ...]]:
    drawn = _benchmark(source)
    train, test = _read(drawn.train_tasks), _read(drawn.test_tasks)
    if source.keep_seen_classes:
        return train, test
    if source.benchmark != "ML1":
        # ML25 lists basketball-v3 for training and for testing (metaworld/env_dict.py): a class that was trained on
        # says nothing about unseen classes, so it leaves the test split.
        seen = {name for name, _ in train}
        test = tuple(goal for goal in test if goal[0] not in seen)
    _assert_disjoint(train, test)
    return train, test


def _benchmark(source: Source) -> metaworld.Benchmark:
    if source.benchmark == "ML1":
        return metaworld.ML1(source.task, seed=source.seed)
    if source.benchmark == "custom":
        return metaworld.CustomML(list(source.train_classes), list(source.test_classes), seed=source.seed)
    make: Callable[..., metaworld.Benchmark] = getattr(metaworld, source.benchmark)
    return make(seed=source.seed)


def _read(tasks: Sequence[OfficialTask]) -> tuple[Goal, ...]:
    return tuple((task.env_name, tuple(pickle.loads(task.data)["rand_vec"].tolist())) for task in tasks)


def _assert_disjoint(first: Iterable[Goal], second: Iterable[Goal]) -> None:
    shared = set(first) & set(second)
    if shared:
        raise RuntimeError(f"metaworld: {len(shared)} goals are in two splits, for example {min(shared)}")


def official_task(goal: Goal, goal_observable: bool = False) -> OfficialTask:
    """The goal as ``metaworld.Task``; the target is hidden from the observation as in all ML benchmarks by default."""
    name, rand_vec = goal
    data: dict[str, Any] = {
        "rand_vec": np.array(rand_vec),
        "env_cls": ALL_V3_ENVIRONMENTS[name],
        "partially_observable": not goal_observable,
    }
    return OfficialTask(env_name=name, data=pickle.dumps(data))
