"""A made-up suite with everything that can go wrong without being an error, and its report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kshot import checksums
from kshot.reporting import figures, page, tables
from kshot.reporting.aggregate import aggregate
from kshot.suites.run import RunConfig
from tests import synthetic

BANDIT = replace(synthetic.BANDIT, n_tasks=8)
CLASSES = replace(synthetic.ML10, name="classes", n_tasks=10, k=(0, 1, 10), classes=("door-close-v3", "lever-pull-v3"))
Reported = tuple[list[RunConfig], Path]
"""The runs, and the folder of their results."""
SUITE = {"name": "made-up", "seeds": [0, 1, 2], "description": "Made-up <outcomes>."}


def write(root: Path) -> list[RunConfig]:
    """The suite's results, aggregated.

    One run is missing, one diverged, one was made by other code, and one learner adapts on demonstrations.
    """
    runs = synthetic.runs_of([BANDIT, CLASSES], learners=("maml", "rl2", "pearl"), seeds=3)
    runs = [replace(run, evidence="demonstrations") if run.algorithm == "pearl" else run for run in runs]
    for run in runs:
        family = {"bandit": BANDIT, "classes": CLASSES}[run.family]
        case = (run.family, run.algorithm, run.seed)
        if case == ("bandit", "maml", 2):
            progress = run.directory(root) / "progress.json"
            checksums.write_record(progress, {"state": "failed", "message": "out of memory"})
        elif case == ("classes", "maml", 1):
            synthetic.write_run(family, run, root, status="diverged")
        elif case == ("classes", "rl2", 1):
            synthetic.write_run(family, run, root, digest="other")
        else:
            synthetic.write_run(family, run, root)
    aggregate(runs, root, partial=True)
    return runs


def report(runs: list[RunConfig], root: Path) -> Path:
    """The suite's page, with figures and tables."""
    out = root / "reports" / "made-up"
    figures.render_all(runs, root, out / "figures")
    tables.write_tables(runs, root, out / "tables")
    return page.write_page(SUITE, runs, root, out, partial=True)
