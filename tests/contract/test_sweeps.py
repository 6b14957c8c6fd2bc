"""Rows of a suite that stand for many."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import yaml

from kshot.errors import ConfigError
from kshot.places import ROOT
from kshot.suites.reading import load_suite
from kshot.suites.schema import json_schema
from kshot.suites.sweeps import Range

pytestmark = pytest.mark.contract

SUITE = """name: sweep
seeds: [0]
families:
  bandit:
    steps: 8000
    evaluation: {split: validation, tasks: 10, k: [0, 1]}
  nav2d:
    steps: 8000
    evaluation: {split: validation, tasks: 10, k: [0, 40]}
algorithms:
"""
GRID = (
    SUITE
    + """  maml:
    settings: {meta_batch: 10}
    grid: {inner_lr: [0.05, 2], hidden: [[64, 64], [32]]}
  reptile: {}
"""
)
SAMPLE = (
    SUITE
    + """  fast:
    algorithm: rl2
    sample:
      rows: 30
      settings:
        lr: {low: 1.0e-4, high: 1.0e-2, log: true}
        hidden: [64, 128]
        meta_batch: {low: 4, high: 6}
"""
)


def load(text: str, tmp_path: Path) -> Any:
    path = tmp_path / "suite.yaml"
    path.write_text(text)
    return load_suite(path)


def problems(text: str, tmp_path: Path) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        load(text, tmp_path)
    return [line.removeprefix(f"{tmp_path}/suite.yaml:") for line in refused.value.problems]


def settings(suite: Any, row: str, family: str) -> dict[str, Any]:
    return dict(next(r.algorithm_settings for r in suite.runs() if (r.algorithm, r.family) == (row, family)))


def test_a_grid_is_the_starting_point_and_every_combination(tmp_path: Path) -> None:
    suite = load(GRID, tmp_path)
    assert list(suite.algorithms) == [
        "maml",
        "maml-inner_lr-0_05-hidden-64x64",
        "maml-inner_lr-0_05-hidden-32",
        "maml-inner_lr-2-hidden-64x64",
        "maml-inner_lr-2-hidden-32",
        "reptile",
    ]
    assert {row.algorithm for row in suite.algorithms.values()} == {"maml", "reptile"}
    start = settings(suite, "maml", "nav2d")
    found = settings(suite, "maml-inner_lr-2-hidden-32", "nav2d")
    assert found == start | {"inner_lr": 2.0, "hidden": [32], "meta_batch": 10}
    assert start["meta_batch"] == 10 and start["inner_lr"] != 2.0
    # What is recorded is what would have been written by hand.
    assert load_suite(suite.resolved()).runs() == suite.runs()
    assert "grid" not in str(suite.resolved()["algorithms"])


def test_samples_are_drawn_by_their_names(tmp_path: Path) -> None:
    suite = load(SAMPLE, tmp_path)
    assert list(suite.algorithms) == ["fast", *(f"fast-sample-{i}" for i in range(30))]
    drawn = [settings(suite, f"fast-sample-{i}", "bandit") for i in range(30)]
    assert {found["hidden"] for found in drawn} == {64, 128}
    assert {found["meta_batch"] for found in drawn} == {4, 5, 6}
    assert all(1e-4 <= found["lr"] <= 1e-2 for found in drawn)
    assert 8 <= sum(found["lr"] < 1e-3 for found in drawn) <= 22  # half of them, on a scale of orders of magnitude
    assert all(float(f"{found['lr']:.3g}") == found["lr"] for found in drawn)
    fewer = load(SAMPLE.replace("rows: 30", "rows: 3").replace("        hidden: [64, 128]\n", ""), tmp_path)
    for i in range(3):
        assert settings(fewer, f"fast-sample-{i}", "bandit") == drawn[i] | {
            "hidden": settings(fewer, "fast", "bandit")["hidden"]
        }
    other = load(SAMPLE.replace("rows: 30", "rows: 30\n      seed: 1"), tmp_path)
    assert [settings(other, f"fast-sample-{i}", "bandit")["lr"] for i in range(30)] != [found["lr"] for found in drawn]


def test_ranges_are_even_on_their_scale() -> None:
    shares = (np.arange(1000) + 0.5) / 1000
    whole = [Range(low=3, high=5).at(share) for share in shares]
    assert np.allclose(np.bincount(whole)[3:], 1000 / 3, atol=1) and max(whole) == 5
    orders = np.log10([Range(low=1e-4, high=1.0, log=True).at(share) for share in shares])
    assert np.allclose(orders, -4 + 4 * shares, atol=3e-3)
    plain = [Range(low=1.0, high=3.0).at(share) for share in shares]
    assert np.allclose(plain, 1 + 2 * shares, atol=6e-3)


def test_leaving_out_a_row_leaves_out_what_it_stands_for(tmp_path: Path) -> None:
    text = GRID + "exclude: [{algorithm: maml, family: nav2d, reason: slow}]\n"
    suite = load(text, tmp_path)
    on_nav2d = {run.algorithm for run in suite.runs() if run.family == "nav2d" and run.algorithm_module}
    assert on_nav2d == {"reptile"}


def test_documented_suites_are_valid(tmp_path: Path) -> None:
    text = (ROOT / "config" / "README.md").read_text()
    suites = {
        suite.name: suite for suite in (load(block, tmp_path) for block in re.findall("```yaml\n(.*?)```", text, re.S))
    }
    assert suites.keys() == {"mine", "tuning"}
    rows = list(suites["tuning"].algorithms)
    assert len(rows) == 1 + 6 + 1 + 16
    assert {"maml-inner_lr-0_05-hidden-64x64", "rl2-sample-0", "rl2-sample-15"} <= set(rows)


MISTAKES = {
    "nothing to choose from": (GRID, "[0.05, 2]", "[]", "13: algorithms.maml.grid.inner_lr: must not be empty"),
    "one value": (GRID, "[0.05, 2]", "2", "13: algorithms.maml.grid.inner_lr: expected a list, got 2"),
    "unknown setting": (
        GRID,
        "inner_lr:",
        "iner_lr:",
        "13: algorithms.maml.grid.iner_lr: 'maml' has no setting 'iner_lr' (did you mean 'inner_lr'?)",
    ),
    "wrong type": (GRID, "0.05, 2", "0.05, x", "13: algorithms.maml.grid.inner_lr: expected a number, got 'x'"),
    "shared setting": (
        GRID,
        "meta_batch: 10",
        "meta_bach: 10",
        "12: algorithms.maml.settings.meta_bach: 'maml' has no setting 'meta_bach' (did you mean 'meta_batch'?)",
    ),
    "one value twice": (
        GRID,
        "0.05, 2",
        "2, 2.0",
        "13: algorithms.maml.grid: 'maml-inner_lr-2-hidden-64x64' is the name of two rows: "
        "leave one of them out, or rename it",
    ),
    "name of a row": (
        GRID,
        "  reptile: {}",
        "  maml-inner_lr-2-hidden-32: {algorithm: maml}",
        "13: algorithms.maml.grid: 'maml-inner_lr-2-hidden-32' is the name of two rows: "
        "leave one of them out, or rename it",
    ),
    "long name": (
        GRID,
        "[64, 64]",
        "[64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64]",
        "choose a shorter one for the row",
    ),
    "too many": (
        GRID,
        "[0.05, 2]",
        str(list(range(501))),
        "13: algorithms.maml.grid: 1,002 combinations, at most 1,000 can be rows; a sample draws some of them",
    ),
    "no effect": (
        GRID,
        "  reptile: {}",
        "    families: {nav2d: {settings: {inner_lr: 0.1}}}",
        "13: algorithms.maml.grid.inner_lr: has no effect on 'nav2d', which has a value of its own: "
        "give that in a row of its own",
    ),
    "no number of rows": (SAMPLE, "rows: 30", "seed: 3", "13: algorithms.fast.sample.rows: is missing"),
    "no rows": (SAMPLE, "rows: 30", "rows: 0", "14: algorithms.fast.sample.rows: must be at least 1, got 0"),
    "unknown key": (
        SAMPLE,
        "low: 4,",
        "lowest: 4,",
        "18: algorithms.fast.sample.settings.meta_batch.lowest: unknown key 'lowest' (did you mean 'low'?)",
    ),
    "turned range": (
        SAMPLE,
        "low: 4",
        "low: 7",
        "18: algorithms.fast.sample.settings.meta_batch: low has to be less than high, and both finite, got",
    ),
    "no orders of magnitude": (
        SAMPLE,
        "low: 1.0e-4",
        "low: 0",
        "16: algorithms.fast.sample.settings.lr: with log, low has to be positive, got",
    ),
    "neither list nor range": (
        SAMPLE,
        "[64, 128]",
        "64",
        "17: algorithms.fast.sample.settings.hidden: expected a list of values or a range (low, high), got 64",
    ),
    "no settings": (
        SAMPLE,
        "rows: 30",
        "rows: 30\n      setting: {}",
        "unknown key 'setting' (did you mean 'settings'?)",
    ),
}


@pytest.mark.parametrize("text, old, new, message", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_once_with_its_place(text: str, old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in text
    lines = problems(text.replace(old, new), tmp_path)
    assert [message in line for line in lines].count(True) == 1, lines


def test_the_schema_knows_sweeps() -> None:
    checker = jsonschema.Draft202012Validator(json_schema())
    for text in (GRID, SAMPLE):
        assert checker.is_valid(yaml.safe_load(text))
        assert not checker.is_valid(yaml.safe_load(text.replace("grid: {", "grid: {lr: 3, ").replace("rows:", "row:")))
