"""Metaworld's own evaluation beside kshot's: the table of every run's ``official.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kshot import checksums, seeding
from kshot.errors import RecordError
from kshot.reporting import stats
from kshot.reporting.names import policy_name
from kshot.reporting.results import Results
from kshot.reporting.run_files import same_hash
from kshot.reporting.schemas import ALL
from kshot.reporting.sections import Section
from kshot.reporting.tables._common import Entry, brackets, cell, part
from kshot.reporting.values import Cell, Row, RunCount, Table, Value
from kshot.suites.run import RunConfig

PLACES = {"official": 10}
PER_GOAL = "per goal, at any step"
CAPTION = (
    "After K episodes of evidence, by mean actions; mean over runs, {brackets}. Official: "
    "metaworld.evaluation.metalearning_evaluation, unchanged; it counts the first three episodes of each class to "
    "finish, whichever of the class's sub-environments they come from, while solved episodes stop early and start "
    "again, so that success is biased upwards (metaworld/evaluation.py; see pull request 577 of "
    "Farama-Foundation/Metaworld). Per goal: success at any step of full episodes, the same number of them on every "
    "test goal, which favours no goal. The official records are the official.json of each run."
)
BySeed = dict[int, dict[str, Any]]
"""What the official evaluation of every run found."""


def build(results: Results) -> Table:
    """Both success rates side by side, for learners that the suite asks the official evaluation of, or that had it."""
    found = {
        (section.title, name): (section, name, runs, by_seed)
        for section in results.sections
        if not section.demonstrated
        for name in section.learners
        if (runs := _runs(results, section, name))
        and ((by_seed := _read(runs, results.grid.root)) or any(run.official for run in runs))
    }
    versions = {str(run["metaworld"]) for *_, by_seed in found.values() for run in by_seed.values()}
    label = f"official {'/'.join(sorted(versions))}".strip() + ", biased upwards"
    numbers: list[Entry] = []
    rows: dict[str, list[Row]] = {}
    for section, name, runs, by_seed in found.values():
        entries = [_entry(results, section, name, group, by_seed) for group in _groups(by_seed)]
        numbers += entries
        values: dict[str, Value] = _values(entries[0], label) if entries else dict.fromkeys(("K", label, PER_GOAL), "")
        values["runs"] = RunCount(len(by_seed), len(runs))
        rows.setdefault(section.title, []).append(Row(policy_name(name), values))
    parts = [part(section, rows[section.title]) for section in results.sections if section.title in rows]
    caption = CAPTION.format(brackets=brackets(entry["n_seeds"] for entry in numbers))
    return Table("official", "Meta-World's own evaluation", caption, numbers, parts, ("summary.csv",), PLACES)


def _runs(results: Results, section: Section, name: str) -> list[RunConfig]:
    """The runs of a learner."""
    return [run for run in results.grid.runs if (run.family, run.algorithm) == (section.family, name)]


def _read(runs: Sequence[RunConfig], root: Path) -> BySeed:
    """What the official evaluation found, without the runs that diverged or are missing.

    A record that the suite does not ask for was made by `kshot official`, and no pipeline makes it again: it counts for
    as long as its settings are those of the suite.

    Raises:
        RecordError: a record is damaged, or was made from other settings or with other arguments than its siblings.
    """
    found: BySeed = {}
    for run in runs:
        path = run.directory(root) / "official.json"
        if not path.is_file():
            continue
        record = checksums.read_record(path)
        if not run.official and record.get("train_hash") != run.train_hash:
            continue
        same_hash(path, str(record.get("train_hash")), run.train_hash)
        if record.get("status") == "ok":
            found[run.seed] = record["official"]
            arguments = ("adaptation_episodes", "evaluation_episodes", "num_evals", "num_envs", "metaworld")
            first = next(iter(found.values()))
            if any(found[run.seed][name] != first[name] for name in arguments):
                raise RecordError(f"{path}: its protocol differs from that of other seeds; run `kshot official` again")
    return found


def _groups(found: BySeed) -> list[str]:
    """All classes together, then each where there are several; none where nothing was found."""
    if not found:
        return []
    classes = list(next(iter(found.values()))["class_success"])
    return [ALL, *(classes if len(classes) > 1 else ())]


def _entry(results: Results, section: Section, name: str, group: str, found: BySeed) -> Entry:
    """Both estimates of one group of tasks as plain numbers."""
    family, first = section.family, next(iter(found.values()))
    k, everything = int(first["adaptation_episodes"]), group == ALL
    scores = [run["mean_success"] if everything else run["class_success"][group] for run in found.values()]
    generator = seeding.generator("bootstrap", results.grid.suite, family, name)
    official = stats.estimate([np.array(scores)], stats.mean, generator)
    curve = results.summary.curve(family, name, "success_any", "mean", group)
    point = next((point for point in curve if point.k == k), None)
    entry: Entry = {"family": family, "algorithm": name, "class": group, "metaworld": first["metaworld"], "k": k}
    entry |= {"official": official.value, "official_lo": official.lo, "official_hi": official.hi}
    entry |= {
        "official_return": float(np.mean([run["mean_return"] for run in found.values()])) if everything else np.nan
    }
    classes = len(first["class_success"])
    entry["official_episodes"] = len(found) * first["episodes_counted"] // (1 if everything else classes)
    for key, column in (("per_goal", "mean"), ("per_goal_lo", "mean_lo"), ("per_goal_hi", "mean_hi")):
        entry[key] = getattr(point, column) if point else np.nan
    entry |= {"official_n": len(found), "per_goal_n": point.n_seeds if point else 0}
    entry["per_goal_episodes"] = point.n_episodes if point else 0
    return entry | {"n_seeds": len(found)}


def _values(entry: Mapping[str, Any], label: str) -> dict[str, Value]:
    scored = np.isfinite(entry["per_goal"])
    return {
        "K": Cell(entry["k"], 0),
        label: cell(entry, "official", 2),
        PER_GOAL: cell(entry, "per_goal", 2) if scored else "not scored",
        "episodes, official": Cell(entry["official_episodes"], 0),
        "episodes, per goal": Cell(entry["per_goal_episodes"] or np.nan, 0),
    }
