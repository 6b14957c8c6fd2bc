"""Telling processes apart: their numbers are given away again."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil

_SAME_START = 1.0
"""Seconds by which the start of one process can be read differently."""


def this_process() -> dict[str, Any]:
    """What tells this process from every other, and the time."""
    pid = os.getpid()
    return {"updated": time.time(), "pid": pid, "started": started(pid), "host": socket.gethostname()}


def started(pid: int) -> float:
    """Seconds from the start of the machine to that of a process: the same whatever becomes of the clock.

    Raises:
        psutil.NoSuchProcess: there is none of that number.
    """
    return round(psutil.Process(pid).create_time() - psutil.boot_time(), 1)


def lives(pid: int, since: float | None) -> bool:
    """Whether the process of this number that started at ``since`` (None: at any time) still runs on this machine."""
    try:
        same = since is None or abs(started(pid) - since) < _SAME_START
        return same and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Ctrl-C waits for the end: a library in Rust that calls Python would make a panic of its own of it."""
    if threading.current_thread() is not threading.main_thread():  # signals are handled in that one alone
        yield
        return
    seen: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, _: seen.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
    if seen:
        signal.raise_signal(signal.SIGINT)
