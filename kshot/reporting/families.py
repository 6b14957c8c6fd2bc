"""What the evaluations noted about the families of a suite."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kshot import checksums
from kshot.errors import RecordError
from kshot.reporting.grid import Grid
from kshot.reporting.names import TRIAL_RETURN
from kshot.reporting.schemas import ALL, Point
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

    @property
    def episode_metric(self) -> str:
        """The measure that single episodes are shown by."""
        return "return" if self.headline == TRIAL_RETURN else self.headline


def read_families(grid: Grid, points: Sequence[Point]) -> dict[str, FamilyInfo]:
    """Every family of a suite that has a result, by name, from its first evaluation that ended well.

    Raises:
        RecordError: an evaluation's record is missing or damaged.
    """
    ok = grid.cells[grid.cells["state"] == "ok"]
    finished = set(zip(ok["family"], ok["algorithm"], ok["seed"], strict=True))
    runs: dict[str, list[RunConfig]] = {}
    for run in grid.runs:
        if (run.family, run.algorithm, run.seed) in finished:
            runs.setdefault(run.family, []).append(run)
    groups: dict[str, dict[str, None]] = {}
    for point in points:
        groups.setdefault(point.family, {})[point.group] = None
    return {name: _family_info(runs[name], grid.root, groups.get(name, {})) for name in runs}


def _family_info(runs: Sequence[RunConfig], root: Path, groups: Iterable[str]) -> FamilyInfo:
    """From the finished runs of one family, and the groups of its tasks."""
    first = runs[0]
    family = _family_record(first, root)
    return FamilyInfo(
        name=first.family,
        headline=first.headline,
        episodes_per_trial=int(family.get("episodes_per_trial", 1)),
        horizon=int(family.get("horizon", 0)),
        k=first.evaluation.k,
        tasks=first.evaluation.tasks,
        split=first.evaluation.split,
        classes=tuple(group for group in groups if group != ALL),
        known={key: float(value) for key, value in family.get("references", {}).items()},
        stages=tuple(str(stage) for stage in family.get("stages", ())),
        learning=frozenset(
            run.algorithm
            for run in runs
            if run.kind == "reference" and _family_record(run, root).get("trial_memory", False)
        ),
    )


def _family_record(run: RunConfig, root: Path) -> dict[str, Any]:
    """What a finished evaluation noted about its family."""
    path = run.directory(root) / "evaluate.json"
    family = checksums.read_record(path).get("family")
    if not isinstance(family, dict):
        raise RecordError(f"{path}: does not describe its family; run the evaluation again")
    return family
