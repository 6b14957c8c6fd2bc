"""What figures, tables and the page draw on: the files of ``aggregate``, checked to fit the runs as they are now."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kshot import records
from kshot.records import RecordError
from kshot.reporting import stats
from kshot.reporting.aggregate import ALL, TASKS_SCHEMA, suite_name
from kshot.reporting.cells import curve_path
from kshot.run_config import RunConfig

Array = NDArray[Any]
Section = tuple[str, str]
"""(family, evidence): learners that adapt on demonstrations are never shown among those that adapt on rewards."""
At = Literal["first", "last"]
"""Before any evidence, or with the most evidence an algorithm was scored with."""

DEMONSTRATIONS = "demonstrations"
"""The kind of evidence that is shown, not played."""
VALIDATION = r"validation_(loss|return|success)_(\d+)_(\d+)"
"""Names of what is measured on validation tasks: measure, shots, inner steps."""
RANDOM, ORACLE, BAYES = "random", "oracle", "bayes_optimal_trial"
_NUMBERS = (
    *("seed", "k", "score", "mean", "mean_lo", "mean_hi", "iqm", "iqm_lo", "iqm_hi", "task_se"),
    *("n_seeds", "n_seeds_expected", "n_tasks", "n_episodes", "adaptation_updates", "adaptation_steps"),
    *("train_env_steps", "train_seconds", "evaluate_env_steps", "evaluate_seconds", "wall_seconds"),
)
"""Columns that hold numbers. All others are text, even where it looks like a number, as some hashes do."""
METRIC_NAMES = {
    "return": "return",
    "success_any": "success at any step",
    "success_last": "success at the last step",
    "first_success": "steps to first success",
    "trial_return": "return of a trial",
    "value_difference": "expected value difference",
    "held_out_log_likelihood": "log-likelihood of held-out demonstrations",
}


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
    headline: str
    episodes_per_trial: int
    horizon: int
    k: tuple[int, ...]
    tasks: int
    split: str
    classes: tuple[str, ...]
    known: Mapping[str, float]
    stages: tuple[str, ...] = ()
    learning: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Data:
    """Everything about one suite that can be shown; ``only`` narrows all of it but ``names``.

    The frames have the columns of ``summary.csv``, ``scores.csv``, ``tasks.parquet`` and ``cells.csv``.
    """

    suite: str
    root: Path
    runs: tuple[RunConfig, ...]
    names: tuple[str, ...]  # of all learners of the suite: they share out the colours
    summary: pd.DataFrame
    scores: pd.DataFrame
    tasks: pd.DataFrame
    cells: pd.DataFrame
    families: Mapping[str, FamilyInfo]

    @property
    def folder(self) -> Path:
        return self.root / self.suite

    def only(self, section: Section) -> Data:
        """The same, of one family and the learners on it that adapt on one kind of evidence."""
        family = section[0]
        frames = {name: getattr(self, name) for name in ("summary", "scores", "tasks", "cells")}
        names = {name for f, e, learners in self.sections if (f, e) == section for name in learners}
        kept = names | set(self.references(section))
        return replace(
            self,
            runs=tuple(run for run in self.runs if run.family == family and run.algorithm in kept),
            families={family: self.families[family]},
            **{
                name: frame[(frame["family"] == family) & frame["algorithm"].isin(list(kept))]
                for name, frame in frames.items()
            },
        )

    @cached_property
    def sections(self) -> list[tuple[str, str, list[str]]]:
        """(family, evidence, learners) of everything that was to run, whether or not it has results.

        Families without a single result are left out: nothing is known about them.
        """
        found: dict[Section, list[str]] = {}
        cells = self.cells[(self.cells["kind"] == "algorithm") & self.cells["family"].isin(list(self.families))]
        for family, evidence, name in zip(cells["family"], cells["evidence"], cells["algorithm"], strict=True):
            learners = found.setdefault((family, evidence), [])
            learners += [name] if name not in learners else []
        return [(family, evidence, learners) for (family, evidence), learners in found.items()]

    def algorithms(self, family: str | None = None, evidence: str | None = None) -> list[str]:
        """Names of the learners that have results, in the suite's order."""
        rows = self.summary[self.summary["kind"] == "algorithm"]
        if family is not None:
            rows = rows[rows["family"] == family]
        if evidence is not None:
            rows = rows[rows["evidence"] == evidence]
        return list(dict.fromkeys(rows["algorithm"]))

    def references(self, section: Section) -> list[str]:
        """Names of the scripted policies of a family that have results.

        Those that learn from rewards are no yardstick for learners that are shown what is wanted, and left out there.
        """
        family, evidence = section
        rows = self.summary[(self.summary["kind"] == "reference") & (self.summary["family"] == family)]
        out = self.families[family].learning if evidence == DEMONSTRATIONS else frozenset()
        return [name for name in dict.fromkeys(rows["algorithm"]) if name not in out]

    def single(self, family: str) -> str:
        """The metric that single episodes of a family are shown by."""
        headline = self.families[family].headline
        return "return" if headline == "trial_return" else headline

    def headline(self, section: Section) -> str:
        """The metric that comes first in a section.

        Where that is what a trial collects, learners from demonstrations, who play no evidence, are scored by single
        episodes with the most evidence.
        """
        family, evidence = section
        return self.single(family) if evidence == DEMONSTRATIONS else self.families[family].headline

    @property
    def evidences(self) -> list[str]:
        """The kinds of evidence that learners of this suite adapt on; never ranked against each other."""
        return list(dict.fromkeys(self.summary.loc[self.summary["kind"] == "algorithm", "evidence"]))

    def curve(self, family: str, algorithm: str, metric: str, mode: str = "mean", group: str = ALL) -> pd.DataFrame:
        """Rows of the summary for growing k."""
        return self._curves.get((family, algorithm, metric, mode, group), self.summary.iloc[:0])

    @cached_property
    def _curves(self) -> dict[tuple[Any, ...], pd.DataFrame]:
        by = self.summary.sort_values("k").groupby(["family", "algorithm", "metric", "mode", "group"], sort=False)
        return {tuple(key): rows for key, rows in by}

    @cached_property
    def _run_scores(self) -> dict[tuple[Any, ...], Array]:
        rows = self.scores[self.scores["group"] == ALL].dropna(subset="score").sort_values("seed")
        by = rows.groupby(["family", "algorithm", "metric", "mode", "k"], sort=False)["score"]
        return {tuple(key): values.to_numpy(dtype=np.float64) for key, values in by}

    def mode(self, family: str, algorithm: str, metric: str) -> str:
        """The action mode that a headline uses.

        Learners are scored with their mean action; scripted policies as they act, since the mean of a random policy
        is another policy; trials are played with sampled actions by definition.
        """
        sampled = self.curve(family, algorithm, metric, "sampled")
        scripted = not sampled.empty and sampled["kind"].iloc[0] == "reference"
        return "sampled" if metric == "trial_return" or scripted else "mean"

    def point(
        self, family: str, algorithm: str, metric: str, at: At = "last", group: str = ALL
    ) -> Mapping[str, Any] | None:
        """The summary row before any evidence or with the most; None when there is none."""
        rows = self.curve(family, algorithm, metric, self.mode(family, algorithm, metric), group)
        return None if rows.empty else dict(rows.iloc[0 if at == "first" else -1])

    def run_scores(self, family: str, algorithm: str, metric: str, at: At = "last") -> Array:
        """[runs] scores, by seed, at the same point as ``point``."""
        point = self.point(family, algorithm, metric, at)
        if point is None:
            return np.zeros(0)
        return self._run_scores.get((family, algorithm, metric, point["mode"], point["k"]), np.zeros(0))

    def scale(self, family: str, metric: str) -> tuple[float, float]:
        """(random, oracle) on a metric: from their runs, else the values the family knows; NaN when neither exists."""
        info, ends = self.families[family], []
        for name in (RANDOM, ORACLE):
            point = self.point(family, name, metric)
            if point is not None:
                ends.append(float(point["mean"]))
            elif metric in ("return", "trial_return") and name in info.known:
                episodes = info.episodes_per_trial if metric == "trial_return" else 1
                ends.append(info.known[name] * episodes)
            else:
                ends.append(np.nan)
        return ends[0], ends[1]

    def normalised(self, section: Section, algorithm: str, at: At = "last") -> Array:
        """[runs] headline scores on the scale from the random policy (0) to the oracle (1)."""
        family, metric = section[0], self.headline(section)
        return stats.normalise(self.run_scores(family, algorithm, metric, at), *self.scale(family, metric))

    def task_values(self, family: str, algorithm: str, metric: str, at: At = "last") -> pd.Series[float] | None:
        """Seed-averaged outcome by task id at the same point as ``point``."""
        point = self.point(family, algorithm, metric, at)
        return None if point is None else self.task_values_at(point)

    def task_values_at(self, point: Mapping[str, Any]) -> pd.Series[float]:
        """Seed-averaged outcome by task id at a row of the summary whose tasks are kept; empty at others."""
        rows = self.tasks
        for column in ("family", "algorithm", "mode", "k"):
            rows = rows[rows[column] == point[column]]
        values: pd.Series[float] = rows.set_index("task")[point["metric"]]
        return values.dropna().sort_index()

    @property
    def training(self) -> pd.DataFrame:
        """Returns on training tasks, with columns family, algorithm and seed before those of the records."""
        return self._train_records[self._train_records["metric"].isin(("return", "return_adapted"))]

    @cached_property
    def validation(self) -> pd.DataFrame:
        """What learners measured on validation tasks after their training, for some numbers of shots and inner steps.

        Columns family, algorithm, seed, measure (loss, return or success), shots, steps and value: the metrics named
        ``validation_<measure>_<shots>_<steps>``.
        """
        named = self._train_records["metric"].str.extract(VALIDATION).dropna()
        rows = self._train_records.loc[named.index, ["family", "algorithm", "seed", "value"]]
        return rows.assign(measure=named[0], shots=named[1].astype(int), steps=named[2].astype(int))

    @cached_property
    def _train_records(self) -> pd.DataFrame:
        frames = []
        for run in self.runs:
            path = run.directory(self.root) / "train.parquet"
            if run.kind == "algorithm" and path.is_file():
                frame = records.read_table(path, records.TRAIN_SCHEMA)
                frame = frame.astype({"metric": str})
                # Losses and norms of every iteration would fill the memory, and nothing draws them.
                drawn = frame["metric"].isin(("return", "return_adapted")) | frame["metric"].str.fullmatch(VALIDATION)
                frame = frame[drawn]
                frames.append(frame.assign(family=run.family, algorithm=run.algorithm, seed=run.seed))
        columns = ["family", "algorithm", "seed", *records.TRAIN_SCHEMA.names]
        empty = pd.DataFrame(columns=columns).astype({"metric": str})
        return pd.concat(frames, ignore_index=True)[columns] if frames else empty


def load(runs: Sequence[RunConfig], root: Path) -> Data:
    """Read what ``aggregate`` wrote for these runs.

    Raises:
        RecordError: a file is missing or damaged, or the runs have changed since.
    """
    suite = suite_name(runs)
    folder = root / suite
    cells = _read_csv(folder / "cells.csv")
    _check_fresh(cells, runs, root)
    summary, scores = _read_csv(folder / "summary.csv"), _read_csv(folder / "scores.csv")
    tasks = records.read_table(folder / "tasks.parquet", TASKS_SCHEMA)
    families = {}
    for name in dict.fromkeys(run.family for run in runs):
        info = _family_info(name, [run for run in runs if run.family == name], root, cells, summary)
        if info is not None:
            families[name] = info
    names = tuple(dict.fromkeys(run.algorithm for run in runs if run.kind == "algorithm"))
    return Data(suite, root, tuple(runs), names, summary, scores, tasks, cells, families)


def _read_csv(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise RecordError(f"{path}: no such file; run `kshot aggregate` first")
    try:
        text = pd.read_csv(path, dtype=str, keep_default_na=False)
        numbers = {name: pd.to_numeric(text[name]) for name in _NUMBERS if name in text}
    except (ValueError, OSError) as error:
        detail = str(error).splitlines()[0]
        raise RecordError(f"{path}: not readable as CSV ({detail}); run `kshot aggregate` again") from None
    return text.assign(**numbers)


def _check_fresh(cells: pd.DataFrame, runs: Sequence[RunConfig], root: Path) -> None:
    """The aggregate was made from exactly these runs and from their files as they are now."""
    folder = root / runs[0].suite
    keys = zip(cells["family"], cells["algorithm"], cells["seed"], strict=True)
    known = dict(zip(keys, zip(cells["config_hash"], cells["curve_sha256"], strict=True), strict=True))
    for run in runs:
        path = curve_path(run, root)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else ""
        if known.pop((run.family, run.algorithm, run.seed), None) != (run.config_hash, digest):
            raise RecordError(f"{folder / 'cells.csv'}: not made from {path} as it is now; run `kshot aggregate` again")
    if known:
        family, algorithm, seed = next(iter(known))
        raise RecordError(
            f"{folder / 'cells.csv'}: lists {family}/{algorithm}/seed-{seed}, which the suite no longer asks for; "
            "run `kshot aggregate` again"
        )


def _family_info(
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
            headline=str(family["headline"]),
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
    if not isinstance(family, dict) or family.get("headline") not in METRIC_NAMES:
        raise RecordError(f"{path}: does not describe its family; run the evaluation again")
    return family
