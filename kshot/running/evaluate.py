"""Evaluates one run on unseen tasks: its policies after k episodes of evidence, for growing k.

For every test task: score the current policy with mean actions; play episodes with sampled actions, which score it,
too, and are the evidence (unless that is demonstrations); adapt; repeat. Every task plays the same number of episodes
of full length. Counting the first n episodes to finish instead would favour those that end early by succeeding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kshot import checksums, records, seeding
from kshot.errors import RecordError, suggest
from kshot.running import build, checkpoint, provenance
from kshot.running.heartbeat import Heartbeat
from kshot.running.rollout import rollout
from kshot.suites.run import RunConfig
from kshot.types import (
    Array,
    DemonstrationFamily,
    Episodes,
    Explains,
    MetaLearner,
    Mode,
    Policy,
    Task,
    TaskFamily,
    TrialPolicy,
)

TASK_CHUNK = 1000
"""Largest number of tasks evaluated side by side, which bounds memory; results do not depend on it."""
LEARNING = "learning.parquet"
"""The learning curve: the table of a run's episodes on validation tasks along its training."""
HELD_OUT = 8
"""Demonstrations per task whose likelihood is computed, besides those adapted to."""
HELD_OUT_ARRANGEMENT = 1
"""The arrangement that they show; those adapted to show number 0. Families without arrangements ignore it."""


def evidence_points(learner: MetaLearner, points: Sequence[int]) -> list[int]:
    """The amounts of evidence, in episodes, at which a learner is scored for the evidence points of a suite.

    A learner that adapts on blocks of episodes acts by the complete blocks alone: each point becomes the largest
    multiple of its block up to there. Points beyond the learner's limit are left out.

    Raises:
        RecordError: only 0 is left though the learner could adapt, so that the run would show no adaptation.
    """
    block = learner.adaptation_episodes
    limit = float("inf") if learner.max_evidence is None else learner.max_evidence
    chosen = sorted({k // block * block for k in points if k <= limit})
    if chosen == [0] and limit >= block:
        raise RecordError(
            f"the learner adapts on {block} episodes at a time, but evaluation.k is {list(points)}; "
            f"list {block} or more"
        )
    return chosen


def along_the_way(run: RunConfig) -> RunConfig | None:
    """The run as its learning curve has it evaluated, if it has one."""
    curve = run.learning_curve
    if curve is None:
        return None
    changes = {"split": "validation", "tasks": curve.tasks, "k": curve.k}
    return replace(run, evaluation=run.evaluation.model_copy(update=changes))


def evaluate(run: RunConfig, root: Path) -> None:
    """Evaluate a run by its model file and write ``curve.parquet`` and ``evaluate.json``.

    Where the suite asks for a learning curve, also the models kept along the training, in ``learning.parquet``.

    Raises:
        RecordError: the model file is missing, damaged or belongs to another run.
        checkpoint.Busy: another process works on this run.
    """
    directory = run.directory(root)
    with checkpoint.exclusive(directory):
        start_time = time.monotonic()
        family = build.family(run)
        tasks = build.evaluation_tasks(run, family)
        recorder = _Recorder(run, tasks)
        spec = family.spec
        outputs = ["curve.parquet"]
        learner_entries: dict[str, Any] = {}
        family_entries: dict[str, Any] = {
            "horizon": spec.horizon,
            "episodes_per_trial": spec.episodes_per_trial,
            "action_kind": spec.action_kind,
            "references": _mean_reference_values(family, tasks),
            "stages": list(spec.stages),
        }
        if run.kind == "reference":
            status, reason, model_digest = "ok", "", ""
            family_entries["trial_memory"] = _evaluate_reference(run, family, tasks, recorder, directory)
        else:
            model = checkpoint.load_model(directory / checkpoint.MODEL, run, family.spec)
            model_digest = checkpoint.digest(directory / checkpoint.MODEL)
            status, reason = model["status"], model["reason"]
            if status == "ok":
                learner = build.learner(run, family.spec)
                checkpoint.restore(learner, model, directory / checkpoint.MODEL)
                learner_entries["adaptation_episodes"] = learner.adaptation_episodes
                learner_entries["max_evidence"] = learner.max_evidence
                _evaluate_learner(run, family, learner, tasks, recorder, directory)
                outputs += _evaluate_snapshots(run, family, learner, directory)
            else:
                recorder.diverged()
        records.write_table(directory / "curve.parquet", recorder.frame(), records.CURVE_SCHEMA)
        provenance_record = provenance.collect(
            run,
            status=status,
            reason=reason,
            env_steps=recorder.env_steps,
            wall_seconds=time.monotonic() - start_time,
            family=family_entries,
            model_digest=model_digest,
            **learner_entries,
        )
        checksums.write_record(directory / "evaluate.json", provenance_record, outputs)
        episodes = recorder.episodes
        Heartbeat(directory, "evaluate", episodes, "episodes").beat(
            "diverged" if status == "diverged" else "done", episodes, reason, force=True
        )


def _evaluate_learner(
    run: RunConfig,
    family: TaskFamily,
    learner: MetaLearner,
    tasks: Sequence[Task],
    recorder: _Recorder,
    directory: Path,
    message: str = "",
) -> None:
    points = evidence_points(learner, run.evaluation.k)
    block = learner.adaptation_episodes
    demonstrator = _demonstrator(run, family)
    # A learner's own episodes have to be played block by block; demonstrations up to the next point come at once.
    stops = points if demonstrator is not None else list(range(0, points[-1] + 1, block))
    # Learners that are compared by sampled actions play no fewer episodes with these than with mean ones.
    minimum = run.evaluation.mean_episodes if run.test_actions == "sampled" else 1
    sampled_episodes = {k: block if k not in points else max(block, minimum) for k in stops}
    if demonstrator is not None:
        sampled_episodes = dict.fromkeys(stops, max(run.evaluation.sampled_episodes, minimum))
    total = len(tasks) * (sum(sampled_episodes.values()) + len(points) * run.evaluation.mean_episodes)
    heartbeat = Heartbeat(directory, "evaluate", total, "episodes")
    for first, chunk in _chunks(tasks, family, max(*sampled_episodes.values(), run.evaluation.mean_episodes)):
        policy: Policy = learner.policy()
        evidence_steps = np.zeros(len(chunk), dtype=np.int64)
        held_out_likelihood = _held_out_likelihood(run, family, learner, chunk, first)
        for update, k in enumerate(stops):
            heartbeat.beat("evaluating", recorder.episodes, message)
            play = _player(run, family, chunk, first, k)
            if k in points:
                played = play(policy, run.evaluation.mean_episodes, "mean")
                recorder.add(played, first, k, update, evidence_steps, "mean", held_out_likelihood(policy))
            played = play(policy, sampled_episodes[k], "sampled")
            recorder.add(played, first, k, update, evidence_steps, "sampled")
            if k == stops[-1]:
                break
            evidence = played.select(slice(None), slice(block))
            if demonstrator is not None:
                keys = [_demonstration_keys(run, len(chunk), first, i) for i in range(k, stops[update + 1], block)]
                evidence = Episodes.joined([demonstrator.demonstrations(chunk, block, key) for key in keys])
            policy = learner.adapt(policy, evidence.as_evidence())
            evidence_steps = evidence_steps + evidence.lengths.sum(axis=1)


def _evaluate_snapshots(run: RunConfig, family: TaskFamily, learner: MetaLearner, directory: Path) -> list[str]:
    """Score the models kept along the training and write ``learning.parquet``, if the run has a learning curve.

    Returns:
        The names of the files written.
    """
    along = along_the_way(run)
    if along is None or run.learning_curve is None or not learner.trains:
        (directory / LEARNING).unlink(missing_ok=True)  # of a suite that asked for one
        return []
    tasks, points, parts = build.evaluation_tasks(along, family), run.learning_curve.points, list[pd.DataFrame]()
    for part in range(1, points + 1):
        path = directory / (checkpoint.MODEL if part == points else checkpoint.SNAPSHOT.format(part))
        model = checkpoint.load_model(path, run, family.spec)
        checkpoint.restore(learner, model, path)
        recorder = _Recorder(along, tasks)
        message = f"the model after part {part} of {points} of its training, on validation tasks"
        _evaluate_learner(along, family, learner, tasks, recorder, directory, message)
        parts.append(recorder.frame().assign(trained_steps=model["env_steps"]))
    records.write_table(directory / LEARNING, pd.concat(parts, ignore_index=True), records.LEARNING_SCHEMA)
    return [LEARNING]


def _evaluate_reference(
    run: RunConfig, family: TaskFamily, tasks: Sequence[Task], recorder: _Recorder, directory: Path
) -> bool:
    """Score a scripted policy: over whole trials if the headline or its memory is of trials, else in single episodes.

    Returns:
        Whether its memory outlasts an episode, so that it may learn from earlier ones.
    """
    reference = family.references.get(run.algorithm)
    if reference is None:
        known = suggest(run.algorithm, family.references)
        raise RecordError(f"family {run.family!r} has no reference policy {run.algorithm!r}{known}")
    example = reference(tasks[:1])
    trial_memory = isinstance(example, TrialPolicy) and example.trial_memory
    trial_length = family.spec.episodes_per_trial if trial_memory or run.headline == "trial_return" else 1
    copies = run.evaluation.sampled_episodes
    heartbeat = Heartbeat(directory, "evaluate", len(tasks) * copies * trial_length, "episodes")
    for first, chunk in _chunks(tasks, family, copies):
        heartbeat.beat("evaluating", recorder.episodes)
        policy = reference(chunk)
        keys = _episode_keys(run, len(chunk), first, 0, "sampled")
        played = rollout(family, policy, chunk, keys, copies, trial_length)
        for k in range(trial_length):
            episodes = played.select(slice(None), np.arange(copies) * trial_length + k)
            recorder.add(episodes, first, k, 0, np.zeros(len(chunk), dtype=np.int64), "sampled")
    return trial_memory


def _chunks(tasks: Sequence[Task], family: TaskFamily, copies: int) -> list[tuple[int, Sequence[Task]]]:
    """The tasks in groups that fit in memory, each with the position of its first task."""
    size = max(1, min(TASK_CHUNK, family.spec.max_sub_envs // copies))
    return [(first, tasks[first : first + size]) for first in range(0, len(tasks), size)]


def _episode_keys(run: RunConfig, n_tasks: int, first: int, k: int, mode: Mode) -> seeding.Keys:
    """[n_tasks] keys of seed, evidence, mode and the task's position; all algorithms have the same random numbers."""
    return seeding.split(seeding.key(run.seed, "evaluation", k, mode), first + np.arange(n_tasks))


def _demonstrator(run: RunConfig, family: TaskFamily) -> DemonstrationFamily | None:
    """The family, if the run's learner adapts to its demonstrations; else None."""
    return family if isinstance(family, DemonstrationFamily) and run.evidence == "demonstrations" else None


def _held_out_likelihood(
    run: RunConfig, family: TaskFamily, learner: MetaLearner, tasks: Sequence[Task], first: int
) -> Callable[[Policy], Array | None]:
    """A function from a policy to its log-likelihoods [T] of held-out demonstrations, or None if it has none."""
    demonstrator = _demonstrator(run, family)
    if demonstrator is None or family.spec.world is None or not isinstance(learner, Explains):
        return lambda policy: None
    keys = _demonstration_keys(run, len(tasks), first, "held out")
    held_out = demonstrator.demonstrations(tasks, HELD_OUT, keys, HELD_OUT_ARRANGEMENT).as_evidence()
    explain = learner.explain
    return lambda policy: explain(policy, held_out)


def _demonstration_keys(run: RunConfig, n_tasks: int, first: int, which: int | str) -> seeding.Keys:
    """[n_tasks] keys that do not depend on the run's seed: every algorithm and seed gets the same demonstrations."""
    return seeding.split(seeding.key(run.task_seed, "demonstrations", which), first + np.arange(n_tasks))


def _player(
    run: RunConfig, family: TaskFamily, tasks: Sequence[Task], first: int, k: int
) -> Callable[[Policy, int, Mode], Episodes]:
    """A function that plays a policy on ``tasks``: (policy, copies, mode) -> episodes."""

    def play(policy: Policy, copies: int, mode: Mode) -> Episodes:
        return rollout(family, policy, tasks, _episode_keys(run, len(tasks), first, k, mode), copies, mode=mode)

    return play


def _mean_reference_values(family: TaskFamily, tasks: Sequence[Task]) -> dict[str, float]:
    """Means over the tasks of the returns that the family knows (``TaskFamily.reference``)."""
    values = [family.reference(task) for task in tasks]
    return {name: float(np.mean([value[name] for value in values])) for name in (values[0] if values else {})}


class _Recorder:
    """Collects episodes as lines of the curve table, one for each."""

    def __init__(self, run: RunConfig, tasks: Sequence[Task]) -> None:
        self._run = run
        self._ids = np.array([task.id for task in tasks], dtype=object)
        self._groups = np.array([task.group or task.family for task in tasks], dtype=object)
        self._parts: list[dict[str, Array]] = []
        self.episodes = 0
        self.env_steps = 0

    def add(
        self,
        episodes: Episodes,
        first: int,
        k: int,
        updates: int,
        evidence_steps: Array,
        mode: Mode,
        log_likelihood: Array | None = None,
    ) -> None:
        """Add episodes of T tasks.

        Args:
            episodes: of the tasks at positions ``first``, ``first + 1``, ...
            first: position of the first of these tasks among all.
            k: episodes (or demonstrations) of evidence that the policy had.
            updates: calls of ``adapt`` so far.
            evidence_steps: [T] environment steps in the evidence.
            mode: of the actions.
            log_likelihood: [T] of held-out demonstrations, if it was computed.
        """
        n_tasks, n_episodes = episodes.n_tasks, episodes.n_episodes
        if log_likelihood is None:
            log_likelihood = np.full(n_tasks, np.nan)
        positions = np.repeat(np.arange(first, first + n_tasks), n_episodes)
        self._parts.append(
            {
                "group": self._groups[positions],
                "task": self._ids[positions],
                "k": np.full(len(positions), k),
                "adaptation_updates": np.full(len(positions), updates),
                "adaptation_steps": np.repeat(evidence_steps, n_episodes),
                "episode": np.tile(np.arange(n_episodes), n_tasks),
                "mode": np.full(len(positions), mode, dtype=object),
                "env_steps": episodes.lengths.reshape(-1),
                "return": episodes.returns.reshape(-1).astype(np.float64),
                "success_any": episodes.success_any.reshape(-1),
                "success_last": episodes.success_last.reshape(-1),
                "first_success": episodes.first_success.reshape(-1),
                "optimal_return": episodes.optimal_return.reshape(-1).astype(np.float64),
                "held_out_log_likelihood": np.repeat(np.asarray(log_likelihood, dtype=np.float64), n_episodes),
                "stage": episodes.stage.reshape(-1),
            }
        )
        self.episodes += n_tasks * n_episodes
        self.env_steps += episodes.steps

    def diverged(self) -> None:
        """Add the only line of a run that diverged: it shows that there is a run, and counts in no average."""
        line: dict[str, Any] = {"group": "", "task": "", "mode": "mean"}
        line |= dict.fromkeys(("return", "optimal_return", "held_out_log_likelihood"), np.nan)
        line |= dict.fromkeys(("k", "adaptation_updates", "adaptation_steps", "episode", "env_steps"), 0)
        line |= {"success_any": False, "success_last": False, "first_success": -1, "stage": -1}
        self._parts.append({name: np.array([value], dtype=object) for name, value in line.items()})

    def frame(self) -> pd.DataFrame:
        """The curve table (``records.CURVE_SCHEMA``)."""
        run = self._run
        columns = {name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]}
        own_episodes = run.algorithm_module is None or run.evidence == "rollouts"
        constant: dict[str, Any] = {
            "suite": run.suite,
            "family": run.family,
            "algorithm": run.algorithm,
            "kind": run.kind,
            "seed": run.seed,
            "split": run.evaluation.split,
            "status": "diverged" if (columns["task"] == "").any() else "ok",
            "config_hash": run.config_hash,
            "adaptation_episodes": columns["k"] if own_episodes else 0,
        }
        frame: pd.DataFrame = pd.DataFrame({**columns, **constant})[records.CURVE_SCHEMA.names]
        return frame
