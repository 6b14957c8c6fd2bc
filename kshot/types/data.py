"""Tasks and episodes: the data that flows between families, learners and the runner."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Evidence = Literal["rollouts", "demonstrations"]
"""What a learner adapts on: its own episodes with rewards, or an expert's without."""
ActionKind = Literal["discrete", "continuous"]
Mode = Literal["sampled", "mean"]
"""How actions are chosen: drawn from the policy, or its mean (continuous) or most probable (discrete) action."""
Headline = Literal["return", "success_last", "trial_return"]
"""The measure that comes first in a family's reports."""
Split = Literal["train", "validation", "test"]
Metrics = dict[str, float]

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Task:
    """One task as plain, hashable data; never an environment.

    ``index`` numbers the task within its split (or within one draw of an unbounded split);
    ``params`` holds (name, value) pairs that fully define the task together with the family's settings;
    ``group`` is the class a task belongs to in benchmarks with several (the Meta-World task name), else the family.
    """

    family: str
    split: Split
    index: int
    params: tuple[tuple[str, Hashable], ...]
    group: str = ""

    def __getitem__(self, name: str) -> Any:
        """The parameter called ``name``. Raises KeyError with the known names."""
        for key, value in self.params:
            if key == name:
                return value
        raise KeyError(f"task {self.id} has no parameter {name!r}; it has {[key for key, _ in self.params]}")

    @cached_property
    def id(self) -> str:
        """Stable identifier: same family, split and parameters give the same id in every process and version."""
        text = repr((self.family, self.group, self.params))
        return f"{self.split}-{self.index:05d}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


@dataclass(frozen=True)
class Episodes:
    """A batch of episodes, padded to the horizon; arrays are made read-only.

    Attributes (T tasks, E episodes per task, H steps, D observation size):
        obs: [T, E, H, D] observation before each step.
        action: [T, E, H, A] float for continuous, [T, E, H] int64 for discrete actions.
        reward: [T, E, H] float.
        terminated: [T, E, H] bool, the task itself ended at this step.
        truncated: [T, E, H] bool, the time limit ended the episode at this step.
        mask: [T, E, H] bool, True where the step was really taken; always a prefix of the episode.
        log_prob: [T, E, H] log-probability of the action under the policy that took it (0 for scripted ones).
        success: [T, E, H] bool, the family's success flag after the step.
        final_obs: [T, E, D] observation after the last step taken.
        training_reward: [T, E, H] float, what a learner may optimise in meta-training where a family offers a denser
            signal than the reward; the reward itself everywhere else, and by default. Evidence is always ``reward``.
            What a learner is given of training, validation and test tasks: ``for_training``, ``for_validation``,
            ``as_evidence``.
        optimal_return: [T, E] float, the largest expected return of the episode, by a policy that knows the task; NaN
            where it is not known, and by default. For reports only, as ``stage`` is: learners get neither.
        stage: [T, E] int, index of the last of ``FamilySpec.stages`` that the episode got to; -1 where a family has
            none, and by default.

    Episodes of one task that share a memory (a trial) are adjacent and in order.

    Raises:
        ValueError: when a shape does not fit, or a mask is not a prefix.
    """

    obs: Array
    action: Array
    reward: Array
    terminated: Array
    truncated: Array
    mask: Array
    log_prob: Array
    success: Array
    final_obs: Array
    training_reward: Array = field(default_factory=lambda: np.zeros(0))
    optimal_return: Array = field(default_factory=lambda: np.zeros(0))
    stage: Array = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __post_init__(self) -> None:
        lead = self.reward.shape[:2]
        defaults = (("training_reward", self.reward), ("optimal_return", np.full(lead, np.nan)))
        for name, default in (*defaults, ("stage", np.full(lead, -1))):
            if getattr(self, name).size == 0:
                object.__setattr__(self, name, default)
        if self.obs.ndim != 4:
            raise ValueError(f"obs has shape {self.obs.shape}, expected [task, episode, time, obs_dim]")
        steps = self.obs.shape[:3]
        for name in ("reward", "terminated", "truncated", "mask", "log_prob", "success", "training_reward"):
            if getattr(self, name).shape != steps:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, expected {steps}")
        for name in ("optimal_return", "stage"):
            if getattr(self, name).shape != steps[:2]:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, expected {steps[:2]}")
        if self.action.shape[:3] != steps:
            raise ValueError(f"action has shape {self.action.shape}, expected {steps} first")
        if self.final_obs.shape != (steps[0], steps[1], self.obs.shape[3]):
            raise ValueError(f"final_obs has shape {self.final_obs.shape}, expected [task, episode, obs_dim]")
        if (self.mask[:, :, 1:] & ~self.mask[:, :, :-1]).any():
            raise ValueError("mask is not a prefix of each episode: a step was taken after the episode had ended")
        for item in fields(self):
            getattr(self, item.name).setflags(write=False)

    @property
    def n_tasks(self) -> int:
        return int(self.obs.shape[0])

    @property
    def n_episodes(self) -> int:
        """Episodes per task."""
        return int(self.obs.shape[1])

    @property
    def lengths(self) -> Array:
        """[T, E] steps taken in each episode."""
        return np.asarray(self.mask.sum(axis=2))

    @property
    def steps(self) -> int:
        """Environment steps taken in all episodes together."""
        return int(self.mask.sum())

    @property
    def returns(self) -> Array:
        """[T, E] undiscounted sum of rewards."""
        return np.asarray((self.reward * self.mask).sum(axis=2))

    @property
    def success_any(self) -> Array:
        """[T, E] whether the success flag is True at some step (Meta-World's own rule)."""
        flags: Array = self.success & self.mask
        return np.asarray(flags.any(axis=2))

    @property
    def success_last(self) -> Array:
        """[T, E] whether the success flag is True at the last step taken."""
        last = np.maximum(self.lengths - 1, 0)[:, :, None]
        flag: Array = np.take_along_axis(self.success, last, axis=2)[:, :, 0]
        return flag & (self.lengths > 0)

    @property
    def first_success(self) -> Array:
        """[T, E] number of steps up to and including the first success, or -1."""
        flags = self.success & self.mask
        return np.where(flags.any(axis=2), flags.argmax(axis=2) + 1, -1)

    def select(self, tasks: slice | Array, episodes: slice | Array = slice(None)) -> Episodes:
        """The same batch restricted to some tasks and episodes (copies the arrays)."""
        return replace(self, **{f.name: getattr(self, f.name)[tasks][:, episodes].copy() for f in fields(self)})

    @classmethod
    def joined(cls, parts: Sequence[Episodes]) -> Episodes:
        """Episodes of the same tasks in one batch, in the order of the parts."""
        return cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts], axis=1) for f in fields(cls)})

    def for_training(self) -> Episodes:
        """What a learner gets of episodes of training tasks: all but ``optimal_return`` and ``stage``."""
        return replace(self, optimal_return=np.zeros(0), stage=np.zeros(0, dtype=np.int64))

    def for_validation(self) -> Episodes:
        """What a learner gets of validation tasks, when it chooses something: rewards and success flags.

        ``training_reward`` is the reward, since a choice for test tasks must not depend on what these do not offer.
        """
        return replace(self.for_training(), training_reward=np.zeros(0))

    def as_evidence(self) -> Episodes:
        """What a learner gets of test tasks: observations, actions, rewards, and how each episode ended.

        ``training_reward`` is the reward, all success flags are False, and everything after the last step of an episode
        is 0.
        """
        steps = {"success": np.zeros_like(self.success), "training_reward": np.zeros(0)}
        if not self.mask.all():
            for name in ("obs", "action", "reward", "terminated", "truncated", "log_prob"):
                value = getattr(self, name)
                mask = self.mask.reshape(*self.mask.shape, *(1,) * (value.ndim - 3))
                steps[name] = np.where(mask, value, np.zeros((), dtype=value.dtype))
        return replace(self.for_training(), **steps)
