"""What is wrong with a value of a suite, in words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kshot.errors import suggest


def problem(detail: Any, known: Iterable[str]) -> str:
    """One of pydantic's errors in words for users of suites.

    Args:
        detail: of ``ValidationError.errors()``.
        known: the keys that are allowed where it stands.
    """
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    shown = shortened(value)
    match kind:
        case "extra_forbidden":
            return f"unknown key {str(detail['loc'][-1])!r}{suggest(str(detail['loc'][-1]), known)}"
        case "missing":
            return "is missing"
        case "value_error":
            return f"{context['error']}, got {shown}"
        case "greater_than" | "greater_than_equal":
            return f"must be {'at least 0' if kind.endswith('equal') else 'at least 1'}, got {shown}"
        case "less_than_equal":
            return f"must be at most {context['le']}, got {shown}"
        case "too_short" | "string_too_short":
            return "must not be empty"
        case "int_type" | "float_type" if detail["loc"][-1] in ("int", "float"):
            return f"expected a number, got {shown}"
        case "int_type" | "int_from_float" | "int_parsing":
            return f"expected a whole number, got {shown}"
        case "bool_type":
            return f"expected true or false, got {shown}"
        case "string_type":
            return f"expected text, got {shown}"
        case "tuple_type" | "list_type":
            return f"expected a list, got {shown}"
        case "dict_type" | "model_type" | "model_attributes_type":
            return f"expected a mapping, got {shown}" + (" (write {} for an empty one)" if value is None else "")
        case "literal_error":
            return f"expected {context['expected']}, got {shown}"
        case "string_pattern_mismatch" if "cpu" in context["pattern"]:
            return f"expected cpu, cuda, cuda:<n> or mps, got {shown}"
        case "string_pattern_mismatch":
            return f"{shown} cannot be a folder name here: use up to 64 lower-case letters, digits, '-' and '_'"
    return f"{detail['msg']}, got {shown}"


def shortened(value: Any) -> str:
    """A value as text of at most 80 characters."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
