"""Which entry of some settings a complaint about them is about, and what else is wrong with the others.

Settings and families check themselves, in Python of anybody's, and say in plain text what they refuse, one thing at a
time. Their text is looked through for what the user wrote. Only the line that is shown depends on what is found: where
nothing is, that of all the settings.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from kshot import plugins
from kshot.suites.document import KeyPath

Made = TypeVar("Made")
_SAYS = r"(?= (?:must|is|has|leaves|cannot|for)\b|[:.\[])"
"""What stands behind the name of a setting that a text begins with: other words of that name are ordinary ones."""


class Fault(NamedTuple):
    """A complaint, and the entry that it is about; an empty path where that is not known."""

    path: KeyPath
    text: str


def faults(
    values: Mapping[str, Any], attempt: Callable[[dict[str, Any]], Made], doubtful: bool = False
) -> tuple[list[Fault], Made | None]:
    """What ``attempt`` refuses of settings, then what it refuses of them without the entry at fault, and so on.

    Args:
        values: by name; entries may be mappings.
        attempt: is given some of them, and raises an error that says what is wrong.
        doubtful: whether some of what was given is left out already.

    Returns:
        All complaints, and what ``attempt`` returned in the end; None where it never did.
    """
    found: list[Fault] = []
    rest = copy.deepcopy(dict(values))
    while True:
        try:
            return found, attempt(rest)
        except Exception as error:  # code of plug-ins may raise anything
            text = told(error)
        path, sure = _place(text, rest)
        # Without what was left out, something else may seem wrong that is not: a parameter without its environment.
        if (doubtful and not sure) or text in [fault.text for fault in found]:
            return found, None
        found.append(Fault(path, text))
        if not path:
            return found, None
        dropped = _drop(rest, path)
        doubtful |= len(path) > 1 or not isinstance(dropped, (int, float))


def place(text: str, values: Mapping[str, Any]) -> KeyPath:
    """The path of the entry of ``values`` that a text is about; empty where none is found."""
    return _place(text, values)[0]


def told(error: Exception) -> str:
    """An error in one line; where it is none that says what a user did wrong, with its kind, file and line."""
    text = " ".join(str(error).split())
    return text if text and isinstance(error, (ValueError, OSError)) else plugins.why(error)


def _place(text: str, values: Mapping[str, Any]) -> tuple[KeyPath, bool]:
    """The path as of ``place``, and whether nothing else can be meant."""
    entries = list(_entries(values, ()))
    sure = (
        {re.escape(".".join(path)): path for path, _ in reversed(entries) if len(path) > 1},
        {re.escape(repr(path[-1])): path for path, _ in reversed(entries)},
        {re.escape(value): path for path, value in reversed(entries) if isinstance(value, str) and len(value) > 2},
    )
    for known in sure:
        if path := _first(known, text, r"(?<![\w.:]){}(?!\w)"):
            return path, True
    names = {re.escape(path[0]): path for path, _ in entries if len(path) == 1}
    return _first(names, text, rf"(?:(?<=^)|(?<=: )){{}}{_SAYS}"), False


def _first(known: Mapping[str, KeyPath], text: str, pattern: str) -> KeyPath:
    """The path whose expression the text has first, the longest of several there; empty where it has none."""
    found = ((re.search(pattern.replace("{}", name), text), path) for name, path in known.items())
    hits = [(hit.start(), -len(hit[0]), path) for hit, path in found if hit]
    return min(hits, key=lambda hit: hit[:2])[2] if hits else ()


def _entries(values: Mapping[str, Any], path: KeyPath) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every entry of mappings within mappings, with its path."""
    for key, value in values.items():
        here = (*path, str(key))
        yield here, value  # type: ignore[misc]  # all parts are text
        if isinstance(value, Mapping):
            yield from _entries(value, here)


def _drop(values: dict[str, Any], path: KeyPath) -> Any:
    """Leave out the entry at ``path``, what has its name in other mappings, and mappings that are empty then."""
    inner = values
    for key in path[:-1]:
        inner = inner[str(key)]
    dropped = inner[str(path[-1])]
    if len(path) == 1:
        del values[str(path[0])]
    else:
        for value in values.values():
            _without(value, str(path[-1]))
        for name in [name for name, value in values.items() if value == {}]:
            del values[name]
    return dropped


def _without(value: Any, name: str) -> None:
    if not isinstance(value, dict):
        return
    value.pop(name, None)
    for key in list(value):
        _without(value[key], name)
        if value[key] == {}:
            del value[key]
