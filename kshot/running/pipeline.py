"""What a job knows of the pipeline that started it: where that is killed, its jobs end, and its locks are nobody's."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from kshot.errors import RecordError
from kshot.records import read_json, write_json
from kshot.running.processes import lives, this_process

VARIABLE = "KSHOT_PIPELINE"
"""``host pid start`` of the process that plans and starts jobs."""
FILE = ".pipeline.json"
"""In the folder of a suite's results: the pipeline that works on it."""


def announce() -> None:
    """Let the jobs that this process starts know it."""
    own = this_process()
    os.environ[VARIABLE] = f"{own['host']} {own['pid']} {own['started']}"


def is_gone() -> bool:
    """Whether the pipeline that started this process has ended without it; False where none did, or elsewhere."""
    words = os.environ.get(VARIABLE, "").split()
    return len(words) == 3 and words[0] == socket.gethostname() and not lives(int(words[1]), float(words[2]))


def claim(folder: Path) -> None:
    """Note that this process is the pipeline that works on the suite whose results lie in ``folder``."""
    write_json(folder / FILE, this_process())


def release(folder: Path) -> None:
    """The pipeline has ended by itself: what it noted goes, and what another one did stays."""
    own, owner = this_process(), _owner(folder)
    if owner is not None and (owner["host"], owner["pid"]) == (own["host"], own["pid"]):
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
    owner = _owner(folder)
    if owner is None or owner["host"] != socket.gethostname() or lives(owner["pid"], owner["started"]):
        return []
    removed = []
    for path in sorted(locks.glob("*.output.lock")):
        if any(line.startswith(prefixes) for line in path.read_text().splitlines()):
            for lock in (path, path.with_name(path.name.replace(".output.", ".input."))):
                lock.unlink(missing_ok=True)
                removed.append(lock)
    (folder / FILE).unlink(missing_ok=True)
    return removed


def _owner(folder: Path) -> dict[str, Any] | None:
    """What ``claim`` noted; None where nothing readable stands."""
    try:
        owner = read_json(folder / FILE)
        return {"host": str(owner["host"]), "pid": int(owner["pid"]), "started": float(owner["started"])}
    except (RecordError, KeyError, TypeError, ValueError):
        return None
