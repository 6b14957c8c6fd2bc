"""Demonstrations of Meta-World by Metaworld's scripted experts: successful episodes, with the tasks they are of.

An expert is told the target, whether or not the observations that are kept show it. An episode ends with its first step
of success, or is played whole; either way it is kept only if its last step is one of success.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kshot import seeding
from kshot.envs.metaworld._goals import BENCHMARKS, Source
from kshot.envs.metaworld._goals import goals as meta_learning_goals
from kshot.envs.metaworld._references import expert_with_target
from kshot.envs.metaworld._tasks import CLASSES, Goal
from kshot.envs.metaworld._vector import ACTION_SPACE, MAX_HORIZON, MetaWorldVectorEnv
from kshot.envs.metaworld.engine import prototype
from kshot.errors import ConfigError, suggest
from kshot.metaworld import multitask
from kshot.types import SPLITS, Array, Split

ATTEMPTS = 10
"""How often an episode is played with other noise until it succeeds."""
_TOGETHER = 50
"""Episodes that are played side by side; their observations take 8 MB."""
NAMES = (*CLASSES, *(name for name in BENCHMARKS if name not in ("ML1", "custom")), *multitask.BENCHMARKS[1:])
"""What can be demonstrated: a class, or all classes of a benchmark."""


@dataclass(frozen=True)
class How:
    """How episodes are played.

    Attributes:
        per_task: episodes of each task.
        noise: standard deviation of the normal noise on the expert's actions, which are at most 1.
        seed: of the noise.
        whole: play on to the horizon; otherwise an episode ends with its first step of success.
        horizon: steps of an episode, at most 500.
        goal_observable: show the target in the observations.

    Raises:
        ConfigError: a number is out of range, or without noise several episodes of a task would be the same.
    """

    per_task: int = 1
    noise: float = 0.0
    seed: int = 0
    whole: bool = False
    horizon: int = MAX_HORIZON
    goal_observable: bool = False

    def __post_init__(self) -> None:
        problems = []
        if self.per_task < 1:
            problems.append(f"demonstrations: at least one episode of each task, got {self.per_task}")
        if not (np.isfinite(self.noise) and self.noise >= 0):
            problems.append(f"demonstrations: noise must be a number of at least 0, got {self.noise}")
        elif self.noise == 0 and self.per_task > 1:
            problems.append(
                f"demonstrations: without noise all {self.per_task} episodes of a task would be the same: give noise,"
                " for example 0.1"
            )
        if not 1 <= self.horizon <= MAX_HORIZON:
            problems.append(f"demonstrations: horizon must be between 1 and {MAX_HORIZON}, got {self.horizon}")
        if problems:
            raise ConfigError(problems)


@dataclass(frozen=True)
class Demonstration:
    """A successful episode of T steps.

    Attributes:
        env_name: the class.
        task: number of the task among those of its class.
        rand_vec: what the class derives the positions of object and target from.
        target: [3] in metres.
        episode: number of the episode among those of its task.
        attempt: how many were played until this one succeeded, from 1.
        observation: [T + 1, 39] before each step, and after the last, float64.
        action: [T, 4] as played: float32 in [-1, 1].
        reward: [T] float64.
        success: [T] bool; the last is true.
        truncated: whether the horizon ended it; otherwise success did.
    """

    env_name: str
    task: int
    rand_vec: tuple[float, ...]
    target: Array
    episode: int
    attempt: int
    observation: Array
    action: Array
    reward: Array
    success: Array
    truncated: bool


def tasks_of(name: str, split: Split = "train", goal_seed: int = 0, per_class: int | None = None) -> list[Goal]:
    """The goals of a class or a benchmark, class after class.

    Args:
        name: one of ``NAMES``; MT10, MT25 and MT50 have no split but "train".
        split: "train", "validation" or "test".
        goal_seed: of the benchmark object, as ``make_vec`` takes it.
        per_class: use only the first ones of each class.

    Raises:
        ConfigError: a name is unknown, there is no such split, or a number is out of range.
    """
    if name not in NAMES:
        raise ConfigError([f"demonstrations: unknown class or benchmark {name!r}{suggest(name, NAMES)}"])
    if split not in SPLITS:
        raise ConfigError([f"demonstrations: unknown split {split!r}{suggest(split, SPLITS)}"])
    if goal_seed < 0:
        raise ConfigError([f"demonstrations: the seed of the goals must not be negative, got {goal_seed}"])
    if per_class is not None and per_class < 1:
        raise ConfigError([f"demonstrations: at least one task of each class, got {per_class}"])
    if name in multitask.BENCHMARKS:
        if split != "train":
            raise ConfigError([f"demonstrations: {name} has no {split} split, all its tasks are for training"])
        every = multitask.goals(name, seed=goal_seed)
    else:
        source = Source("ML1", name, goal_seed) if name in CLASSES else Source(name, "", goal_seed)
        every = meta_learning_goals(source, split)
    return [goal for of_class in _by_class(every).values() for goal in of_class[:per_class]]


def demonstrate(
    tasks: Sequence[Goal],
    how: How | None = None,
    threads: int | None = None,
    progress: Callable[[int], None] = lambda episodes: None,
) -> Iterator[list[Demonstration]]:
    """Play ``tasks``; yields the demonstrations of one class after the other, ordered by task and episode.

    An episode that fails is played again with other noise, up to 10 times, and left out if it never succeeds: the list
    of a class may be shorter than asked for, or empty. ``threads`` and what else is played have no part in the results.

    Args:
        tasks: (class name, rand_vec); ``tasks_of`` has those of classes and benchmarks.
        how: see ``How``.
        threads: for the physics; default ``$OMP_NUM_THREADS``, else all cores.
        progress: told how many episodes are settled, kept or given up.

    Raises:
        ValueError: a goal or a class is unknown.
    """
    how = how or How()
    settled = 0
    for name, of_class in _by_class(tasks).items():
        waiting = [
            _Attempt(task, goal, episode) for task, goal in enumerate(of_class) for episode in range(how.per_task)
        ]
        kept: list[Demonstration] = []
        while waiting:
            playing, waiting = waiting[:_TOGETHER], waiting[_TOGETHER:]
            for attempt, found in zip(playing, _play(name, playing, how, threads), strict=True):
                if found is not None:
                    kept.append(found)
                elif how.noise > 0 and attempt.number < ATTEMPTS:
                    waiting.append(replace(attempt, number=attempt.number + 1))
                    continue
                settled += 1
            progress(settled)
        yield sorted(kept, key=lambda demonstration: (demonstration.task, demonstration.episode))


@dataclass(frozen=True)
class _Attempt:
    task: int
    goal: Goal
    episode: int
    number: int = 1


def _by_class(tasks: Sequence[Goal]) -> dict[str, list[Goal]]:
    found: dict[str, list[Goal]] = {}
    for goal in tasks:
        found.setdefault(goal[0], []).append(goal)
    return found


def _play(name: str, attempts: Sequence[_Attempt], how: How, threads: int | None) -> list[Demonstration | None]:
    """What came of each attempt [N]: a demonstration, or None if it did not succeed."""
    n = len(attempts)
    env = MetaWorldVectorEnv(
        [attempt.goal for attempt in attempts],
        horizon=how.horizon,
        threads=threads,
        autoreset_mode="Disabled",
        goal_observable=how.goal_observable,
        clip_actions=True,
    )
    targets = [prototype(name, False).snapshot(attempt.goal).target for attempt in attempts]
    experts = [expert_with_target(name, target) for target in targets]
    keys = np.array(
        [seeding.key("demonstrations", how.seed, name, a.task, a.episode, a.number) for a in attempts], dtype=np.uint64
    )
    observation, action, reward, success = [env.reset()[0]], [], [], []
    solved = np.zeros(n, dtype=bool)
    for t in range(how.horizon):
        chosen = np.zeros((n, 4))
        for i in range(n):
            if how.whole or not solved[i]:  # else nobody will look at what comes
                chosen[i] = experts[i](observation[-1][i], t)
        chosen += how.noise * seeding.noise(keys, t, 4, "continuous")
        action.append(np.clip(chosen.astype(np.float32), ACTION_SPACE.low, ACTION_SPACE.high))
        now, earned, _, _, info = env.step(action[-1])
        observation.append(now)
        reward.append(earned)
        success.append(info["success"])
        solved |= info["success"]
        if solved.all() and not how.whole:
            break
    env.close()
    arrays = [np.stack(rows, axis=1) for rows in (observation, action, reward, success)]
    return [
        _kept(attempt, target, how, *(array[i] for array in arrays))
        for i, (attempt, target) in enumerate(zip(attempts, targets, strict=True))
    ]


def _kept(
    attempt: _Attempt, target: Array, how: How, observation: Array, action: Array, reward: Array, success: Array
) -> Demonstration | None:
    """The episode of one sub-environment up to where it ends, if it succeeded."""
    end = len(success) if how.whole else int(success.argmax()) + 1
    if not success[end - 1]:
        return None
    name, rand_vec = attempt.goal
    return Demonstration(
        env_name=name,
        task=attempt.task,
        rand_vec=rand_vec,
        target=target,
        episode=attempt.episode,
        attempt=attempt.number,
        observation=observation[: end + 1].copy(),
        action=action[:end].copy(),
        reward=reward[:end].copy(),
        success=success[:end].copy(),
        truncated=how.whole,
    )
