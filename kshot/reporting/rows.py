"""What the rows of several tables are made of: policies, runs, points and differences as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from kshot.reporting import stats
from kshot.reporting.data import Data, Section
from kshot.reporting.layout import Parts, Row, digits_for, interval, part_title, title


def scripted(data: Data, section: Section) -> list[tuple[str, str]]:
    """(name, "reference") of every scripted policy of a section."""
    return [(name, "reference") for name in data.references(section)]


def columns(key: str, point: Mapping[str, Any] | None) -> Row:
    """A summary row's k, mean and interval as columns ``<key>``, ``<key>_k``, ...; NaN where there is none."""
    if point is None:
        return dict.fromkeys((f"{key}_k", key, f"{key}_lo", f"{key}_hi"), np.nan)
    return {f"{key}_k": point["k"], key: point["mean"], f"{key}_lo": point["mean_lo"], f"{key}_hi": point["mean_hi"]}


def difference(key: str, after: pd.Series[float], before: pd.Series[float]) -> Row:
    """Columns of the paired difference over the tasks that both have."""
    pair = pd.concat([before, after], axis=1, join="inner").to_numpy(dtype=np.float64)
    found = stats.paired_difference(pair[:, 1], pair[:, 0])
    return {
        key: found.mean,
        f"{key}_lo": found.lo,
        f"{key}_hi": found.hi,
        f"{key}_se": found.se,
        f"{key}_tasks": found.n,
    }


def runs(data: Data, family: str, name: str) -> tuple[int, int, str]:
    """(runs that count, runs expected, note on the others)."""
    states = data.cells[(data.cells["family"] == family) & (data.cells["algorithm"] == name)]["state"]
    lost = [f"{(states == state).sum()} {state}" for state in ("diverged", "missing") if (states == state).any()]
    return int((states == "ok").sum()), len(states), f" ({', '.join(lost)})" if lost else ""


def runs_text(data: Data, family: str, name: str) -> str:
    """``3/3``, ``2/3 (1 diverged)``, or ``scripted`` for a policy that nobody trains."""
    ok, expected, note = runs(data, family, name)
    return "scripted" if (name, "reference") in scripted(data, (family, "rollouts")) else f"{ok}/{expected}{note}"


def by_k(
    data: Data, sections: Sequence[tuple[Section, Sequence[str], str]], more_digits: int = 0
) -> tuple[list[Row], Parts]:
    """Every learner's curve over K with its intervals: plain numbers, and one part per (section, learners, metric)."""
    numbers: list[Row] = []
    parts: Parts = {}
    for (family, evidence), learners, metric in sections:
        curves = {name: data.curve(family, name, metric) for name in learners}
        curves = {name: curve for name, curve in curves.items() if not curve.empty}
        digits = more_digits + digits_for([value for curve in curves.values() for value in curve["mean"]])
        for name, curve in curves.items():
            points = {int(row["k"]): row for _, row in curve.iterrows()}
            for k, row in points.items():
                entry: Row = {"family": family, "algorithm": name, "evidence": evidence, "metric": metric, "k": k}
                numbers.append(entry | {key: row[key] for key in ("mean", "mean_lo", "mean_hi", "iqm", "n_seeds")})
            shown = {
                f"K = {k}": interval(points[k], "mean", digits) if k in points else "" for k in data.families[family].k
            }
            parts.setdefault(part_title(family, evidence), []).append(
                {"policy": title(name)} | shown | {"runs": runs_text(data, family, name)}
            )
    return numbers, parts
