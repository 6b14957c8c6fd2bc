"""The runs of one policy on one family: their scores, and means and intervals over them.

Every number is computed for all measures at once: a large suite has ten thousand of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kshot import seeding
from kshot.reporting import stats
from kshot.reporting.run_files import Outcomes
from kshot.reporting.schemas import ALL, EPISODE_METRICS, SCORE_COLUMNS, SUMMARY_COLUMNS

Array = NDArray[Any]
FIRST_SUCCESS, TRIAL_RETURN = "first_success", "trial_return"
IDENTITY = ("family", "algorithm", "kind", "evidence")
"""What all rows of a policy have in common."""


class Measure(NamedTuple):
    """A number that every run has: a metric at a point, by its index, or -1 for the trial."""

    mode: str
    k: int
    metric: str
    point: int


def measures(outcome: Outcomes) -> Iterable[Measure]:
    """Every number that a run has."""
    for p, (mode, k) in enumerate(outcome.points):
        for metric in (*EPISODE_METRICS, FIRST_SUCCESS):
            yield Measure(mode, k, metric, p)
        for metric, values in outcome.values.items():
            if metric not in EPISODE_METRICS and np.isfinite(values[p]).all():
                yield Measure(mode, k, metric, p)
    if outcome.trial_return is not None:
        yield Measure("sampled", outcome.trial_episodes, TRIAL_RETURN, -1)


class PolicyScores:
    """M measures of R runs on T test tasks, for all classes of tasks together and, where there are several, each.

    A score of a run is the mean of its columns. All classes together are one column each, so that they count equally
    whatever their number of tasks. Steps to the first success are pooled over every success instead: a class without
    one has no mean that could be averaged, and they are NaN where nothing succeeded.
    """

    def __init__(self, suite: str, identity: Mapping[str, Any], outcomes: Mapping[int, Outcomes]) -> None:
        """Find the measures and the groups.

        Args:
            suite: the suite's name; names the draws of intervals, as family and algorithm do.
            identity: by ``IDENTITY``.
            outcomes: by seed, all at the same points and by the same measures.
        """
        self.suite, self.identity = suite, identity
        self.seeds, self.runs = list(outcomes), list(outcomes.values())
        first = self.runs[0]
        self.measures = list(measures(first))
        several = len(first.classes) > 1
        self.groups = {ALL: [tasks for _, tasks in first.classes]}
        """[columns] of tasks, by the name of the group."""
        self.groups |= {name: [tasks] for name, tasks in first.classes if several}
        pooled = np.array([measure.metric == FIRST_SUCCESS for measure in self.measures])
        self._pooled, self._averaged = np.flatnonzero(pooled), np.flatnonzero(~pooled)

    def scores(self) -> pd.DataFrame:
        """Rows of scores.csv: by run, measure and group."""
        score, n = (np.stack([part[group] for group in self.groups], -1) for part in (self._scores, self._episodes))
        shape = (len(self.runs), len(self.measures), len(self.groups))

        def spread(values: Array, axis: int) -> Array:
            """One value for every run, measure or group, as a column of all rows."""
            return np.broadcast_to(np.expand_dims(values, [i for i in range(3) if i != axis]), shape).ravel()

        modes, ks, metrics, _ = (np.array(part) for part in zip(*self.measures, strict=True))
        columns: dict[str, Any] = {name: self.identity[name] for name in IDENTITY}
        columns |= {"group": spread(np.array(list(self.groups)), 2), "mode": spread(modes, 1), "k": spread(ks, 1)}
        columns |= {"metric": spread(metrics, 1), "seed": spread(np.array(self.seeds), 0)}
        tasks = spread(np.array([self._n_tasks(group) for group in self.groups]), 2)
        columns |= {"score": score.ravel(), "n_tasks": tasks, "n_episodes": n.ravel()}
        for name, evidence in self._evidence.items():
            columns[name] = np.broadcast_to(evidence[..., None], shape).ravel()
        return pd.DataFrame(columns, columns=list(SCORE_COLUMNS))

    def summary(self, expected: int) -> pd.DataFrame:
        """Rows of summary.csv: by measure and group. ``expected`` is how many runs the suite asks for."""
        frames = [self._summary(group) for group in self.groups]
        rows = pd.concat(frames).sort_index(kind="stable").assign(**self.identity, n_seeds_expected=expected)
        return rows[list(SUMMARY_COLUMNS)]

    def _summary(self, group: str) -> pd.DataFrame:
        """Rows of one group, by the index of the measure."""
        counted = np.full(len(self.measures), len(self.runs))
        mean, iqm = np.full((2, 3, len(self.measures)), np.nan)
        mean[:, self._averaged], iqm[:, self._averaged] = self._estimates(self._columns(group))
        steps = self._pooled_scores(group).T
        counted[self._pooled] = np.isfinite(steps).sum(1)  # a run without a success has no steps to success
        for n in np.unique(counted[self._pooled]):
            of = np.flatnonzero(counted[self._pooled] == n)
            if n:
                succeeded = steps[of][np.isfinite(steps[of])].reshape(len(of), n, 1)
                mean[:, self._pooled[of]], iqm[:, self._pooled[of]] = self._estimates(succeeded)
        both = np.full((2, len(self.measures)), np.nan)
        if self._over_runs_and_tasks:
            both[:, self._averaged] = self._over_runs_and_tasks[group]
        modes, ks, metrics, _ = zip(*self.measures, strict=True)
        columns: dict[str, Any] = {"group": group, "mode": modes, "k": ks, "metric": metrics}
        columns |= {"mean": mean[0], "mean_lo": mean[1], "mean_hi": mean[2]}
        columns |= {"mean_lo_tasks": both[0], "mean_hi_tasks": both[1]}
        columns |= {"iqm": iqm[0], "iqm_lo": iqm[1], "iqm_hi": iqm[2], "task_se": self._task_errors(group)}
        columns |= {"n_seeds": counted, "n_tasks": self._n_tasks(group), "n_episodes": self._episodes[group].sum(0)}
        return pd.DataFrame(columns | {name: values.mean(0) for name, values in self._evidence.items()})

    def _estimates(self, scores: Array) -> tuple[Array, Array]:
        """[3, ...] value and ends of the interval of mean and interquartile mean of scores [measures, runs, columns].

        Keyed by the policy alone: points of one curve are resampled alike, so their intervals can be compared.
        """
        generator = seeding.generator("bootstrap", self.suite, self.identity["family"], self.identity["algorithm"])
        mean, iqm = stats.estimates(scores, (stats.mean, stats.trimmed), generator)
        return mean, iqm

    @cached_property
    def _values(self) -> Array:
        """[averaged measures, R, T] what every run achieved on every task."""
        return np.array([[_task_values(run, self.measures[i]) for run in self.runs] for i in self._averaged])

    def _columns(self, group: str) -> Array:
        """[averaged measures, R, columns] scores."""
        return np.stack([np.take(self._values, tasks, axis=-1).mean(-1) for tasks in self.groups[group]], -1)

    def _pooled_scores(self, group: str) -> Array:
        """[R, pooled measures] steps to the first success."""
        tasks, points = np.concatenate(self.groups[group]), [self.measures[i].point for i in self._pooled]
        steps, successes = (
            np.array([values[points][:, tasks].sum(1) for values in part])
            for part in ([run.first_success for run in self.runs], [run.successes for run in self.runs])
        )
        return np.asarray(np.divide(steps, successes, out=np.full(steps.shape, np.nan), where=successes > 0))

    @cached_property
    def _scores(self) -> dict[str, Array]:
        """By group, [R, M] scores."""
        found = {}
        for group in self.groups:
            found[group] = np.empty((len(self.runs), len(self.measures)))
            found[group][:, self._averaged] = self._columns(group).mean(-1).T
            found[group][:, self._pooled] = self._pooled_scores(group)
        return found

    @cached_property
    def _episodes(self) -> dict[str, Array]:
        """By group, [R, M] how many episodes a score averages."""
        found = {}
        for group, columns in self.groups.items():
            tasks = np.concatenate(columns)
            found[group] = np.array([[_n_episodes(run, tasks, of) for of in self.measures] for run in self.runs])
        return found

    @cached_property
    def _evidence(self) -> dict[str, Array]:
        """[R, M] adaptations and environment steps before the point; NaN for the trial."""
        points = np.array([measure.point for measure in self.measures])
        parts = {"adaptation_updates": "updates", "adaptation_steps": "steps"}
        return {
            column: np.where(points < 0, np.nan, np.array([getattr(run, name)[points] for run in self.runs]))
            for column, name in parts.items()
        }

    @cached_property
    def _over_runs_and_tasks(self) -> dict[str, tuple[Array, Array]]:
        """By group, ends of intervals of averaged measures over runs and test tasks; none with fewer than five runs.

        Steps to success have none: the tasks that count depend on the run.
        """
        if len(self.runs) < stats.INTERVAL_RUNS:
            return {}
        family, algorithm = self.identity["family"], self.identity["algorithm"]
        runs = seeding.generator("bootstrap", self.suite, family, algorithm, "runs")
        tasks = seeding.generator("bootstrap", self.suite, family, "tasks")  # the same for every algorithm
        drawn = stats.crossed(self._values, self.groups[ALL], runs, tasks)
        means = [drawn.mean(axis=1), *(drawn[:, i] for i in range(len(self.groups) - 1))]
        return {group: stats.crossed_interval(of) for group, of in zip(self.groups, means, strict=True)}

    def _task_errors(self, group: str) -> Array:
        """[M] standard errors over test tasks of the seed-averaged outcome.

        NaN for steps to success, where the tasks that count depend on the learner.
        """
        average = self._values.mean(axis=1)
        found = np.full(len(self.measures), np.nan)
        found[self._averaged] = stats.stratified_standard_error(
            [np.take(average, tasks, axis=-1) for tasks in self.groups[group]]
        )
        return found

    def _n_tasks(self, group: str) -> int:
        return sum(map(len, self.groups[group]))


def _task_values(outcome: Outcomes, measure: Measure) -> Array:
    """[T] what a run achieved on every task."""
    values = outcome.trial_return if measure.metric == TRIAL_RETURN else outcome.values[measure.metric][measure.point]
    assert values is not None
    return values


def _n_episodes(outcome: Outcomes, tasks: Array, measure: Measure) -> int:
    """Number of episodes that a score averages."""
    if measure.metric == FIRST_SUCCESS:
        return int(outcome.successes[measure.point, tasks].sum())
    each = outcome.trial_episodes if measure.metric == TRIAL_RETURN else int(outcome.episodes[measure.point])
    return len(tasks) * each
