"""The files of a suite's numbers, which ``aggregate`` writes and everything else here reads; see results/README.md."""

from __future__ import annotations

from dataclasses import dataclass, fields

import pyarrow as pa

from kshot.types import Evidence

ALL = "all"
"""The group that stands for every class of a family together."""
EPISODE_METRICS = ("return", "success_any", "success_last")
"""What every episode has."""
JUDGED_METRICS = ("value_difference", "held_out_log_likelihood")
"""What an evaluation only knows of some families and learners."""
MADE_BY = "kshot aggregate"


@dataclass(frozen=True, slots=True)
class Point:
    """A row of ``summary.csv``: what a policy reached on one metric after k episodes of evidence, over all its runs.

    Attributes:
        family: its name in the suite.
        algorithm: name of the learner's row in the suite, or of a scripted policy.
        kind: "algorithm" or "reference".
        evidence: what it adapts on.
        group: a class of tasks, or "all".
        mode: kind of the actions, "sampled" or "mean".
        k: evidence that it has used.
        metric: the measure.
        mean: over runs.
        mean_lo: lower end of the mean's interval over runs (with three or four runs, of their range).
        mean_hi: its upper end.
        mean_lo_tasks: lower end of the interval over runs and test tasks.
        mean_hi_tasks: its upper end.
        iqm: interquartile mean over runs.
        iqm_lo: lower end of its interval.
        iqm_hi: its upper end.
        task_se: standard error over the test tasks.
        n_seeds: number of runs that count.
        n_seeds_expected: number that the suite asks for.
        n_tasks: number of test tasks.
        n_episodes: number of episodes behind the mean.
        adaptation_updates: mean number of adaptations so far.
        adaptation_steps: mean number of environment steps in the evidence.
    """

    family: str
    algorithm: str
    kind: str
    evidence: Evidence
    group: str
    mode: str
    k: int
    metric: str
    mean: float
    mean_lo: float
    mean_hi: float
    mean_lo_tasks: float
    mean_hi_tasks: float
    iqm: float
    iqm_lo: float
    iqm_hi: float
    task_se: float
    n_seeds: int
    n_seeds_expected: int
    n_tasks: int
    n_episodes: int
    adaptation_updates: float
    adaptation_steps: float


SUMMARY_COLUMNS = tuple(item.name for item in fields(Point))
SCORE_COLUMNS = (
    "family",
    "algorithm",
    "kind",
    "evidence",
    "group",
    "mode",
    "k",
    "metric",
    "seed",
    "score",
    "n_tasks",
    "n_episodes",
    "adaptation_updates",
    "adaptation_steps",
)
CELL_COLUMNS = (
    "suite",
    "family",
    "algorithm",
    "kind",
    "evidence",
    "test_actions",
    "adaptation_episodes",
    "max_evidence",
    "seed",
    "state",
    "reason",
    "config_hash",
    "source_digest",
    "train_source_digest",
    "source_flag",
    "git_commit",
    "git_dirty",
    "train_env_steps",
    "train_updates",
    "train_seconds",
    "threads",
    "evaluate_env_steps",
    "evaluate_seconds",
    "wall_seconds",
    "peak_memory_gb",
    "curve_sha256",
)
_NAME = pa.dictionary(pa.int32(), pa.string())
TASKS_SCHEMA = pa.schema(
    [
        ("family", _NAME),
        ("algorithm", _NAME),
        ("kind", _NAME),
        ("group", _NAME),
        ("task", _NAME),
        ("mode", _NAME),
        ("k", pa.int32()),
        ("n_seeds", pa.int32()),
        ("return", pa.float64()),
        ("success_any", pa.float64()),
        ("success_last", pa.float64()),
        ("trial_return", pa.float64()),  # NaN but in the row of the trial: mode sampled, k = episodes of the trial
        *((metric, pa.float64()) for metric in JUDGED_METRICS),  # NaN where not known
    ]
)


def stage_metric(index: int) -> str:
    """The metric that is the share of episodes whose furthest stage is number ``index``."""
    return f"stage_{index}"
