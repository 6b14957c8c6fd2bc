"""A small made-up suite that has every figure and every table, for what is put into papers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kshot.reporting.aggregate import aggregate
from kshot.reporting.values import Cell, Part, Row, RunCount, Table
from kshot.suites.run import LearningCurve, RunConfig
from tests import shipped, synthetic

BANDIT = replace(synthetic.BANDIT, name="bandit_5.10", n_tasks=6)
CLASSES = replace(
    synthetic.ML10,
    name="ml1-reach",
    n_tasks=24,
    k=(0, 1, 2, 3, 5, 10, 15, 20),
    classes=tuple(f"task-of-class-{i}-v3" for i in range(12)),
)
SHOWN = replace(
    synthetic.POINT, name="grid_shown", n_tasks=6, k=(0, 1, 2, 5, 10), best=-1.0, stages=("never", "in vain", "success")
)
FAMILIES = (BANDIT, CLASSES, SHOWN)
NAMES = ("maml", "rl2", "pearl", "untrained", "variant-of-a-long-name", "other_variant")
CURVE = LearningCurve(points=4, tasks=5, k=(0, 10))

_PROSE = "*words* that go on & on " * 8
_ROWS = (
    Row("[x] & y_z % #", {"RL²": Cell(-0.5, 2, -0.6, -0.4), "prose": _PROSE, "runs": RunCount(2, 3, "1 diverged")}),
    Row("a-name-of-one-word-that-is-longer-than-a-column", {"RL²": Cell(1.0, 2, error=0.1, median=0.9)}, scripted=True),
)
ODD = Table(
    name="odd",
    title="RL² & co: 50 % of \\_{x}",
    caption=(
        'With ± 3 × 10^9 − 1, "words", `code_x`, K = 10, K, α ≤ β → ∞, <a|b>, #1 $x$ ~ ^ é ß ő 中 …'  # noqa: RUF001
    ),
    numbers=[],
    parts=[Part("a_b, from demonstrations", "demonstrations", _ROWS)],
    sources=["summary.csv"],
)
"""What no table of ours holds at once, but LaTeX has to take."""


def write(root: Path) -> list[RunConfig]:
    """The suite's results, aggregated."""
    runs = synthetic.runs_of([BANDIT], NAMES[:4], seeds=3, suite="made_up")
    runs += synthetic.runs_of([CLASSES], NAMES, seeds=3, suite="made_up", learning_curve=CURVE)
    runs += synthetic.runs_of([SHOWN], tuple(synthetic.DEMONSTRATED), seeds=3, suite="made_up")
    for family in FAMILIES:
        for run in (run for run in runs if run.family == family.name):
            folder = synthetic.write_run(family, run, root)
            if run.evidence == "demonstrations" and run.kind == "algorithm":
                shipped.with_validation(run, folder / "train.parquet")
                synthetic.sign(folder / "run.json")
    aggregate(runs, root)
    return runs
