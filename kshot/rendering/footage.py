"""Plays a run's evaluation again, and keeps what there is to see of one task.

The evaluation's own loops are called, on a family whose environments are watched and with a recorder of episodes that
keeps one task's. So what is shown are the episodes that were scored, with the same evidence, actions and seeds.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from gymnasium.vector import VectorEnv, VectorWrapper

from kshot import checksums, records
from kshot.errors import ConfigError, RecordError
from kshot.rendering import scenes
from kshot.running import build, checkpoint
from kshot.running import evaluate as evaluation
from kshot.suites.run import RunConfig
from kshot.types import Array, Episodes, Task, TaskFamily


@dataclass(frozen=True)
class Scored:
    """What ``curve.parquet`` has of an episode."""

    episode_return: float
    success_any: bool
    success_last: bool


@dataclass(frozen=True)
class Take:
    """One episode of the task, of ``steps`` steps.

    Attributes:
        k: episodes (or demonstrations) of evidence that the policy had.
        reward: [steps].
        success: [steps] the family's flag after each step.
        episode_return: as the evaluation sums it.
        observations: [steps + 1, D], in double precision.
        scenes: [steps + 1] what MuJoCo draws; empty for families that it does not simulate.
        scored: what was recorded of this episode, None if the run is not evaluated yet.
    """

    k: int
    reward: Array
    success: Array
    episode_return: float
    observations: Array
    scenes: Sequence[scenes.Scene]
    scored: Scored | None = None

    @property
    def steps(self) -> int:
        return len(self.reward)

    @property
    def as_scored(self) -> bool:
        """Whether it is the recorded episode, to the last bit of its return."""
        return self.scored is not None and self.scored.episode_return == self.episode_return


@dataclass(frozen=True)
class Footage:
    """Takes of one task of a run, for growing amounts of evidence."""

    run: RunConfig
    task: Task
    takes: tuple[Take, ...]


def shoot(run: RunConfig, root: Path, number: int, points: Sequence[int] | None = None) -> Footage:
    """Play what the evaluation of ``run`` plays, with the actions by which its learner is meant to be tested.

    Args:
        run: finished, or a reference policy.
        root: folder of all results.
        number: of the task among those of the evaluation, from 0.
        points: amounts of evidence to show; None for the least and the most.

    Returns:
        The first episode at each of the points.

    Raises:
        ConfigError: there is no such task, or no such amount of evidence.
        RecordError: the model file is missing, damaged or belongs to another run, or the run diverged.
    """
    family = build.family(run)
    tasks = build.evaluation_tasks(run, family)
    if not 0 <= number < len(tasks):
        raise ConfigError([f"--task {number}: the evaluation has tasks 0 to {len(tasks) - 1}"])
    task = tasks[number]
    watch = _Watch(task.id)
    filmed = _watched(family, watch)
    keeper = _Keeper(run, number, watch)
    with tempfile.TemporaryDirectory() as scratch:  # for the evaluation's reports of its progress, which nobody reads
        if run.kind == "reference":
            evaluation._evaluate_reference(run, filmed, tasks, keeper, Path(scratch))  # type: ignore[arg-type]
            available = sorted(keeper.takes)
        else:
            path = run.directory(root) / checkpoint.MODEL
            model = checkpoint.load_model(path, run, family.spec)
            if model["status"] != "ok":
                raise RecordError(f"{path}: training {model['status']} ({model['reason']}): there is no policy to show")
            learner = build.learner(run, family.spec)
            checkpoint.restore(learner, model, path)
            available = evaluation.evidence_points(learner, run.evaluation.k)
            _check(points, available)
            shown = _up_to(run, max(points or available))
            evaluation._evaluate_learner(shown, filmed, learner, tasks, keeper, Path(scratch))  # type: ignore[arg-type]
    _check(points, available)
    chosen = dict.fromkeys(points if points is not None else (available[0], available[-1]))
    table = _curve(run, root)
    takes = [replace(keeper.takes[k], scored=_scored(table, run, task, k)) for k in chosen]
    return Footage(run, task, tuple(takes))


def _check(points: Sequence[int] | None, available: Sequence[int]) -> None:
    if unknown := sorted(set(points or ()) - set(available)):
        known = ", ".join(map(str, available))
        raise ConfigError([f"--k {' '.join(map(str, unknown))}: the run is scored after K = {known}"])


def _up_to(run: RunConfig, most: int) -> RunConfig:
    """The run, evaluated no further than is shown; with the first evidence point, without which nothing adapts."""
    first = min((k for k in run.evaluation.k if k > 0), default=0)
    points = tuple(k for k in run.evaluation.k if k <= max(most, first))
    return replace(run, evaluation=run.evaluation.model_copy(update={"k": points}))


@dataclass
class _Watch:
    """What was seen of one task since the last vector environment was made, episode by episode."""

    task_id: str
    observations: list[list[Array]] = field(default_factory=list)
    scenes: list[list[scenes.Scene]] = field(default_factory=list)

    def see(self, env: VectorEnv[Array, Array, Array], index: int, obs: Array) -> None:
        self.observations[-1].append(np.array(obs[index], dtype=np.float64))
        if (scene := scenes.scene(env, index)) is not None:
            self.scenes[-1].append(scene)


class _Watched(VectorWrapper[Array, Array, Array]):
    """Lets a ``_Watch`` see sub-environment ``index`` after every reset and every step."""

    def __init__(self, env: VectorEnv[Array, Array, Array], index: int, watch: _Watch) -> None:
        super().__init__(env)
        self._index, self._watch = index, watch
        watch.observations, watch.scenes = [], []

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        obs, info = self.env.reset(seed=seed, options=options)
        self._watch.observations.append([])
        self._watch.scenes.append([])
        self._watch.see(self.env, self._index, obs)
        return obs, info

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        after = self.env.step(actions)
        self._watch.see(self.env, self._index, after[0])
        return after


def _watched(family: TaskFamily, watch: _Watch) -> TaskFamily:
    """The family with environments that ``watch`` sees; of the same class, so that it offers what the family offers."""

    def vector_env(tasks: Sequence[Task], copies: int) -> VectorEnv[Array, Array, Array]:
        env = family.vector_env(tasks, copies)
        ids = [task.id for task in tasks]
        return _Watched(env, ids.index(watch.task_id) * copies, watch) if watch.task_id in ids else env

    other = copy.copy(family)
    object.__setattr__(other, "vector_env", vector_env)
    return other


class _Keeper:
    """Stands in for the evaluation's recorder: keeps the first episode of one task, for every amount of evidence."""

    def __init__(self, run: RunConfig, number: int, watch: _Watch) -> None:
        self._run, self._number, self._watch = run, number, watch
        self.takes: dict[int, Take] = {}
        self.episodes = 0
        self.env_steps = 0

    def add(self, episodes: Episodes, first: int, k: int, updates: int, steps: Array, mode: str, *_: Any) -> None:
        position = self._number - first
        if mode != self._run.test_actions or not 0 <= position < episodes.n_tasks:
            return
        # Scripted policies play the episodes of a trial one after the other, learners one after each adaptation.
        number = k if self._run.kind == "reference" else 0
        length = int(episodes.lengths[position, 0])
        self.takes[k] = Take(
            k,
            episodes.reward[position, 0, :length],
            episodes.success[position, 0, :length],
            float(episodes.returns[position, 0]),
            np.array(self._watch.observations[number][: length + 1]),
            self._watch.scenes[number][: length + 1],
        )


def _curve(run: RunConfig, root: Path) -> pd.DataFrame | None:
    """The run's scores; None if it is not evaluated yet."""
    path, record = (run.directory(root) / name for name in ("curve.parquet", "evaluate.json"))
    if not record.is_file():
        return None
    checksums.verify(path, checksums.read_record(record))
    return records.read_table(path, records.CURVE_SCHEMA)


def _scored(table: pd.DataFrame | None, run: RunConfig, task: Task, k: int) -> Scored | None:
    if table is None:
        return None
    rows = table[(table["task"] == task.id) & (table["k"] == k) & (table["mode"] == run.test_actions)]
    rows = rows[rows["episode"] == 0]
    if len(rows) != 1:
        return None  # of an evaluation with other settings
    row = rows.iloc[0]
    return Scored(float(row["return"]), bool(row["success_any"]), bool(row["success_last"]))
