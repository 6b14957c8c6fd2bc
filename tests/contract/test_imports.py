"""Imports go one way: what each part of the house may know of the others (see CONTRIBUTING.md)."""

from __future__ import annotations

import graphlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import grimp
import pytest

from kshot.places import ROOT
from kshot.records import write_json
from kshot.suites.reading import load_suite
from tests import synthetic

GRAPH = grimp.build_graph("kshot", include_external_packages=True, cache_dir=None)
"""Every import of every module, also those within functions; of other packages only the name."""
GROUND = ("kshot.types", "kshot.seeding", "kshot.errors", "kshot.threads", "kshot.ram")
SHARED = (*GROUND, "kshot.records", "kshot.checksums", "kshot.yaml_text", "kshot.registry", "kshot.suites.run", "kshot")
PLUGINS = ("kshot.helpers", "kshot.plugins")
AGAIN = "kshot.computed_again"
# Package: the modules of kshot (and what is below them) that it may import; "kshot" itself is its version.
ALLOWED = {
    "kshot.types": ("kshot.types",),
    "kshot.suites": (
        "kshot.suites",
        *GROUND,
        "kshot.records",
        "kshot.yaml_text",
        "kshot.registry",
        "kshot.places",
        *PLUGINS,
    ),
    "kshot.learning": ("kshot.learning", *GROUND),
    "kshot.algorithms": ("kshot.algorithms", "kshot.learning", *GROUND),
    # Tables of records: demonstrations of a simulation are kept on disk.
    "kshot.envs": ("kshot.envs", "kshot.records", *GROUND),
    "kshot.metaworld": ("kshot.metaworld", "kshot.envs", "kshot.records", *GROUND),
    # What it draws of a family, it knows from the family itself.
    "kshot.rendering": ("kshot.rendering", "kshot.running", "kshot.envs", *SHARED),
    "kshot.running": ("kshot.running", "kshot.places", AGAIN, *SHARED, *PLUGINS),
    "kshot.reporting": ("kshot.reporting", "kshot.places", AGAIN, *SHARED, *PLUGINS),
    "kshot.contract": ("kshot.contract", "kshot.running", "kshot.reporting", "kshot.places", *SHARED, *PLUGINS),
    "kshot.examples": ("kshot.examples", "kshot.reporting", *GROUND),
    # On top of all but the command line.
    "kshot.interface": ("kshot.interface", "kshot.running", "kshot.reporting", "kshot.suites", *SHARED, *PLUGINS),
}
FORBIDDEN = {"kshot.reporting": ("torch",), "kshot.envs": ("torch",)}
WINGS = (
    "learning",
    "running",
    "rendering",
    "reporting",
    "algorithms",
    "envs",
    "interface",
    "metaworld",
    "contract",
    "examples",
    "commands",
    "cli",
)


def within(name: str, parents: tuple[str, ...]) -> bool:
    return any(name == parent or (parent != "kshot" and name.startswith(f"{parent}.")) for parent in parents)


def modules(package: str) -> list[str]:
    found = sorted({package, *GRAPH.find_descendants(package)})
    assert found, f"{package} holds no code: is its name still right?"
    return found


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_only_what_it_may_know(package: str) -> None:
    for module in modules(package):
        for name in GRAPH.find_modules_directly_imported_by(module):
            ours = name == "kshot" or name.startswith("kshot.")
            assert not ours or within(name, ALLOWED[package]), f"{module} imports {name}"
            assert not within(name, FORBIDDEN.get(package, ())), f"{module} imports {name}"


def test_algorithms_and_families_stand_on_their_own() -> None:
    """What is called ``algorithms`` or ``envs`` alone is somebody else's; tests are nobody's to import."""
    for name in ("algorithms", "envs", "tests", "benchmarks"):
        assert name not in GRAPH.modules, GRAPH.find_modules_that_directly_import(name)


def test_the_ground_floor_stands_on_itself() -> None:
    floor = [name for name in GRAPH.find_children("kshot") if not within(name, tuple(f"kshot.{w}" for w in WINGS))]
    assert "kshot.registry" in floor and "kshot.types" in floor
    for module in (name for name in floor for name in modules(name) if name != "kshot.__main__"):
        for name in GRAPH.find_modules_directly_imported_by(module):
            assert not within(name, (*(f"kshot.{wing}" for wing in WINGS), "torch")), f"{module} imports {name}"


def test_there_is_no_circle() -> None:
    imports = {name: GRAPH.find_modules_directly_imported_by(name) for name in GRAPH.modules if name != "kshot"}
    graphlib.TopologicalSorter(imports).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize(
    "modules, absent",
    [
        ("kshot.reporting.page, kshot.reporting.figures, kshot.reporting.tables", "torch"),
        ("kshot.suites.reading, kshot.running.status", "torch"),
        ("kshot.running.evaluate, kshot.running.train, kshot.envs.bandit", "torch"),
        ("kshot.rendering.graphics, kshot.rendering.clips", "torch mujoco"),
        ("kshot.cli", "torch pandas pydantic numpy"),
        ("kshot", "torch pandas pydantic numpy matplotlib kshot.interface"),
        ("kshot.interface.evaluation, kshot.interface.pipeline, kshot.interface.curves", "torch mujoco"),
    ],
)
def test_importing_loads_nothing_heavy_by_a_back_door(modules: str, absent: str) -> None:
    code = f"import sys, {modules}; print([name for name in {absent.split()!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


REPORT = """
import sys
from kshot.cli import main
status = [main([command, "results/made-up/suite.yaml"]) for command in ("aggregate", "figures", "tables", "report")]
heavy = ("torch", "kshot.algorithms", "kshot.envs", "kshot.running", "kshot.learning")
print([n for n in sys.modules if any(n == name or n.startswith(name + ".") for name in heavy)], status, file=sys.stderr)
"""


def test_reporting_on_a_resolved_suite_loads_neither_algorithms_nor_families_nor_torch(tmp_path: Path) -> None:
    suite = load_suite(
        {
            "name": "made-up",
            "seeds": [0],
            "families": {"bandit": {"steps": 1000, "evaluation": {"tasks": 4, "k": [0, 10]}}},
            "algorithms": {"maml": {}, "rl2": {}},
        }
    )
    bandit = replace(synthetic.BANDIT, n_tasks=4, k=(0, 10))
    synthetic.write_suite([bandit], suite.runs(), tmp_path / "results")
    write_json(tmp_path / "results" / "made-up" / "suite.yaml", suite.resolved())
    command = [sys.executable, "-c", REPORT]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[] [0, 0, 0, 0]"
    assert (tmp_path / "reports" / "made-up" / "index.html").is_file()
