"""What the evaluations noted about the families of a suite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from kshot import records
from kshot.errors import RecordError
from kshot.reporting.aggregate import ALL
from kshot.suites.run import RunConfig
from kshot.types import Headline


@dataclass(frozen=True)
class FamilyInfo:
    """What an evaluation noted about its family.

    Attributes:
        name: the family's name in the suite.
        headline: the metric that comes first in reports.
        episodes_per_trial: length of a trial.
        horizon: steps of an episode.
        k: evidence points of the evaluation.
        tasks: number of test tasks.
        split: which tasks they are.
        classes: names of the classes of tasks; empty when there is one.
        known: values known in closed form, by name: some of random, oracle, bayes_optimal_trial.
        stages: names of how far an episode can get, from the least to the most; empty where the family has none.
        learning: scripted policies whose memory outlasts an episode, so that they may learn from rewards.
    """

    name: str
    headline: Headline
    episodes_per_trial: int
    horizon: int
    k: tuple[int, ...]
    tasks: int
    split: str
    classes: tuple[str, ...]
    known: Mapping[str, float]
    stages: tuple[str, ...] = ()
    learning: frozenset[str] = frozenset()


def family_info(
    name: str, runs: Sequence[RunConfig], root: Path, cells: pd.DataFrame, summary: pd.DataFrame
) -> FamilyInfo | None:
    """From the first evaluation of the family that ended well; None when none did."""
    ok = cells[(cells["family"] == name) & (cells["state"] == "ok")]
    finished = set(zip(ok["algorithm"], ok["seed"], strict=True))
    for run in runs:
        if (run.algorithm, run.seed) not in finished:
            continue
        family = _family_record(run, root)
        groups = dict.fromkeys(summary.loc[summary["family"] == name, "group"])
        return FamilyInfo(
            name=name,
            headline=run.headline,
            episodes_per_trial=int(family.get("episodes_per_trial", 1)),
            horizon=int(family.get("horizon", 0)),
            k=run.evaluation.k,
            tasks=run.evaluation.tasks,
            split=run.evaluation.split,
            classes=tuple(group for group in groups if group != ALL),
            known={key: float(value) for key, value in family.get("references", {}).items()},
            stages=tuple(str(stage) for stage in family.get("stages", ())),
            learning=frozenset(
                other.algorithm
                for other in runs
                if other.kind == "reference"
                and (other.algorithm, other.seed) in finished
                and _family_record(other, root).get("trial_memory", False)
            ),
        )
    return None


def _family_record(run: RunConfig, root: Path) -> dict[str, Any]:
    """What a finished evaluation noted about its family."""
    path = run.directory(root) / "evaluate.json"
    family = records.read_json(path).get("family")
    if not isinstance(family, dict):
        raise RecordError(f"{path}: does not describe its family; run the evaluation again")
    return family
