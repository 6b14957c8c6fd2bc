"""Completes the settings of an algorithm or family from layers of YAML values, and checks their types."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from kshot.errors import suggest
from kshot.suites.document import Document, KeyPath, Problems
from kshot.suites.locating import faults
from kshot.suites.run import LARGEST


class Layer(NamedTuple):
    """Settings from one mapping of one document; later layers override earlier ones."""

    document: Document
    path: KeyPath
    values: Mapping[str, Any]


class Resolved(NamedTuple):
    """What became of settings.

    Attributes:
        complete: plain values (numbers, text, lists, mappings) of all fields by name; None if there was a problem.
        accepted: of what was given, what has no problem by itself; None where that is not known.
    """

    complete: dict[str, Any] | None
    accepted: dict[str, Any] | None


def resolve(settings: type, owner: str, layers: Sequence[Layer], problems: Problems) -> Resolved:
    """All fields of a ``Settings`` dataclass: its defaults, overridden by ``layers``.

    Args:
        settings: the dataclass. Its annotations decide what a value may be, where a list may stand for a tuple and an
            integer for a float, but no truth value for a number.
        owner: the algorithm or family, for messages.
        layers: in increasing priority.
        problems: gets every unknown name, every value of a wrong type, and what the dataclass itself refuses.
    """
    hints = get_type_hints(settings)
    names = [item.name for item in fields(settings)]
    chosen: dict[str, Any] = {}
    places: dict[str, Layer] = {}
    refused: set[str] = set()
    for layer in layers:
        for name, value in layer.values.items():
            path = (*layer.path, name)
            if name not in names:
                problems.add(layer.document, path, f"{owner!r} has no setting {name!r}{suggest(name, names)}")
                refused.add(name)
                continue
            try:
                chosen[name], places[name] = _typed(hints[name], value), layer
            except (ValidationError, ValueError, TypeError):
                bound = f" (whole numbers up to {LARGEST}, no infinity)" if _outside(value) else ""
                text = f"expected {expected(hints[name])}{bound}, got {value!r}"
                problems.add(layer.document, path, text + _nearest(hints[name], value))
                refused.add(name)
    last = next((layer for layer in reversed(layers) if layer.values), layers[-1])
    if lacking := [name for name in _required(settings) if name not in chosen and name not in refused]:
        problems.add(last.document, last.path, f"{owner!r} needs the setting {lacking[0]!r}, which has no default")
        return Resolved(None, None)
    found, accepted = faults(chosen, lambda values: (settings(**values), values), doubtful=bool(refused))
    for fault in found:
        layer = places[str(fault.path[0])] if fault.path else last
        problems.add(layer.document, (*layer.path, *fault.path), f"{owner!r} refuses these settings: {fault.text}")
    if accepted is None:
        return Resolved(None, None)
    made, values = accepted
    # Plain JSON types, as records hold them.
    return Resolved(None if found or refused else json.loads(json.dumps(asdict(made))), json.loads(json.dumps(values)))


def _required(settings: type) -> list[str]:
    """The fields of a dataclass that have no default."""
    return [item.name for item in fields(settings) if item.default is item.default_factory is MISSING]


def _typed(hint: Any, value: Any) -> Any:
    """``value`` as the type of an annotation. Raises ValidationError or ValueError if it is of another."""
    # Strict JSON rules accept lists for tuples and 1 for 1.0, but not True for 1 and not "1" for 1. JSON has no numbers
    # that are not finite: what is recorded, and the pipeline's suite, would hold something else.
    typed = TypeAdapter(hint).validate_json(json.dumps(value, allow_nan=False), strict=True)
    if any(abs(number) > LARGEST for number in _integers(typed)):
        raise ValueError("larger than what tables and seeds hold")
    return typed


def _outside(value: Any) -> bool:
    """Whether there is a number in a value that nothing here can hold."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return True
    return any(abs(number) > LARGEST for number in _integers(value))


def _integers(value: Any) -> list[int]:
    """The whole numbers in a value."""
    if isinstance(value, Mapping):
        return [number for item in value.values() for number in _integers(item)]
    if isinstance(value, (list, tuple)):
        return [number for item in value for number in _integers(item)]
    return [value] if isinstance(value, int) else []


def expected(hint: Any) -> str:
    """A type annotation in words: ``a list of whole numbers``."""
    singular = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null"}
    plural = {int: "whole numbers", float: "numbers", str: "texts", bool: "true/false values"}
    if hint in singular:
        return singular[hint]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " or ".join(map(repr, arguments))
    if origin in (Union, types.UnionType):
        return " or ".join(map(expected, arguments))
    if origin is tuple and arguments:
        inner = plural.get(arguments[0], f"items, each {expected(arguments[0])}")
        return f"a list of {inner}" if arguments[-1] is Ellipsis else f"a list of {len(arguments)} {inner}"
    if origin is dict:
        return "a mapping"
    return getattr(hint, "__name__", str(hint))


def _nearest(hint: Any, value: Any) -> str:
    """A suggestion for a value that is near an allowed one, else empty."""
    if get_origin(hint) is Literal and isinstance(value, str):
        text = suggest(value, map(str, get_args(hint)))
        return text if "did you mean" in text else ""
    return ""
