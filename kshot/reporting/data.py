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
from kshot.errors import RecordError
from kshot.reporting import stats
from kshot.reporting.aggregate import ALL, SCORE_COLUMNS, SUMMARY_COLUMNS, TASKS_SCHEMA, suite_name
from kshot.reporting.cells import CELL_COLUMNS, curve_path
from kshot.reporting.csv_files import read_csv
from kshot.reporting.evidence import IntendedTest, answering, common, of_cell
from kshot.reporting.families import FamilyInfo, family_info
from kshot.suites.run import RunConfig

Array = NDArray[Any]
Section = tuple[str, str]
"""(family, evidence): learners that adapt on demonstrations are never shown among those that adapt on rewards."""
At = int | Literal["all"]
"""After so many episodes of evidence (or demonstrations), or with all that a policy can use: then K differs."""

DEMONSTRATIONS = "demonstrations"
"""The kind of evidence that is shown, not played."""
LIKELIHOOD = "held_out_log_likelihood"
VALIDATION = r"validation_(loss|return|success)_(\d+)_(\d+)"
"""Names of what is measured on validation tasks: measure, shots, inner steps."""
RANDOM, ORACLE, BAYES = "random", "oracle", "bayes_optimal_trial"
_MADE_BY = "kshot aggregate"
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

        What a trial collects says nothing of learners from demonstrations, who play no evidence, nor of learners that
        adapt only after a trial. Where there are no others, the headline is that of single episodes.
        """
        headline = self.families[section[0]].headline
        return headline if headline != "trial_return" or self.ranked(section) else "return"

    def ranked(self, section: Section) -> list[str]:
        """Learners with results whose headline scores say what they do with evidence.

        Where a family's headline is the return of a trial these are the learners that can adapt within it: what others
        collect there is what they do before any evidence.
        """
        family, evidence = section
        info, names = self.families[family], self.algorithms(family, evidence)
        if info.headline != "trial_return":
            return names
        if evidence == DEMONSTRATIONS:
            return []
        return [name for name in names if self.tested(family, name).adapts_within(info.episodes_per_trial)]

    def comparison(self, section: Section) -> int:
        """The K at which a section is compared: the largest of its suite's that every learner with results reaches."""
        family, evidence = section
        learners = [self.tested(family, name) for name in self.algorithms(family, evidence)]
        return common(self.families[family].k, learners)

    def tested(self, family: str, algorithm: str) -> IntendedTest:
        """How a policy with results is meant to be tested."""
        return self._tested[family, algorithm]

    @cached_property
    def _tested(self) -> dict[tuple[str, str], IntendedTest]:
        ok = self.cells[self.cells["state"] == "ok"].drop_duplicates(["family", "algorithm"])
        return {(cell["family"], cell["algorithm"]): of_cell(cell) for cell in ok.to_dict("records")}

    @property
    def evidences(self) -> list[str]:
        """The kinds of evidence that learners of this suite adapt on; never ranked against each other."""
        return list(dict.fromkeys(self.summary.loc[self.summary["kind"] == "algorithm", "evidence"]))

    def curve(
        self, family: str, algorithm: str, metric: str, mode: str | None = None, group: str = ALL
    ) -> pd.DataFrame:
        """Rows of the summary for growing k, with the actions that the policy is meant to be tested by, or others."""
        chosen = mode or self.mode(family, algorithm, metric)
        return self._curves.get((family, algorithm, metric, chosen, group), self.summary.iloc[:0])

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
        """The kind of actions that a policy is compared by: that which it is meant for.

        Trials are played with sampled actions by definition; how likely demonstrations are hangs on no action and
        stands beside the mean ones.
        """
        if metric in ("trial_return", LIKELIHOOD):
            return "sampled" if metric == "trial_return" else "mean"
        found = self._tested.get((family, algorithm))
        return "mean" if found is None else found.actions

    def point(self, family: str, algorithm: str, metric: str, at: At, group: str = ALL) -> Mapping[str, Any] | None:
        """The summary row that answers for K episodes of evidence; None where the policy does not reach so far.

        Its ``k`` is the evidence that the policy has used, which within a block is less than K. Returns of trials have
        one row, whatever ``at`` is.
        """
        rows = self.curve(family, algorithm, metric, group=group)
        if rows.empty:
            return None
        if at == "all" or metric == "trial_return":
            return dict(rows.iloc[-1])
        last = int(rows["k"].iloc[-1])
        remembers = algorithm in self.families[family].learning
        if not self.tested(family, algorithm).reaches(at) or (remembers and at > last):
            return None
        return dict(rows[rows["k"] == answering(rows["k"], at)].iloc[0])

    def run_scores(self, family: str, algorithm: str, metric: str, at: At) -> Array:
        """[runs] scores, by seed, at the same point as ``point``."""
        point = self.point(family, algorithm, metric, at)
        if point is None:
            return np.zeros(0)
        return self._run_scores.get((family, algorithm, metric, point["mode"], point["k"]), np.zeros(0))

    def scale(self, family: str, metric: str) -> tuple[float, float]:
        """(random, oracle) on a metric: from their runs, else the values the family knows; NaN when neither exists."""
        info, ends = self.families[family], []
        for name in (RANDOM, ORACLE):
            point = self.point(family, name, metric, "all")
            if point is not None:
                ends.append(float(point["mean"]))
            elif metric in ("return", "trial_return") and name in info.known:
                episodes = info.episodes_per_trial if metric == "trial_return" else 1
                ends.append(info.known[name] * episodes)
            else:
                ends.append(np.nan)
        return ends[0], ends[1]

    def headline_scores(self, section: Section, algorithm: str) -> Array:
        """[runs] headline scores of a policy at the section's K; none of a learner that is not ranked by them."""
        metric = self.headline(section)
        unranked = set(self.algorithms(*section)) - set(self.ranked(section)) if metric == "trial_return" else ()
        if algorithm in unranked:
            return np.zeros(0)
        return self.run_scores(section[0], algorithm, metric, self.comparison(section))

    def normalised(self, section: Section, algorithm: str) -> Array:
        """[runs] the same on the scale from the random policy (0) to the oracle (1)."""
        return stats.normalise(
            self.headline_scores(section, algorithm), *self.scale(section[0], self.headline(section))
        )

    def task_values(self, family: str, algorithm: str, metric: str, at: At) -> pd.Series[float] | None:
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
    cells = read_csv(folder / "cells.csv", CELL_COLUMNS, _MADE_BY)
    _check_fresh(cells, runs, root)
    summary = read_csv(folder / "summary.csv", SUMMARY_COLUMNS, _MADE_BY)
    scores = read_csv(folder / "scores.csv", SCORE_COLUMNS, _MADE_BY)
    tasks = records.read_table(folder / "tasks.parquet", TASKS_SCHEMA)
    families = {}
    for name in dict.fromkeys(run.family for run in runs):
        info = family_info(name, [run for run in runs if run.family == name], root, cells, summary)
        if info is not None:
            families[name] = info
    names = tuple(dict.fromkeys(run.algorithm for run in runs if run.kind == "algorithm"))
    return Data(suite, root, tuple(runs), names, summary, scores, tasks, cells, families)


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
