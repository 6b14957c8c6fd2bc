"""What cannot fit is refused before anything starts, in one line with GB or core-hours and the setting to lower."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kshot import registry
from kshot.places import suite_files
from kshot.suites import estimates
from kshot.suites.estimates import why_too_large
from kshot.suites.reading import load_suite
from kshot.suites.run import RunConfig
from tests.contract import tiny
from tests.workflow.pipeline import kshot, snakemake, write_suite

MOST = 2**31 - 1


def with_settings(run: RunConfig, changes: dict[str, Any]) -> RunConfig:
    test = run.evaluation.model_copy(update={k: v for k, v in changes.items() if hasattr(run.evaluation, k)})
    family = {k: v for k, v in changes.items() if k in run.family_settings}
    algorithm = {k: v for k, v in changes.items() if k not in family}
    return replace(
        run,
        evaluation=test,
        family_settings={**run.family_settings, **family},
        algorithm_settings={**run.algorithm_settings, **algorithm},
        steps=changes.get("steps", run.steps),
    )


@pytest.mark.parametrize("path", suite_files(), ids=lambda path: path.stem)
def test_every_shipped_suite_may_fit(path: Path) -> None:
    assert {why_too_large(run) for run in load_suite(path, modules=False).runs()} == {""}


@pytest.mark.parametrize(
    ("pair", "changes", "unit"),
    [
        (("rl2", "bandit"), {"meta_batch": MOST}, "GB"),
        (("rl2", "bandit"), {"trials": MOST}, "GB"),
        (("rl2", "bandit"), {"hidden": MOST}, "GB"),
        (("rl2_transformer", "bandit"), {"layers": MOST}, "GB"),
        (("rl2_transformer", "nav2d"), {"context": MOST, "horizon": 10**6, "hidden": 4096}, "GB"),
        (("rl2", "bandit"), {"epochs": MOST, "steps": 10**9}, "core-hours"),
        (("maml", "nav2d"), {"episodes": MOST}, "GB"),
        (("maml", "nav2d"), {"hidden": (100_000, 100_000)}, "GB"),
        (("maml", "nav2d"), {"inner_steps": MOST, "steps": 10**13}, "core-hours"),
        (("maml", "nav2d"), {"horizon": MOST}, "GB"),
        (("pearl", "nav2d"), {"replay_capacity": MOST}, "GB"),
        (("pearl", "nav2d"), {"batch_size": MOST}, "GB"),
        (("pearl", "nav2d"), {"gradient_steps": MOST, "steps": 10**12}, "core-hours"),
        (("maxent_irl", "spritegrid"), {"side": MOST}, "GB"),
        (("mandril", "tabular_mdp"), {"states": MOST}, "GB"),
        (("maml", "nav2d"), {"tasks": MOST}, "GB"),
        (("maml", "nav2d"), {"k": (0, MOST)}, "GB"),
        (("maml", "nav2d"), {"sampled_episodes": MOST}, "GB"),
        (("maml", "nav2d"), {"steps": 10**15}, "core-hours"),
    ],
    ids=str,
)
def test_what_cannot_fit_is_refused_with_its_size_and_the_setting(
    pair: tuple[str, str], changes: dict[str, Any], unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimates, "ram_limit", lambda: 32 * 10**9)
    run = tiny.run(*pair)
    assert why_too_large(run) == ""
    large = with_settings(run, changes)
    module = registry.load("algorithms", pair[0])
    replace(module.Settings(), **{k: v for k, v in changes.items() if hasattr(module.Settings, k)})  # builds nothing
    found = why_too_large(large)
    assert f" {unit}" in found and found.startswith(f"{run.family}/{run.algorithm}: ") and "\n" not in found
    name = next(iter(changes))
    assert name in found.rpartition("lower ")[2] or name in ("epochs", "gradient_steps", "inner_steps"), found
    if unit == "GB":
        assert why_too_large(with_settings(run, changes), memory=False) != found


def test_command_line_pipeline_and_job_refuse_it_alike(tmp_path: Path) -> None:
    suite = {
        "name": "large",
        "seeds": [0],
        "families": {"nav2d": {"steps": 10**15, "evaluation": {"tasks": 2, "k": [0, 1]}}},
        "algorithms": {"pearl": {}},
    }
    write_suite(tmp_path, suite)
    line = "nav2d/pearl: the training would take at least 27,777.8 core-hours"
    checked = kshot(tmp_path, "check-config", "suite.yaml")
    assert checked.returncode == 2 and f": algorithms.pearl: {line}" in checked.stderr
    job = kshot(tmp_path, "train", "suite.yaml", "--family", "nav2d", "--algorithm", "pearl", "--seed", "0")
    assert job.returncode == 2 and f"kshot: suite 'large': {line}" in job.stderr and not (tmp_path / "results").exists()
    planned = snakemake(tmp_path, "--cores", "1", "--dry-run")
    assert planned.returncode == 2 and f"Error: suite 'large': {line}" in planned.stderr
