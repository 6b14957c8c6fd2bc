"""Where a result comes from: settings, source code, commit, packages, machine. Written beside every result."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import json
import platform
import sys
from functools import cache
from pathlib import Path
from typing import Any

import grimp

import kshot
from kshot import helpers, registry
from kshot.places import INSTALLED, LOOKS, ROOT
from kshot.plugins import code as plugins_code
from kshot.running import machine
from kshot.running.commits import commit_of
from kshot.running.processes import interrupts_deferred
from kshot.suites.run import RunConfig

PACKAGES = (
    *("numpy", "scipy", "torch", "numba", "llvmlite", "gymnasium", "metaworld", "mujoco"),
    *("pandas", "pyarrow", "snakemake"),
)
RUNNER = ("kshot.running.train", "kshot.running.evaluate")
"""What a result is made by, besides its algorithm and family."""
OFFICIAL_RUNNER = (*RUNNER, "kshot.running.official")
"""The same of Metaworld's own evaluation."""
NO_INFLUENCE = (
    *(
        f"kshot.running.{name}"
        for name in ("commits", "heartbeat", "jobs", "machine", "pipeline", "processes", "provenance", "status")
    ),
    *("kshot.errors", "kshot.threads", "kshot.checksums", "kshot.ram"),
)
"""These watch and describe runs and have no part in what they compute: changing them makes no result outdated."""


def collect(
    run: RunConfig,
    *,
    status: str,
    reason: str,
    env_steps: int,
    wall_seconds: float,
    runner: tuple[str, ...] = RUNNER,
    **more: Any,
) -> dict[str, Any]:
    """The record of one finished step.

    Args:
        run: what was done.
        status: "ok" or "diverged".
        reason: why it diverged, else empty.
        env_steps: environment steps taken.
        wall_seconds: duration, over all processes that took part one after the other.
        runner: the modules that did it.
        more: further entries, as they are.
    """
    commit, dirty = _commit()
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
        "plugins": plugins(run),
        "source_digest": source_digest(run, runner),
        "versions": dict(versions()),
        "hardware": machine.hardware(),
        "peak_memory_gb": round(machine.peak_memory() / 1e9, 3),
        "kernels": machine.kernels(),
        **more,
    }


def source_digest(run: RunConfig, runner: tuple[str, ...] = RUNNER) -> str:
    """SHA-256 (16 hex digits) of the source files that decide this run's numbers.

    Computed once per process and modules: call it when a job starts, and the digest is that of the code that
    was imported, even if somebody edits a file while the job runs.
    """
    return _digest(run.algorithm_module, run.family_module, runner)


def source_files(algorithm: str | None, family: str, runner: tuple[str, ...] = RUNNER) -> dict[str, Path]:
    """The files behind ``source_digest``, by names that are the same on every machine.

    They are the modules of the algorithm, the family and the runner, and all modules of kshot that these import,
    however indirectly. Tables of numbers and other files beside the modules of a package of ``kshot.envs`` or
    ``kshot.algorithms`` count with them.
    """
    files: dict[str, Path] = {}
    waiting = [*runner]
    chosen: list[tuple[registry.Kind, str]] = [("envs", family)]
    if algorithm is not None:
        chosen.append(("algorithms", algorithm))
    packages = {"kshot"}
    for kind, name in chosen:
        module = registry.load(kind, name)
        package = module.__name__.split(".")[0]
        if hasattr(sys.modules[package], "__path__"):  # of kshot itself, or of another installed package
            packages.add(package)
            waiting.append(module.__name__)
            continue
        file = Path(str(module.__file__))
        files[f"{kind}/{name}/{file.name}"] = file  # where a plug-in lies is nobody's business
        files |= _helpers(file)
        waiting += [module for path in (file, *_helpers(file).values()) for module in _imported(path)]
    graph = _import_graph(*sorted(packages))
    while waiting:
        name = waiting.pop()
        if name in files or name in NO_INFLUENCE or name not in graph.modules:
            continue
        path = files[name] = _file_of(name)
        waiting += [*graph.find_modules_directly_imported_by(name), *_packages_around(name)]
        if path.name == "__init__.py" and _is_plugged(name):
            files |= {f"{name}/{other.name}": other for other in path.parent.iterdir() if _is_data(other)}
    return files


def _is_plugged(module: str) -> bool:
    """Whether a module belongs to one algorithm or family, of kshot or of an installed plug-in."""
    return module.startswith(("kshot.algorithms.", "kshot.envs.")) or not module.startswith("kshot")


def _packages_around(module: str) -> list[str]:
    """The packages of an algorithm or family that are run when one of their modules is imported."""
    parts = module.split(".")
    first = 3 if parts[0] == "kshot" else 1  # kshot.envs and its like belong to none of them
    return [".".join(parts[:end]) for end in range(first, len(parts))] if _is_plugged(module) else []


def _is_data(path: Path) -> bool:
    return path.is_file() and path.suffix not in (".py", ".pyc")


def _imported(path: Path) -> set[str]:
    """Modules of kshot that the file of a plug-in imports."""
    return {name for name in _names(path) if name.startswith("kshot.")}


def _names(path: Path) -> set[str]:
    """What a file imports, by full names; what stands behind one may be a module or something in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _helpers(path: Path) -> dict[str, Path]:
    """The helper modules beside plug-ins that a file imports, however indirectly, by names as in ``source_files``."""
    files: dict[str, Path] = {}
    waiting = [path]
    while waiting:
        for name in _names(waiting.pop()):
            parts = name.split(".")
            for end in range(1, len(parts) + 1):
                found = helpers.find(module := ".".join(parts[:end]))
                if found is not None and f"helpers/{module}" not in files:
                    files[f"helpers/{module}"] = found
                    waiting.append(found)
    return files


def reporting_digest() -> str:
    """SHA-256 (16 hex digits) of the code of reports, and of how they draw: a new figure changes it."""
    package = Path(kshot.__file__).parent / "reporting"
    files = [path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    total = hashlib.sha256()
    for path in [*sorted(files), LOOKS, *plugins_code()]:
        total.update(f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()[:16]


@cache
def _import_graph(*packages: str) -> grimp.ImportGraph:
    """Which of their modules import which; built in less than a tenth of a second, so that nothing is kept on disk."""
    with interrupts_deferred():
        return grimp.build_graph(*packages, cache_dir=None)


def _file_of(module: str) -> Path:
    package, *parts = module.split(".")
    path = Path(str(sys.modules[package].__file__)).parent.joinpath(*parts)
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _digest(algorithm: str | None, family: str, runner: tuple[str, ...]) -> str:
    total = hashlib.sha256()
    for name, path in sorted(source_files(algorithm, family, runner).items()):
        total.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()[:16]


def _commit() -> tuple[str, bool]:
    """Commit of kshot, and whether files differ from it. An installed copy has its origin's, or a version."""
    if INSTALLED:
        return _installed_commit() or f"v{kshot.__version__}", False
    return commit_of(ROOT / "kshot" / "__init__.py", ROOT)


def _installed_commit() -> str:
    """The commit that an installer took kshot from; empty where it was no repository.

    ``direct_url.json``: https://packaging.python.org/en/latest/specifications/direct-url/
    """
    text = importlib.metadata.distribution("kshot").read_text("direct_url.json")
    origin = json.loads(text) if text else {}
    return str(origin.get("vcs_info", {}).get("commit_id", ""))


def plugins(run: RunConfig) -> dict[str, dict[str, Any]]:
    """Where the algorithm and the family come from that are no part of kshot: commit of their folder, or version."""
    found: dict[str, dict[str, Any]] = {}
    names: list[tuple[registry.Kind, str | None]] = [("algorithms", run.algorithm_module), ("envs", run.family_module)]
    for kind, name in names:
        if name is None or registry.is_own(kind, name):
            continue
        path = registry.source(kind, name)
        if path is None:
            package = registry.load(kind, name).__name__.partition(".")[0]
            distribution = importlib.metadata.packages_distributions()[package][0]
            found[f"{kind}/{name}"] = {"package": distribution, "version": importlib.metadata.version(distribution)}
        else:
            commit, dirty = commit_of(path, path.parent.parent)
            found[f"{kind}/{name}"] = {"git_commit": commit, "git_dirty": dirty}
    return found


@cache
def versions() -> tuple[tuple[str, str], ...]:
    found = {"python": platform.python_version(), "kshot": kshot.__version__}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return tuple(found.items())
