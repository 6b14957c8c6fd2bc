"""Reads YAML files with the line of every key, and collects mistakes, to show all at once with their lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from kshot import yaml_text
from kshot.errors import ConfigError

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """A parsed YAML file, with the line of each of its keys, or a plain mapping.

    Attributes:
        value: what was parsed; any plain type, since a file may hold anything.
        name: shown in messages, normally the path as the user wrote it.
        lines: ``file:line`` of every key and list item, by its path from the top; empty for a plain mapping.
        sources: by the path of what was made from something else in the file, the path of that.
    """

    value: Any
    name: str
    lines: Mapping[KeyPath, str] = field(default_factory=dict)
    sources: Mapping[KeyPath, KeyPath] = field(default_factory=dict)

    def where(self, path: KeyPath) -> str:
        """``file:12: algorithms.maml.settings``, with the line of the nearest enclosing key that has one."""
        made = next((path[:length] for length in range(len(path), 0, -1) if path[:length] in self.sources), None)
        row = ""
        if made is not None:
            rest = path[len(made) :]
            row = (
                f" (row {made[-1]})" if rest == ("settings",) else ""
            )  # they do not go together; each is as it should be
            path = (*self.sources[made], *rest)
        known = [path[:length] for length in range(len(path), 0, -1) if path[:length] in self.lines]
        line = self.lines[known[0]] if known else self.name
        return f"{line}: {_dotted(path)}{row}" if path else line

    def merged(self, other: Document) -> Document:
        """This document overridden by ``other``: mappings key by key, anything else as a whole."""
        if not isinstance(self.value, dict) or not isinstance(other.value, dict):
            return other
        lines = dict(self.lines)
        value = _merge(self.value, other.value, (), lines)
        return Document(value, f"{self.name} with {other.name}", lines | dict(other.lines))


def _dotted(path: KeyPath) -> str:
    """A path as text: ``seeds[0]``, ``algorithms.maml.settings``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _merge(old: dict[str, Any], new: dict[str, Any], path: KeyPath, lines: dict[KeyPath, str]) -> dict[str, Any]:
    """``old`` overridden by ``new``, both at ``path``; removes from ``lines`` those of replaced values."""
    result = dict(old)
    for key, value in new.items():
        key_path = (*path, key)
        if isinstance(value, dict) and isinstance(old.get(key), dict):
            result[key] = _merge(old[key], value, key_path, lines)
        else:
            result[key] = value
            for replaced in [other for other in lines if other[: len(key_path)] == key_path]:
                del lines[replaced]
    return result


class Problems:
    """Collects mistakes, for all of them to be shown at once."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._paths: set[KeyPath] = set()

    def add(self, document: Document, path: KeyPath, text: str) -> None:
        self._paths.add(path)
        line = f"{document.where(path)}: {text}"
        if line not in self.lines:  # a setting shared by several cells is one mistake, not several
            self.lines.append(line)

    def has(self, path: KeyPath) -> bool:
        """Whether anything was added at this path."""
        return path in self._paths

    def check(self) -> None:
        """Raise ConfigError if anything was added."""
        if self.lines:
            raise ConfigError(self.lines)


def command_line(values: Mapping[str, Any], name: str) -> Document:
    """A document from ``key=value`` options whose values are YAML by the same rules as in files.

    Snakemake parses only single numbers and truth values: ``seeds=[0,1]`` arrives as two texts.
    """
    value = {key: _parse(item) for key, item in values.items()}
    return Document(value, name, {(key,): name for key in value})


def _parse(item: Any) -> Any:
    """A value of an option with every text in it parsed as YAML."""
    if isinstance(item, dict):
        return {key: _parse(value) for key, value in item.items()}
    if isinstance(item, list):
        return [_parse(value) for value in item]
    if not isinstance(item, str):
        return item
    try:
        return yaml_text.parse(item)
    except (yaml.YAMLError, ValueError):
        return item  # text with a colon or a bracket in it


def read(path: Path) -> Document:
    """Parse a YAML file.

    Raises:
        ConfigError: there is no such file, it is not text or not YAML, a key is repeated in one mapping, or an alias
            contains itself.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError([f"{path}: no such file"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: not readable as text ({error})"]) from None
    if yaml_text.seal_is_broken(text):
        remedy = "run snakemake again or, if it was edited on purpose, delete that line"
        raise ConfigError([f"{path}:1: the file is not as it was written (another checksum); {remedy}"])
    lines: dict[KeyPath, str] = {}
    mistakes: list[str] = []
    try:
        loader = yaml_text.Loader(text)
        node = loader.get_single_node()
        if node is not None:
            _index(node, (), lines, mistakes, str(path), frozenset())
        value = None if node is None or mistakes else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f"{path}:{mark.line + 1}" if mark is not None else str(path)
        raise ConfigError([f"{line}: not valid YAML: {error.problem}"]) from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a tag such as !!int on something else
        raise ConfigError([f"{path}: not valid YAML: {' '.join(str(error).split())}"]) from None
    if mistakes:
        raise ConfigError(mistakes)
    return Document(value, str(path), lines)


def _index(
    node: yaml.Node,
    path: KeyPath,
    lines: dict[KeyPath, str],
    mistakes: list[str],
    name: str,
    enclosing: frozenset[int],
) -> None:
    """Collect the lines of all keys and items below ``node``; repeated keys and endless aliases become mistakes.

    Args:
        node: what is indexed.
        path: of the node, from the top.
        lines: see ``Document``.
        mistakes: lines of text.
        name: of the file.
        enclosing: ids of the nodes that the node is in.
    """
    if id(node) in enclosing:
        line = node.start_mark.line + 1
        mistakes.append(f"{name}:{line}: {_dotted(path)}: an alias leads back to what it stands in")
        return
    enclosing = enclosing | {id(node)}
    if isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            lines[(*path, i)] = f"{name}:{item.start_mark.line + 1}"
            _index(item, (*path, i), lines, mistakes, name, enclosing)
    elif isinstance(node, yaml.MappingNode):
        first_lines: dict[str, int] = {}
        for key, item in node.value:
            if not isinstance(key.value, str) or key.value == "<<":
                continue
            line, key_path = key.start_mark.line + 1, (*path, key.value)
            if key.value in first_lines:
                mistakes.append(
                    f"{name}:{line}: {_dotted(key_path)}: this key already stands on line {first_lines[key.value]}; "
                    "YAML would silently keep only one of them"
                )
            first_lines.setdefault(key.value, line)
            lines[key_path] = f"{name}:{line}"
            _index(item, key_path, lines, mistakes, name, enclosing)
