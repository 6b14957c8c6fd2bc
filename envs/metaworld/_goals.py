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
from functools import cache
from typing import Any

import metaworld
import numpy as np
from metaworld.env_dict import ALL_V3_ENVIRONMENTS
from metaworld.types import Task as OfficialTask

from kshot.registry import suggest
from kshot.types import Split

Goal = tuple[str, tuple[float, ...]]
BENCHMARKS = ("ML1", "ML10", "ML25", "ML45")
CLASSES: tuple[str, ...] = tuple(ALL_V3_ENVIRONMENTS)
# ML1 draws its test goals with seed + 1, so + 2 is the first seed that neither split of the benchmark uses.
_VALIDATION_SEED_OFFSET = 2


def check_names(benchmark: str, task: str) -> None:
    """Raises ValueError, naming the nearest known name, for an unknown benchmark or class."""
    if benchmark not in BENCHMARKS:
        raise ValueError(f"metaworld: unknown benchmark {benchmark!r}{suggest(benchmark, BENCHMARKS)}")
    if task not in CLASSES:
        raise ValueError(f"metaworld: unknown task {task!r}{suggest(task, CLASSES)}")


@cache
def goals(benchmark: str, task: str, seed: int, split: Split) -> tuple[Goal, ...]:
    """All goals of a split, 50 per class, in the benchmark's order.

    Train and test are the benchmark's. Validation holds new goals of the training classes, drawn by the same
    generator with another seed.

    Raises:
        RuntimeError: a goal is in two splits, which the installed metaworld must not produce.
    """
    if split == "validation":
        found = _read(_benchmark(benchmark, task, seed + _VALIDATION_SEED_OFFSET).train_tasks)
        _assert_disjoint(found, (*goals(benchmark, task, seed, "train"), *goals(benchmark, task, seed, "test")))
        return found
    train, test = _train_and_test(benchmark, task, seed)
    return train if split == "train" else test


@cache
def _train_and_test(benchmark: str, task: str, seed: int) -> tuple[tuple[Goal, ...], tuple[Goal, ...]]:
    source = _benchmark(benchmark, task, seed)
    train, test = _read(source.train_tasks), _read(source.test_tasks)
    if benchmark != "ML1":
        # ML25 lists basketball-v3 for training and for testing (metaworld/env_dict.py): a class that was trained on
        # says nothing about unseen classes, so it leaves the test split.
        seen = {name for name, _ in train}
        test = tuple(goal for goal in test if goal[0] not in seen)
    _assert_disjoint(train, test)
    return train, test


def _benchmark(name: str, task: str, seed: int) -> metaworld.Benchmark:
    make: Callable[..., metaworld.Benchmark] = getattr(metaworld, name)
    return make(task, seed=seed) if name == "ML1" else make(seed=seed)


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
