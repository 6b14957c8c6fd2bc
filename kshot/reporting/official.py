"""Metaworld's own evaluation beside kshot's: the table of every run's ``official.json``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kshot import records, seeding
from kshot.errors import RecordError
from kshot.reporting import stats
from kshot.reporting.aggregate import ALL
from kshot.reporting.cells import same_hash
from kshot.reporting.data import Data
from kshot.reporting.layout import Parts, Row, Table, interval, lay_out, part_title, title
from kshot.reporting.rows import brackets
from kshot.suites.run import RunConfig

CAPTION = (
    "After K episodes of evidence, by mean actions; mean over runs, {brackets}. Official: "
    "metaworld.evaluation.metalearning_evaluation, unchanged; it counts the first three episodes of each class to "
    "finish, whichever of the class's sub-environments they come from, while solved episodes stop early and start "
    "again, so that success is biased upwards (metaworld/evaluation.py; see pull request 577 of "
    "Farama-Foundation/Metaworld). Per goal: success at any step of full episodes, the same number of them on every "
    "test goal, which favours no goal. The official records are the official.json of each run."
)


def official(data: Data) -> Table:
    """Both success rates side by side, for the runs of families that ask for the official evaluation."""
    numbers: list[Row] = []
    parts: Parts = {}
    for family, evidence, learners in data.sections:
        for name in learners if evidence == "rollouts" else ():
            runs = [run for run in data.runs if (run.family, run.algorithm) == (family, name) and run.official]
            if not runs:
                continue
            found = _read(runs, data.root)
            entries = [_entry(data, family, name, group, found) for group in _groups(found)] if found else []
            numbers += entries
            shown = {"policy": title(name), "K": "", "official": "", "per goal": ""}
            if entries:
                every = entries[0]
                shown |= {"K": str(every["k"]), "official": interval(every, "official", 2)}
                shown["per goal"] = interval(every, "per_goal", 2) or "not scored"
                shown |= {"episodes, official": str(every["official_episodes"])}
                shown |= {"episodes, per goal": str(every["per_goal_episodes"] or "")}
            parts.setdefault(part_title(family, evidence), []).append(shown | {"runs": f"{len(found)}/{len(runs)}"})
    versions = "/".join(sorted({str(row["metaworld"]) for row in numbers}))
    parts = {part: [_renamed(row, f"official {versions}".strip()) for row in rows] for part, rows in parts.items()}
    caption = CAPTION.format(brackets=brackets(row["n_seeds"] for row in numbers))
    return lay_out("official", "Meta-World's own evaluation", caption, numbers, parts, ("summary.csv",))


def _read(runs: Sequence[RunConfig], root: Path) -> dict[int, dict[str, Any]]:
    """By seed, what the official evaluation found; without the runs that diverged or are missing.

    Raises:
        RecordError: a record is damaged, or was made from other settings or with other arguments than its siblings.
    """
    found: dict[int, dict[str, Any]] = {}
    for run in runs:
        path = run.directory(root) / "official.json"
        if not path.is_file():
            continue
        record = records.read_json(path)
        same_hash(path, str(record.get("train_hash")), run.train_hash)
        if record.get("status") == "ok":
            found[run.seed] = record["official"]
            arguments = ("adaptation_episodes", "evaluation_episodes", "num_evals", "num_envs", "metaworld")
            first = next(iter(found.values()))
            if any(found[run.seed][name] != first[name] for name in arguments):
                raise RecordError(f"{path}: its protocol differs from that of other seeds; run `kshot official` again")
    return found


def _groups(found: dict[int, dict[str, Any]]) -> list[str]:
    """All classes together, then each where there are several."""
    classes = list(next(iter(found.values()))["class_success"])
    return [ALL, *(classes if len(classes) > 1 else ())]


def _entry(data: Data, family: str, name: str, group: str, found: dict[int, dict[str, Any]]) -> Row:
    """Both estimates of one group of tasks as plain numbers."""
    first = next(iter(found.values()))
    k, everything = int(first["adaptation_episodes"]), group == ALL
    scores = [run["mean_success"] if everything else run["class_success"][group] for run in found.values()]
    official = stats.estimate([np.array(scores)], stats.mean, seeding.generator("bootstrap", data.suite, family, name))
    curve = data.curve(family, name, "success_any", "mean", group)
    rows = curve[curve["k"] == k].to_dict("records")
    entry: Row = {"family": family, "algorithm": name, "class": group, "metaworld": first["metaworld"], "k": k}
    entry |= {"official": official.value, "official_lo": official.lo, "official_hi": official.hi}
    entry |= {
        "official_return": float(np.mean([run["mean_return"] for run in found.values()])) if everything else np.nan
    }
    classes = len(first["class_success"])
    entry["official_episodes"] = len(found) * first["episodes_counted"] // (1 if everything else classes)
    for key, column in (("per_goal", "mean"), ("per_goal_lo", "mean_lo"), ("per_goal_hi", "mean_hi")):
        entry[key] = rows[0][column] if rows else np.nan
    entry |= {"official_n": len(found), "per_goal_n": rows[0]["n_seeds"] if rows else 0}
    entry["per_goal_episodes"] = int(rows[0]["n_episodes"]) if rows else 0
    return entry | {"n_seeds": len(found)}


def _renamed(row: Row, label: str) -> Row:
    """The row with the installed version in the name of the official column."""
    return {label if key == "official" else key: value for key, value in row.items()}
