"""Evaluates a policy on unseen tasks as the pipeline does, without a suite and without files."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from kshot import checksums
from kshot.errors import ConfigError, suggest
from kshot.interface import bars, frames
from kshot.interface.policies import TrainedPolicy, load_policy
from kshot.reporting import csv_files
from kshot.reporting.aggregate import aggregate
from kshot.reporting.grid import read_grid
from kshot.reporting.schemas import MADE_BY, SCORE_COLUMNS
from kshot.running import build, checkpoint, commits
from kshot.running.evaluate import evaluate as run_evaluation
from kshot.suites.reading import find_suite, load_suite
from kshot.suites.run import RunConfig
from kshot.types import FamilySpec

_SUITE = "evaluated"
"""The name of the suite of results that belong to none."""


def evaluate(
    policy_or_run: TrainedPolicy | str | Path,
    family: str | Mapping[str, Any] | None = None,
    tasks: int = 20,
    k: int | Sequence[int] | None = None,
    *,
    episodes: int = 1,
    split: Literal["test", "validation"] = "test",
    task_seed: int | None = None,
) -> pd.DataFrame:
    """Score a policy on unseen tasks after 0, ..., K episodes of evidence, as the pipeline scores it.

    What the policy has seen before does not count, and it is not changed: every task begins without evidence.

    Args:
        policy_or_run: a policy of ``load_policy``, or the folder of a trained run; or the name of one of the family's
            scripted policies, such as "random", "task_blind" or "oracle".
        family: what to evaluate on. The family that the policy was trained on, as its suite has it, if left out.
            Else a family by its name, with its default settings ("nav2d"); an entry of a suite ("laptop/nav2d", or
            "my/suite.yaml/nav2d"); or a mapping as in a suite ({"family": "nav2d", "settings": {"horizon": 50}}).
        tasks: how many test tasks.
        k: the evidence points, from 0; a single number stands for all from 0 to there. Those of the policy's own suite
            if left out. A learner on blocks is scored after whole blocks.
        episodes: on every task at each point.
        split: of the tasks: "validation" while something is being chosen.
        task_seed: chooses the tasks; as in the policy's suite if left out.

    Returns:
        The columns of ``load_results``, with one row for each K.

    Raises:
        ConfigError: there is no such family or scripted policy, the policy was not trained for such a family, or a
            number makes no sense.
        RecordError: the folder is refused by ``load_policy``, or the family has too few tasks.

    Examples:
        >>> policy = kshot.load_policy("results/laptop/nav2d/maml/seed-0")
        >>> kshot.evaluate(policy, tasks=40, k=20)
        >>> kshot.evaluate("oracle", "nav2d", tasks=40, k=20)
    """
    policy, name = _policy(policy_or_run, family)
    trained = None if policy is None else policy.run
    cell_name, cell = _cell(family, trained)
    seed = task_seed if task_seed is not None else (0 if trained is None else trained.task_seed)
    if k is None:
        k = 0 if trained is None else trained.evaluation.k
    points = list(range(k + 1)) if isinstance(k, int) else list(k)
    wanted = {"tasks": tasks, "k": points, "mean_episodes": episodes, "sampled_episodes": episodes, "split": split}
    row = name if trained is None else trained.algorithm
    suite: dict[str, Any] = {
        "name": _SUITE if trained is None else trained.suite,
        "seeds": [0 if trained is None else trained.seed],
        "task_seed": seed,
        "families": {cell_name: {**cell, "steps": 1, "evaluation": wanted, "references": [name] if name else []}},
        "algorithms": {"none": {}},
    }
    if trained is not None:
        settings = dict(trained.algorithm_settings)
        suite["algorithms"] = {row: {"algorithm": trained.algorithm_module, "settings": settings}}
        suite["device"] = trained.device
    run = load_suite(suite, "evaluate", only=(cell_name, row)).find(cell_name, row, suite["seeds"][0])
    if policy is None:
        return _scored(run, None, {})
    if other := _why_other(policy.spec, build.family(run).spec):
        raise ConfigError([f"{row!r} cannot be evaluated on {cell_name!r}: {other}"])
    return _scored(replace(run, steps=policy.run.steps), policy, policy._model)


def _policy(given: TrainedPolicy | str | Path, family: str | Mapping[str, Any] | None) -> tuple[Any, str]:
    """A policy, or the name of a scripted one."""
    if isinstance(given, TrainedPolicy):
        return given, ""
    if isinstance(given, str) and "/" not in given and not Path(given).is_dir():
        if family is None:
            text = f"{given!r} is no folder of a run; to evaluate a scripted policy of that name, say on which family"
            raise ConfigError([text])
        return None, given
    return load_policy(given), ""


def _cell(family: str | Mapping[str, Any] | None, trained: RunConfig | None) -> tuple[str, dict[str, Any]]:
    """The name and the entry, as in a suite, of what is evaluated on."""
    if trained is not None and family in (None, trained.family):
        return trained.family, {"family": trained.family_module, "settings": dict(trained.family_settings)}
    if isinstance(family, Mapping):
        unknown = sorted(set(family) - {"family", "settings"})
        if unknown or "family" not in family:
            found = f"has no {unknown[0]!r}" if unknown else "names its 'family'"
            raise ConfigError([f"a family as a mapping {found}: expected {{'family': ..., 'settings': ...}}"])
        return str(family["family"]).replace("_", "-").lower(), dict(family)
    text = str(family)
    place, _, entry = text.rpartition("/")
    if not place:
        return text, {"family": text}
    suite = load_suite(find_suite(place), modules=False)
    if entry not in suite.families:
        raise ConfigError([f"suite {suite.name!r}: no family {entry!r}{suggest(entry, suite.families)}"])
    cell = suite.families[entry]
    return entry, {"family": cell.family or entry, "settings": dict(cell.settings)}


def _why_other(own: FamilySpec, spec: FamilySpec) -> str:
    """Why a policy of one family cannot act in another; empty if it can."""
    if (own.observation_dim, own.action_space) != (spec.observation_dim, spec.action_space):
        trained, here = (f"{one.observation_dim} observed numbers and {one.action_space}" for one in (own, spec))
        return f"trained with {trained}, there are {here}"
    if own.normaliser != spec.normaliser:
        return "trained on observations that are normalised by other constants"
    return ""


def _scored(run: RunConfig, policy: TrainedPolicy | None, model: Mapping[str, Any]) -> pd.DataFrame:
    """The pipeline's own evaluation of a run, in a folder that does not outlast it."""
    with tempfile.TemporaryDirectory(prefix="kshot-evaluate-") as scratch:
        root = Path(scratch)
        folder = run.directory(root)
        if policy is not None:
            # The model of this run, whose evaluation, and maybe family, is another one than that of its training.
            checkpoint.save(folder / checkpoint.MODEL, {**model, "train_hash": run.train_hash})
            record = {"train_hash": run.train_hash, "status": "ok", "env_steps": model["env_steps"]}
            checksums.write_record(folder / "run.json", record, [checkpoint.MODEL])
        with bars.following(folder, f"{run.algorithm} on {run.family}"), commits.unmentioned():
            run_evaluation(run, root)
        aggregate([run], root)
        grid = read_grid([run], root)
        scores = csv_files.read(grid.folder / "scores.csv", SCORE_COLUMNS, MADE_BY)
        return frames.table(run.suite, scores, grid.cells, grid.tests)
