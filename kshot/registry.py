"""Finding algorithms and task families by name.

Names come from three places, looked up in this order:

1. files or packages in the ``algorithms`` and ``envs`` packages of this repository;
2. folders listed in the environment variable ``KSHOT_PATH`` (separated like PATH), each of which may hold
   ``algorithms/<name>.py`` and ``envs/<name>.py``;
3. the entry-point groups ``kshot.algorithms`` and ``kshot.envs`` of installed packages.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import pkgutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from kshot.errors import RegistryError, suggest

Kind = Literal["algorithms", "envs"]
KINDS: tuple[Kind, ...] = ("algorithms", "envs")
REQUIRED: dict[Kind, tuple[str, ...]] = {
    "algorithms": ("EVIDENCE", "ACTIONS", "TEST_ACTIONS", "Settings", "build"),
    "envs": ("EVIDENCE", "ACTIONS", "Settings", "build"),
}
"""What a module of either kind provides at least."""
MODES = ("sampled", "mean")
"""What ``TEST_ACTIONS`` can be: ``kshot.types.Mode``."""
_NOUN = {"algorithms": "algorithm", "envs": "task family"}


def _extra_folders(kind: Kind) -> list[Path]:
    roots = [part for part in os.environ.get("KSHOT_PATH", "").split(os.pathsep) if part]
    return [Path(root).resolve() / kind for root in roots]


def _plugin_file(kind: Kind, name: str) -> Path | None:
    for folder in _extra_folders(kind):
        if (folder / f"{name}.py").is_file():
            return folder / f"{name}.py"
    return None


def names(kind: Kind) -> list[str]:
    """Every name that ``load`` can find, sorted."""
    found = {info.name for info in pkgutil.iter_modules(importlib.import_module(f"kshot.{kind}").__path__)}
    for folder in _extra_folders(kind):
        found |= {path.stem for path in folder.glob("*.py")}
    found |= {point.name for point in importlib.metadata.entry_points(group=f"kshot.{kind}")}
    return sorted(name for name in found if not name.startswith("_"))


def source(kind: Kind, name: str) -> Path | None:
    """The file behind a name of ``names``; None where an installed package provides it."""
    for root in importlib.import_module(f"kshot.{kind}").__path__:
        for path in (Path(root) / f"{name}.py", Path(root) / name / "__init__.py"):
            if path.is_file():
                return path
    return _plugin_file(kind, name)


def is_own(kind: Kind, name: str) -> bool:
    """Whether a module is part of kshot, not a plug-in."""
    return any(info.name == name for info in pkgutil.iter_modules(importlib.import_module(f"kshot.{kind}").__path__))


def load(kind: Kind, name: str) -> ModuleType:
    """The module behind a name, checked against the contract of ``kshot.types``.

    Raises:
        RegistryError: unknown name (with the nearest known one), or the module lacks a part of the contract.
    """
    if name not in names(kind):
        raise RegistryError(f"unknown {_NOUN[kind]} {name!r}{suggest(name, names(kind))}")
    module = _import(kind, name)
    missing = [part for part in REQUIRED[kind] if not hasattr(module, part)]
    if missing:
        raise RegistryError(
            f"{_NOUN[kind]} {name!r} ({module.__file__}) lacks {', '.join(missing)}; see CONTRIBUTING.md"
        )
    if kind == "algorithms" and module.TEST_ACTIONS not in MODES:
        raise RegistryError(
            f"{_NOUN[kind]} {name!r} ({module.__file__}): TEST_ACTIONS, how it acts when it is tested, must be "
            f"'sampled' or 'mean', not {module.TEST_ACTIONS!r}"
        )
    if not is_dataclass(module.Settings):
        raise RegistryError(f"{_NOUN[kind]} {name!r} ({module.__file__}): Settings must be a frozen dataclass")
    return module


def settings(module: ModuleType, values: Mapping[str, Any]) -> Any:
    """The ``Settings`` of a module from plain values, in which lists stand for tuples: settings are hashable."""
    return module.Settings(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def plain(settings: Any) -> dict[str, Any]:
    """The inverse: plain JSON values of a ``Settings`` object, as records hold them."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(settings)))
    return values


def _import(kind: Kind, name: str) -> ModuleType:
    if is_own(kind, name):
        return importlib.import_module(f"kshot.{kind}.{name}")
    path = _plugin_file(kind, name)
    if path is None:
        (point,) = importlib.metadata.entry_points(group=f"kshot.{kind}", name=name)
        loaded = point.load()
        if not isinstance(loaded, ModuleType):
            raise RegistryError(f"entry point {point.value!r} of kshot.{kind} must name a module")
        return loaded
    # Two plugin folders may use one file name: the path is part of the module's name.
    unique = f"kshot_plugin_{kind}_{name}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if unique not in sys.modules:
        spec = importlib.util.spec_from_file_location(unique, path)
        if spec is None or spec.loader is None:
            raise RegistryError(f"{path}: not importable as a Python module")
        module = importlib.util.module_from_spec(spec)
        sys.modules[unique] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[unique]
            raise
    return sys.modules[unique]
