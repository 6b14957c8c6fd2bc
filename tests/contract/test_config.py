"""Suites: how they are read, and what they resolve to. ``test_config_mistakes`` has what is refused."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest
import yaml

from kshot.errors import ConfigError
from kshot.places import SUITES
from kshot.suites.document import command_line, read
from kshot.suites.reading import find_suite, load_suite, read_suite
from kshot.suites.schema import SCHEMA, schema_text
from tests.contract.suites import GOOD, added_row, changed, problems, write


def test_the_good_suite_becomes_its_product_of_runs(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, GOOD))
    cells = [(run.family, run.algorithm, run.seed) for run in suite.runs()]
    assert cells == [
        ("bandit-2-3", "maml", 0),
        ("bandit-2-3", "maml", 1),
        ("bandit-2-3", "small-rl2", 0),
        ("bandit-2-3", "small-rl2", 1),
        ("nav2d", "small-rl2", 0),
        ("nav2d", "small-rl2", 1),
        *((family, name, 0) for family in ("bandit-2-3", "nav2d") for name in ("random", "task_blind", "oracle")),
    ]
    bandit, nav2d = suite.find("bandit-2-3", "small-rl2", 1), suite.find("nav2d", "small-rl2", 1)
    assert (bandit.steps, nav2d.steps) == (600, 8000)
    assert (bandit.algorithm_module, bandit.family_module) == ("rl2", "bandit")
    assert bandit.algorithm_settings["hidden"] == nav2d.algorithm_settings["hidden"] == 8
    assert nav2d.algorithm_settings["lr"] == 1e-4 != bandit.algorithm_settings["lr"]
    assert bandit.family_settings == {"arms": 2, "pulls": 3, "expert_beta": 20.0}
    reference = suite.find("nav2d", "oracle", 0)
    assert (reference.kind, reference.algorithm_module, reference.steps) == ("reference", None, 0)


def test_runs_hold_every_setting_so_that_defaults_are_recorded_and_hashed(tmp_path: Path) -> None:
    from dataclasses import fields

    from kshot.algorithms import maml

    run = load_suite(write(tmp_path, GOOD)).find("bandit-2-3", "maml", 0)
    assert set(run.algorithm_settings) == {item.name for item in fields(maml.Settings)}
    assert json.loads(json.dumps(run.to_dict()))["algorithm_settings"] == run.algorithm_settings


def test_a_resolved_suite_reads_back_equal_in_any_form(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, GOOD))
    assert load_suite(suite.resolved()) == suite
    again = load_suite(write(tmp_path, yaml.safe_dump(suite.resolved())))
    assert again == suite
    assert [run.config_hash for run in again.runs()] == [run.config_hash for run in suite.runs()]


def test_algorithm_files_stand_between_the_defaults_and_the_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kshot.suites.resolving.ALGORITHMS", tmp_path)
    for name in ("maml", "reptile", "anil"):
        (tmp_path / f"{name}.yaml").write_text("defaults: {}\n")
    (tmp_path / "rl2.yaml").write_text(
        "defaults: {hidden: 16, lr: 0.5, clip: 0.4}\nfamilies:\n  bandit: {lr: 0.25, clip: 0.3}\n"
    )
    suite = load_suite(write(tmp_path, changed("{hidden: 8}", "{hidden: 8, clip: 0.1}")))
    bandit = suite.find("bandit-2-3", "small-rl2", 0).algorithm_settings
    nav2d = suite.find("nav2d", "small-rl2", 0).algorithm_settings
    assert [bandit[name] for name in ("hidden", "lr", "clip")] == [8, 0.25, 0.1]
    assert [nav2d[name] for name in ("hidden", "lr", "clip")] == [8, 1e-4, 0.1]


def test_mistakes_in_algorithm_files_are_told_in_those_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kshot.suites.resolving.ALGORITHMS", tmp_path)
    for name in ("maml", "reptile", "anil"):
        (tmp_path / f"{name}.yaml").write_text("defaults: {}\n")
    (tmp_path / "rl2.yaml").write_text("default: {}\nfamilies:\n  bandit: {lrr: 0.25}\n  nav2d: 3\n")
    text = problems(write(tmp_path, GOOD))
    assert f"{tmp_path}/rl2.yaml:1: default: unknown key 'default' (did you mean 'defaults'?)" in text
    assert f"{tmp_path}/rl2.yaml:3: families.bandit.lrr: 'rl2' has no setting 'lrr' (did you mean 'lr'?)" in text
    assert f"{tmp_path}/rl2.yaml:4: families.nav2d: expected a mapping of settings, got 3" in text
    assert len(text.splitlines()) == 3


def test_command_line_values_are_yaml_and_go_on_top(tmp_path: Path) -> None:
    # What Snakemake makes of: --config seeds=[2,3] device=cuda task_seed=7 families='{nav2d: {steps: 50}}'
    given = {"seeds": ["2", "3"], "device": "cuda", "task_seed": 7, "families": {"nav2d": {"steps": "50"}}}
    suite = read_suite([write(tmp_path, GOOD)], given)
    assert (suite.seeds, suite.device, suite.task_seed) == ((2, 3), "cuda", 7)
    assert suite.families["nav2d"].steps == 50
    assert suite.families["bandit-2-3"].steps == 600
    with pytest.raises(ConfigError, match=r"^--config: seeds\[0\]: expected a whole number, got 'two'$"):
        read_suite([write(tmp_path, GOOD)], {"seeds": ["two"]})


def test_a_row_can_have_a_device_of_its_own(tmp_path: Path) -> None:
    rows = {"maml": {}, "fast": {"algorithm": "maml", "device": "cuda:1"}}
    text = write(tmp_path, GOOD)
    suite = read_suite([text], {"algorithms": rows})
    devices = {run.algorithm: run.device for run in suite.runs()}
    assert (devices["maml"], devices["fast"], devices["random"]) == ("cpu", "cuda:1", "cpu")
    hashes = {run.algorithm: run.train_hash for run in suite.runs() if run.family == "bandit-2-3" and run.seed == 0}
    assert hashes["maml"] != hashes["fast"]
    other = read_suite([text], {"algorithms": rows, "device": "mps"})
    assert {run.algorithm: run.device for run in other.runs()}["fast"] == "cuda:1"
    assert {run.algorithm: run.device for run in other.runs()}["maml"] == "mps"
    with pytest.raises(ConfigError, match=r"algorithms.fast.device: expected cpu, cuda, cuda:<n> or mps, got 'gpu'"):
        read_suite([text], {"algorithms": {"fast": {"algorithm": "maml", "device": "gpu"}}})


def test_later_files_go_on_top_and_keep_their_own_lines(tmp_path: Path) -> None:
    more = tmp_path / "more.yaml"
    more.write_text("seeds: [5]\nfamilies:\n  nav2d:\n    steps: 0\n")
    with pytest.raises(ConfigError, match=r"more\.yaml:4: families\.nav2d\.steps: must be at least 1, got 0"):
        read_suite([write(tmp_path, GOOD), more], {})
    more.write_text("seeds: [5]\n")
    assert read_suite([write(tmp_path, GOOD), more], {}).seeds == (5,)


@pytest.mark.parametrize(
    "text, value",
    [("1e-3", 1e-3), ("1E5", 1e5), (".5", 0.5), ("-2.5e+3", -2500.0), ("3", 3), ("2024-01-01", "2024-01-01")],
)
def test_numbers_are_read_as_people_write_them(tmp_path: Path, text: str, value: object) -> None:
    path = tmp_path / "value.yaml"
    path.write_text(f"value: {text}\n")
    assert read(path).value == {"value": value}
    assert command_line({"value": text}, "--config").value == {"value": value}


def test_an_exclusion_can_name_several(tmp_path: Path) -> None:
    several = changed("{algorithm: maml, family: nav2d", "{algorithm: [maml, small-rl2], family: nav2d")
    for runs in (
        load_suite(write(tmp_path, several)).runs(),
        load_suite(load_suite(tmp_path / "suite.yaml").resolved()).runs(),
    ):
        assert {run.algorithm for run in runs if run.family == "nav2d" and run.kind == "algorithm"} == set()
        assert {"maml", "small-rl2"} <= {run.algorithm for run in runs if run.family == "bandit-2-3"}


def test_runs_that_are_not_there_are_refused_with_the_nearest(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, GOOD))
    for arguments, message in (
        (("nav3d", "maml", 0), "no family 'nav3d' (did you mean 'nav2d'?)"),
        (("bandit-2-3", "mamll", 0), "no algorithm 'mamll' (did you mean 'maml'?)"),
        (("nav2d", "maml", 0), "'maml' on 'nav2d' is excluded by this suite"),
        (("nav2d", "small-rl2", 9), "no seed 9 for 'small-rl2'; it has 0, 1"),
        (("nav2d", "oracle", 1), "no seed 1 for 'oracle'; it has 0"),
    ):
        with pytest.raises(ConfigError) as caught:
            suite.find(*arguments)
        assert message in str(caught.value)


def test_one_run_needs_only_its_own_algorithm_and_family(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    for run in load_suite(path).runs():
        assert load_suite(path, only=(run.family, run.algorithm)).find(run.family, run.algorithm, run.seed) == run
    elsewhere = write(tmp_path, changed("hidden: 8", "width: 8"))
    assert load_suite(elsewhere, only=("bandit-2-3", "maml")).find("bandit-2-3", "maml", 0).steps == 600
    with pytest.raises(ConfigError, match=r"has no setting 'width'"):
        load_suite(elsewhere, only=("nav2d", "small-rl2"))
    with pytest.raises(ConfigError, match=r"no algorithm 'mamll' \(did you mean 'maml'\?\)"):
        load_suite(write(tmp_path, GOOD), only=("nav2d", "mamll")).find("nav2d", "mamll", 0)


def test_suites_are_found_by_path_and_by_name(tmp_path: Path) -> None:
    kept = tmp_path / "results" / "mine" / "suite.yaml"
    kept.parent.mkdir(parents=True)
    kept.write_text(GOOD)
    assert find_suite(str(kept)) == kept
    assert find_suite("mine", tmp_path / "results") == kept
    assert find_suite("smoke").name == "smoke.yaml"
    copy = tmp_path / "results" / "smoke" / "suite.yaml"
    copy.parent.mkdir()
    copy.write_text(GOOD)
    assert find_suite("smoke", tmp_path / "results").name == "smoke.yaml"
    assert find_suite("smoke", tmp_path / "results", prefer_results=True) == copy
    with pytest.raises(ConfigError, match=r"no suite 'smok' \(did you mean 'smoke'\?\)"):
        find_suite("smok")
    with pytest.raises(ConfigError, match=r"suitee\.yaml: no such suite file \(did you mean '.*suite\.yaml'\?\)"):
        find_suite(str(kept.with_name("suitee.yaml")))


@pytest.mark.parametrize("path", sorted(SUITES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_suites_of_the_repository_are_valid_and_name_their_schema(path: Path) -> None:
    suite = load_suite(path)
    assert suite.name == path.stem
    assert len(suite.runs()) > 0
    assert path.read_text().startswith("# yaml-language-server: $schema=../schema/suite.schema.json\n")


def test_the_committed_schema_is_that_of_the_code() -> None:
    assert SCHEMA.read_text() == schema_text(), "run `python -m kshot.suites.schema` and commit the result"


def test_aliases_and_merge_keys_work_and_endless_ones_are_told(tmp_path: Path) -> None:
    text = textwrap.dedent(
        """\
        name: trial
        seeds: [0]
        families:
          nav2d: &cell
            steps: 100
            evaluation: {tasks: 1, k: [0]}
          other:
            <<: *cell
            family: nav2d
            steps: 200
        algorithms: {maml: {}}
        """
    )
    suite = load_suite(write(tmp_path, text))
    assert [cell.steps for cell in suite.families.values()] == [100, 200]
    assert "suite.yaml:1: [0]: an alias leads back to what it stands in" in problems(write(tmp_path, "&a [*a]\n"))


def test_numbers_as_names_are_names(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, added_row("7: {algorithm: reptile}")))
    assert list(suite.algorithms) == ["maml", "7", "small-rl2"]
