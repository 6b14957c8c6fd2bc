"""Every mistake in a suite is shown, all at once, where it stands, with what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from kshot.suites.schema import json_schema
from tests.contract.suites import GOOD, added_row, changed, plugins, problems, write

__all__ = ["plugins"]  # a fixture

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
        "families.bandit-2-3.settings.arms: 'bandit' refuses these settings: bandit: arms must be at least 2, got 1",
    ),
    "value that the algorithm refuses": (
        added_row("fomaml: {settings: {order: second}}"),
        "algorithms.fomaml.settings.order: 'fomaml' refuses these settings: order must be 'first' for fomaml",
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
    "row that reports would write like another": (
        added_row("small_rl2: {algorithm: reptile}"),
        "algorithms.small-rl2: reports would write it like 'small_rl2', with '-' for '_': choose another name",
    ),
    "row that reports would write like a reference policy": (
        added_row("task-blind: {algorithm: reptile}"),
        "algorithms.task-blind: reports would write it like reference 'task_blind' of ",
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


def test_the_schema_tells_editors_what_the_code_tells_users() -> None:
    import jsonschema

    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    checker = jsonschema.Draft202012Validator(schema)
    assert checker.is_valid(yaml.safe_load(GOOD))
    for name in ("unknown top-level key", "budget of nothing", "no seeds", "row name unfit for a folder"):
        assert not checker.is_valid(yaml.safe_load(MISTAKES[name][0])), name
