"""Made-up results of the suites in config/suites: their families, learners, evidence points and scripted policies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kshot import records
from kshot.reporting.aggregate import aggregate
from kshot.reporting.results import Results, load
from kshot.suites.reading import load_suite
from kshot.suites.run import RunConfig
from tests import synthetic

SUITES = sorted((Path(__file__).parent.parent / "config" / "suites").glob("*.yaml"))
SEEDS, TASKS, FAMILIES = 3, 5, 7
"""At most so many of each, and one of the families that look the same in figures (``shape``): more make a figure
higher, not another one."""
GRADIENT = ("maml", "fomaml", "anil", "reptile", "untrained")
STEPS = (1, 2, 3, 5, 10, 20)

# What the families are like, as far as figures show it: (headline, episodes per trial, lowest and highest return).
LIKE = {
    "bandit": ("trial_return", 10, 0.4, 0.8),
    "gridnavi": ("trial_return", 4, 0.0, 14.0),
    "tabular_mdp": ("trial_return", 10, 4.0, 16.0),
    "nav2d": ("return", 4, -40.0, -2.0),
    "nav2d_sparse": ("return", 20, 0.0, 14.0),
    "gymnasium": ("return", 2, -200.0, 200.0),
    "metaworld": ("success_last", 10, 50.0, 4800.0),
    "spritegrid": ("return", 1, -16.0, 45.0),
    "metaworld_physics": ("success_last", 10, 50.0, 4200.0),
    "cheetah_vel": ("return", 3, -400.0, -40.0),
    "cheetah_dir": ("return", 2, -50.0, 400.0),
    "ant_goal": ("return", 3, -600.0, -150.0),
    "hopper_rand_params": ("return", 3, 20.0, 500.0),
    "walker_rand_params": ("return", 3, 20.0, 500.0),
    "bus": ("return", 2, -2.0, 0.9),
    "maze": ("return", 4, 0.0, 0.9),
    "random_reward": ("return", 4, -90.0, -40.0),
    "offload_dag": ("return", 10, -17.0, -10.0),
    "metaworld_hand": ("success_last", 1, -30.0, -5.0),
}
LEARNING = ("posterior_sampling", "thompson", "ucb1", "greedy", "search")


def family_of(run: RunConfig) -> synthetic.Family:
    headline, trial, low, high = LIKE[run.family_module]
    trial = int(run.family_settings.get("pulls", trial))
    classes = tuple(f"class-{i}" for i in range(TASKS)) if str(run.family).startswith(("ml10", "ml25", "ml45")) else ()
    best = (
        high if run.family_module in ("spritegrid", "metaworld_hand", "tabular_mdp", "gridnavi", "bandit") else np.nan
    )
    return synthetic.Family(
        run.family, headline, run.evaluation.k, TASKS, classes, trial, 100, low, high, best=best,
        known={"bayes_optimal_trial": low * trial + 0.9 * (high - low) * trial} if headline == "trial_return" else {},
        stages=("never attached", "attached in vain", "success") if run.family_module == "metaworld_hand" else (),
        learning=LEARNING,
    )  # fmt: skip


def shape(runs: list[RunConfig]) -> tuple[object, ...]:
    """What sets a family apart in figures, given its runs."""
    first = family_of(runs[0])
    return (runs[0].family_module, first.k, first.classes, {(run.algorithm, run.evidence) for run in runs})


def shown(runs: list[RunConfig]) -> set[str]:
    """The families that are drawn: of those that look the same the one with the longest name; two at least."""
    of = {name: [run for run in runs if run.family == name] for name in dict.fromkeys(run.family for run in runs)}
    alike: list[list[str]] = []
    for name, members in of.items():
        like = next((names for names in alike if shape(of[names[0]]) == shape(members)), None)
        if like is None:
            alike.append([name])
        else:
            like.append(name)
    chosen = {max(names, key=len) for names in alike[:FAMILIES]}
    return chosen if len(alike) > 1 else set(sorted(alike[0], key=len)[-2:])


def made_up(suite: Path, root: Path) -> Results:
    """Runs of a suite, with few seeds and tasks of some of its families, played by dice and aggregated."""
    every = load_suite(suite).runs()
    families = shown(every)
    runs = [
        replace(run, evaluation=run.evaluation.model_copy(update={"tasks": TASKS, "official": False}))
        for run in every
        if run.seed < SEEDS and run.family in families
    ]
    with pytest.MonkeyPatch.context() as patch:
        for run in runs:
            if run.algorithm_module in GRADIENT:
                patch.setitem(synthetic.BLOCKS, f"{run.family}/{run.algorithm}", _block(run))
            if run.algorithm_module in ("rl2", "rl2_transformer"):
                trial = family_of(run).episodes_per_trial
                patch.setitem(synthetic.LIMITS, (run.family, run.algorithm), min(trial - 1, run.evaluation.k[-1]))
        for run in runs:
            folder = synthetic.write_run(family_of(run), run, root)
            if run.algorithm_module in ("mandril", "maxent_irl", "pretrained_irl"):
                with_validation(run, folder / "train.parquet")
                synthetic.sign(folder / "run.json")
    aggregate(runs, root)
    return load(runs, root)


def _block(run: RunConfig) -> int:
    """The largest of the usual blocks that divides the last evidence point."""
    last = run.evaluation.k[-1]
    return next(n for n in (100, 40, 10, 5, 2, 1) if last % n == 0 and last >= n)


def with_validation(run: RunConfig, path: Path) -> None:
    """Add what a calibration measures, for every number of inner steps and of shots."""
    frame = records.read_table(path, records.TRAIN_SCHEMA).astype({"metric": str})
    first = frame[frame["metric"] == "loss"].head(1)
    rows = [
        first.assign(metric=f"validation_{measure}_{shots}_{steps}", value=1.0 / steps + run.seed)
        for measure in ("loss", "return", "success")
        for shots in run.evaluation.k[1:]
        for steps in STEPS
    ]
    records.write_table(path, pd.concat([frame, *rows]), records.TRAIN_SCHEMA)
