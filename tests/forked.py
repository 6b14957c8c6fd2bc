"""Commands in processes of their own that start at once: forks of one that has imported what they need.

Starting Python and importing PyTorch takes seconds, most of what a command takes on tiny suites. A fork has a folder,
an environment, signals and an exit status of its own, as any process. What is new in a process that was not forked
(imports, threads that libraries start, variables that they read) is tested by the jobs of pipelines, which are not.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

Work = Callable[..., int]
"""A function at the top of a module; what it returns is the exit status."""
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    ["torch", "pandas", "snakemake.cli", "kshot.running.train", "kshot.reporting.page", "tests.contract.tiny"]
)


def _begin(work: Work, arguments: tuple[Any, ...], out: Path, err: Path, daemon: bool) -> ForkServerProcess:
    process = _context.Process(target=_do, args=(work, arguments, out, err), daemon=daemon)
    process.start()
    return process


def start(work: Work, *arguments: Any, log: Path) -> ForkServerProcess:
    """Start ``work(*arguments)``; what it prints goes to the end of ``log``."""
    return _begin(work, arguments, log, log, daemon=True)


def finish(work: Work, *arguments: Any, log: Path, patience: float = 120) -> int | None:
    """The exit status of ``work(*arguments)``: negative for a signal, None where it did not end in time."""
    process = start(work, *arguments, log=log)
    process.join(patience)
    return process.exitcode


def run(
    work: Work, *arguments: str, folder: Path, environment: Mapping[str, str], patience: float
) -> subprocess.CompletedProcess[str]:
    """``work(*arguments)`` in a folder, with these variables alone: its exit status and what it printed.

    Raises:
        subprocess.TimeoutExpired: it did not end in time; it is killed then.
    """
    with tempfile.TemporaryDirectory() as name:
        out, err = Path(name, "out"), Path(name, "err")
        process = _begin(_inside, (work, arguments, folder, dict(environment)), out, err, daemon=False)
        process.join(patience)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(arguments, patience)
        said = [file.read_text(encoding="utf-8") if file.is_file() else "" for file in (out, err)]
        return subprocess.CompletedProcess(arguments, process.exitcode, *said)


def kshot(*arguments: str) -> int:
    """The command ``kshot``."""
    from kshot.cli import main

    return main(arguments)


def snakemake(*arguments: str) -> int:
    """The command ``snakemake``."""
    from snakemake.cli import main

    main(list(arguments))
    return 0


def _inside(work: Work, arguments: tuple[str, ...], folder: Path, environment: dict[str, str]) -> int:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [work.__name__, *arguments]
    return work(*arguments)


def _do(work: Work, arguments: tuple[Any, ...], out: Path, err: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)
    out.parent.mkdir(parents=True, exist_ok=True)
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    try:
        status = work(*arguments)
    except KeyboardInterrupt:  # as ``kshot.cli.main`` has it
        status = 130
    sys.exit(status)
