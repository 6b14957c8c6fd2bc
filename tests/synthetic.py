"""Run directories filled with made-up outcomes, written with the same functions as real ones.

The learning curves have known shapes (a rise from ``start`` to ``end`` over the evidence) so that reports can be
checked against what went in; nothing here is a result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kshot import checksums, records
from kshot.seeding import generator
from kshot.suites.run import Evaluation, LearningCurve, RunConfig
from kshot.types import Headline

DIGEST = "5d41402abc4b2a76"


@dataclass(frozen=True)
class Family:
    """A made-up family: its evaluation, and how high policies score on it."""

    name: str
    headline: Headline
    k: tuple[int, ...]
    n_tasks: int
    classes: tuple[str, ...] = ()
    episodes_per_trial: int = 1
    horizon: int = 100
    low: float = 0.0
    high: float = 1.0
    binary: bool = False
    known: Mapping[str, float] = field(default_factory=dict)
    best: float = float("nan")  # the best possible return of every episode
    stages: tuple[str, ...] = ()
    learning: tuple[str, ...] = ()  # scripted policies that get better within a trial


BANDIT = Family(
    "bandit", "trial_return", (0, 1, 2, 5, 10), 60, episodes_per_trial=10, horizon=1, low=0.5, high=0.85, binary=True,
    known={"random": 0.5, "oracle": 0.833, "bayes_optimal_trial": 6.66},
)  # fmt: skip
POINT = Family("point", "return", (0, 10, 20), 40, low=-40.0, high=-2.0, episodes_per_trial=10)
ML10 = Family(
    "ml10", "success_last", (0, 1, 2, 3, 5, 10), 50, horizon=500, low=50.0, high=4000.0, episodes_per_trial=10,
    classes=("door-close-v3", "drawer-open-v3", "lever-pull-v3", "shelf-place-v3", "sweep-into-v3"),
)  # fmt: skip

# Share of the way from low to high: before any evidence, with much of it, and its spread over seeds.
LEARNERS = {
    "maml": (0.15, 0.75, 0.05),
    "fomaml": (0.13, 0.68, 0.06),
    "reptile": (0.25, 0.45, 0.04),
    "rl2": (0.10, 0.86, 0.07),
    "pearl": (0.12, 0.80, 0.09),
    "untrained": (0.02, 0.02, 0.01),
}
# Shown demonstrations, not rewards.
DEMONSTRATED = {"mandril": (0.10, 0.90, 0.03), "maxent_irl": (0.05, 0.60, 0.03)}
SHOWN = (*DEMONSTRATED, "pretrained_irl", "contextual_irl", "behaviour_cloning", "replay")
# How they are meant to be tested (else "sampled"), the episodes that they adapt on at a time, the most they can use.
ACTIONS = {"pearl": "mean", "mandril": "mean", "maxent_irl": "mean"}
BLOCKS = {"maml": 10, "fomaml": 10}
LIMITS: dict[tuple[str, str], int] = {}  # (family, algorithm)
REFERENCES = {"random": 0.0, "task_blind": 0.35, "oracle": 1.0, "thompson": 0.8}
LEARNING = ("thompson",)


def share_of(run: RunConfig) -> tuple[float, float, float]:
    """Where a learner starts and ends, and its spread over seeds; drawn from its name where that is not listed."""
    if found := (LEARNERS | DEMONSTRATED).get(run.algorithm):
        return found
    start, end = generator("synthetic-learner", run.algorithm).uniform([0.0, 0.3], [0.3, 1.0])
    return float(start), float(end), 0.04


def block_of(run: RunConfig) -> int:
    return BLOCKS.get(f"{run.family}/{run.algorithm}", BLOCKS.get(run.algorithm, 1))


def runs_of(
    families: Sequence[Family],
    learners: Sequence[str] = tuple(LEARNERS),
    references: Sequence[str] = tuple(REFERENCES)[:3],
    seeds: int = 5,
    suite: str = "made-up",
    learning_curve: LearningCurve | None = None,
) -> list[RunConfig]:
    """The complete grid: every learner with every seed, every reference once, on every family."""
    runs = []
    for family in families:
        evaluation = Evaluation(tasks=family.n_tasks, k=family.k)
        for name in learners:
            facts = facts_of(name) | {"headline": family.headline, "learning_curve": learning_curve}
            for seed in range(seeds):
                runs.append(
                    RunConfig(suite, family.name, family.name, name, name, seed, 1_000_000, evaluation, **facts)
                )
        for name in references:
            runs.append(
                RunConfig(suite, family.name, family.name, name, None, 0, 0, evaluation, headline=family.headline)
            )
    return runs


def facts_of(module: str) -> dict[str, Any]:
    """What the code of a learner would say of it."""
    return {
        "evidence": "demonstrations" if module in SHOWN else "rollouts",
        "test_actions": ACTIONS.get(module, "sampled"),
        "from_scratch": module == "maxent_irl",
    }


def write_suite(families: Sequence[Family], runs: Sequence[RunConfig], root: Path) -> None:
    """Fill the directories of all ``runs``."""
    by_name = {family.name: family for family in families}
    for run in runs:
        write_run(by_name[run.family], run, root)


def write_run(
    family: Family,
    run: RunConfig,
    root: Path,
    frame: pd.DataFrame | None = None,
    status: str = "ok",
    digest: str = DIGEST,
    **extra: Any,
) -> Path:
    """All files of one finished run; ``frame`` replaces its curve, ``extra`` goes into its run.json."""
    folder = run.directory(root)
    if frame is None:
        frame = curve(family, run)
    if status != "ok":
        frame = frame.head(1).assign(status=status, **{"return": np.nan})
    records.write_table(folder / "curve.parquet", frame, records.CURVE_SCHEMA)
    common = {
        "run": run.to_dict(),
        "config_hash": run.config_hash,
        "train_hash": run.train_hash,
        "status": status,
        "reason": "" if status == "ok" else "loss is not finite at iteration 12",
        "wall_seconds": 60.0 + run.seed,
        "peak_memory_gb": 0.5 + 0.25 * run.seed,
        "git_commit": "0123456789abcdef0123456789abcdef01234567",
        "git_dirty": False,
        "source_digest": digest,
        "versions": {"python": "3.11.2", "numpy": "2.4.6", "torch": "2.9.0"},
        "hardware": {"cpu": "Example CPU", "cores": 2, "threads": 1, "memory_gb": 8.0},
    }
    info = {
        "horizon": family.horizon,
        "episodes_per_trial": family.episodes_per_trial,
        "action_kind": "continuous",
        "references": dict(family.known),
        "stages": list(family.stages),
        "trial_memory": run.algorithm in (*LEARNING, *family.learning),
    }
    tested: dict[str, Any] = {}
    if run.kind == "algorithm":
        tested = {"adaptation_episodes": block_of(run), "max_evidence": LIMITS.get((run.family, run.algorithm))}
    evaluated = common | tested | {"env_steps": 5_000, "family": info}
    evaluation_files = ["curve.parquet"]
    if run.learning_curve is not None:
        records.write_table(folder / "learning.parquet", learning(family, run), records.LEARNING_SCHEMA)
        evaluation_files.append("learning.parquet")
    checksums.write_record(folder / "evaluate.json", evaluated, evaluation_files)
    if run.kind == "algorithm":
        trained = {"env_steps": run.steps, "iterations": 50, "updates": 100}
        records.write_table(folder / "train.parquet", training(family, run), records.TRAIN_SCHEMA)
        checksums.write_record(folder / "run.json", common | trained | extra, ("train.parquet",))
    return folder


def sign(record: Path, without: Sequence[str] = (), **entries: Any) -> None:
    """Change entries of a record, and let it name the files beside it as they are now."""
    value = records.read_json(record)
    for name in ("checksum", *without):
        value.pop(name)
    checksums.write_record(record, value | entries, value.pop("files", {}))


def curve(family: Family, run: RunConfig) -> pd.DataFrame:
    """A run's episodes: rows as an evaluation writes them."""
    rng = generator("synthetic", run.family, run.algorithm, run.seed)
    groups = family.classes or (family.name,)
    classes = [groups[i % len(groups)] for i in range(family.n_tasks)]
    ease = generator("synthetic-tasks", family.name).uniform(-0.15, 0.15, family.n_tasks)
    ease = ease + np.linspace(-0.25, 0.2, len(groups))[np.arange(family.n_tasks) % len(groups)]
    points: tuple[int, ...] = (0,)
    if run.kind == "reference":
        share, lift, played = REFERENCES.get(run.algorithm, 0.6), 0.0, [(0, 10)]
        if run.algorithm in family.learning:
            share, lift, played = 0.2, 0.6, [(k, 10) for k in range(family.episodes_per_trial)]
        ease = ease * (run.algorithm == "task_blind")
    else:
        start, end, spread = share_of(run)
        shift = rng.normal(0, spread)
        share, lift, points = start + shift / 3, end - start + shift * 2 / 3, family.k
        block, limit = block_of(run), LIMITS.get((run.family, run.algorithm), max(points))
        points = tuple(sorted({k // block * block for k in points if k <= limit}))
        played = [
            (k, block) for k in (points if run.evidence == "demonstrations" else range(0, max(points) + 1, block))
        ]

    parts: dict[str, list[Any]] = {}
    plans = [("mean", [(k, 1) for k in points])] if run.kind == "algorithm" else []  # scripted policies act as they are
    for mode, plan in [*plans, ("sampled", played)]:
        for k, n in plan:
            level = np.clip(share + lift * (1 - np.exp(-k / 3.0)) + ease * (run.kind != "reference"), 0, 1)
            level = np.clip(level + (0.0 if run.kind == "algorithm" else ease), 0, 1)
            level = np.repeat(level - (0.04 if mode == "sampled" and run.kind == "algorithm" else 0.0), n)
            size = family.n_tasks * n
            outcome = family.low + (family.high - family.low) * (level + rng.normal(0, 0.05, size))
            if family.binary:
                chance = np.clip(family.low + (family.high - family.low) * level, 0, 1)
                outcome = (rng.uniform(size=size) < chance).astype(float)
            last = rng.uniform(size=size) < level * (0.15 if run.algorithm == "task_blind" else 1.0)
            any_step = last | (rng.uniform(size=size) < (0.9 if run.algorithm == "task_blind" else 0.15))
            part: dict[str, Any] = {
                "group": np.repeat(classes, n),
                "task": np.repeat([f"test-{i:05d}-{family.name}" for i in range(family.n_tasks)], n),
                "k": k,
                "adaptation_episodes": k,
                "adaptation_updates": k // block_of(run) if run.kind == "algorithm" else 0,
                "adaptation_steps": k * family.horizon,
                "episode": np.tile(np.arange(n), family.n_tasks),
                "mode": mode,
                "return": outcome,
                "success_any": any_step,
                "success_last": last,
                "first_success": np.where(any_step, rng.integers(1, family.horizon + 1, size), -1),
                "optimal_return": family.best,
                "held_out_log_likelihood": (
                    np.repeat(level[::n] - 2.0, n) if run.evidence == "demonstrations" and mode == "mean" else np.nan
                ),
                "stage": (
                    np.minimum((level + 0.1) * len(family.stages), len(family.stages) - 1).astype(int)
                    if family.stages
                    else -1
                ),
            }
            for name, value in part.items():
                parts.setdefault(name, []).append(np.broadcast_to(value, size))
    columns: dict[str, Any] = {name: np.concatenate(part) for name, part in parts.items()}
    columns |= {
        "suite": run.suite,
        "family": run.family,
        "algorithm": run.algorithm,
        "kind": run.kind,
        "seed": run.seed,
        "split": run.evaluation.split,
        "env_steps": family.horizon,
        "status": "ok",
        "config_hash": run.config_hash,
    }
    return pd.DataFrame(columns, columns=records.CURVE_SCHEMA.names)


def learning(family: Family, run: RunConfig) -> pd.DataFrame:
    """A run's episodes along its training: those of its evaluation, from the lowest outcome towards what they are."""
    assert run.learning_curve is not None
    evaluation = run.evaluation.model_copy(update={"split": "validation", "k": run.learning_curve.k})
    frame = curve(replace(family, k=run.learning_curve.k), replace(run, evaluation=evaluation))
    points = run.learning_curve.points
    parts = []
    for part in range(1, points + 1):
        reached = family.low + (frame["return"] - family.low) * part / points
        steps = run.steps * part // points + 100 * run.seed
        yet = np.arange(len(frame)) % points < part
        flags = {name: frame[name] & yet for name in ("success_any", "success_last")}
        parts.append(frame.assign(trained_steps=steps, **{"return": reached}, **flags))
    return pd.concat(parts, ignore_index=True)


def training(family: Family, run: RunConfig, iterations: int = 50) -> pd.DataFrame:
    """A run's training record: the mean return before and after adaptation, and a loss."""
    rng = generator("synthetic-training", run.family, run.algorithm, run.seed)
    start, end, _ = share_of(run)
    progress = 1 - np.exp(-np.arange(iterations) / (iterations / 4))
    values = {
        metric: family.low + (family.high - family.low) * (share + rng.normal(0, 0.03, iterations))
        for metric, share in (("return", start * progress), ("return_adapted", end * progress))
    }
    values["loss"] = rng.normal(size=iterations)
    columns = {
        "iteration": np.tile(np.arange(iterations), len(values)),
        "env_steps": np.tile((np.arange(iterations) + 1) * (run.steps // iterations), len(values)),
        "metric": np.repeat(list(values), iterations),
        "value": np.concatenate(list(values.values())),
    }
    return pd.DataFrame(columns, columns=records.TRAIN_SCHEMA.names)


def other_seeds(runs: Sequence[RunConfig], seed: int) -> list[RunConfig]:
    """``runs`` with every algorithm's seed replaced."""
    return [replace(run, seed=seed) if run.kind == "algorithm" else run for run in runs]
