"""A small file beside every run that tells what it is doing; ``kshot status`` reads it."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Literal

from kshot.records import write_json

FILE = "progress.json"
State = Literal["training", "trained", "evaluating", "done", "diverged", "interrupted", "failed"]


class Heartbeat:
    """Writes ``progress.json`` at most every ``interval`` seconds, and always when the state changes.

    Args:
        directory: of the run.
        phase: "train", "evaluate" or "official".
        total: amount of work in ``unit``.
        done: work already done by earlier processes; it does not count towards the rate.
        unit: what is counted.
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
        self._begun, self._begun_done = time.monotonic(), done
        self._last = -float("inf")

    def beat(self, state: State, done: int, message: str = "", force: bool = False) -> None:
        """Report ``done`` of the total. ``force`` writes even if the last beat was a moment ago."""
        now = time.monotonic()
        if not force and now - self._last < self._interval:
            return
        self._last = now
        seconds = max(now - self._begun, 1e-9)
        rate = (done - self._begun_done) / seconds
        left = max(self._total - done, 0)
        write_json(
            self._path,
            {
                "state": state,
                "phase": self._phase,
                "done": done,
                "total": self._total,
                "unit": self._unit,
                "rate": rate,
                "eta_seconds": left / rate if rate > 0 else None,
                "updated": time.time(),
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "message": message,
            },
        )
