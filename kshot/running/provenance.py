"""Where a result comes from: settings, source code, commit, packages, machine. Written beside every result."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import platform
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from kshot import __version__, registry
from kshot.running import machine
from kshot.suites.run import RunConfig

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    *("numpy", "scipy", "torch", "numba", "llvmlite", "gymnasium", "metaworld", "mujoco"),
    *("pandas", "pyarrow", "snakemake"),
)
_SHARED = ("kshot/seeding.py", "kshot/records.py", "kshot/suites/run.py")
_SHARED_FOLDERS = ("kshot/types", "kshot/learning", "kshot/running")
_NO_INFLUENCE = tuple(f"kshot/running/{name}.py" for name in ("status", "audit", "heartbeat", "machine", "jobs"))
"""These watch and describe runs and have no part in what these compute: changing them makes no result outdated."""


def collect(
    run: RunConfig, *, status: str, reason: str, env_steps: int, wall_seconds: float, **more: Any
) -> dict[str, Any]:
    """The record of one finished step.

    Args:
        run: what was done.
        status: "ok" or "diverged".
        reason: why it diverged, else empty.
        env_steps: environment steps taken.
        wall_seconds: duration, over all processes that took part one after the other.
        more: further entries, as they are.
    """
    commit, dirty = _git()
    return {
        "run": run.to_dict(),
        "config_hash": run.config_hash,
        "train_hash": run.train_hash,
        "status": status,
        "reason": reason,
        "env_steps": env_steps,
        "wall_seconds": wall_seconds,
        "git_commit": commit,
        "git_dirty": dirty,
        "source_digest": source_digest(run),
        "versions": dict(versions()),
        "hardware": machine.hardware(),
        "kernels": machine.kernels(),
        **more,
    }


def source_digest(run: RunConfig) -> str:
    """SHA-256 (16 hex digits) of the source files that decide this run's numbers.

    Computed once per process and pair of modules: call it when a job starts, and the digest is that of the code that
    was imported, even if somebody edits a file while the job runs.
    """
    return _digest(run.algorithm_module, run.family_module)


def source_files(algorithm: str | None, family: str) -> dict[str, Path]:
    """The files behind ``source_digest`` by their logical names: the shared code, the two modules, what they import."""
    files = {name: ROOT / name for name in _SHARED}
    for folder in _SHARED_FOLDERS:
        files |= {path.relative_to(ROOT).as_posix(): path for path in (ROOT / folder).rglob("*.py")}
    for name in _NO_INFLUENCE:
        files.pop(name, None)
    if algorithm is not None:
        files |= _with_imports("algorithms", algorithm)
    return files | _with_imports("envs", family)


@cache
def _digest(algorithm: str | None, family: str) -> str:
    total = hashlib.sha256()
    for name, path in sorted(source_files(algorithm, family).items()):
        total.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()[:16]


def _with_imports(kind: registry.Kind, name: str) -> dict[str, Path]:
    """A module or package, and whatever it imports from the package ``kind``, however indirectly."""
    module = registry.load(kind, name)
    files: dict[str, Path] = {}
    waiting = dict(_files_of(Path(str(module.__file__)), f"{kind}/{name}"))
    while waiting:
        label, path = waiting.popitem()
        if label in files:
            continue
        files[label] = path
        if path.suffix == ".py":
            for other in _imported(path, kind):
                source = ROOT / kind / other
                file = source / "__init__.py" if source.is_dir() else source.with_suffix(".py")
                if file.is_file():
                    waiting |= dict(_files_of(file, f"{kind}/{other}"))
    return files


def _files_of(file: Path, label: str) -> Iterator[tuple[str, Path]]:
    """The module ``file``, or, for the ``__init__.py`` of a package, everything in the package."""
    if file.name != "__init__.py":
        yield f"{label}.py", file
        return
    for path in file.parent.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield f"{label}/{path.relative_to(file.parent).as_posix()}", path


def _imported(path: Path, package: str) -> set[str]:
    """First-level modules of ``package`` that a file imports: {"maml"} for ``from algorithms import maml``."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[2] for name in names if name.startswith(f"kshot.{package}.")}


@cache
def _git() -> tuple[str, bool]:
    """Commit, and whether tracked or new files differ from it; ("unknown", True) outside a git checkout."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD"), git("status", "--porcelain") != ""
    except (OSError, subprocess.CalledProcessError):
        return "unknown", True


@cache
def versions() -> tuple[tuple[str, str], ...]:
    found = {"python": platform.python_version(), "kshot": __version__}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return tuple(found.items())
