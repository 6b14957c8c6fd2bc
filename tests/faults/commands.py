"""The steps of kshot in processes of their own that start at once, so that hundreds of them can be killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from kshot.suites.run import RunConfig

Work = Callable[..., int]
"""A function at the top of a module; what it returns is the exit status."""
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    ["torch", "pandas", "snakemake.cli", "kshot.running.train", "kshot.reporting.page", "tests.contract.tiny"]
)


def start(work: Work, *arguments: Any, log: Path) -> ForkServerProcess:
    """Start ``work(*arguments)``; what it prints goes to the end of ``log``."""
    process = _context.Process(target=_do, args=(work, arguments, log), daemon=True)
    process.start()
    return process


def finish(work: Work, *arguments: Any, log: Path, patience: float = 120) -> int | None:
    """The exit status of ``work(*arguments)``: negative for a signal, None where it did not end in time."""
    process = start(work, *arguments, log=log)
    process.join(patience)
    return process.exitcode


def _do(work: Work, arguments: Sequence[Any], log: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)
    log.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    try:
        status = work(*arguments)
    except KeyboardInterrupt:  # as ``kshot.cli.main`` has it
        status = 130
    sys.exit(status)


def train(run: RunConfig, root: Path) -> int:
    """With a checkpoint after every iteration."""
    from kshot.running import jobs
    from kshot.running import train as training

    training.CHECKPOINT_SECONDS, training.CHECKPOINT_SHARE = 0.0, 1.0
    return jobs.run_step("train", training.train, run, root, ())


def evaluate(run: RunConfig, root: Path) -> int:
    from kshot.running import jobs
    from kshot.running.evaluate import evaluate

    return jobs.run_step("evaluate", evaluate, run, root, ())


def plan(folder: Path) -> int:
    """Snakemake's dry run of ``suite.yaml`` in a folder."""
    from snakemake.cli import main

    from kshot.places import ROOT

    os.chdir(folder)
    main(["--snakefile", str(ROOT / "Snakefile"), "--cores", "1", "--dry-run", "--configfile", "suite.yaml"])
    return 0


def aggregate(runs: Sequence[RunConfig], root: Path) -> int:
    from kshot.reporting.aggregate import aggregate

    aggregate(runs, root)
    return 0


def report(runs: Sequence[RunConfig], root: Path) -> int:
    """Figures, tables and the page."""
    from kshot.reporting import figures, page, tables

    out = root / "reports"
    figures.render_all(runs, root, out / "figures")
    tables.write_tables(runs, root, out / "tables")
    page.write_page({}, runs, root, out)
    return 0
