"""What can be named in a suite, and what it needs, read from the source files without running them.

Importing every algorithm and family would load PyTorch and the simulators, seconds for a list of names.
"""

from __future__ import annotations

import ast
import importlib.util
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from kshot import registry

_WIDTH = 110


def described(kind: registry.Kind, name: str) -> tuple[str, str]:
    """What a module can do, and the beginning of its docstring; or why it cannot be used.

    What its source does not tell without being run is asked of the imported module.
    """
    try:
        path = registry.source(kind, name)
        told = _told(kind, path) if path is not None else None
        if told is None:
            module = registry.load(kind, name)
            told = _joined(module.EVIDENCE), _joined(module.ACTIONS), module.__doc__ or ""
    except Exception as error:  # one broken file must not hide the others
        return "cannot be used", f"{type(error).__name__}: {error}"
    evidence, actions, text = told
    return f"{evidence}; {actions} actions", textwrap.shorten(text.split("\n\n")[0], _WIDTH, placeholder=" ...")


def _told(kind: registry.Kind, path: Path) -> tuple[str, str, str] | None:
    """Evidence, actions and docstring of a module; None where that has to be run to be known.

    Raises:
        ModuleNotFoundError: it imports a package that is not there.
        SyntaxError: it is no Python.
    """
    tree = _parsed(path)
    for package in sorted(_packages(tree)):
        if importlib.util.find_spec(package) is None:
            raise ModuleNotFoundError(f"No module named {package!r}")
    if not set(registry.REQUIRED[kind]) <= _defined(tree):
        return None  # the import says in the words of the contract what is missing
    evidence, actions = _constant(tree, "EVIDENCE"), _constant(tree, "ACTIONS")
    if evidence is None or actions is None:
        return None
    return _joined(evidence), _joined(actions), ast.get_docstring(tree) or ""


def _joined(value: str | frozenset[str]) -> str:
    return value if isinstance(value, str) else "/".join(sorted(value))


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _packages(tree: ast.Module) -> Iterator[str]:
    """The packages that a module imports when it is loaded."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            yield node.module.split(".")[0]


def _defined(tree: ast.Module) -> set[str]:
    """The names that a module has once it is loaded."""
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
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target for target in targets if isinstance(target, ast.Name)]


def _constant(tree: ast.Module, name: str) -> str | frozenset[str] | None:
    """The value of a constant that is written out or taken from a module of this repository; None for anything else."""
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
    """The source of ``kshot.algorithms.<name>`` or ``kshot.envs.<name>``."""
    for kind in registry.KINDS:
        if name.startswith(f"kshot.{kind}."):
            path = registry.source(kind, name.removeprefix(f"kshot.{kind}."))
            return _parsed(path) if path is not None else None
    return None
