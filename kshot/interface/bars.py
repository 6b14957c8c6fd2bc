"""A progress bar of one line, in terminals and notebooks alike; nothing where the output goes to a file."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kshot import checksums
from kshot.errors import RecordError
from kshot.running import heartbeat, status

SECONDS = 0.5
"""Between two looks at how far it is."""
WIDTH = 30


def shown() -> bool:
    """Whether somebody watches: a terminal, or a notebook, whose output is no terminal."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def line(what: str, done: int, total: int, seconds: float) -> str:
    """``maml on nav2d  [#####.....]  200/400 episodes, 12 s left``."""
    share = min(done / total, 1.0) if total else 0.0
    filled = round(WIDTH * share)
    left = f", {status.duration(seconds * (1 - share) / share)} left" if 0 < share < 1 else ""
    return f"{what}  [{'#' * filled}{'.' * (WIDTH - filled)}]  {done}/{total} episodes{left}"


@contextmanager
def following(folder: Path, what: str) -> Iterator[None]:
    """While this lasts, show what the run in ``folder`` says of its progress (``kshot.running.heartbeat``)."""
    if not shown():
        yield
        return
    ended, start = threading.Event(), time.monotonic()

    def follow() -> None:
        text = ""
        while not ended.wait(SECONDS):
            try:
                beat = checksums.read_record(folder / heartbeat.FILE)
            except RecordError:  # not begun
                continue
            now = line(what, int(beat["done"]), int(beat["total"]), time.monotonic() - start)
            sys.stderr.write(f"\r{now.ljust(len(text))}")
            sys.stderr.flush()
            text = now
        sys.stderr.write(f"\r{' ' * len(text)}\r")
        sys.stderr.flush()

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
