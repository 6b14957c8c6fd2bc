"""Writes ``progress.json``, which says what a run is doing; ``kshot status`` reads it."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Literal

from kshot.checksums import write_record
from kshot.running import pipeline
from kshot.running.processes import this_process

FILE = "progress.json"
RUNNING = ("training", "evaluating")
State = Literal["training", "trained", "evaluating", "done", "diverged", "interrupted", "failed"]


class Heartbeat:
    """Writes ``progress.json`` of one run.

    Args:
        directory: of the run.
        phase: "train", "evaluate" or "official".
        total: amount of work, in ``unit``.
        unit: what is counted.
        done: work done by earlier processes, which does not count towards the rate.
        interval: seconds between two writes, at least.
    """

    def __init__(
        self,
        directory: Path,
        phase: Literal["train", "evaluate", "official"],
        total: int,
        unit: Literal["steps", "episodes"],
        done: int = 0,
        interval: float = 1.0,
    ) -> None:
        self._path = directory / FILE
        self._phase, self._total, self._unit, self._interval = phase, total, unit, interval
        self._start_time, self._start_done = time.monotonic(), done
        self._last_write = -float("inf")

    def beat(self, state: State, done: int, message: str = "", force: bool = False) -> None:
        """Report ``done`` of the total. Within ``interval`` of the last write it is not written, unless ``force``."""
        now = time.monotonic()
        if not force and now - self._last_write < self._interval:
            return
        self._last_write = now
        seconds = max(now - self._start_time, 1e-9)
        rate = (done - self._start_done) / seconds
        left = max(self._total - done, 0)
        write_record(
            self._path,
            {
                "state": state,
                "phase": self._phase,
                "done": done,
                "total": self._total,
                "unit": self._unit,
                "rate": rate,
                "eta_seconds": left / rate if rate > 0 else None,
                "message": message,
            }
            | this_process(),
        )
        if state in RUNNING and pipeline.is_gone():
            signal.raise_signal(signal.SIGTERM)  # nobody waits for this job; a training ends when it is saved
