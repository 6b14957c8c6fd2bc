"""CONTRIBUTING's map of the house shows every file, and its list of steps names functions that there are."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from kshot.places import ROOT

pytestmark = pytest.mark.contract

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FOLDERS = ("kshot", "algorithms", "envs", "benchmarks", "docs")


def part(title: str) -> str:
    """The text below a heading, up to the next."""
    return TEXT.split(f"## {title}\n")[1].split("\n## ")[0]


def drawn() -> list[str]:
    """The files of the map, with their folders, and those folders that are packages."""
    paths, folders = [], list[str]()
    for line in part("A map").split("```")[1].strip("\n").splitlines():
        indent, name, text = re.fullmatch(r"( *)(\S+) +(\S.*)", line).groups()  # type: ignore[union-attr]
        assert text, line
        folders = folders[: len(indent) // 2]
        path = "".join([*folders, name])
        paths.append(path)
        if name.endswith("/"):
            folders.append(name)
    return paths


def there() -> set[str]:
    """Every module of the house; the ``__init__`` of a package is its folder."""
    files = {path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if not _linked(path)}
    names = {path.relative_to(ROOT).as_posix() for path in files}
    return {name.removesuffix("__init__.py") for name in names}


def _linked(path: Path) -> bool:
    return any(parent.is_symlink() for parent in path.parents if parent.is_relative_to(ROOT))


def test_the_map_shows_every_file_once() -> None:
    shown = drawn()
    assert len(shown) == len(set(shown))
    assert set(shown) == there()


def test_the_steps_from_a_suite_to_a_point_are_few_and_exist() -> None:
    names = re.findall(r"^\d+\. `(kshot\.[\w.]+)`", part("From a suite to one point of a K-curve"), flags=re.MULTILINE)
    assert 8 <= len(names) <= 12 and len(set(names)) == len(names)
    for name in names:
        module, _, attribute = name.rpartition(".")
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError:  # a method: the class stands in the module above
            module, _, owner = module.rpartition(".")
            found = getattr(importlib.import_module(module), owner)
        assert callable(getattr(found, attribute)), name
