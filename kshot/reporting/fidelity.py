"""Do the learners reach what is published or known? ``config/fidelity.yaml`` against what its suites measured.

``collect`` files the numbers of one finished suite under ``reports/reference/fidelity/``, which is committed: the
suites take hours, and their results are not. ``write_page`` renders all that is filed as ``docs/fidelity.md``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict

from kshot import records
from kshot.errors import RecordError
from kshot.places import FIDELITY
from kshot.reporting import csv_files, sums
from kshot.reporting.noted import read_entries
from kshot.reporting.schemas import ALL, MADE_BY
from kshot.reporting.values import Cell, number

FILED = Path("reports/reference/fidelity")
PAGE = Path("docs/fidelity.md")
PICTURE = "fidelity.png"
"""Beside the numbers; drawn by ``kshot.reporting.fidelity_picture``."""
ROUNDING = 1e-9  # 57 successes of 60 are .95, which the mean of three shares misses by less than this
COLUMNS = (
    "family",
    "algorithm",
    "metric",
    "mode",
    "k",
    "mean",
    "mean_lo",
    "mean_hi",
    "n_seeds",
    "n_tasks",
    "steps",
    "updates",
    "minutes",
    "core_minutes",
    "commit",
    "source_digest",
)
LATER = ("updates", "core_minutes")
"""Columns that numbers filed earlier lack."""
SAME_STEPS = 1.05  # learners overshoot a budget by up to their last batch of episodes
RETURNS = ("return", "trial_return")
"""Measures without a known largest value."""
_READ = ("family", "algorithm", "state", "train_env_steps", "train_seconds", "git_commit", "source_digest")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Row(_Model):
    """One learner (or scripted policy) on one measure, at one or more evidence points."""

    algorithm: str
    metric: Literal["return", "success_any", "success_last", "trial_return"]
    mode: Literal["sampled", "mean"]
    k: tuple[int, ...]
    at_least: tuple[float | None, ...] = ()
    """What is to be reached at each k; null for what is only reported."""
    published: tuple[str, ...] = ()
    """What the source reports at each k."""
    minus: int | None = None
    """Report the gain over this evidence point instead."""


class Yardstick(_Model):
    """One problem with known or published values."""

    title: str
    suite: str
    family: str
    steps: int
    """Environment steps that every learner of the table is trained for. A problem that learners are trained on with
    several budgets has a table for each, under the same suite and family."""
    tasks_of: tuple[str, ...] = ()
    """Other families of the suite, or SUITE/FAMILY of another, with the same test tasks and rewards: what is reached
    there is known here."""
    text: str
    """The protocol, its sources, and what stands in the way where a row falls short; Markdown."""
    rows: tuple[Row, ...]

    @property
    def places(self) -> list[tuple[str, str]]:
        """(suite, family) wherever these tasks are: the problem's own, and those of ``tasks_of``."""
        others = [name.rpartition("/") for name in self.tasks_of]
        return [(self.suite, self.family), *((suite or self.suite, family) for suite, _, family in others)]


def yardsticks(path: Path = FIDELITY) -> list[Yardstick]:
    """What ``config/fidelity.yaml`` asks for. Raises RecordError naming the first mistake."""
    return read_entries(path, Yardstick)


def collect(suite: str, root: Path, out: Path = FILED) -> Path:
    """File the numbers that the yardsticks read from a suite's aggregated results.

    Learners without any run there stay as they were filed before: the suites take hours, and every number carries the
    commit that it comes from.

    Raises:
        RecordError: no yardstick names the suite, or a learner that was run lacks a number that is asked for.
    """
    asked = [(item.family, row) for item in yardsticks() if item.suite == suite for row in item.rows]
    if not asked:
        raise RecordError(f"no yardstick in {FIDELITY.name} uses suite {suite!r}")
    sums.verify(root / suite)
    summary = csv_files.read(root / suite / "summary.csv", ("group", *COLUMNS[: COLUMNS.index("steps")]), MADE_BY)
    cells = csv_files.read(root / suite / "cells.csv", _READ, MADE_BY)
    path = out / f"{suite}.csv"
    earlier = _read_filed(path) if path.is_file() else pd.DataFrame(columns=list(COLUMNS))
    filed: dict[tuple[Any, ...], dict[str, Any]] = {}
    for family, row in asked:
        runs = cells[(cells["family"] == family) & (cells["algorithm"] == row.algorithm) & (cells["state"] == "ok")]
        points = row.k if row.minus is None else (*row.k, row.minus)
        known = earlier if runs.empty else summary[summary["group"] == ALL]
        for k in points:
            key = {"family": family, "algorithm": row.algorithm, "metric": row.metric, "mode": row.mode, "k": k}
            found = known.loc[(known[list(key)] == list(key.values())).all(axis=1)]
            if not found.empty:
                filed[tuple(key.values())] = {**found.iloc[0], **({} if runs.empty else _cost(runs))}
            elif not runs.empty:
                raise RecordError(f"{FIDELITY.name} asks for {key}, which the results do not have")
    csv_files.write(path, pd.DataFrame(list(filed.values()), columns=list(COLUMNS)))
    return path


def _read_filed(path: Path) -> pd.DataFrame:
    """What is filed, with NaN in the columns that it lacks because it was filed before there were such."""
    columns = [name for name in COLUMNS if name not in LATER]
    return csv_files.read(path, columns, "kshot fidelity").reindex(columns=list(COLUMNS))


def _cost(runs: pd.DataFrame) -> dict[str, Any]:
    """What the runs of one learner took, on average, and the code they come from; core-minutes: times the threads."""
    minutes = runs["train_seconds"] / 60
    return {
        "steps": runs["train_env_steps"].mean(),
        "updates": runs["train_updates"].mean() if "train_updates" in runs else math.nan,
        "minutes": round(minutes.mean(), 1),
        "core_minutes": round((minutes * runs["threads"]).mean(), 1) if "threads" in runs else math.nan,
        "commit": " ".join(sorted({commit[:10] for commit in runs["git_commit"]})),
        "source_digest": " ".join(sorted(set(runs["source_digest"]))),
    }


def write_page(filed: Path = FILED, page: Path = PAGE) -> Path:
    """Render ``docs/fidelity.md`` from the yardsticks and what is filed; what is not filed is shown as not measured."""
    blocks = [_HEAD, f"![What was reached, and the yardsticks](../{filed}/{PICTURE})"]
    for item in yardsticks():
        numbers = filed_numbers(item.suite, item.family, filed)
        source = (
            f"Suite `config/suites/{item.suite}.yaml`, family `{item.family}`; numbers: `{filed}/{item.suite}.csv`."
        )
        notes = [note for note in (_steps_note(item, numbers), source) if note]
        blocks.append("\n\n".join([f"## {item.title}", item.text.strip(), _table(item, numbers, filed), *notes]))
    records.write_text(page, "\n\n".join(blocks) + "\n")
    return page


def filed_numbers(suite: str, family: str, filed: Path) -> pd.DataFrame:
    """The rows filed for a family of a suite; none where nothing is."""
    path = filed / f"{suite}.csv"
    numbers = _read_filed(path) if path.is_file() else pd.DataFrame(columns=list(COLUMNS))
    return numbers[numbers["family"] == family]


def best_known(item: Yardstick, metric: str, filed: Path) -> dict[str, Any] | None:
    """The largest mean that any learner or script is filed with on a measure of a problem's tasks, at any K.

    Scripts that know the task are no bound: a learner can pass them. None for measures that end at 1, and where
    nothing is filed.
    """
    if metric not in RETURNS:
        return None
    parts = [filed_numbers(*place, filed) for place in item.places]
    found = [row for part in parts for row in part.to_dict("records") if row["metric"] == metric]
    best = max(found, key=lambda row: float(row["mean"]), default=None)
    return None if best is None else {str(name): value for name, value in best.items()}


_HEAD = """# Fidelity: what the learners reach where the answer is known

Every row: mean over training seeds on unseen tasks, with its 95 % bootstrap interval over seeds [a, b] or, below five
seeds, their range from the lowest to the highest [a to b]. Of one training run, on average: environment steps, gradient
updates of what is trained, wall time in minutes, beside other runs and with pauses, and core-minutes, which are minutes
times the threads that computed it; empty where the numbers were filed before these were. "met" compares the mean with
the yardstick. Scripted policies (oracle, task_blind and others) are programs, no bounds: learners can pass the oracle.
"best known" is the largest mean return that anything filed here has reached on these tasks, at any K and by either kind
of actions. This page is written by
`snakemake --cores all fidelity --configfile config/suites/fidelity-<name>.yaml`, on ML1 with the suite `reference-ml1`,
from `config/fidelity.yaml` and the numbers filed by each suite; do not edit it by hand."""

LABELS: Mapping[str, str] = {
    "return": "return",
    "trial_return": "total of the trial",
    "success_any": "success at any step",
    "success_last": "success at the last step",
}
_COLUMNS = ("learner", "measure", "actions", "K", "reached", "yardstick", "met", "published", "seeds")
_COSTS = {"steps": ("steps", ",.0f"), "updates": ("updates", ",.0f"), "minutes": ("minutes", ".1f")}
_COSTS |= {"core_minutes": ("core-minutes", ".1f")}
"""Column -> how it is headed and printed."""


def _table(item: Yardstick, numbers: pd.DataFrame, filed: Path) -> str:
    head = [*_COLUMNS, *(label for label, _ in _COSTS.values())]
    lines = [head, ["---"] * len(head)]
    for row in item.rows:
        known = filed_of(row, numbers)
        by_k = {int(k): found for k, found in zip(known["k"], known.to_dict("records"), strict=True)}
        for i, k in enumerate(row.k):
            wanted = row.at_least[i] if i < len(row.at_least) else None
            published = row.published[i] if i < len(row.published) else ""
            asked = "" if wanted is None else f"≥ {wanted:g}"
            found, label = by_k.get(k), LABELS[row.metric]
            if row.minus is not None:
                label += f", gain over K = {row.minus}"
            if found is None or (row.minus is not None and row.minus not in by_k):
                cells = [row.algorithm, label, row.mode, str(k), "*not measured*", asked, "", published]
                lines.append(cells + [""] * (len(head) - len(cells)))
                continue
            value, reached = found["mean"], _reached(found)
            if row.minus is not None:
                value -= by_k[row.minus]["mean"]
                reached = number(value, _digits(value))
            met = "" if wanted is None else "yes" if value >= wanted - ROUNDING else "**no**"
            cells = [row.algorithm, label, row.mode, str(k), reached, asked, met, published, str(found["n_seeds"])]
            lines.append(cells + _costs(found))
    for metric in dict.fromkeys(row.metric for row in item.rows):
        best = best_known(item, metric, filed)
        if best is not None:
            text = [f"*best known: {best['algorithm']}*", LABELS[metric], best["mode"], str(best["k"]), _reached(best)]
            lines.append([*text, "", "", "", str(best["n_seeds"]), *_costs(best)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def filed_of(row: Row, numbers: pd.DataFrame) -> pd.DataFrame:
    """What is filed for a row, by K."""
    for name in ("algorithm", "metric", "mode"):
        numbers = numbers[numbers[name] == getattr(row, name)]
    return numbers.sort_values("k")


def _reached(found: Mapping[Any, Any]) -> str:
    mean, low, high, seeds = (found[name] for name in ("mean", "mean_lo", "mean_hi", "n_seeds"))
    return str(Cell(mean, _digits(mean), low, high, seeds))


def _costs(found: Mapping[Any, Any]) -> list[str]:
    """What a row took to train; empty for scripts, and where the numbers were filed without."""
    trained = found["steps"] > 0
    return [
        format(found[name], form) if trained and math.isfinite(found[name]) else ""
        for name, (_, form) in _COSTS.items()
    ]


def _steps_note(item: Yardstick, numbers: pd.DataFrame) -> str:
    """A sentence that names the learners of a table that were trained for different numbers of steps; else nothing."""
    asked = [row.algorithm for row in item.rows]
    taken = numbers[numbers["algorithm"].isin(asked) & (numbers["steps"] > 0)].groupby("algorithm")["steps"].mean()
    if taken.empty or taken.max() <= SAME_STEPS * taken.min():
        return ""
    named = ", ".join(f"{name} {taken[name]:,.0f}" for name in dict.fromkeys(asked) if name in taken)
    return f"Rows with other steps are no comparison at equal budgets. Steps here: {named}."


def _digits(value: float) -> int:
    return 2 if not math.isfinite(value) or abs(value) < 100 else 0
