"""Settings of algorithms and families: from layers of YAML values to one complete, type-checked set."""

from __future__ import annotations

import json
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from kshot.errors import suggest
from kshot.suites.document import Document, KeyPath, Problems


class Layer(NamedTuple):
    """Settings found at one place; later layers win over earlier ones."""

    document: Document
    path: KeyPath
    values: Mapping[str, Any]


def resolve(settings: type, owner: str, layers: Sequence[Layer], problems: Problems) -> dict[str, Any] | None:
    """All fields of a ``Settings`` dataclass: its defaults, overlaid with ``layers``.

    Args:
        settings: the dataclass; annotations decide what a value may be (a list serves as a tuple, an integer as a
            float; true and false are no numbers).
        owner: the algorithm or family, for messages.
        layers: in increasing priority.
        problems: takes every unknown name, every value of a wrong type, and what the dataclass itself refuses.

    Returns:
        Plain values (numbers, text, lists, mappings) by field name, or None if there was a problem.
    """
    hints = get_type_hints(settings)
    names = [item.name for item in fields(settings)]
    chosen: dict[str, Any] = {}
    good = True
    for layer in layers:
        for name, value in layer.values.items():
            path = (*layer.path, name)
            if name not in names:
                problems.add(layer.document, path, f"{owner!r} has no setting {name!r}{suggest(name, names)}")
                good = False
                continue
            try:
                chosen[name] = _typed(hints[name], value)
            except (ValidationError, ValueError, TypeError):
                text = f"expected {expected(hints[name])}, got {value!r}"
                problems.add(layer.document, path, text + _hint(hints[name], value))
                good = False
    if not good:
        return None
    try:
        complete = asdict(settings(**chosen))
    except (ValueError, TypeError) as error:
        place = next((layer for layer in reversed(layers) if layer.values), layers[-1])
        problems.add(place.document, place.path, f"{owner!r} refuses these settings: {' '.join(str(error).split())}")
        return None
    return json.loads(json.dumps(complete))  # type: ignore[no-any-return]  # plain JSON types, as records hold them


def _typed(hint: Any, value: Any) -> Any:
    # Strict JSON rules are the ones wanted here: lists for tuples and 1 for 1.0, but no True for 1 and no "1" for 1.
    if isinstance(value, float) and math.isnan(value):
        raise ValueError("not a number")
    return TypeAdapter(hint).validate_json(json.dumps(value), strict=True)


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
    return getattr(hint, "__name__", str(hint))


def _hint(hint: Any, value: Any) -> str:
    if get_origin(hint) is Literal and isinstance(value, str):
        text = suggest(value, map(str, get_args(hint)))
        return text if "did you mean" in text else ""
    return ""
