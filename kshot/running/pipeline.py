"""What a job knows of the pipeline that started it: where that is killed, its jobs end, and its locks are nobody's."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from kshot.errors import RecordError
from kshot.records import read_json, write_json
from kshot.running.processes import lives, started

VARIABLE = "KSHOT_PIPELINE"
"""``host pid start`` of the process that plans and starts jobs."""
FILE = ".pipeline.json"
"""In the folder of a suite's results: the pipeline that works on it."""


def announce() -> None:
    """Let the jobs that this process starts know it."""
    os.environ[VARIABLE] = f"{socket.gethostname()} {os.getpid()} {started(os.getpid())}"


def is_gone() -> bool:
    """Whether the pipeline that started this process has ended without it; False where none did, or elsewhere."""
    words = os.environ.get(VARIABLE, "").split()
    return len(words) == 3 and words[0] == socket.gethostname() and not lives(int(words[1]), float(words[2]))


def claim(folder: Path) -> None:
    """Note that this process is the pipeline that works on the suite whose results lie in ``folder``."""
    pid = os.getpid()
    write_json(folder / FILE, {"host": socket.gethostname(), "pid": pid, "started": started(pid)})


def release(folder: Path) -> None:
    """The pipeline has ended by itself."""
    (folder / FILE).unlink(missing_ok=True)


def remove_dead_locks(folder: Path, locks: Path, prefixes: tuple[str, ...]) -> list[Path]:
    """Remove Snakemake's locks of a pipeline of this suite that was killed.

    Args:
        folder: of the suite's results.
        locks: Snakemake's folder of locks: for every pipeline one file that lists what it reads, ``<n>.input.lock``,
            and one that lists what it writes, ``<n>.output.lock``.
        prefixes: what the names of files begin with that pipelines of this suite write.

    Returns:
        What was removed; nothing where the pipeline still works or worked on another machine.
    """
    try:
        owner: dict[str, Any] = read_json(folder / FILE)
        here, pid, since = owner["host"] == socket.gethostname(), int(owner["pid"]), float(owner["started"])
    except (RecordError, KeyError, TypeError, ValueError):
        return []
    if not here or lives(pid, since):
        return []
    removed = []
    for path in sorted(locks.glob("*.output.lock")):
        if any(line.startswith(prefixes) for line in path.read_text().splitlines()):
            for lock in (path, path.with_name(path.name.replace(".output.", ".input."))):
                lock.unlink(missing_ok=True)
                removed.append(lock)
    release(folder)
    return removed
