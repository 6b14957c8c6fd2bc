"""Suites: what they resolve to, and that every mistake is shown, all at once, where it stands."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest
import yaml

from kshot.config import SCHEMA, SUITES, find_suite, json_schema, load_suite, read_suite, schema_text
from kshot.config_errors import ConfigError, command_line, read
from kshot.run_config import RunConfig

GOOD = """\
name: trial
seeds: [0, 1]
families:
  bandit-2-3:
    family: bandit
    settings: {arms: 2, pulls: 3}
    steps: 600
    evaluation: {tasks: 4, k: [0, 1, 3]}
  nav2d:
    steps: 4000
    evaluation: {tasks: 4, k: [0, 2]}
algorithms:
  maml: {}
  small-rl2:
    algorithm: rl2
    settings: {hidden: 8}
    families:
      nav2d: {settings: {lr: 1e-4}, steps: 8000}
exclude:
  - {algorithm: maml, family: nav2d, reason: an example}
"""

PLUGINS = {
    "continuous_only": 'EVIDENCE = "rollouts"\nACTIONS = frozenset({"continuous"})\n',
    "imitator": 'EVIDENCE = "demonstrations"\nACTIONS = frozenset({"continuous", "discrete"})\n',
    "broken": "import a_package_that_is_not_there\n",
    "contractless": "ACTIONS = frozenset()\n",
}
SETTINGS = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Settings:
    rate: float = 0.1

def build(spec, settings, seed, device):
    raise AssertionError("checking a configuration builds nothing")
"""


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "plugins" / "algorithms"
    folder.mkdir(parents=True)
    for name, text in PLUGINS.items():
        (folder / f"{name}.py").write_text(text + ("" if name in ("broken", "contractless") else SETTINGS))
    monkeypatch.setenv("KSHOT_PATH", str(folder.parent))
    return folder.parent


def write(folder: Path, text: str) -> Path:
    path = folder / "suite.yaml"
    path.write_text(text)
    return path


def problems(source: Path | dict[str, object]) -> str:
    with pytest.raises(ConfigError) as caught:
        load_suite(source)
    return str(caught.value)


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1, f"{old!r} must stand in the example once"
    return GOOD.replace(old, new)


def added_row(row: str) -> str:
    return changed("  maml: {}\n", f"  maml: {{}}\n  {row}\n")


MISTAKES = {
    "unknown algorithm": (
        added_row("mmal: {}"),
        "suite.yaml:14: algorithms.mmal: unknown algorithm 'mmal' (did you mean 'maml'?)",
    ),
    "unknown algorithm under another row name": (
        added_row("mine: {algorithm: repitle}"),
        "suite.yaml:14: algorithms.mine.algorithm: unknown algorithm 'repitle' (did you mean 'reptile'?)",
    ),
    "unknown family": (
        changed("family: bandit\n", "family: bandti\n"),
        "suite.yaml:5: families.bandit-2-3.family: unknown task family 'bandti' (did you mean 'bandit'?)",
    ),
    "unknown top-level key": (
        GOOD + "seed: 3\n",
        "suite.yaml:21: seed: unknown key 'seed' (did you mean 'seeds'?)",
    ),
    "unknown key of a family": (
        changed("    steps: 600\n", "    steps: 600\n    referencez: []\n"),
        "suite.yaml:8: families.bandit-2-3.referencez: unknown key 'referencez' (did you mean 'references'?)",
    ),
    "unknown key of an algorithm": (
        added_row("reptile: {settingz: {}}"),
        "algorithms.reptile.settingz: unknown key 'settingz' (did you mean 'settings'?)",
    ),
    "unknown key of an evaluation": (
        changed("tasks: 4, k: [0, 2]", "tasks: 4, k: [0, 2], mode_episodes: 2"),
        "families.nav2d.evaluation.mode_episodes: unknown key 'mode_episodes' (did you mean 'mean_episodes'?)",
    ),
    "unknown key of an override": (
        changed("steps: 8000", "step: 8000"),
        "algorithms.small-rl2.families.nav2d.step: unknown key 'step' (did you mean 'steps'?)",
    ),
    "unknown key of an exclusion": (
        changed("reason: an example", "because: an example"),
        "exclude[0].because: unknown key 'because'",
    ),
    "unknown setting of an algorithm": (
        added_row("reptile: {settings: {inner_lrr: 0.1}}"),
        "algorithms.reptile.settings.inner_lrr: 'reptile' has no setting 'inner_lrr' (did you mean 'inner_lr'?)",
    ),
    "unknown setting of a family": (
        changed("{arms: 2, pulls: 3}", "{arms: 2, pulls: 3, prizes: 4}"),
        "families.bandit-2-3.settings.prizes: 'bandit' has no setting 'prizes'",
    ),
    "text for a number": (
        changed("hidden: 8", "hidden: wide"),
        "algorithms.small-rl2.settings.hidden: expected a whole number, got 'wide'",
    ),
    "truth value for a number": (
        changed("lr: 1e-4", "lr: true"),
        "algorithms.small-rl2.families.nav2d.settings.lr: expected a number, got True",
    ),
    "number for a list": (
        added_row("reptile: {settings: {hidden: 64}}"),
        "algorithms.reptile.settings.hidden: expected a list of whole numbers, got 64",
    ),
    "value that is not a choice": (
        added_row("anil: {settings: {surrogate: ratios}}"),
        "algorithms.anil.settings.surrogate: expected 'ratio' or 'log_prob', got 'ratios' (did you mean 'ratio'?)",
    ),
    "value that the family refuses": (
        changed("arms: 2", "arms: 1"),
        "families.bandit-2-3.settings: 'bandit' refuses these settings: bandit: arms must be at least 2, got 1",
    ),
    "value that the algorithm refuses": (
        added_row("fomaml: {settings: {order: second}}"),
        "'fomaml' refuses these settings: order must be 'first' for fomaml",
    ),
    "no budget": (
        changed("    steps: 600\n", ""),
        "families.bandit-2-3.steps: is missing",
    ),
    "budget of nothing": (
        changed("steps: 600", "steps: 0"),
        "suite.yaml:7: families.bandit-2-3.steps: must be at least 1, got 0",
    ),
    "negative budget of an override": (
        changed("steps: 8000", "steps: -5"),
        "algorithms.small-rl2.families.nav2d.steps: must be at least 1, got -5",
    ),
    "fractional budget": (
        changed("steps: 600", "steps: 600.5"),
        "families.bandit-2-3.steps: expected a whole number, got 600.5",
    ),
    "no seeds": (
        changed("seeds: [0, 1]", "seeds: []"),
        "suite.yaml:2: seeds: must not be empty",
    ),
    "one seed instead of a list": (
        changed("seeds: [0, 1]", "seeds: 3"),
        "suite.yaml:2: seeds: expected a list, got 3",
    ),
    "negative seed": (
        changed("seeds: [0, 1]", "seeds: [0, -1]"),
        "suite.yaml:2: seeds[1]: must be at least 0, got -1",
    ),
    "seed twice": (
        changed("seeds: [0, 1]", "seeds: [3, 1, 3]"),
        "suite.yaml:2: seeds[2]: seed 3 stands in the list twice",
    ),
    "no algorithms": (
        GOOD[: GOOD.index("algorithms:")] + "algorithms: {}\n",
        "suite.yaml:12: algorithms: must not be empty",
    ),
    "no families": (
        "name: trial\nseeds: [0]\nfamilies:\nalgorithms: {maml: {}}\n",
        "suite.yaml:3: families: expected a mapping, got nothing (write {} for an empty one)",
    ),
    "algorithm without a mapping": (
        added_row("reptile:"),
        "suite.yaml:14: algorithms.reptile: expected a mapping, got nothing (write {} for an empty one)",
    ),
    "row named like a reference policy": (
        added_row("random: {algorithm: reptile}"),
        "algorithms.random: 'random' is a reference policy of family 'bandit-2-3': choose another name for the row",
    ),
    "row name unfit for a folder": (
        added_row("My Run/2: {algorithm: reptile}"),
        "algorithms.My Run/2: 'My Run/2' cannot be a folder name here",
    ),
    "suite name unfit for a folder": (
        changed("name: trial", "name: ../elsewhere"),
        "suite.yaml:1: name: '../elsewhere' cannot be a folder name here",
    ),
    "unknown device": (
        GOOD + "device: gpu\n",
        "suite.yaml:21: device: expected cpu, cuda, cuda:<n> or mps, got 'gpu'",
    ),
    "unknown split": (
        changed("tasks: 4, k: [0, 2]", "tasks: 4, k: [0, 2], split: train"),
        "families.nav2d.evaluation.split: expected 'test' or 'validation', got 'train'",
    ),
    "text for a truth value": (
        GOOD + "rerun_on_code_change: sometimes\n",
        "rerun_on_code_change: expected true or false, got 'sometimes'",
    ),
    "k without zero": (
        changed("k: [0, 2]", "k: [1, 2]"),
        "families.nav2d.evaluation.k: must increase and start with 0 (no evidence), got [1, 2]",
    ),
    "k not increasing": (
        changed("k: [0, 1, 3]", "k: [0, 3, 3]"),
        "families.bandit-2-3.evaluation.k: must increase and start with 0 (no evidence), got [0, 3, 3]",
    ),
    "k empty": (
        changed("k: [0, 2]", "k: []"),
        "families.nav2d.evaluation.k: must not be empty",
    ),
    "no test tasks": (
        changed("tasks: 4, k: [0, 2]", "tasks: 0, k: [0, 2]"),
        "families.nav2d.evaluation.tasks: must be at least 1, got 0",
    ),
    "reference twice": (
        changed("    steps: 600\n", "    steps: 600\n    references: [random, random]\n"),
        "families.bandit-2-3.references[1]: 'random' stands in the list twice",
    ),
    "override for a family that is not here": (
        changed("nav2d: {settings", "nav2D: {settings"),
        "algorithms.small-rl2.families.nav2D: this suite has no family 'nav2D' (did you mean 'nav2d'?)",
    ),
    "exclusion of an unknown row": (
        changed("{algorithm: maml, family", "{algorithm: mamls, family"),
        "exclude[0].algorithm: excludes nothing: this suite has no algorithm 'mamls' (did you mean 'maml'?)",
    ),
    "exclusion of an unknown family": (
        changed("family: nav2d, reason", "family: bandit, reason"),
        "exclude[0].family: excludes nothing: this suite has no family 'bandit'",
    ),
    "exclusion twice": (
        GOOD + "  - {algorithm: maml, family: nav2d, reason: again}\n",
        "suite.yaml:21: exclude[1]: 'maml' on 'nav2d' is excluded twice",
    ),
    "exclusion of something that is no name": (
        changed("{algorithm: maml, family", "{algorithm: [maml, 3], family"),
        "exclude[0].algorithm[1]: expected text, got 3",
    ),
    "exclusion of nothing": (
        changed("{algorithm: maml, family", "{algorithm: [], family"),
        "exclude[0].algorithm: must not be empty",
    ),
    "exclusion of one pair in two lists": (
        GOOD + "  - {algorithm: [small-rl2, maml], family: [nav2d], reason: again}\n",
        "suite.yaml:21: exclude[1]: 'maml' on 'nav2d' is excluded twice",
    ),
    "exclusion without a reason": (
        changed("reason: an example", "reason: ''"),
        "exclude[0].reason: must not be empty",
    ),
    "everything excluded": (
        "name: trial\nseeds: [0]\nfamilies:\n  nav2d: {steps: 9, evaluation: {tasks: 1, k: [0]}}\n"
        "algorithms: {maml: {}}\nexclude: [{algorithm: maml, family: nav2d, reason: none}]\n",
        "suite.yaml:6: exclude: excludes every pair: there is nothing left to train",
    ),
    "actions that the algorithm cannot handle": (
        added_row("continuous_only: {}"),
        "algorithms.continuous_only: cannot run on family 'bandit-2-3': 'continuous_only' needs continuous actions, "
        "'bandit' has discrete ones; leave the pair out under 'exclude'",
    ),
    "evidence that the family does not offer": (
        added_row("imitator: {}"),
        "cannot run on family 'nav2d': 'imitator' learns from demonstrations, 'nav2d' offers rollouts",
    ),
    "algorithm that does not import": (
        added_row("broken: {}"),
        "algorithms.broken: algorithms/broken does not import: ModuleNotFoundError: No module named "
        "'a_package_that_is_not_there'",
    ),
    "module that is no algorithm": (
        added_row("contractless: {}"),
        "algorithms.contractless: algorithm 'contractless'",
    ),
    "not YAML": (
        changed("seeds: [0, 1]", "seeds: [0, 1"),
        "suite.yaml:3: not valid YAML:",
    ),
    "not printable": ("name: a\x00b\n", "suite.yaml: not valid YAML:"),
    "wrong tag": (changed("steps: 600", "steps: !!int many"), "suite.yaml: not valid YAML:"),
    "unsafe tag": (changed("steps: 600", "steps: !!python/name:os.system"), "suite.yaml:7: not valid YAML:"),
    "key twice": (
        GOOD + "name: other\n",
        "suite.yaml:21: name: this key already stands on line 1; YAML would silently keep only one of them",
    ),
    "empty file": ("", "suite.yaml: is empty; a suite is a mapping with name, seeds, families and algorithms"),
    "a list": ("- maml\n- rl2\n", "suite.yaml: holds a list; a suite is a mapping"),
}


@pytest.mark.parametrize("text, message", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_with_its_place_and_its_remedy(
    tmp_path: Path, plugins: Path, text: str, message: str
) -> None:
    assert message in problems(write(tmp_path, text))


def test_all_mistakes_are_told_at_once_each_on_its_line(tmp_path: Path) -> None:
    text = (
        GOOD.replace("seeds: [0, 1]", "seeds: [0, 0]")
        .replace("arms: 2", "arm: 2")
        .replace("  maml: {}", "  mmal: {}")
        .replace("hidden: 8", "hidden: [8]")
        .replace("steps: 8000", "steps: 0")
    )
    lines = problems(write(tmp_path, text)).splitlines()
    parts = (
        "steps: must be",
        "seeds[1]",
        "'arm'",
        "unknown algorithm 'mmal'",
        "no algorithm 'maml'",
        "settings.hidden",
    )
    assert [sum(part in line for line in lines) for part in parts] == [1] * len(parts)
    assert len(lines) == len(parts)
    assert all(line.startswith(f"{tmp_path}/suite.yaml:") for line in lines)


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

    from algorithms import maml

    run = load_suite(write(tmp_path, GOOD)).find("bandit-2-3", "maml", 0)
    assert set(run.algorithm_settings) == {item.name for item in fields(maml.Settings)}
    assert RunConfig.from_dict(json.loads(json.dumps(run.to_dict()))) == run


def test_a_resolved_suite_reads_back_equal_in_any_form(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, GOOD))
    assert load_suite(suite.resolved()) == suite
    again = load_suite(write(tmp_path, yaml.safe_dump(suite.resolved())))
    assert again == suite
    assert [run.config_hash for run in again.runs()] == [run.config_hash for run in suite.runs()]


def test_algorithm_files_stand_between_the_defaults_and_the_suite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kshot.config.ALGORITHMS", tmp_path)
    (tmp_path / "rl2.yaml").write_text(
        "defaults: {hidden: 16, lr: 0.5, clip: 0.4}\nfamilies:\n  bandit: {lr: 0.25, clip: 0.3}\n"
    )
    suite = load_suite(write(tmp_path, changed("{hidden: 8}", "{hidden: 8, clip: 0.1}")))
    bandit = suite.find("bandit-2-3", "small-rl2", 0).algorithm_settings
    nav2d = suite.find("nav2d", "small-rl2", 0).algorithm_settings
    assert [bandit[name] for name in ("hidden", "lr", "clip")] == [8, 0.25, 0.1]
    assert [nav2d[name] for name in ("hidden", "lr", "clip")] == [8, 1e-4, 0.1]


def test_mistakes_in_algorithm_files_are_told_in_those_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kshot.config.ALGORITHMS", tmp_path)
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
    assert SCHEMA.read_text() == schema_text(), "run `python -m kshot.config` and commit the result"


def test_the_schema_tells_editors_what_the_code_tells_users() -> None:
    import jsonschema

    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    checker = jsonschema.Draft202012Validator(schema)
    assert checker.is_valid(yaml.safe_load(GOOD))
    for name in ("unknown top-level key", "budget of nothing", "no seeds", "row name unfit for a folder"):
        assert not checker.is_valid(yaml.safe_load(MISTAKES[name][0])), name


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
