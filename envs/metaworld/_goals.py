"""The goals of each split: those of Metaworld's own benchmarks, checked for overlaps.

Goals are drawn as ``metaworld.ML1`` and its siblings draw them (metaworld/__init__.py, ``_make_tasks``): by the
classes' own ``reset_model`` from one seeded stream per split. Two things differ: the stream is not numpy's global
generator, and the resets do not simulate, so that drawing takes a tenth of the time. No placement depends on either;
tests compare the goals with those of the official benchmarks.

Metaworld's vector entry points are not used: ``Meta-World/ML1-train`` builds the test split in metaworld 3.1.1, because
its lambda reads the loop variable ``split`` after the loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from metaworld import env_dict

from kshot.envs.metaworld._tasks import Goal, check_class
from kshot.envs.metaworld.engine import prototype
from kshot.errors import suggest
from kshot.types import Split

BENCHMARKS = ("ML1", "ML10", "ML25", "ML45", "custom")
GOALS_PER_CLASS = 50
_DISJOINT_FROM: dict[Split, tuple[Split, ...]] = {"train": (), "test": ("train",), "validation": ("train", "test")}
"""The splits that each split is checked against."""
_VALIDATION_SEED_OFFSET = 2
"""ML1 draws its test goals with seed + 1: this is the first offset that neither split of the benchmark uses."""


@dataclass(frozen=True)
class Source:
    """A benchmark: its classes, and the seed that its goals are drawn with.

    Attributes:
        benchmark: "ML1", "ML10", "ML25", "ML45" or "custom".
        task: the class of ML1; ignored by the others.
        seed: of the benchmark object.
        train_classes: of "custom", as ``test_classes``.
        test_classes: must not contain a class of ``train_classes``.
        keep_seen_classes: leave basketball-v3 in ML25's test split, although ML25 also trains on it.

    Raises:
        ValueError: a name is unknown, the seed is negative, custom classes are missing or given twice, or classes are
            given for a benchmark that fixes its own.
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

    def classes(self, split: Split) -> list[str]:
        """Names of the classes of a split, in the benchmark's order."""
        if self.benchmark == "ML1":
            return [self.task]
        if self.benchmark == "custom":
            return list(self.test_classes if split == "test" else self.train_classes)
        classes = getattr(env_dict, f"{self.benchmark}_V3")
        train, test = list(classes["train"]), list(classes["test"])
        if split != "test":
            return train
        # ML25 lists basketball-v3 for training and for testing (metaworld/env_dict.py). A class that was trained on
        # says nothing about unseen classes, so it is left out of the test split.
        return [name for name in test if self.keep_seen_classes or name not in train]


@cache
def goals(source: Source, split: Split) -> tuple[Goal, ...]:
    """All goals of a split, 50 per class, in the benchmark's order.

    The training and test goals are the benchmark's own. The validation goals are new ones of the training classes,
    drawn in the same way with another seed.

    Raises:
        RuntimeError: a goal is in two splits, which would be a fault of the installed metaworld.
    """
    drawn = _draw(source, split)
    if not source.keep_seen_classes:
        _assert_disjoint(drawn, [goal for other in _DISJOINT_FROM[split] for goal in _draw(source, other)])
    return drawn


@cache
def _draw(source: Source, split: Split) -> tuple[Goal, ...]:
    if source.benchmark == "ML25" and split == "test" and not source.keep_seen_classes:
        # One stream serves all classes, so the goals of the class that is left out have to be drawn as well.
        train_classes = set(source.classes("train"))
        every = _draw(replace(source, keep_seen_classes=True), split)
        return tuple(goal for goal in every if goal[0] not in train_classes)
    offset = _VALIDATION_SEED_OFFSET if split == "validation" else int(source.benchmark == "ML1" and split == "test")
    stream = np.random.RandomState(source.seed + offset)
    return tuple(
        (name, rand_vec)
        for name in source.classes(split)
        for rand_vec in prototype(name, False).draw(GOALS_PER_CLASS, stream)
    )


def _assert_disjoint(first: Iterable[Goal], second: Sequence[Goal]) -> None:
    shared = set(first) & set(second)
    if shared:
        raise RuntimeError(f"metaworld: {len(shared)} goals are in two splits, for example {min(shared)}")
