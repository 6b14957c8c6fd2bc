"""Modules beside plug-ins: what lies in a folder of KSHOT_PATH can be imported by its name."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

VARIABLE = "KSHOT_PATH"
"""The environment variable with the folders that hold plug-ins, separated like PATH."""
PARTS = ("algorithms", "envs", "figures", "tables", "config")
"""What such a folder holds besides helper modules; these are not importable by their names."""


def folders() -> list[Path]:
    """The folders of ``KSHOT_PATH``, whether they exist or not."""
    parts = [part for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    return list(dict.fromkeys(Path(part).resolve() for part in parts))


def find(name: str) -> Path | None:
    """The file of a helper module, given by its full name; None if there is none."""
    parts = name.split(".")
    for folder in folders() if parts[0] not in PARTS else ():
        for path in (folder.joinpath(*parts).with_suffix(".py"), folder.joinpath(*parts, "__init__.py")):
            if path.is_file():
                return path
    return None


class Finder:
    """The last of ``sys.meta_path``: asked for what is found nowhere else, so that no helper hides another module."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """As the import system asks for a module (``importlib.abc.MetaPathFinder``)."""
        if path is not None or VARIABLE not in os.environ or find(name) is None:
            return None  # what is within a package is found by the path of the package
        return PathFinder.find_spec(name, [str(folder) for folder in folders()], target)


def install() -> None:
    """Make helper modules importable in this process."""
    if Finder not in sys.meta_path:
        sys.meta_path.append(Finder)
