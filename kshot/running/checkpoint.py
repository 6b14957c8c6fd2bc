"""Saving and loading learners, and the lock that keeps a run to one process.

Files are written whole or not at all, and say which run they belong to. PyTorch is imported only where a file is
written or read: scripted policies have none, and loading PyTorch would take most of their time.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import logging
import os
import signal
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import numpy as np

from kshot import checksums
from kshot.errors import RecordError
from kshot.records import remove_unfinished, write_bytes
from kshot.running import pipeline
from kshot.suites.run import RunConfig
from kshot.types import FamilySpec, MetaLearner

CHECKPOINT = "checkpoint.pt"
MODEL = "model.pt"
SNAPSHOT = "snapshot-{}.pt"
"""The model after so many of a run's parts, as ``model.pt`` is after the last."""
FORMAT = 2
LOCKS = "KSHOT_LOCKS"
"""The environment variable with a folder for locks, where the results' own file system has none."""
PATIENCE = 600
"""Seconds that a job of a pipeline waits for another process to end."""
_log = logging.getLogger(__name__)


class Busy(RuntimeError):
    """Another process works on the same run."""


@contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Hold the run's lock; the system releases it even if the process is killed.

    Raises:
        Busy: another process has it.
        OSError: the file system has no locks.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with _lock_of(directory).open("w") as file:
        try:
            _lock(file, directory)
        except BlockingIOError:
            raise Busy(f"{directory}: another process is working on this run; wait for it or stop it first") from None
        except OSError as error:
            raise OSError(
                f"{file.name}: this file system has no locks ({error.strerror}), by which a run is kept to one "
                f"process; set {LOCKS} to a folder on one that has, the same for all who work on these results"
            ) from None
        remove_unfinished(directory)
        yield


def _lock(file: TextIO, directory: Path) -> None:
    """Take the lock, which in a pipeline is waited for: jobs of one that was killed end by themselves, but not at once.

    Raises:
        BlockingIOError: another process has it.
    """
    patience = PATIENCE if os.environ.get(pipeline.VARIABLE) else 0
    for waited in range(patience + 1):
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waited == patience:
                raise
        if waited == 0:
            _log.warning("%s: another process is working on this run; waiting until it has saved and ended", directory)
        time.sleep(1)
    return None


def _lock_of(directory: Path) -> Path:
    """In the folder itself, or in ``$KSHOT_LOCKS`` under a name of its own."""
    if not (folder := os.environ.get(LOCKS)):
        return directory / ".lock"
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder) / f"{hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:16]}.lock"


class StopRequest:
    """Turns SIGTERM and SIGINT into a flag, so that a run ends between two iterations with everything saved.

    A second SIGINT raises KeyboardInterrupt at once, for those who cannot wait for the end of the iteration.
    """

    def __init__(self) -> None:
        self.signal: int | None = None

    def __enter__(self) -> StopRequest:
        self._previous = {number: signal.signal(number, self._handle) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.signal == number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number
        if number == signal.SIGINT:  # not by print, which may be what the signal interrupts
            os.write(2, b"kshot: stopping after this iteration, once it is saved; Ctrl-C again stops at once\n")


def save(path: Path, value: Mapping[str, Any]) -> None:
    """Write tensors and plain values atomically; equal values give equal bytes."""
    import torch

    buffer = io.BytesIO()  # into a file, torch.save would also write its name, so that the bytes depended on that
    torch.save({"format": FORMAT, **value}, buffer)
    write_bytes(path, buffer.getvalue())


def load(path: Path) -> dict[str, Any]:
    """Read what ``save`` wrote. Raises RecordError when the file is missing, damaged or of another format."""
    import torch

    try:
        data = io.BytesIO(path.read_bytes())
        if part := zipfile.ZipFile(data).testzip():  # which torch.load does not look at
            raise ValueError(f"wrong checksum in {part}")
        data.seek(0)
        value = torch.load(data, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise RecordError(f"{path}: no such file; train this run first") from None
    except Exception as error:  # torch raises several unrelated types for damaged archives
        detail = (str(error).splitlines() or [type(error).__name__])[0]
        raise RecordError(f"{path}: not a readable model file ({detail}); delete it and train again") from None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise RecordError(f"{path}: not a model file of this version; delete it and train again")
    return value


def digest(path: Path) -> str:
    """SHA-256 (16 hex digits) of a file."""
    return checksums.sha256(path)[:16]


def load_model(path: Path, run: RunConfig, spec: FamilySpec) -> dict[str, Any]:
    """The trained model of a run.

    Raises:
        RecordError: it is not the one that was trained, belongs to another algorithm or other settings, or was trained
            on observations that were normalised with other constants than the family's.
    """
    if not path.is_file():
        raise RecordError(f"{path}: no such file; train this run first")
    checksums.verify(path, checksums.read_record(path.with_name("run.json")), "delete it and train again")
    model = load(path)
    if model["algorithm"] != run.algorithm_module:
        raise RecordError(f"{path}: a model of {model['algorithm']!r}, but {run.algorithm_module!r} is to be evaluated")
    if model["train_hash"] != run.train_hash:
        raise RecordError(
            f"{path}: trained with settings {model['train_hash']}, but the suite now says {run.train_hash}; train again"
        )
    for name, value in spec.normaliser.items():
        if not np.allclose(model["normaliser"][name], value, rtol=1e-6, atol=1e-9):
            text = f"{path}: trained on observations of another {name} than family {run.family!r} has now; train again"
            raise RecordError(text)
    return model


def restore(learner: MetaLearner, model: Mapping[str, Any], path: Path) -> None:
    """Give a learner the state that a model file holds.

    Raises:
        RecordError: it is not a state of this learner.
    """
    try:
        learner.load_state_dict(model["learner"])
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        detail = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        raise RecordError(f"{path}: does not fit the learner ({detail}); delete it and train again") from error
