"""What the families of robots share: settings of episodes, and what learners may know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kshot.envs._robots import gaits
from kshot.envs._robots.simulation import Robot
from kshot.types import FamilySpec

MAX_SUB_ENVS = 400
"""Far more than it takes to keep the threads busy."""


@dataclass(frozen=True)
class Lengths:
    """The lengths of an episode and of a trial.

    Attributes:
        horizon: steps after which an episode is truncated (MAML's and PEARL's code: 200).
        episodes_per_trial: length of a trial, in episodes, for learners with memory (kshot's choice).

    Raises:
        ValueError: one of them is smaller than 1.
    """

    horizon: int = 200
    episodes_per_trial: int = 3

    def __post_init__(self) -> None:
        for name in ("horizon", "episodes_per_trial"):
            if getattr(self, name) < 1:
                raise ValueError(f"{self.family}: {name} must be at least 1, got {getattr(self, name)}")

    @property
    def family(self) -> str:
        """The family's name, that of the module which has the settings."""
        return type(self).__module__.rpartition(".")[2]


@dataclass(frozen=True)
class Ranged(Lengths):
    """Lengths, and whether test tasks are in the range of training.

    Attributes:
        test_tasks: "inside" the range of training, or "outside" it.

    Raises:
        ValueError: a number or name is out of range.
    """

    test_tasks: Literal["inside", "outside"] = "inside"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.test_tasks not in ("inside", "outside"):
            raise ValueError(f"{self.family}: test_tasks must be 'inside' or 'outside', got {self.test_tasks!r}")

    def drawn_from(self, split: str) -> str:
        """The name of what tasks of ``split`` are drawn from: "outside" for test tasks that are to be outside."""
        return "outside" if split == "test" and self.test_tasks == "outside" else split


def spec_of(settings: Lengths, robot: Robot, *, shared_tasks: bool = False) -> FamilySpec:
    """Observations are normalised by those of random actions and of the family's scripted gaits."""
    center, scale = gaits.load(settings.family).normaliser
    return FamilySpec(
        name=settings.family,
        observation_dim=robot.observation_dim,
        action_space=robot.action_space,
        horizon=settings.horizon,
        episodes_per_trial=settings.episodes_per_trial,
        max_sub_envs=MAX_SUB_ENVS,
        observation_center=center,
        observation_scale=scale,
        shared_tasks=shared_tasks,
    )
