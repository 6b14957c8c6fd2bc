"""Every ``python -m`` that the documentation shows is run with its arguments, at sizes that take a moment."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from kshot import places
from tests.workflow import at_once
from tests.workflow.documented import cut, documented

pytestmark = pytest.mark.workflow

Patch = pytest.MonkeyPatch


def set_all(patch: Patch, module: Any, **values: Any) -> None:
    for name, value in values.items():
        patch.setattr(module, name, value)


def few_tasks(patch: Patch, module: Any, folder: Path) -> None:
    cases = {}
    for name, case in module.CASES.items():
        few = 2 if case.family.startswith("metaworld") else 4
        short = {"horizon": 10} if case.family == "metaworld" else {}
        sizes = {"copies": 1, "chosen_on": min(case.chosen_on, few), "test": min(case.test, few)}
        cases[name] = replace(case, settings={**case.settings, **short}, **sizes)
    patch.setattr(module, "CASES", cases)
    two = {name: module.env_dict.ALL_V3_ENVIRONMENTS[name] for name in ("reach-v3", "push-v3")}
    patch.setattr(module.env_dict, "ALL_V3_ENVIRONMENTS", two)


def few_steps(patch: Patch, module: Any, folder: Path) -> None:
    cases = {name: replace(case, tasks=4, sub_envs=4) for name, case in module.CASES.items()}
    draw = module.as_many
    set_all(patch, module, STEPS=2, ROUNDS=1, TRIALS=2, CASES=cases, as_many=lambda of, n: draw(of, 2))


def few_trials(patch: Patch, module: Any, folder: Path) -> None:
    set_all(patch, module, BANDITS={(5, 10): 4}, SLOW=2, MDPS=2, TRIALS={10: 1}, GRAPHS=2, OFFLOADING=10)
    patch.setattr(module.simulator, "LINKS", module.simulator.LINKS[:1])


def short_search(patch: Patch, module: Any, folder: Path) -> None:
    few = {"together": 2, "directions": 2, "horizon": 4, "further": 1, "hardest": 2, "iterations": 4}
    set_all(patch, module, SEARCHES={name: replace(search, **few) for name, search in module.SEARCHES.items()})
    patch.setattr(module.gaits, "__file__", str(folder / "gaits.py"))


def small_learners(patch: Patch, module: Any, folder: Path) -> None:
    settings: dict[str, dict[str, Any]] = {
        "maml": {"meta_batch": 10, "episodes": 1, "hidden": (8,), "curvature_stride": 1},
        "rl2": {"meta_batch": 10, "hidden": 8, "encoder": (8,), "trial_episodes": 2, "chunk": 5, "burn_in": 2},
    }

    def here(name: str, folder: Path, options: list[str]) -> dict[str, Any]:
        assert options[: options.index("--set")][-2:] in (["--device", "cpu"], ["--device", "cuda"])
        return {"peak_gb": 0.0, **module.measure(name, settings[name], steps=1, horizon=5, profile=False)}

    set_all(patch, module, run=here)


def few_environments(patch: Patch, module: Any, folder: Path) -> None:
    """Policies of the reference sizes for ten sub-environments; those of the official classes are built once."""
    shown = module.policies
    patch.setattr(module, "policies", lambda spec: {name: (found[0], 10, 1) for name, found in shown(spec).items()})


def built_here(patch: Patch, module: Any, folder: Path) -> None:
    built = module.construct

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert command[-2] == "--construct"
        return subprocess.CompletedProcess(command, 0, json.dumps(built(10)))

    patch.setattr(module.subprocess, "run", run)


def one_class(patch: Patch, module: Any, folder: Path) -> None:
    make: dict[str, Any] = {"env_name": "reach-v3", "num_envs": 10, "seed": 1, "threads": 1}
    names = ("official", "kshot")
    set_all(patch, module, contenders=lambda n, threads: {name: gym.make_vec("kshot/MT1", **make) for name in names})
    measure = module.measure
    patch.setattr(module, "measure", lambda envs, rounds, updates, steps: measure(envs, rounds, updates, 4))


def small_report(patch: Patch, module: Any, folder: Path) -> None:
    fork = multiprocessing.get_context("fork")
    patch.setattr(module.multiprocessing, "get_context", lambda name: fork)
    set_all(patch, module, FAMILIES=module.FAMILIES[:1], LEARNERS=module.LEARNERS[:1], K=(0, 1))


def small_paper(patch: Patch, module: Any, folder: Path) -> None:
    families: dict[str, dict[str, Any]] = {"bus": {}, "maze": {}}
    settings = {"meta_batch": 2, "episodes": 1, "hidden": [8]}
    patch.setattr(places, "SUITES", folder / "config" / "suites")
    at_once.write_suites(folder, cut("paper", families, {"maml": settings}))


def quick(**values: Any) -> Callable[[Patch, Any, Path], None]:
    return lambda patch, module, folder: set_all(patch, module, **values)


SMALLER: dict[str, tuple[Callable[[Patch, Any, Path], None], str]] = {
    "collection": (few_environments, "--rounds 1 --horizon 2 --learners RL2"),
    "cost": (small_paper, "--seconds 0.01"),
    "families": (few_steps, ""),
    "gaits": (short_search, ""),
    "learners": (small_learners, "--learners rl2"),
    "metaworld": (built_here, "--benchmarks reach --sizes 2 --rounds 1 --seconds 0.01 --official-up-to 0"),
    "metaworld_hand": (quick(), "--goals 1 --classes reach-v3"),
    "observations": (quick(GOALS=1, BENCHMARKS=("ML10",)), "reach-v3"),
    "official": (quick(HORIZON=5, GOALS=10), ""),
    "planner": (
        quick(SHAPES={8: (2, 2, 2)}, HORIZONS=(2,), RATES=(0.1,), SMALL={4: (2, 2)}, THETAS=1),
        "--rounds 1 --batch 1",
    ),
    "planning": (quick(), "--runs 10"),
    "ppo": (one_class, "--rounds 1 --updates 1"),
    "report": (small_report, "--small"),
    "robots": (quick(TASKS=2, STEPS=2), "cheetah_vel --copies 1 --rounds 1"),
    "scripted": (few_trials, ""),
    "task_blind": (few_tasks, ""),
    "wrapped": (quick(SUB_ENVS=2, STEPS=2, ROUNDS=1), ""),
}
"""Measurements -> what makes them small, and options that do, behind those that are shown."""
IN_A_STORY = ("python -m benchmarks.whose_goal", "python -m benchmarks.whose_rewards")
"""Beginnings of those that are run elsewhere, on what other commands left."""
MEASUREMENTS = [
    command
    for command in documented()
    if command.startswith("python -m benchmarks.") and not command.startswith(IN_A_STORY)
]


@pytest.mark.parametrize("command", MEASUREMENTS, ids=lambda command: command.removeprefix("python -m benchmarks."))
def test_a_measurement_prints_what_it_found(
    command: str, tmp_path: Path, monkeypatch: Patch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, name, *options = shlex.split(command)
    module: Any = importlib.import_module(name)
    source = Path(module.__file__).read_text(encoding="utf-8")
    assert source.endswith('\n\nif __name__ == "__main__":\n    main()\n')
    make_smaller, more = SMALLER[name.removeprefix("benchmarks.")]
    make_smaller(monkeypatch, module, tmp_path)
    monkeypatch.setattr(sys, "argv", [name, *options, *shlex.split(more)])
    monkeypatch.chdir(tmp_path)
    module.main()
    printed = capsys.readouterr().out
    assert any(character.isdigit() for character in printed), printed
    if name == "benchmarks.gaits":
        assert json.loads((tmp_path / f"{options[0]}.json").read_text())["weights"]
    else:
        assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "suites"]


def same_files(one: Path, other: Path) -> None:
    assert {path.name: path.read_bytes() for path in one.iterdir()} == {
        path.name: (other / path.name).read_bytes() for path in one.iterdir()
    }


def test_settings_are_written_as_they_are_here(tmp_path: Path, monkeypatch: Patch) -> None:
    from docs.building import settings

    folder = settings.FOLDER
    monkeypatch.setattr(settings, "FOLDER", tmp_path)
    settings.main()
    assert list(tmp_path.iterdir())
    same_files(tmp_path, folder)


def test_what_figures_get_is_written_as_it_is_here(tmp_path: Path, monkeypatch: Patch) -> None:
    from docs.building import figures

    page = figures.PAGE
    monkeypatch.setattr(figures, "PAGE", Path(shutil.copy(page, tmp_path)))
    figures.main()
    assert page != figures.PAGE and figures.PAGE.read_bytes() == page.read_bytes()


def test_notebooks_are_written_as_they_were_run(tmp_path: Path, monkeypatch: Patch) -> None:
    """What running them gives is tested in test_documentation.py."""
    from docs.building import notebooks

    copies = [Path(shutil.copy(path, tmp_path)) for path in notebooks.notebooks()]
    ran: list[str] = []
    monkeypatch.setattr(notebooks, "notebooks", lambda: copies)
    monkeypatch.setattr(notebooks, "execute", lambda notebook: ran.append(notebook.cells[0].source))
    notebooks.main()
    assert len(ran) == len(copies) == 2
    same_files(tmp_path, notebooks.FOLDER)


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
def test_the_schema_is_written_as_it_is_here(tmp_path: Path, monkeypatch: Patch) -> None:
    schema = places.SCHEMA
    monkeypatch.setattr(places, "SCHEMA", tmp_path / "suite.schema.json")
    runpy.run_module("kshot.suites.schema", run_name="__main__")
    same_files(tmp_path, schema.parent)


def test_recorded_observations_are_written_class_by_class(tmp_path: Path, monkeypatch: Patch) -> None:
    """What is recorded of a class is tested in tests/numerics/test_metaworld.py."""
    from kshot.envs.metaworld import _observations, _record_observations

    recorded = json.loads(_observations.FILE.read_text())
    monkeypatch.setattr(_record_observations, "FILE", tmp_path / "observations.json")
    monkeypatch.setattr(_record_observations, "record", lambda name: recorded[name])
    _record_observations.main()
    same_files(tmp_path, _observations.FILE.parent)


WRITERS = {
    "python -m docs.building.figures",
    "python -m docs.building.notebooks",
    "python -m docs.building.settings",
    "python -m kshot.envs.metaworld._record_observations",
    "python -m kshot.suites.schema",
}
"""What the tests above run."""
