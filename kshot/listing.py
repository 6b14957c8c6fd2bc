"""Describes algorithms and families for ``kshot list`` by reading their source files, without importing them.

Importing them would load PyTorch and the simulators, which takes seconds.
"""

from __future__ import annotations

import ast
import importlib.util
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from kshot import plugins, registry
from kshot.places import relative, suite_files

_WIDTH = 110
_SHOWN: tuple[plugins.Shown, ...] = ("figures", "tables")


def describe(kind: registry.Kind, name: str) -> tuple[str, str]:
    """Evidence and actions of a module in words, and the beginning of its docstring; or why it cannot be used.

    The module is imported only if its source cannot be read without running it.
    """
    if reason := plugins.mistake(kind, name):
        return "cannot be used", reason
    try:
        path = registry.source(kind, name)
        facts = _read_source(kind, path) if path is not None else None
        if facts is None:
            module = registry.load(kind, name)
            facts = _joined(module.EVIDENCE), _joined(module.ACTIONS), module.__doc__ or ""
    except Exception as error:  # one broken file must not hide the others
        return "cannot be used", f"{type(error).__name__}: {error}"
    evidence, actions, text = facts
    return f"{evidence}; {actions} actions", textwrap.shorten(text.split("\n\n")[0], _WIDTH, placeholder=" ...")


def lines() -> Iterator[str]:
    """Everything that can be named, a line each, below titles."""
    titles: dict[registry.Kind, str] = {"algorithms": "Algorithms", "envs": "Task families"}
    for kind, title in titles.items():
        yield f"{title}:"
        for name in registry.names(kind):
            yield _line(name, *describe(kind, name))
    yield "Suites:"
    for path in (*suite_files(), *map(relative, plugins.suite_files())):
        yield _line(path.stem, str(path), "")
    shown = [name for kind in _SHOWN for name in plugins.names(kind)]
    yield from ["Figures and tables of plug-ins:", *(f"  {name}" for name in shown)] if shown else []
    yield from (line for line in plugins.faults() if line.endswith("no such folder"))


def _line(name: str, facts: str, text: str) -> str:
    return f"  {name:<14} {facts:<40} {text}".rstrip()


def _read_source(kind: registry.Kind, path: Path) -> tuple[str, str, str] | None:
    """Evidence, actions and docstring of a module, from its source; None if the module has to be run to know them.

    Raises:
        ModuleNotFoundError: it imports a package that is not there.
        SyntaxError: it is not Python.
    """
    tree = _parse(path)
    for package in sorted(_packages(tree)):
        if importlib.util.find_spec(package) is None:
            raise ModuleNotFoundError(f"No module named {package!r}")
    if not set(registry.REQUIRED[kind]) <= _defined(tree):
        return None  # importing it raises an error that says what is missing
    evidence, actions = _constant(tree, "EVIDENCE"), _constant(tree, "ACTIONS")
    if evidence is None or actions is None:
        return None
    if "actions" in _defined(tree):  # its settings decide
        actions = frozenset({"discrete", "continuous"})
    return _joined(evidence), _joined(actions), ast.get_docstring(tree) or ""


def _joined(value: str | frozenset[str]) -> str:
    """One or several values as text: "rollouts/demonstrations"."""
    return value if isinstance(value, str) else "/".join(sorted(value))


@cache
def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _packages(tree: ast.Module) -> Iterator[str]:
    """The packages that a module imports at its top level."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            yield node.module.split(".")[0]


def _defined(tree: ast.Module) -> set[str]:
    """The names that the top level of a module defines or imports."""
    names = set()
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        else:
            names |= {target.id for target in _targets(node)}
    return names


def _targets(node: ast.stmt) -> list[ast.Name]:
    """The names that an assignment assigns to; empty for other statements."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target for target in targets if isinstance(target, ast.Name)]


def _constant(tree: ast.Module, name: str) -> str | frozenset[str] | None:
    """The value of a module's constant, if it is a literal or from another algorithm or family; None for all else."""
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            if name in [target.id for target in _targets(node)]:
                return _value(tree, node.value)
        elif isinstance(node, ast.ImportFrom) and name in [alias.asname or alias.name for alias in node.names]:
            (original,) = [alias.name for alias in node.names if name == (alias.asname or alias.name)]
            other = _module(str(node.module))
            return _constant(other, original) if other is not None else None
    return None


def _value(tree: ast.Module, node: ast.expr) -> str | frozenset[str] | None:
    """The value of an expression in the module ``tree``; None if it has to be run."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "frozenset" and node.args:
        return frozenset(ast.literal_eval(node.args[0]))
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):  # maml.EVIDENCE
        for other in tree.body:
            if isinstance(other, ast.ImportFrom) and node.value.id in [alias.name for alias in other.names]:
                module = _module(f"{other.module}.{node.value.id}")
                return _constant(module, node.attr) if module is not None else None
    return None


def _module(name: str) -> ast.Module | None:
    """The parsed source of ``kshot.algorithms.<name>`` or ``kshot.envs.<name>``; None for other modules."""
    for kind in registry.KINDS:
        if name.startswith(f"kshot.{kind}."):
            path = registry.source(kind, name.removeprefix(f"kshot.{kind}."))
            return _parse(path) if path is not None else None
    return None
