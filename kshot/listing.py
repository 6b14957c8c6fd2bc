"""Describes for ``kshot list`` what can be named. Modules of kshot's own are read, not imported.

Importing them would load PyTorch and the simulators, which takes seconds. Plug-ins are imported: whether they can be is
what their authors want to know.
"""

from __future__ import annotations

import ast
import importlib.util
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

from kshot import plugins, registry
from kshot.errors import RegistryError
from kshot.places import relative, suite_files

_WIDTH = 110
_KINDS: dict[registry.Kind, str] = {"algorithms": "Algorithms", "envs": "Task families"}
_SHOWN: dict[plugins.Shown, str] = {"figures": "Figures of plug-ins", "tables": "Tables of plug-ins"}
_UNUSABLE = "cannot be used"
Line = tuple[str, str, str]
"""A name, facts about it, and a text."""


def describe(kind: registry.Kind, name: str) -> tuple[str, str]:
    """Evidence and actions of a module in words, and the beginning of its docstring; or why it cannot be used.

    A plug-in is imported, and a module of kshot's own only if its source cannot be read without running it.
    """
    if not registry.is_own(kind, name) and (reason := plugins.mistake(kind, name)):
        return _UNUSABLE, reason
    try:
        path = registry.source(kind, name)
        read = registry.is_own(kind, name) and path is not None
        evidence, actions, text = (_read_source(path) if read and path else None) or _facts(registry.load(kind, name))
    except RegistryError as error:
        return _UNUSABLE, str(error)
    except (Exception, SystemExit) as error:  # one broken file must not hide the others
        return _UNUSABLE, plugins.why(error)
    return f"{evidence}; {actions} actions", textwrap.shorten(text.split("\n\n")[0], _WIDTH, placeholder=" ...")


def lines() -> Iterator[str]:
    """Everything that can be named, a line each, below titles."""
    parts: dict[str, list[Line]] = {
        title: [line for name in registry.names(kind) for line in _named(kind, name)] for kind, title in _KINDS.items()
    }
    found = (*suite_files(), *map(relative, plugins.suite_files()))
    parts["Suites"] = [(path.stem, str(path), "") for path in found]
    parts |= {title: list(_shown(kind)) for kind, title in _SHOWN.items() if plugins.names(kind)}
    facts = max(len(facts) for part in parts.values() for _, facts, text in part if text)
    for title, part in parts.items():
        yield f"{title}:"
        names = max((len(name) for name, _, _ in part), default=0)
        yield from (f"  {name:<{names}} {fact:<{facts}} {text}".rstrip() for name, fact, text in part)
    yield from (line for line in plugins.faults() if line.endswith("no such folder"))


def _named(kind: registry.Kind, name: str) -> Iterator[Line]:
    """What has this name; and, if that is kshot's own, the plug-in that it is refused to."""
    yield name, *describe(kind, name)
    if registry.is_own(kind, name) and (reason := plugins.mistake(kind, name)):
        yield name, _UNUSABLE, reason


def _shown(kind: plugins.Shown) -> Iterator[Line]:
    """The figures or tables of plug-ins: where they are, or why they cannot be used."""
    taken: set[str] = set()
    for name in plugins.names(kind):
        stem = plugins.stem(name)
        try:
            module = plugins.load(kind, name, taken)
        except RegistryError as error:
            yield stem, _UNUSABLE, f"{name}: {error}"
        except (Exception, SystemExit) as error:
            yield stem, _UNUSABLE, plugins.why(error)
        else:
            taken.add(getattr(module, "NAME", stem))
            yield stem, name, ""


def _facts(module: ModuleType) -> Line:
    """Evidence, actions and docstring of an imported module."""
    actions = frozenset({"discrete", "continuous"}) if hasattr(module, "actions") else module.ACTIONS
    return _joined(module.EVIDENCE), _joined(actions), module.__doc__ or ""


def _read_source(path: Path) -> Line | None:
    """Evidence, actions and docstring of a module, from its source; None if the module has to be run to know them.

    Raises:
        ModuleNotFoundError: it imports a package that is not there.
    """
    tree = _parse(path)
    for package in sorted(_packages(tree)):
        if importlib.util.find_spec(package) is None:
            raise ModuleNotFoundError(f"No module named {package!r}")
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
