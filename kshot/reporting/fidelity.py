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
import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from kshot import records
from kshot.reporting.aggregate import ALL, write_csv
from kshot.reporting.layout import interval, number

CONFIG = Path(__file__).resolve().parents[2] / "config" / "fidelity.yaml"
FILED = Path("reports/reference/fidelity")
PAGE = Path("docs/fidelity.md")
PICTURE = "fidelity.png"
"""Beside the numbers; drawn by ``kshot.reporting.yardsticks``."""
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
    "minutes",
    "commit",
    "source_digest",
)


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
    text: str
    """The protocol, its sources, and what stands in the way where a row falls short; Markdown."""
    rows: tuple[Row, ...]


def yardsticks(path: Path = CONFIG) -> list[Yardstick]:
    """What ``config/fidelity.yaml`` asks for. Raises RecordError naming the first mistake."""
    try:
        return TypeAdapter(list[Yardstick]).validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        raise records.RecordError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def collect(suite: str, root: Path, out: Path = FILED) -> Path:
    """File the numbers that the yardsticks read from a suite's aggregated results.

    Learners without any run there stay as they were filed before: the suites take hours, and every number carries the
    commit that it comes from.

    Raises:
        RecordError: no yardstick names the suite, or a learner that was run lacks a number that is asked for.
    """
    asked = [(item.family, row) for item in yardsticks() if item.suite == suite for row in item.rows]
    if not asked:
        raise records.RecordError(f"no yardstick in {CONFIG.name} uses suite {suite!r}")
    summary, cells = (_read_csv(root / suite / name) for name in ("summary.csv", "cells.csv"))
    path = out / f"{suite}.csv"
    earlier = pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=list(COLUMNS))
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
                raise records.RecordError(f"{CONFIG.name} asks for {key}, which the results do not have")
    write_csv(path, pd.DataFrame(list(filed.values()), columns=list(COLUMNS)))
    return path


def _read_csv(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise records.RecordError(f"{path}: no such file; the step that writes it has not run")
    return pd.read_csv(path)


def _cost(runs: pd.DataFrame) -> dict[str, Any]:
    """What the runs of one learner took, on average, and the code they come from."""
    return {
        "steps": runs["train_env_steps"].mean(),
        "minutes": round(runs["train_seconds"].mean() / 60, 1),
        "commit": " ".join(sorted({str(commit)[:10] for commit in runs["git_commit"]})),
        "source_digest": " ".join(sorted(set(map(str, runs["source_digest"])))),
    }


def write_page(filed: Path = FILED, page: Path = PAGE) -> Path:
    """Render ``docs/fidelity.md`` from the yardsticks and what is filed; suites without results are shown as such."""
    blocks = [_HEAD, f"![What was reached, and the yardsticks](../{filed}/{PICTURE})"]
    for item in yardsticks():
        numbers = filed_numbers(item, filed)
        body = "*Not run yet.*" if numbers is None else _table(item, numbers)
        source = (
            f"Suite `config/suites/{item.suite}.yaml`, family `{item.family}`; numbers: `{filed}/{item.suite}.csv`."
        )
        blocks.append(f"## {item.title}\n\n{item.text.strip()}\n\n{body}\n\n{source}")
    records.write_text(page, "\n\n".join(blocks) + "\n")
    return page


def filed_numbers(item: Yardstick, filed: Path) -> pd.DataFrame | None:
    """The numbers of a problem; None where there are none."""
    path = filed / f"{item.suite}.csv"
    if not path.is_file():
        return None
    numbers = pd.read_csv(path)
    numbers = numbers[numbers["family"] == item.family]
    return None if numbers.empty else numbers


_HEAD = """# Fidelity: what the learners reach where the answer is known

Every row: mean over training seeds on unseen tasks, with its 95 % bootstrap interval over seeds [a, b] or, below five
seeds, their range from the lowest to the highest [a to b]. "Minutes" is the wall
time of one training run on one core of the machine that ran it, beside other runs and with pauses; steps are
environment steps. "met" compares the mean with the yardstick. This page is written by
`snakemake --cores all --configfile config/suites/fidelity-<name>.yaml fidelity` from `config/fidelity.yaml` and the
numbers filed by each suite; do not edit it by hand."""

LABELS: Mapping[str, str] = {
    "return": "return",
    "trial_return": "total of the trial",
    "success_any": "success at any step",
    "success_last": "success at the last step",
}


def _table(item: Yardstick, numbers: pd.DataFrame) -> str:
    head = [
        "learner",
        "measure",
        "actions",
        "K",
        "reached",
        "yardstick",
        "met",
        "published",
        "seeds",
        "steps",
        "minutes",
    ]
    lines = [head, ["---"] * len(head)]
    for row in item.rows:
        known = numbers
        for name in ("algorithm", "metric", "mode"):
            known = known[known[name] == getattr(row, name)]
        by_k = {int(k): found for k, found in zip(known["k"], known.to_dict("records"), strict=True)}
        for i, k in enumerate(row.k):
            found = by_k.get(k)
            if found is None or (row.minus is not None and row.minus not in by_k):
                lines.append([row.algorithm, LABELS[row.metric], row.mode, str(k), "*not run yet*", *[""] * 6])
                continue
            known_by = {str(name): value for name, value in found.items()} | {"mean_n": found["n_seeds"]}
            value, reached = found["mean"], interval(known_by, "mean", _digits(found["mean"]))
            label = LABELS[row.metric]
            if row.minus is not None:
                value -= by_k[row.minus]["mean"]
                reached, label = number(value, _digits(value)), f"{label}, gain over K = {row.minus}"
            wanted = row.at_least[i] if i < len(row.at_least) else None
            met = "" if wanted is None else "yes" if value >= wanted - ROUNDING else "**no**"
            cost = [f"{found['steps']:,.0f}", f"{found['minutes']:.1f}"] if found["steps"] > 0 else ["", ""]
            published = row.published[i] if i < len(row.published) else ""
            seeds = str(found["n_seeds"])
            wanted_text = "" if wanted is None else f"≥ {wanted:g}"
            lines.append([row.algorithm, label, row.mode, str(k), reached, wanted_text, met, published, seeds, *cost])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _digits(value: float) -> int:
    return 2 if not math.isfinite(value) or abs(value) < 100 else 0
