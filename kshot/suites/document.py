"""Reading configuration files so that every mistake can be shown where it stands, and all of them at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from kshot.errors import ConfigError

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """A parsed YAML file (or a plain mapping) that knows where each of its keys stands.

    Attributes:
        value: what was parsed; any plain type, since a file may hold anything.
        name: shown in messages, normally the path as the user wrote it.
        places: ``file:line`` of every key and list item, by its path from the top; empty for a mapping that is no file.
    """

    value: Any
    name: str
    places: Mapping[KeyPath, str] = field(default_factory=dict)

    def where(self, path: KeyPath) -> str:
        """``file:12: algorithms.maml.settings``, with the line of the nearest enclosing key that has one."""
        known = [path[:length] for length in range(len(path), 0, -1) if path[:length] in self.places]
        place = self.places[known[0]] if known else self.name
        return f"{place}: {_dotted(path)}" if path else place

    def merged(self, other: Document) -> Document:
        """This document with the values of ``other`` on top: mappings key by key, anything else as a whole."""
        if not isinstance(self.value, dict) or not isinstance(other.value, dict):
            return other
        places = dict(self.places)
        value = _merge(self.value, other.value, (), places)
        return Document(value, f"{self.name} with {other.name}", places | dict(other.places))


def _dotted(path: KeyPath) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _merge(old: dict[str, Any], new: dict[str, Any], path: KeyPath, places: dict[KeyPath, str]) -> dict[str, Any]:
    result = dict(old)
    for key, value in new.items():
        here = (*path, key)
        if isinstance(value, dict) and isinstance(old.get(key), dict):
            result[key] = _merge(old[key], value, here, places)
        else:
            result[key] = value
            for place in [place for place in places if place[: len(here)] == here]:
                del places[place]
    return result


class Problems:
    """Collects mistakes, so that one look at the output is enough to mend them all."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, document: Document, path: KeyPath, text: str) -> None:
        line = f"{document.where(path)}: {text}"
        if line not in self.lines:  # a setting shared by several cells is one mistake, not several
            self.lines.append(line)

    def check(self) -> None:
        """Raise ConfigError if anything was added."""
        if self.lines:
            raise ConfigError(self.lines)


class _Loader(yaml.SafeLoader):
    """Safe YAML, except that ``1e-3`` is a number (YAML 1.2; PyYAML's 1.1 rules read a string) and dates are text."""


_REPLACED = ("tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^(?:[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+|[-+]?\.inf|\.nan)$"
    ),
    list("-+0123456789."),
)


def command_line(values: Mapping[str, Any], name: str) -> Document:
    """A document from ``key=value`` options, whose texts are YAML by the same rules as in files.

    Snakemake turns only single numbers and truth values into what they are: ``seeds=[0,1]`` arrives as two texts.
    """
    value = {key: _parse(item) for key, item in values.items()}
    return Document(value, name, {(key,): name for key in value})


def _parse(item: Any) -> Any:
    if isinstance(item, dict):
        return {key: _parse(value) for key, value in item.items()}
    if isinstance(item, list):
        return [_parse(value) for value in item]
    if not isinstance(item, str):
        return item
    try:
        return yaml.load(item, Loader=_Loader)
    except yaml.YAMLError:
        return item  # text with a colon or a bracket in it


def read(path: Path) -> Document:
    """Parse a YAML file.

    Raises:
        ConfigError: no such file, no text, not YAML, a key stands twice in one mapping, or an alias is endless.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError([f"{path}: no such file"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: not readable as text ({error})"]) from None
    places: dict[KeyPath, str] = {}
    mistakes: list[str] = []
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is not None:
            _index(node, (), places, mistakes, str(path), frozenset())
        value = None if node is None or mistakes else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{path}:{mark.line + 1}" if mark is not None else str(path)
        raise ConfigError([f"{place}: not valid YAML: {error.problem}"]) from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a tag such as !!int on something else
        raise ConfigError([f"{path}: not valid YAML: {' '.join(str(error).split())}"]) from None
    if mistakes:
        raise ConfigError(mistakes)
    return Document(value, str(path), places)


def _index(
    node: yaml.Node,
    path: KeyPath,
    places: dict[KeyPath, str],
    mistakes: list[str],
    name: str,
    enclosing: frozenset[int],
) -> None:
    """Note the place of every key and item below ``node``, every key that stands twice, and every endless alias."""
    if id(node) in enclosing:
        line = node.start_mark.line + 1
        mistakes.append(f"{name}:{line}: {_dotted(path)}: an alias leads back to what it stands in")
        return
    enclosing = enclosing | {id(node)}
    if isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            places[(*path, i)] = f"{name}:{item.start_mark.line + 1}"
            _index(item, (*path, i), places, mistakes, name, enclosing)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, item in node.value:
            if not isinstance(key.value, str) or key.value == "<<":
                continue
            line, here = key.start_mark.line + 1, (*path, key.value)
            if key.value in seen:
                mistakes.append(
                    f"{name}:{line}: {_dotted(here)}: this key already stands on line {seen[key.value]}; "
                    "YAML would silently keep only one of them"
                )
            seen.setdefault(key.value, line)
            places[here] = f"{name}:{line}"
            _index(item, here, places, mistakes, name, enclosing)
