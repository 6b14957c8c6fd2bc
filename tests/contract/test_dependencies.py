"""pyproject.toml, requirements.lock and the environment files say the same."""

from __future__ import annotations

import importlib.metadata
import re
import sys
import tomllib
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from kshot.places import ROOT
from tests.contract.test_imports import GRAPH

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RUNTIME = [Requirement(text) for text in PROJECT["dependencies"]]
LOCKED = ("dev", "docs")
"""Extras that every environment has; the others are of single commands."""
DEVELOPMENT = [Requirement(text) for extra in LOCKED for text in PROJECT["optional-dependencies"][extra]]
OPTIONAL = [
    Requirement(text)
    for extra, texts in PROJECT["optional-dependencies"].items()
    if extra not in LOCKED
    for text in texts
]
LOCK_LINES = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
LOCK = {canonicalize_name(name): version for name, version in (line.split("==") for line in LOCK_LINES)}


def test_every_line_of_the_lock_is_one_exact_public_version() -> None:
    for line in LOCK_LINES:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9A-Za-z.]*", line), line
    assert len(LOCK) == len(LOCK_LINES), "a package stands in the lock twice"


@pytest.mark.parametrize("requirement", RUNTIME + DEVELOPMENT, ids=lambda requirement: requirement.name)
def test_what_the_project_asks_for_is_locked_in_its_range(requirement: Requirement) -> None:
    version = LOCK.get(canonicalize_name(requirement.name))
    assert version is not None, f"{requirement} is not in requirements.lock"
    assert requirement.specifier.contains(version), f"requirements.lock has {version}, pyproject.toml {requirement}"


def test_the_lock_is_complete_and_holds_nothing_else() -> None:
    waiting, seen = list(RUNTIME + DEVELOPMENT), set[tuple[str, frozenset[str]]]()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if (name, frozenset(requirement.extras)) in seen:
            continue
        seen.add((name, frozenset(requirement.extras)))
        assert name in LOCK, f"{requirement} is needed but not in requirements.lock"
        for text in importlib.metadata.distribution(requirement.name).requires or []:
            other = Requirement(text)
            extras = {"", *requirement.extras}
            if other.marker is None or any(other.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(other)
    assert set(LOCK) == {name for name, _ in seen}


@pytest.mark.parametrize("path", ["environment.yml", "workflow/envs/kshot.yaml"])
def test_conda_environments_install_the_lock_on_a_python_that_the_project_supports(path: str) -> None:
    dependencies = yaml.safe_load((ROOT / path).read_text())["dependencies"]
    (python,) = [item for item in dependencies if isinstance(item, str) and item.startswith("python=")]
    assert SpecifierSet(PROJECT["requires-python"]).contains(python.removeprefix("python="))
    (pip,) = [item["pip"] for item in dependencies if isinstance(item, dict)]
    (lock,) = [item.removeprefix("-r ") for item in pip if item.startswith("-r ")]
    assert ((ROOT / path).parent / lock).resolve() == ROOT / "requirements.lock"


def test_snakemake_finds_the_lock_from_where_it_copies_environments_to() -> None:
    text = (ROOT / "workflow/envs/kshot.yaml").read_text()
    lock = re.search(r"-r (\S+)", text)
    assert lock is not None
    assert (ROOT / ".snakemake/conda" / lock[1]).resolve() == ROOT / "requirements.lock"


def test_everything_that_is_imported_is_declared() -> None:
    declared = {canonicalize_name(requirement.name) for requirement in RUNTIME + OPTIONAL}
    providers = importlib.metadata.packages_distributions()
    for name in sorted(GRAPH.modules):
        if not name.startswith("kshot") and name not in sys.stdlib_module_names:
            # An optional package that is not installed here is called what its module is called.
            distributions = {canonicalize_name(provider) for provider in providers.get(name, [name])}
            users = GRAPH.find_modules_that_directly_import(name)
            assert distributions & declared, f"{users} import {name}, which pyproject.toml does not ask for"
