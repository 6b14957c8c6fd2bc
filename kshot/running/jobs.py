"""Runs the steps of a run (train, evaluate, official) for the command line: checks before, messages after.

A step that is refused changes nothing. A finished step is not repeated, and its results are not replaced, unless the
user asks for it. An interrupted step says how to go on.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kshot.checksums import read_record, verify_all
from kshot.errors import RecordError
from kshot.running import checkpoint, provenance, status
from kshot.running.heartbeat import FILE
from kshot.suites.run import RunConfig

Name = Literal["train", "evaluate", "official"]


@dataclass(frozen=True)
class Step:
    """One of the steps of a run.

    Attributes:
        participle: of its verb, for messages: "trained" or "evaluated".
        outputs: the files it writes; the last is its record.
        hash_name: the entry of the record that holds the fingerprint of the settings that decide its outputs.
        runner: the modules that do it.
    """

    participle: str
    outputs: tuple[str, ...]
    hash_name: Literal["train_hash", "config_hash"]
    runner: tuple[str, ...] = provenance.RUNNER

    @property
    def record(self) -> str:
        return self.outputs[-1]


STEPS: dict[Name, Step] = {
    "train": Step("trained", (checkpoint.MODEL, "train.parquet", "run.json"), "train_hash"),
    "evaluate": Step("evaluated", ("curve.parquet", "evaluate.json"), "config_hash"),
    "official": Step("evaluated", ("official.json",), "train_hash", provenance.OFFICIAL_RUNNER),
}


def differences(name: Name, run: RunConfig, directory: Path, record: dict[str, Any]) -> list[tuple[str, str]]:
    """Differences between what a step was done with and what it would be done with now.

    Args:
        name: of the step.
        run: as the suite has it now.
        directory: of the run.
        record: what the step wrote.

    Returns:
        Pairs of a kind ("code", "settings" or "model") and a text; empty where nothing differs.

    Raises:
        RecordError: the record lacks an entry.
    """
    step = STEPS[name]
    try:
        source, settings = record["source_digest"], record[step.hash_name]
    except KeyError as error:
        raise RecordError(f"{directory / step.record}: has no entry {error}; run its step again") from None
    found: list[tuple[str, str]] = []
    digest = provenance.source_digest(run, step.runner)
    if source != digest:
        commit = f"{str(record.get('git_commit'))[:10]}{', modified' if record.get('git_dirty') else ''}"
        found.append(("code", f"made by source {source} (commit {commit}), here is {digest}"))
    if settings != getattr(run, step.hash_name):
        found.append(("settings", f"made with settings {settings}, the suite now says {getattr(run, step.hash_name)}"))
    model = directory / checkpoint.MODEL
    if record.get("model_digest") and model.is_file() and record["model_digest"] != checkpoint.digest(model):
        found.append(
            ("model", f"made from model {record['model_digest']}, {model.name} now is {checkpoint.digest(model)}")
        )
    return found


def already_finished(name: Name, run: RunConfig, root: Path) -> str:
    """A message if the step has been finished by this code with these settings; empty if it remains to be done.

    Raises:
        RecordError: it has been finished with other code or settings, so that doing it would replace those results.
    """
    step, directory = STEPS[name], run.directory(root)
    if not all((directory / output).is_file() for output in step.outputs):
        return ""
    if name == "train" and (directory / checkpoint.CHECKPOINT).is_file():
        return ""  # it is being trained again; the outputs are of an earlier training
    found = differences(name, run, directory, verify_all(directory / step.record))
    if found:
        reasons = "; ".join(text for _, text in found)
        raise RecordError(f"{directory / step.record}: {reasons}; add --again to replace these results")
    return f"{directory}: {step.participle} already, by this code and with these settings; --again does it once more"


def require_model(run: RunConfig, root: Path) -> None:
    """Raise RecordError if there is no model to evaluate, before anything is written."""
    path = run.directory(root) / checkpoint.MODEL
    if run.kind != "reference" and not path.is_file():
        raise RecordError(f"{path}: no such file; train this run first")


def run_step(
    name: Name, step: Callable[[RunConfig, Path], None], run: RunConfig, root: Path, user_errors: Sequence[type]
) -> int:
    """Run a step. If it fails, note that for ``kshot status``; if it is interrupted, also print how to go on.

    Args:
        name: of the step.
        step: the function that does it.
        run: what it is done for.
        root: folder of all results.
        user_errors: types of errors that the user has to mend. Those raised before the work has begun are not noted
            where there are results or a checkpoint, since these stay as they are.

    Returns:
        The exit status: 0, or 130 after SIGINT and 143 after SIGTERM, as shells have it.

    Raises:
        Exception: whatever the step raises.
    """
    directory = run.directory(root)
    try:
        step(run, root)
    except KeyboardInterrupt:
        if _has_reported(directory):
            status.note(directory, "interrupted", f"interrupted; {_how_to_go_on(name, directory)}")
        print(f"kshot: interrupted; {_how_to_go_on(name, directory)}", file=sys.stderr)
        return 128 + signal.SIGINT
    except SystemExit as end:
        print(f"kshot: stopped, and everything is saved; {_how_to_go_on(name, directory)}", file=sys.stderr)
        return int(end.code or 0)
    except Exception as error:
        busy = isinstance(error, checkpoint.Busy)  # the state is that of the process that is at work
        before_work = isinstance(error, tuple(user_errors)) and not _has_reported(directory)
        if not (busy or (before_work and _has_results(name, directory))):
            status.note(directory, "failed", f"{type(error).__name__}: {error}")
        raise
    for output in STEPS[name].outputs:
        print(directory / output)
    return 0


def _how_to_go_on(name: Name, directory: Path) -> str:
    if name == "train" and (directory / checkpoint.CHECKPOINT).is_file():
        return "the same command goes on from the checkpoint"
    return "the same command begins it anew"


def _has_reported(directory: Path) -> bool:
    """Whether this process has written the run's ``progress.json``."""
    try:
        beat = read_record(directory / FILE)
    except RecordError:
        return False
    return (beat.get("pid"), beat.get("host")) == (os.getpid(), socket.gethostname())


def _has_results(name: Name, directory: Path) -> bool:
    """Whether there are results of the step, or a checkpoint to go on from."""
    return any((directory / file).is_file() for file in (STEPS[name].record, checkpoint.CHECKPOINT))
