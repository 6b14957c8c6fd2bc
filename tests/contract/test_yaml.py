"""YAML is read as version 1.2 says, and what is written is read back the same, by us and by readers of 1.1."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kshot import yaml_text
from kshot.errors import ConfigError
from kshot.suites.reading import load_suite, read_suite

FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NAMES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,12}", fullmatch=True) | st.sampled_from(
    ["on", "yes", "no", "null", "true", "1e-3", "010", "1_000", "0x1f", "0o7", "1", "2024-01-01", "nan", "y"]
)
TEXTS = st.text(max_size=12) | NAMES | st.sampled_from(["", "~", ".inf", "<<", "=", "1:00:00", "-.5e3", "TRUE", "a: b"])
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("020000", 20000),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b1", "0b1"),
        ("1_000", "1_000"),
        ("1:00:00", "1:00:00"),
        ("1e-3", 0.001),
        ("+.5", 0.5),
        ("2.", 2.0),
        ("-.inf", -math.inf),
        ("on", "on"),
        ("Yes", "Yes"),
        ("TRUE", True),
        ("Null", None),
        ("~", None),
        ("", None),
        ("2024-01-01", "2024-01-01"),
        ("=", "="),
    ],
)
def test_plain_scalars_are_those_of_the_core_schema(text: str, value: Any) -> None:
    found = yaml_text.parse(f"- {text}")[0]
    assert found == value and type(found) is type(value)


def test_keys_are_text_and_mappings_are_merged() -> None:
    text = "a: &a {010: 1, on: 2}\nb: {<<: *a, null: 3, 1e-3: 4}\n"
    assert yaml_text.parse(text)["b"] == {"010": 1, "on": 2, "null": 3, "1e-3": 4}


@FEW
@given(PLAIN)
@example("\x85")
def test_what_is_written_is_read_back_by_either_version(value: Any) -> None:
    text = yaml_text.dump(value)
    assert yaml_text.parse(text) == value
    assert yaml.safe_load(text) == value
    assert yaml_text.parse(yaml_text.dump(value, default_flow_style=True, width=1000)) == value


@FEW
@given(
    rows=st.lists(NAMES, min_size=1, max_size=3, unique=True),
    cells=st.lists(NAMES, min_size=1, max_size=2, unique=True),
    description=TEXTS,
    seeds=st.lists(st.integers(-1, 2**31), min_size=1, max_size=2, unique=True),
    rate=st.floats() | st.integers(-1, 2) | TEXTS,
)
def test_a_suite_that_is_accepted_is_the_same_after_writing_and_reading(
    tmp_path: Path, rows: list[str], cells: list[str], description: str, seeds: list[int], rate: Any
) -> None:
    value = {
        "name": "any",
        "description": description,
        "seeds": seeds,
        "families": {
            name: {"family": "bandit", "steps": 1000, "evaluation": {"tasks": 2, "k": [0, 10]}} for name in cells
        },
        "algorithms": {name: {"algorithm": "maml", "settings": {"inner_lr": rate}} for name in rows},
    }
    file = tmp_path / "suite.yaml"
    file.write_text(yaml_text.dump(value), encoding="utf-8")
    try:
        suite = load_suite(file)
    except ConfigError as error:
        assert all(str(file) in problem for problem in error.problems)
        return
    file.write_text(yaml_text.dump(suite.resolved()), encoding="utf-8")
    for again in (load_suite(file), load_suite(file, recorded=True), read_suite([file], {})):
        assert again == suite
        assert [run.config_hash for run in again.runs()] == [run.config_hash for run in suite.runs()]
    assert list(suite.algorithms) == rows and list(suite.families) == cells
    assert all(math.isfinite(run.algorithm_settings["inner_lr"]) for run in suite.runs() if run.kind == "algorithm")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("seeds: [2147483648]", "seeds[0]: must be at most 2147483647, got 2147483648"),
        ("task_seed: 4294967295", "task_seed: must be at most 2147483647"),
        (
            "algorithms: {maml: {settings: {meta_batch: 9223372036854775808}}}",
            "expected a whole number (whole numbers up",
        ),
        (
            "algorithms: {maml: {settings: {inner_lr: .inf}}}",
            "expected a number (whole numbers up to 2147483647, no inf",
        ),
        (
            "algorithms: {maml: {settings: {hidden: [4, 4294967295]}}}",
            "expected a list of whole numbers (whole numbers",
        ),
        ("seeds: [1:00]", "seeds[0]: expected a whole number, got '1:00'"),
    ],
)
def test_numbers_that_nothing_can_hold_are_refused(tmp_path: Path, line: str, said: str) -> None:
    text = "name: any\nseeds: [0]\nfamilies: {bandit: {steps: 1000, evaluation: {tasks: 2, k: [0, 10]}}}\n"
    text += "" if line.startswith("algorithms") else "algorithms: {maml: {}}\n"
    file = tmp_path / "suite.yaml"
    file.write_text(text.replace("seeds: [0]\n", "") + line if line.startswith("seeds") else text + line)
    with pytest.raises(ConfigError) as refused:
        load_suite(file)
    assert len(refused.value.problems) == 1 and said in refused.value.problems[0], refused.value.problems
