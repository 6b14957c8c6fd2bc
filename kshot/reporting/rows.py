"""What the rows of several tables are made of: policies, runs, points and differences as columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    """A summary row's mean and what goes with it as columns ``<key>``, ``<key>_lo`` and so on; NaN where there is none.

    ``<key>_k`` is the evidence that the policy has used, ``<key>_n`` the number of runs.
    """
    taken = {"_k": "k", "": "mean", "_lo": "mean_lo", "_hi": "mean_hi", "_n": "n_seeds"}
    return {key + end: np.nan if point is None else point[name] for end, name in taken.items()}


def brackets(runs: Iterable[float]) -> str:
    """What stands in the brackets of a table, or in its bands, whose numbers come from so many runs each."""
    shown = sorted({int(n) for n in runs if n >= stats.MINIMUM_RUNS})
    ranges = " or ".join(str(n) for n in shown if stats.is_range(n))
    if not shown:
        return "without an interval: fewer than three seeds"
    if not ranges:
        return "with 95 % bootstrap interval over seeds"
    if stats.is_range(shown[-1]):
        return f"with the range of {ranges} seeds, from the lowest to the highest [a to b], which is no interval"
    return f"with 95 % bootstrap interval over seeds [a, b] or, where there are too few, the range of {ranges} [a to b]"


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
        ks = data.families[family].k
        curves = {name: {k: data.point(family, name, metric, k) for k in ks} for name in learners}
        found = {name: {k: row for k, row in curve.items() if row is not None} for name, curve in curves.items()}
        found = {name: points for name, points in found.items() if points}
        digits = more_digits + digits_for([row["mean"] for points in found.values() for row in points.values()])
        for name, points in found.items():
            for k, row in points.items():
                entry: Row = {"family": family, "algorithm": name, "evidence": evidence, "metric": metric, "k": k}
                entry |= {"used_k": row["k"], "mode": row["mode"], "mean_n": row["n_seeds"]}
                kept = ("mean", "mean_lo", "mean_hi", "mean_lo_tasks", "mean_hi_tasks", "iqm", "n_seeds")
                numbers.append(entry | {key: row[key] for key in (*kept, "adaptation_steps")})
            cells = {k: interval({**row, "mean_n": row["n_seeds"]}, "mean", digits) for k, row in points.items()}
            shown = {f"K = {k}": cells.get(k, "") for k in ks} | {"actions": next(iter(points.values()))["mode"]}
            parts.setdefault(part_title(family, evidence), []).append(
                {"policy": title(name)} | shown | {"runs": runs_text(data, family, name)}
            )
    return numbers, parts
