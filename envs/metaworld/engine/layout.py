"""Where MuJoCo keeps what: byte offsets in its C structs, from the declarations that ship with its Python package."""

from __future__ import annotations

from functools import cache
from typing import Any

from mujoco.introspect.ast_nodes import ArrayType, PointerType
from mujoco.introspect.enums import ENUMS
from mujoco.introspect.structs import STRUCTS

_SIZES = {"int": 4, "float": 4, "mjtNum": 8, "size_t": 8, "uintptr_t": 8, "mjtByte": 1}


@cache
def offset(struct: str, field: str) -> int:
    """Offset of ``field`` in bytes.

    Raises:
        KeyError: this MuJoCo has no such struct or field.
    """
    position = 0
    for declared in STRUCTS[struct].fields:
        size, align = _extent(declared.type)
        position = -(-position // align) * align
        if declared.name == field:
            return position
        position += size
    raise KeyError(f"{struct} has no field {field}")


@cache
def size(struct: str) -> int:
    """Size in bytes, padding included."""
    position, widest = 0, 1
    for declared in STRUCTS[struct].fields:
        extent, align = _extent(declared.type)
        position = -(-position // align) * align + extent
        widest = max(widest, align)
    return -(-position // widest) * widest


def _extent(declared: Any) -> tuple[int, int]:
    """Size and alignment of a field's type."""
    if isinstance(declared, PointerType):
        return 8, 8
    if isinstance(declared, ArrayType):
        extent, align = _extent(declared.inner_type)
        for n in declared.extents:
            extent *= n
        return extent, align
    if declared.name in _SIZES:
        return (_SIZES[declared.name],) * 2
    if declared.name in ENUMS:
        return 4, 4
    fields = [_extent(inner.type) for inner in STRUCTS[declared.name].fields]
    return size(declared.name), max(align for _, align in fields)
