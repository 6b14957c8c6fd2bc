"""What stands around the steps of one run: refuse what cannot be meant, repeat nothing unasked, say how it ended.

A step that is refused touches nothing. One that was finished is not done again, and its results are not replaced,
unless that is asked for. One that was interrupted says how to go on.
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

from kshot.errors import RecordError
from kshot.records import read_json
from kshot.running import checkpoint, provenance, status
from kshot.running.heartbeat import FILE
from kshot.suites.run import RunConfig

Name = Literal["train", "evaluate", "official"]


@dataclass(frozen=True)
class Step:
    """One of the steps of a run.

    Attributes:
        done: what it is called when it has been done.
        outputs: the files it writes; the last is its record.
        hash_name: the entry of the record that holds the fingerprint of the settings that decide its outputs.
        runner: the modules that do it.
    """

    done: str
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


def outdated(name: Name, run: RunConfig, directory: Path, record: dict[str, Any]) -> list[tuple[str, str]]:
    """How the record of a step differs from what it would be made with now.

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
    found = []
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


def finished(name: Name, run: RunConfig, root: Path) -> str:
    """A sentence if the step has been finished by this code with these settings; empty if it is to be done.

    Raises:
        RecordError: it has been finished with other code or settings, so that doing it would replace these results.
    """
    step, directory = STEPS[name], run.directory(root)
    if not all((directory / output).is_file() for output in step.outputs):
        return ""
    if name == "train" and (directory / checkpoint.CHECKPOINT).is_file():
        return ""  # it is being trained anew, and goes on from there
    differences = outdated(name, run, directory, read_json(directory / step.record))
    if differences:
        reasons = "; ".join(text for _, text in differences)
        raise RecordError(f"{directory / step.record}: {reasons}; add --again to replace these results")
    return f"{directory}: {step.done} already, by this code and with these settings; --again does it once more"


def require_asked(run: RunConfig) -> None:
    """Raise RecordError if the official evaluation is not for this run."""
    if not run.official:
        raise RecordError(
            f"{run.algorithm!r} on {run.family!r} is not for the official evaluation: "
            "it takes learners, on families with evaluation.official: true"
        )


def require_model(run: RunConfig, root: Path) -> None:
    """Raise RecordError if there is nothing to evaluate: a run that has not been trained is left as it is."""
    path = run.directory(root) / checkpoint.MODEL
    if run.kind != "reference" and not path.is_file():
        raise RecordError(f"{path}: no such file; train this run first")


def do(
    name: Name, step: Callable[[RunConfig, Path], None], run: RunConfig, root: Path, mistakes: Sequence[type]
) -> int:
    """Do a step; leave a note for ``kshot status`` if it fails, and say how to go on if it is interrupted.

    Args:
        name: of the step.
        step: what does it.
        run: for which.
        root: folder of all results.
        mistakes: errors of the user's; those that come before the work has begun leave finished results as they are.

    Returns:
        The exit status: 0, or 130 after SIGINT and 143 after SIGTERM, as shells have it.

    Raises:
        Exception: whatever the step raises.
    """
    directory = run.directory(root)
    try:
        step(run, root)
    except KeyboardInterrupt:
        if _begun(directory):
            status.note(directory, "interrupted", f"interrupted; {_how_to_go_on(name, directory)}")
        print(f"kshot: interrupted; {_how_to_go_on(name, directory)}", file=sys.stderr)
        return 128 + signal.SIGINT
    except SystemExit as end:
        print(f"kshot: stopped, and everything is saved; {_how_to_go_on(name, directory)}", file=sys.stderr)
        return int(end.code or 0)
    except Exception as error:
        busy = isinstance(error, checkpoint.Busy)  # the note belongs to the process that is at work
        mistaken = isinstance(error, tuple(mistakes)) and not _begun(directory)
        if not (busy or (mistaken and _worth_keeping(name, directory))):
            status.note(directory, "failed", f"{type(error).__name__}: {error}")
        raise
    for output in STEPS[name].outputs:
        print(directory / output)
    return 0


def _how_to_go_on(name: Name, directory: Path) -> str:
    if name == "train" and (directory / checkpoint.CHECKPOINT).is_file():
        return "the same command goes on from the checkpoint"
    return "the same command begins it anew"


def _begun(directory: Path) -> bool:
    """Whether this process has reported any work on the run."""
    try:
        beat = read_json(directory / FILE)
    except RecordError:
        return False
    return (beat.get("pid"), beat.get("host")) == (os.getpid(), socket.gethostname())


def _worth_keeping(name: Name, directory: Path) -> bool:
    """Whether there is something that a mistaken command leaves as it was: results, or a training to go on with."""
    return any((directory / file).is_file() for file in (STEPS[name].record, checkpoint.CHECKPOINT))
