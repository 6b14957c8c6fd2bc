"""Imports go one way: what each part of the house may know of the others (see CONTRIBUTING.md)."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from kshot.config import ROOT

OURS = ("kshot", "algorithms", "envs", "tests")
# Folder: the first-party modules (and what is below them) that it may import, and other packages that it may not.
ALLOWED = {
    "algorithms": ("algorithms", "kshot.types", "kshot.worlds", "kshot.learning", "kshot.seeding"),
    # Tables of records: demonstrations of a simulation are kept on disk.
    # suggest is the text of "did you mean": families refuse unknown names in the words of the suite's own messages.
    "envs": ("envs", "kshot.types", "kshot.worlds", "kshot.seeding", "kshot.records", "kshot.registry.suggest"),
    "kshot/learning": ("kshot.learning", "kshot.types", "kshot.worlds", "kshot.seeding"),
    "kshot/running": (
        "kshot.running",
        *("kshot.types", "kshot.seeding", "kshot.records", "kshot.registry", "kshot.run_config", "kshot.__version__"),
    ),
    # A run that is missing has no records: its module says which part of the report it is missing from.
    "kshot/reporting": (
        "kshot.reporting",
        *("kshot.types", "kshot.seeding", "kshot.records", "kshot.registry", "kshot.run_config", "kshot.__version__"),
    ),
}
GROUND = [path for path in sorted((ROOT / "kshot").glob("*.py")) if path.stem not in ("cli", "__main__")]
FORBIDDEN = {"kshot/reporting": ("torch",), "envs": ("torch",)}


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


@pytest.mark.parametrize("path", GROUND, ids=lambda path: path.stem)
def test_the_ground_floor_stands_on_itself(path: Path) -> None:
    for name in imports_of(path):
        assert not within(name, ("algorithms", "envs", "tests", "torch")), f"{path} imports {name}"
        assert not within(name, ("kshot.learning", "kshot.running", "kshot.reporting", "kshot.cli")), name


def test_the_check_sees_every_form_of_import() -> None:
    source = (
        "import torch.nn as nn\nfrom envs import bandit\nfrom . import maml\nfrom .rl2 import Settings\n"
        "def later():\n    from ..kshot.running import train\n"
    )
    assert imported(source, "algorithms.mine") == {
        "torch.nn",
        "envs.bandit",
        "algorithms.maml",
        "algorithms.rl2.Settings",
        "kshot.running.train",
    }
    assert imported("from . import goals", "envs.metaworld", frozenset({"envs.metaworld"})) == {"envs.metaworld.goals"}
    assert within("envs.bandit", ("envs",))
    assert not within("environments", ("envs",))


@pytest.mark.parametrize(
    "modules, absent",
    [
        ("kshot.reporting.page, kshot.reporting.figures, kshot.reporting.tables", "torch"),
        ("kshot.config, kshot.running.status", "torch"),
        ("kshot.running.evaluate, kshot.running.train, envs.bandit", "torch"),
        ("kshot.cli", "torch pandas pydantic numpy"),
    ],
)
def test_importing_loads_nothing_heavy_by_a_back_door(modules: str, absent: str) -> None:
    code = f"import sys, {modules}; print([name for name in {absent.split()!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
