"""Byte offsets in MuJoCo's C structs, computed from the declarations that ship with its Python package."""

from __future__ import annotations

from functools import cache
from typing import Any

from mujoco.introspect.ast_nodes import ArrayType, PointerType
from mujoco.introspect.enums import ENUMS
from mujoco.introspect.structs import STRUCTS

_SIZES = {"int": 4, "float": 4, "mjtNum": 8, "size_t": 8, "uintptr_t": 8, "mjtByte": 1}
"""Bytes of the basic types, which are also their alignment."""


@cache
def offset(struct: str, field: str) -> int:
    """Offset of ``field`` from the beginning of ``struct``, in bytes.

    Raises:
        KeyError: this MuJoCo has no such struct or field.
    """
    position = 0
    for declared in STRUCTS[struct].fields:
        size, alignment = _size_and_alignment(declared.type)
        position = _aligned(position, alignment)
        if declared.name == field:
            return position
        position += size
    raise KeyError(f"{struct} has no field {field}")


@cache
def size(struct: str) -> int:
    """Size of ``struct`` in bytes, padding included."""
    position, largest_alignment = 0, 1
    for declared in STRUCTS[struct].fields:
        field_size, alignment = _size_and_alignment(declared.type)
        position = _aligned(position, alignment) + field_size
        largest_alignment = max(largest_alignment, alignment)
    return _aligned(position, largest_alignment)


def _aligned(position: int, alignment: int) -> int:
    """The next multiple of ``alignment`` from ``position`` on."""
    return -(-position // alignment) * alignment


def _size_and_alignment(declared: Any) -> tuple[int, int]:
    """Size and alignment in bytes of a field's declared type."""
    if isinstance(declared, PointerType):
        return 8, 8
    if isinstance(declared, ArrayType):
        total, alignment = _size_and_alignment(declared.inner_type)
        for n in declared.extents:
            total *= n
        return total, alignment
    if declared.name in _SIZES:
        return (_SIZES[declared.name],) * 2
    if declared.name in ENUMS:
        return 4, 4
    fields = [_size_and_alignment(inner.type) for inner in STRUCTS[declared.name].fields]
    return size(declared.name), max(alignment for _, alignment in fields)
