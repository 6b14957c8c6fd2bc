"""Evaluating one run on unseen tasks: how good is it after k episodes of evidence, for growing k?

For every frozen test task: score the current policy with its mean action; play a block of sampled episodes, which both
scores the policy as it really acts and is the evidence (unless that is demonstrations); adapt; repeat. Every task plays
the same number of episodes, full length: counting "the first n episodes to finish" instead would favour those that end
early by succeeding.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kshot import records, seeding
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
"""Tasks evaluated side by side at most. It bounds memory; results do not depend on who shares a chunk."""
HELD_OUT = 8
"""Demonstrations per task that an adapted learner has to explain."""
HELD_OUT_ARRANGEMENT = 1
"""In other surroundings than those adapted to, which are number 0; families without arrangements ignore it."""


def evidence_points(learner: MetaLearner, points: Sequence[int]) -> list[int]:
    """How much evidence the policies have that answer for a suite's evidence points, up to the learner's limit.

    A learner that adapts on blocks of episodes acts, within a block, by what it learnt from the complete ones: at each
    point that is its policy at the largest multiple of its block.

    Raises:
        RecordError: none but 0 is left, so the run could not show any adaptation.
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


def evaluate(run: RunConfig, root: Path) -> None:
    """Evaluate a run from its model file alone and write ``curve.parquet`` and ``evaluate.json``.

    Raises:
        RecordError: the model file is missing, damaged or belongs to another run.
        checkpoint.Busy: another process works on this run.
    """
    directory = run.directory(root)
    with checkpoint.exclusive(directory):
        begun = time.monotonic()
        family = build.family(run)
        tasks = _frozen_tasks(run, family)
        recorder = _Recorder(run, tasks)
        spec = family.spec
        about: dict[str, Any] = {}
        information: dict[str, Any] = {
            "horizon": spec.horizon,
            "episodes_per_trial": spec.episodes_per_trial,
            "action_kind": spec.action_kind,
            "references": _known_values(family, tasks),
            "stages": list(spec.stages),
        }
        if run.kind == "reference":
            status, reason, model_digest = "ok", "", ""
            information["trial_memory"] = _evaluate_reference(run, family, tasks, recorder, directory)
        else:
            model = checkpoint.load_model(directory / checkpoint.MODEL, run, family.spec)
            model_digest = checkpoint.digest(directory / checkpoint.MODEL)
            status, reason = model["status"], model["reason"]
            if status == "ok":
                learner = build.learner(run, family.spec)
                learner.load_state_dict(model["learner"])
                about |= {"adaptation_episodes": learner.adaptation_episodes, "max_evidence": learner.max_evidence}
                _evaluate_learner(run, family, learner, tasks, recorder, directory)
            else:
                recorder.diverged()
        records.write_table(directory / "curve.parquet", recorder.frame(), records.CURVE_SCHEMA)
        provenance_record = provenance.collect(
            run,
            status=status,
            reason=reason,
            env_steps=recorder.env_steps,
            wall_seconds=time.monotonic() - begun,
            family=information,
            model_digest=model_digest,
            **about,
        )
        records.write_json(directory / "evaluate.json", provenance_record)
        episodes = recorder.episodes
        Heartbeat(directory, "evaluate", episodes, "episodes").beat(
            "diverged" if status == "diverged" else "done", episodes, reason, force=True
        )


def _frozen_tasks(run: RunConfig, family: TaskFamily) -> list[Task]:
    try:
        return family.tasks(run.evaluation.split, run.evaluation.tasks, run.task_seed)
    except ValueError as error:  # a finite split that is smaller than the suite believes
        raise RecordError(f"family {run.family!r}: {error}") from None


def _evaluate_learner(
    run: RunConfig,
    family: TaskFamily,
    learner: MetaLearner,
    tasks: Sequence[Task],
    recorder: _Recorder,
    directory: Path,
) -> None:
    points = evidence_points(learner, run.evaluation.k)
    block = learner.adaptation_episodes
    shows = _shows(run, family)
    # Demonstrations need not be played for, so nothing is played between the points that are asked for.
    stops = points if shows is not None else list(range(0, points[-1] + 1, block))
    # What the learner is compared by is as sure with sampled actions as with mean ones.
    least = run.evaluation.mean_episodes if run.test_actions == "sampled" else 1
    played = {k: block if k not in points else max(block, least) for k in stops}
    if shows is not None:
        played = dict.fromkeys(stops, max(run.evaluation.sampled_episodes, least))
    total = len(tasks) * (sum(played.values()) + len(points) * run.evaluation.mean_episodes)
    heartbeat = Heartbeat(directory, "evaluate", total, "episodes")
    for first, chunk in _chunks(tasks, family, max(*played.values(), run.evaluation.mean_episodes)):
        policy: Policy = learner.policy()
        consumed = np.zeros(len(chunk), dtype=np.int64)
        explain = _explainer(run, family, learner, chunk, first)
        for update, k in enumerate(stops):
            heartbeat.beat("evaluating", recorder.episodes)
            play = _player(run, family, chunk, first, k)
            if k in points:
                scored = play(policy, run.evaluation.mean_episodes, "mean")
                recorder.add(scored, first, k, update, consumed, "mean", explain(policy))
            scored = play(policy, played[k], "sampled")
            recorder.add(scored, first, k, update, consumed, "sampled")
            if k == stops[-1]:
                break
            evidence = scored.select(slice(None), slice(block))
            if shows is not None:
                keys = [_demonstration_keys(run, len(chunk), first, i) for i in range(k, stops[update + 1], block)]
                evidence = Episodes.joined([shows.demonstrations(chunk, block, one) for one in keys])
            policy = learner.adapt(policy, evidence.as_evidence())
            consumed = consumed + evidence.lengths.sum(axis=1)


def _evaluate_reference(
    run: RunConfig, family: TaskFamily, tasks: Sequence[Task], recorder: _Recorder, directory: Path
) -> bool:
    """Scripted policies do not adapt; they play whole trials where the trial is what counts or their memory lasts.

    Returns:
        Whether the memory does outlast an episode: such a policy may learn from the rewards of earlier ones.
    """
    reference = family.references.get(run.algorithm)
    if reference is None:
        known = suggest(run.algorithm, family.references)
        raise RecordError(f"family {run.family!r} has no reference policy {run.algorithm!r}{known}")
    example = reference(tasks[:1])
    remembers = isinstance(example, TrialPolicy) and example.trial_memory
    trial = family.spec.episodes_per_trial if remembers or run.headline == "trial_return" else 1
    copies = run.evaluation.sampled_episodes
    heartbeat = Heartbeat(directory, "evaluate", len(tasks) * copies * trial, "episodes")
    for first, chunk in _chunks(tasks, family, copies):
        heartbeat.beat("evaluating", recorder.episodes)
        policy = reference(chunk)
        keys = _keys(run, len(chunk), first, 0, "sampled")
        played = rollout(family, policy, chunk, keys, copies, trial)
        for k in range(trial):
            episodes = played.select(slice(None), np.arange(copies) * trial + k)
            recorder.add(episodes, first, k, 0, np.zeros(len(chunk), dtype=np.int64), "sampled")
    return remembers


def _chunks(tasks: Sequence[Task], family: TaskFamily, copies: int) -> list[tuple[int, Sequence[Task]]]:
    size = max(1, min(TASK_CHUNK, family.spec.max_sub_envs // copies))
    return [(first, tasks[first : first + size]) for first in range(0, len(tasks), size)]


def _keys(run: RunConfig, n_tasks: int, first: int, k: int, mode: Mode) -> seeding.Keys:
    """Keyed by seed, evidence and the task's position in the frozen test set; algorithms share their luck."""
    return seeding.split(seeding.key(run.seed, "evaluation", k, mode), first + np.arange(n_tasks))


def _shows(run: RunConfig, family: TaskFamily) -> DemonstrationFamily | None:
    """The family, if it is to demonstrate what the run's learner adapts to."""
    return family if isinstance(family, DemonstrationFamily) and run.evidence == "demonstrations" else None


def _explainer(
    run: RunConfig, family: TaskFamily, learner: MetaLearner, tasks: Sequence[Task], first: int
) -> Callable[[Policy], Array | None]:
    """What says how well a policy explains demonstrations that no learner adapts to; None where it cannot."""
    shows = _shows(run, family)
    if shows is None or family.spec.world is None or not isinstance(learner, Explains):
        return lambda policy: None
    keys = _demonstration_keys(run, len(tasks), first, "held out")
    held_out = shows.demonstrations(tasks, HELD_OUT, keys, HELD_OUT_ARRANGEMENT).as_evidence()
    explain = learner.explain
    return lambda policy: explain(policy, held_out)


def _demonstration_keys(run: RunConfig, n_tasks: int, first: int, which: int | str) -> seeding.Keys:
    """Keyed by the frozen tasks, not by the run's seed: every algorithm and seed is shown the same."""
    return seeding.split(seeding.key(run.task_seed, "demonstrations", which), first + np.arange(n_tasks))


def _player(
    run: RunConfig, family: TaskFamily, tasks: Sequence[Task], first: int, k: int
) -> Callable[[Policy, int, Mode], Episodes]:
    def play(policy: Policy, copies: int, mode: Mode) -> Episodes:
        return rollout(family, policy, tasks, _keys(run, len(tasks), first, k, mode), copies, mode=mode)

    return play


def _known_values(family: TaskFamily, tasks: Sequence[Task]) -> dict[str, float]:
    """Mean over the test tasks of the reference values the family knows."""
    values = [family.reference(task) for task in tasks]
    return {name: float(np.mean([value[name] for value in values])) for name in (values[0] if values else {})}


class _Recorder:
    """Collects blocks of episodes as columns of the curve table, one row per episode."""

    def __init__(self, run: RunConfig, tasks: Sequence[Task]) -> None:
        self._run = run
        self._ids = np.array([task.id for task in tasks], dtype=object)
        self._groups = np.array([task.group or task.family for task in tasks], dtype=object)
        self._blocks: list[dict[str, Array]] = []
        self.episodes = 0
        self.env_steps = 0

    def add(
        self,
        episodes: Episodes,
        first: int,
        k: int,
        updates: int,
        consumed: Array,
        mode: Mode,
        explained: Array | None = None,
    ) -> None:
        """Rows for episodes of tasks ``first``, ``first + 1``, ...

        ``consumed`` [T] counts steps of evidence, ``explained`` [T] is the log-likelihood of held-out demonstrations.
        """
        n_tasks, n_episodes = episodes.n_tasks, episodes.n_episodes
        explained = np.full(n_tasks, np.nan) if explained is None else np.asarray(explained, dtype=np.float64)
        positions = np.repeat(np.arange(first, first + n_tasks), n_episodes)
        self._blocks.append(
            {
                "group": self._groups[positions],
                "task": self._ids[positions],
                "k": np.full(len(positions), k),
                "adaptation_updates": np.full(len(positions), updates),
                "adaptation_steps": np.repeat(consumed, n_episodes),
                "episode": np.tile(np.arange(n_episodes), n_tasks),
                "mode": np.full(len(positions), mode, dtype=object),
                "env_steps": episodes.lengths.reshape(-1),
                "return": episodes.returns.reshape(-1).astype(np.float64),
                "success_any": episodes.success_any.reshape(-1),
                "success_last": episodes.success_last.reshape(-1),
                "first_success": episodes.first_success.reshape(-1),
                "optimal_return": episodes.optimal_return.reshape(-1).astype(np.float64),
                "held_out_log_likelihood": np.repeat(explained, n_episodes),
                "stage": episodes.stage.reshape(-1),
            }
        )
        self.episodes += n_tasks * n_episodes
        self.env_steps += episodes.steps

    def diverged(self) -> None:
        """The one row of a run that has no result: it keeps the cell visible and counts in no average."""
        row: dict[str, Any] = {"group": "", "task": "", "mode": "mean"}
        row |= dict.fromkeys(("return", "optimal_return", "held_out_log_likelihood"), np.nan)
        row |= dict.fromkeys(("k", "adaptation_updates", "adaptation_steps", "episode", "env_steps"), 0)
        row |= {"success_any": False, "success_last": False, "first_success": -1, "stage": -1}
        self._blocks.append({name: np.array([value], dtype=object) for name, value in row.items()})

    def frame(self) -> pd.DataFrame:
        run = self._run
        columns = {name: np.concatenate([block[name] for block in self._blocks]) for name in self._blocks[0]}
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
