"""What runs cost: steps, time, threads and memory, beside what they reached."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kshot.reporting.costs import run_costs
from kshot.reporting.results import Results
from kshot.reporting.sections import Section
from kshot.reporting.tables._common import Entry, marks_in, mean_cell, part, row
from kshot.reporting.values import Cell, Row, Table, Value, digits_for

PLACES = {"cost": 10}
CAPTION = (
    "Of one run, on average over the runs: environment steps and gradient updates of its training, minutes of training "
    "and of evaluation by the clock, beside other runs and with pauses, core-minutes (minutes times the threads that "
    "computed), training steps per second, and the most memory that a process had in use, in 10^9 bytes. Score: the "
    "headline measure at the K that all learners reach. Empty where the records do not say."
)


def build(results: Results) -> Table:
    """A row for every learner and scripted policy; the CSV has one for every run."""
    numbers: list[Entry] = []
    parts = []
    for section in results.sections:
        scores = [
            results.summary.point(section.family, name, section.metric, section.k) for name, _ in section.policies
        ]
        digits = digits_for(point.mean for point in scores if point is not None)
        rows = []
        for (name, _), point in zip(section.policies, scores, strict=True):
            entries = run_costs(results, section, name)
            numbers += entries
            if entries:
                judged = point is not None and (name in section.judged or name in section.references)
                score: Value = mean_cell(point, digits) if judged and point is not None else ""
                rows.append(_row(results, section, name, entries, score))
        if rows:
            parts.append(part(section, rows))
    caption = f"{CAPTION} {marks_in(parts)}".strip()
    return Table("cost", "What runs cost", caption, numbers, parts, ("cells.csv", "summary.csv"), PLACES)


def _row(results: Results, section: Section, name: str, entries: list[Entry], score: Value) -> Row:
    mean = pd.DataFrame(entries).select_dtypes("number").mean()
    trained = mean["train_env_steps"] > 0
    values: dict[str, Value] = {
        "steps": f"{mean['train_env_steps']:,.0f}" if trained else "",
        "updates": f"{mean['train_updates']:,.0f}" if trained and np.isfinite(mean["train_updates"]) else "",
        "training, min": Cell(mean["train_seconds"] / 60 if trained else np.nan, 1),
        "evaluation, min": Cell(mean["evaluate_seconds"] / 60, 1),
        "core-min": Cell(mean["core_minutes"], 1),
        "steps/s": f"{mean['steps_per_second']:,.0f}" if trained else "",
        "memory, GB": Cell(mean["peak_memory_gb"], 1),
        "score": score,
    }
    return row(results.grid, section, name, values)
