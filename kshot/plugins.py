"""What plug-ins bring besides algorithms and families, where they were looked for, and what is wrong with them.

A plug-in is a folder on ``KSHOT_PATH``, or an installed package that names its modules by entry points. A folder holds

- ``algorithms/<name>.py``, ``envs/<name>.py``, ``figures/<name>.py`` and ``tables/<name>.py``;
- ``config/algorithms/<name>.yaml``, settings, and ``config/suites/<name>.yaml``, suites;
- modules that these import by their names (``kshot.helpers``).

The entry points of a package are of the groups ``kshot.algorithms``, ``kshot.envs``, ``kshot.figures`` and
``kshot.tables``; beside its ``__init__.py`` it may have the same folder ``config/``.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import sys
import traceback
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Literal

from kshot import helpers, registry
from kshot.errors import RegistryError

Shown = Literal["figures", "tables"]
Kind = Literal["algorithms", "envs", "figures", "tables"]
KINDS: tuple[Kind, ...] = ("algorithms", "envs", "figures", "tables")
GROUPS = ("kshot.algorithms", "kshot.envs", "kshot.figures", "kshot.tables")
NOUNS = {"algorithms": "algorithm", "envs": "task family", "figures": "figure", "tables": "table"}


def places() -> list[Path]:
    """The folders that may hold ``config/``: those of ``KSHOT_PATH``, then of installed packages with plug-ins."""
    found = helpers.folders()
    for name in dict.fromkeys(point.value.split(":")[0].split(".")[0] for point in _points()):
        spec = importlib.util.find_spec(name)
        found += [Path(place) for place in (spec.submodule_search_locations or () if spec else ())]
    return list(dict.fromkeys(found))


def settings_files(algorithm: str) -> list[Path]:
    """The files of plug-ins with settings of an algorithm."""
    found = [place / "config" / "algorithms" / f"{algorithm}.yaml" for place in places()]
    return [path for path in found if path.is_file()]


def suite_files() -> list[Path]:
    """The suites of plug-ins."""
    return [path for place in places() for path in sorted((place / "config" / "suites").glob("*.yaml"))]


def searched() -> str:
    """Where plug-ins were looked for, for messages about names that nobody knows."""
    folders = helpers.folders()
    if not folders:
        return f"{helpers.VARIABLE} is not set"
    shown = [str(folder) if folder.is_dir() else f"{folder}, which does not exist" for folder in folders]
    return f"{helpers.VARIABLE} is {os.pathsep.join(shown)}"


def mistake(kind: Kind, name: str) -> str:
    """Why what a plug-in has cannot go by its name, in one line; empty if it can, or there is no such plug-in.

    What kshot itself has under that name is there all the same.
    """
    source, reason = _mistake(kind, name)
    return ": ".join(filter(None, (source, reason)))


def own(kind: Kind, name: str) -> Path | None:
    """The file of what kshot itself has under a name; None where it has nothing."""
    if kind == "figures" or kind == "tables":
        path = Path(__file__).parent / "reporting" / kind / f"{name}.py"
        return path if path.is_file() and not name.startswith("_") else None
    return registry.source(kind, name) if registry.is_own(kind, name) else None


def _mistake(kind: Kind, name: str) -> tuple[str, str]:
    """The file or package at fault, and the reason as of ``mistake``; both empty if there is none."""
    files = [path for path in _files(kind) if path.stem == name]
    points = [point for point in _points() if (point.group, point.name) == (f"kshot.{kind}", name)]
    sources = [*map(str, files), *(f"the installed package of {point.value}" for point in points)]
    if sources and (there := own(kind, name)) is not None:
        return sources[0], f"kshot itself has {_an(NOUNS[kind])} called {name!r} ({there}): choose another name"
    if len(sources) > 1:
        return "", f"two plug-ins have the name {name!r} ({' and '.join(sources)}): rename one of them"
    if files and not name.isidentifier():
        return sources[0], f"{name!r} is no name of a Python module: use letters, digits and '_'"
    return "", ""


def faults() -> list[str]:
    """All that is wrong with the names of plug-ins, and folders that do not exist: a line each."""
    lines = [f"{helpers.VARIABLE}: {folder}: no such folder" for folder in helpers.folders() if not folder.is_dir()]
    for kind in registry.KINDS:
        lines += [reason for name in registry.names(kind) if (reason := mistake(kind, name))]
    return lines


def names(kind: Shown) -> list[str]:
    """The figures or tables of plug-ins: their files, and the modules of entry points."""
    return [*map(str, _files(kind)), *(point.value for point in _points() if point.group == f"kshot.{kind}")]


def stem(name: str) -> str:
    """How a figure or table that ``names`` lists is called: its file or module without what stands around its name."""
    return Path(name).stem if name.endswith(".py") else name.rpartition(".")[2]


def load(kind: Shown, name: str, taken: set[str]) -> ModuleType:
    """A figure or table that ``names`` lists.

    Args:
        kind: which of the two.
        name: its file or module.
        taken: names of others.

    Raises:
        RegistryError: its name is no identifier or taken, or it lacks a part of its contract. Its file is not named.
    """
    path = Path(name)
    if path.suffix != ".py":
        (point,) = [point for point in _points() if point.group == f"kshot.{kind}" and point.value == name]
        module, title = point.load(), point.name
    else:
        title = stem(name)
        if reason := _mistake(kind, title)[1]:
            raise RegistryError(reason)
        module = _module(kind, path)
    required = ("NAME", "CAPTION", "draw") if kind == "figures" else ("build",)
    if missing := [part for part in required if not hasattr(module, part)]:
        raise RegistryError(f"lacks {', '.join(missing)}; see CONTRIBUTING.md")
    called = getattr(module, "NAME", title)
    there = own(kind, str(called))
    if not str(called).isidentifier() or called in taken or there is not None:
        whose = f", and kshot itself has one of it ({there})" if there is not None else ""
        raise RegistryError(f"NAME {called!r} must be an identifier that no other {NOUNS[kind]} has{whose}")
    assert isinstance(module, ModuleType)
    return module


def why(error: BaseException) -> str:
    """Why code of a plug-in failed, in one line: the error, and the file and line of the plug-in that it comes from."""
    text, place = error.msg if isinstance(error, SyntaxError) else str(error), where(error)
    text = ": ".join(part for part in (type(error).__name__, " ".join(text.split())[:300]) if part)
    return f"{text} ({place})" if place else text


def where(error: BaseException) -> str:
    """``file:line`` of an error, of the plug-in if it comes from one; empty where it is not known."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename[0] != "<"]
    own = [frame for frame in frames if any(map(Path(frame.filename).is_relative_to, helpers.folders()))]
    frame = next(iter((own or frames)[-1:]), None)  # rather than a line of a library that the plug-in called
    return f"{frame.filename}:{frame.lineno}" if frame is not None else ""


def code() -> list[Path]:
    """The files by which plug-ins change reports: figures, tables, and the helper modules beside them."""
    shown = [*_files("figures"), *_files("tables")]
    return [*shown, *(path for folder in helpers.folders() if shown for path in sorted(folder.glob("*.py")))]


def _files(kind: str) -> list[Path]:
    found = (path for folder in helpers.folders() for path in sorted((folder / kind).glob("*.py")))
    return [path for path in found if not path.name.startswith("_")]


def _points() -> tuple[importlib.metadata.EntryPoint, ...]:
    return _points_on(tuple(sys.path))


@cache
def _points_on(path: tuple[str, ...]) -> tuple[importlib.metadata.EntryPoint, ...]:
    """All entry points of plug-ins. Reading those of all packages takes a while, and suites have hundreds of pairs."""
    return tuple(point for group in GROUPS for point in importlib.metadata.entry_points(group=group))


def _module(kind: Shown, path: Path) -> ModuleType:
    # Two folders may use one file name: the path is part of the module's.
    name = f"kshot_plugin_{kind}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}.{path.stem}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None  # it is a file with Python's suffix
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def _an(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
