"""Imports go one way: what each part of the house may know of the others (see CONTRIBUTING.md)."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kshot.places import ROOT

OURS = ("kshot", "algorithms", "envs", "tests")
"""First-party names; what is called ``algorithms`` or ``envs`` alone is not ours but somebody else's."""
GROUND = ("kshot.types", "kshot.seeding", "kshot.errors")
SHARED = (*GROUND, "kshot.places", "kshot.records", "kshot.registry", "kshot.suites.run", "kshot.__version__")
# Folder: the first-party modules (and what is below them) that it may import, and other packages that it may not.
ALLOWED = {
    "kshot/types": ("kshot.types",),
    "kshot/suites": ("kshot.suites", *GROUND, "kshot.records", "kshot.registry", "kshot.places"),
    "kshot/learning": ("kshot.learning", *GROUND),
    "algorithms": ("kshot.algorithms", "kshot.learning", *GROUND),
    # Tables of records: demonstrations of a simulation are kept on disk.
    "envs": ("kshot.envs", "kshot.records", *GROUND),
    "kshot/running": ("kshot.running", *SHARED),
    "kshot/reporting": ("kshot.reporting", *SHARED),
}
FORBIDDEN = {"kshot/reporting": ("torch",), "envs": ("torch",)}
FLOOR = [path for path in sorted((ROOT / "kshot").glob("*.py")) if path.stem not in ("cli", "__main__")]


def imported(source: str, module: str, packages: frozenset[str] = frozenset()) -> set[str]:
    """Dotted names of all that ``source`` imports, wherever in the file; ``from a import b`` counts as ``a.b``.

    ``module`` is the dotted name of the file itself, from which relative imports start; for the ``__init__`` of a
    package, which ``packages`` names, they start one level deeper.
    """
    names: set[str] = set()
    parts = module.split(".")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            depth = len(parts) - node.level + (module in packages)
            base = ".".join([*(parts[:depth] if node.level else []), *([node.module] if node.module else [])])
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def within(name: str, parents: tuple[str, ...]) -> bool:
    return any(name == parent or name.startswith(f"{parent}.") for parent in parents)


def imports_of(path: Path) -> set[str]:
    relative = path.relative_to(ROOT).with_suffix("")
    is_package = relative.name == "__init__"
    module = ".".join(relative.parent.parts if is_package else relative.parts)
    module = f"kshot.{module}" if relative.parts[0] in ("algorithms", "envs") else module
    return imported(path.read_text(), module, frozenset({module} if is_package else ()))


def files(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, f"{folder} holds no code: is its name still right?"
    return found


@pytest.mark.parametrize("folder", ALLOWED)
def test_a_folder_imports_only_what_it_may_know(folder: str) -> None:
    for path in files(folder):
        for name in imports_of(path):
            assert not within(name, OURS) or within(name, ALLOWED[folder]), f"{path} imports {name}"
            assert not within(name, FORBIDDEN.get(folder, ())), f"{path} imports {name}"


@pytest.mark.parametrize("path", FLOOR, ids=lambda path: path.stem)
def test_the_ground_floor_stands_on_itself(path: Path) -> None:
    for name in imports_of(path):
        assert not within(name, ("algorithms", "envs", "tests", "torch")), f"{path} imports {name}"
        assert not within(name, tuple(f"kshot.{wing}" for wing in ("learning", "running", "reporting", "cli"))), name
        assert not within(name, ("kshot.algorithms", "kshot.envs")), f"{path} imports {name}"


def test_the_check_sees_every_form_of_import() -> None:
    source = (
        "import torch.nn as nn\nfrom kshot.envs import bandit\nfrom . import maml\nfrom .rl2 import Settings\n"
        "def later():\n    from ..running import train\n"
    )
    assert imported(source, "kshot.algorithms.mine") == {
        "torch.nn",
        "kshot.envs.bandit",
        "kshot.algorithms.maml",
        "kshot.algorithms.rl2.Settings",
        "kshot.running.train",
    }
    package = "kshot.envs.metaworld"
    assert imported("from . import goals", package, frozenset({package})) == {f"{package}.goals"}
    assert within("envs.bandit", ("envs",))
    assert not within("environments", ("envs",))


@pytest.mark.parametrize(
    "modules, absent",
    [
        ("kshot.reporting.page, kshot.reporting.figures, kshot.reporting.tables", "torch"),
        ("kshot.suites.reading, kshot.running.status", "torch"),
        ("kshot.running.evaluate, kshot.running.train, kshot.envs.bandit", "torch"),
        ("kshot.cli", "torch pandas pydantic numpy"),
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
    done = subprocess.run(
        [sys.executable, "-c", REPORT], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stderr.splitlines()[-1] == "[] [0, 0, 0, 0]"
    assert (tmp_path / "reports" / "made-up" / "index.html").is_file()
