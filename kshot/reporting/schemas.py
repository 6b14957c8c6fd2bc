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
    """A row of ``summary.csv``: what a policy reached on one metric after k episodes of evidence, over all its runs."""

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
