"""Trains one run: draw tasks, let the learner take a meta-step, record its metrics, until the budget is used."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kshot import checksums, records, seeding
from kshot.errors import RecordError
from kshot.running import build, checkpoint, provenance
from kshot.running.evaluate import along_the_way, evidence_points
from kshot.running.heartbeat import Heartbeat
from kshot.running.rollout import rollout
from kshot.suites.run import RunConfig
from kshot.types import Calibrated, DemonstrationFamily, Episodes, Metrics, Policy, Task, TaskFamily

CHECKPOINT_SECONDS = 30.0
CHECKPOINT_SHARE = 0.05
"""Largest share of the time that goes into checkpoints."""


class Collector:
    """The ``Collect`` of one meta-step: obtains episodes, with random keys of their own, and counts their steps.

    Steps of demonstrations count like any others.

    Args:
        family: of the tasks.
        seed: of the run.
        iteration: number of the meta-step.
        validating: whether the tasks are validation tasks, of which a learner gets no more than of test tasks.
    """

    def __init__(self, family: TaskFamily, seed: int, iteration: int, validating: bool = False) -> None:
        self._family, self._seed, self._iteration, self._validating = family, seed, iteration, validating
        self._calls = 0
        self.steps = 0

    def __call__(self, policy: Policy, tasks: Sequence[Task], copies: int, episodes: int = 1) -> Episodes:
        played = self._counted(rollout(self._family, policy, tasks, self._keys(len(tasks)), copies, episodes))
        return played.for_validation() if self._validating else played.for_training()

    def demonstrations(self, tasks: Sequence[Task], n: int, arrangement: int = 0) -> Episodes:
        if not isinstance(self._family, DemonstrationFamily):
            raise ValueError(f"family {self._family.spec.name!r} offers no demonstrations")
        episodes = self._counted(self._family.demonstrations(tasks, n, self._keys(len(tasks)), arrangement))
        return episodes.as_evidence() if self._validating else episodes.for_training()

    def _keys(self, n_tasks: int) -> seeding.Keys:
        """[n_tasks] other keys in every call."""
        base = seeding.key(self._seed, "training episodes", self._iteration, self._calls)
        self._calls += 1
        return seeding.split(base, np.arange(n_tasks))

    def _counted(self, episodes: Episodes) -> Episodes:
        """The same episodes. Raises FloatingPointError for a reward that is not finite."""
        self.steps += episodes.steps
        if not (np.isfinite(episodes.reward).all() and np.isfinite(episodes.training_reward).all()):
            raise FloatingPointError("a reward is not finite")
        return episodes


def train(run: RunConfig, root: Path) -> None:
    """Train a run to its budget and write ``model.pt``, its snapshots, ``train.parquet`` and ``run.json``.

    Training goes on from a checkpoint of the same settings and code, if there is one; ``model.pt`` and
    ``train.parquet`` then have the same bytes as without the interruption. Divergence is a result: it is recorded, and
    the function returns normally.

    Raises:
        checkpoint.Busy: another process trains this run.
        SystemExit: with status 143 after SIGTERM and 130 after SIGINT, once the checkpoint is written.
        KeyboardInterrupt: at once, after a second SIGINT.
    """
    directory = run.directory(root)
    with checkpoint.exclusive(directory), checkpoint.StopRequest() as stop:
        _train(run, directory, stop)


def _train(run: RunConfig, directory: Path, stop: checkpoint.StopRequest) -> None:
    family = build.family(run)
    learner = build.learner(run, family.spec)
    # What could not be evaluated, or calibrated, is refused before it is trained.
    evidence_points(learner, run.evaluation.k)
    build.evaluation_tasks(run, family)
    if along := along_the_way(run):
        evidence_points(learner, along.evaluation.k)
        build.evaluation_tasks(along, family)
    for_calibration = build.calibration_tasks(run, family, learner)
    fingerprint = f"{run.train_hash}-{provenance.source_digest(run)}"
    iteration, steps, earlier_seconds, logged = 0, 0, 0.0, list[tuple[int, int, str, float]]()
    saved = _load_checkpoint(directory / checkpoint.CHECKPOINT, fingerprint)
    if saved is not None:
        learner.load_state_dict(saved["learner"])
        iteration, steps, earlier_seconds = saved["iteration"], saved["env_steps"], saved["wall_seconds"]
        logged = [tuple(entry) for entry in saved["rows"]]
    else:
        for path in directory.glob(checkpoint.SNAPSHOT.format("*")):
            path.unlink()  # of other settings or code

    budget = run.steps if learner.trains else 0
    heartbeat = Heartbeat(directory, "train", budget, "steps", done=steps)
    heartbeat.beat("training", steps, force=True)
    start_time = time.monotonic()
    next_save = start_time + CHECKPOINT_SECONDS
    status, reason = "ok", ""

    def save_checkpoint() -> float:
        """Save, and return when to do so next: writing large replay buffers must not take most of the time."""
        before = time.monotonic()
        checkpoint.save(
            directory / checkpoint.CHECKPOINT,
            {
                "fingerprint": fingerprint,
                "iteration": iteration,
                "env_steps": steps,
                "wall_seconds": earlier_seconds + time.monotonic() - start_time,
                "rows": logged,
                "learner": learner.state_dict(),
            },
        )
        after = time.monotonic()
        return after + max(CHECKPOINT_SECONDS, (after - before) / CHECKPOINT_SHARE)

    def save_model(name: str) -> None:
        """What tests, and learning curves, are made from."""
        checkpoint.save(
            directory / name,
            {
                "algorithm": run.algorithm_module,
                "train_hash": run.train_hash,
                "env_steps": steps,
                "status": status,
                "reason": reason,
                "normaliser": family.spec.normaliser,
                "learner": {name: value for name, value in learner.state_dict().items() if name != "replay"},
            },
        )

    points = run.learning_curve.points if run.learning_curve else 1
    snapshots = {checkpoint.SNAPSHOT.format(part): budget * part // points for part in range(1, points)}
    while steps < budget:
        tasks = build.training_tasks(run, family, learner, iteration)
        collect = Collector(family, run.seed, iteration)
        try:
            metrics = learner.meta_step(tasks, collect, min(steps / budget, 1.0))
        except FloatingPointError as error:
            status, reason = "diverged", f"iteration {iteration}: {error}"
            steps += collect.steps
            break
        if collect.steps == 0:
            raise RuntimeError(f"{run.algorithm}: a meta-step took no environment step, so training would never end")
        before, steps = steps, steps + collect.steps
        for name in [name for name, at in snapshots.items() if before < at <= steps]:
            save_model(name)
        metrics.setdefault("updates", 1.0)
        logged += [(iteration, steps, name, float(value)) for name, value in metrics.items()]
        iteration += 1
        heartbeat.beat("training", steps)
        if stop.signal is not None:
            save_checkpoint()
            heartbeat.beat("interrupted", steps, f"stopped by signal {stop.signal}; starts again from here", force=True)
            raise SystemExit(128 + stop.signal)  # what a shell reports for a process that a signal has ended
        if time.monotonic() > next_save:
            next_save = save_checkpoint()

    if status == "ok" and isinstance(learner, Calibrated):
        collect = Collector(family, run.seed, iteration, validating=True)
        chosen: Metrics = {}
        try:
            chosen = learner.calibrate(for_calibration, collect)
        except FloatingPointError as error:
            status, reason = "diverged", f"calibration: {error}"
        steps += collect.steps
        logged += [(iteration, steps, name, float(value)) for name, value in chosen.items()]

    frame = pd.DataFrame(logged, columns=records.TRAIN_SCHEMA.names)
    records.write_table(directory / "train.parquet", frame, records.TRAIN_SCHEMA)
    save_model(checkpoint.MODEL)
    checksums.write_record(
        directory / "run.json",
        provenance.collect(
            run,
            status=status,
            reason=reason,
            env_steps=steps,
            wall_seconds=earlier_seconds + time.monotonic() - start_time,
            iterations=iteration,
            updates=int(sum(value for _, _, name, value in logged if name == "updates")),
        ),
        (checkpoint.MODEL, "train.parquet", *(name for name in snapshots if (directory / name).is_file())),
    )
    (directory / checkpoint.CHECKPOINT).unlink(missing_ok=True)
    heartbeat.beat("diverged" if status == "diverged" else "trained", steps, reason, force=True)


def _load_checkpoint(path: Path, fingerprint: str) -> dict[str, Any] | None:
    """The checkpoint, if it is readable and of the same settings and code (``fingerprint``); else None."""
    if not path.is_file():
        return None
    try:
        saved = checkpoint.load(path)
    except RecordError:
        return None  # all that a checkpoint saves is time: if it is damaged, training starts again
    return saved if saved.get("fingerprint") == fingerprint else None
