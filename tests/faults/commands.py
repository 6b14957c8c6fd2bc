"""The steps of kshot, for processes that ``tests.forked`` starts at once, so that hundreds of them can be killed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from kshot.suites.run import RunConfig


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
