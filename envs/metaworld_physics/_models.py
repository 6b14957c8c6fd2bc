"""Models of Meta-World with another mass, friction and damping: what differs, and structs that hold nothing else.

A model of Meta-World takes 21 MB, nearly all of it meshes. A changed one is therefore a copy of MuJoCo's C struct, some
kilobytes of sizes and pointers, in which the pointers to those arrays that differ lead to others.
"""

from __future__ import annotations

import copy
import ctypes
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import mujoco
import numpy as np
from mujoco.introspect.ast_nodes import AnonymousStructDecl, ArrayType, PointerType
from mujoco.introspect.structs import STRUCTS

from kshot.envs.metaworld.engine import c_structs
from kshot.envs.metaworld.engine.prototypes import Prototype
from kshot.types import Array

OBJECT_JOINT = {"push-v3": "objjoint", "door-open-v3": "doorjoint"}
"""The joint by which the object of a class moves."""
DAMPED = {"push-v3": tuple(f"right_j{i}" for i in range(7)), "door-open-v3": ("doorjoint",)}
"""The joints that damping belongs to: the door's hinge; those of the arm where the object moves freely, undamped."""

TABLES = ("body_", "jnt_", "dof_", "geom_", "tendon_", "actuator_", "cam_", "light_", "eq_", "qpos")
"""Beginnings of the names of MjModel's tables but for those of shapes: meshes, textures, their trees of volumes."""


@dataclass(frozen=True)
class Physics:
    """Factors on the official model's numbers, all positive; 1 is what Meta-World has.

    Attributes:
        mass: of the object, and its inertia, as if of another density.
        friction: of all surfaces: that of a contact is the larger one of the two that touch.
        damping: of the joints ``DAMPED``.
    """

    mass: float = 1.0
    friction: float = 1.0
    damping: float = 1.0

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not (np.isfinite(value) and value > 0.0):
                raise ValueError(f"metaworld_physics: {item.name} must be a positive factor, got {value}")


@dataclass(frozen=True)
class Difference:
    """What a changed model has instead of the official one's: arrays by name, and ``stat`` as numbers by name."""

    arrays: dict[str, Array]
    stat: dict[str, Any]

    def put_into(self, model: mujoco.MjModel) -> Difference:
        """Change ``model``; returns what it had before."""
        before = Difference(
            {name: getattr(model, name).copy() for name in self.arrays},
            {name: np.copy(getattr(model.stat, name))[()] for name in self.stat},
        )
        for name, value in self.arrays.items():
            getattr(model, name)[:] = value
        for name, value in self.stat.items():
            setattr(model.stat, name, value)
        return before


def apply(model: mujoco.MjModel, class_name: str, physics: Physics) -> None:
    """Multiply the numbers of ``model``, and have MuJoCo derive from them what it derives when it compiles a model."""
    body = model.jnt_bodyid[model.joint(OBJECT_JOINT[class_name]).id]
    model.body_mass[body] *= physics.mass
    model.body_inertia[body] *= physics.mass
    model.geom_friction[:] *= physics.friction
    for name in DAMPED[class_name]:
        model.dof_damping[model.jnt_dofadr[model.joint(name).id]] *= physics.damping
    mujoco.mj_setConst(model, mujoco.MjData(model))


_DIFFERENCES: dict[tuple[str, Physics], Difference] = {}


def difference(proto: Prototype, physics: Physics) -> Difference:
    """What ``apply`` changes in the official model of a class."""
    key = proto.name, physics
    if key not in _DIFFERENCES:
        scratch, original = _scratch(proto)
        apply(scratch, proto.name, physics)
        arrays = {
            name: getattr(scratch, name).copy()
            for name, value in original.arrays.items()
            if not np.array_equal(getattr(scratch, name), value, equal_nan=True)
        }
        _DIFFERENCES[key] = Difference(
            arrays, {name: np.copy(getattr(scratch.stat, name))[()] for name in original.stat}
        )
        original.put_into(scratch)
    return _DIFFERENCES[key]


_SCRATCH: dict[str, tuple[mujoco.MjModel, Difference]] = {}


def _scratch(proto: Prototype) -> tuple[mujoco.MjModel, Difference]:
    """A model to compute with, and what it has in all tables that changes could reach."""
    if proto.model_file not in _SCRATCH:
        model = copy.copy(proto.env.model)
        model.body_pos[:], model.site_pos[:] = proto._positions  # placements leave others there
        names = [name for name in _pointers() if name.startswith(TABLES) and hasattr(model, name)]
        stat = {item.name: np.copy(getattr(model.stat, item.name))[()] for item in STRUCTS["mjStatistic"].fields}
        _SCRATCH[proto.model_file] = model, Difference({name: getattr(model, name).copy() for name in names}, stat)
    return _SCRATCH[proto.model_file]


class ChangedStruct:
    """The C struct of a model with a difference; ``model`` and this object have to outlive its users.

    Attributes:
        address: of the struct.
    """

    def __init__(self, model: mujoco.MjModel, changed: Difference) -> None:
        self._model, self._arrays = model, {k: np.ascontiguousarray(v) for k, v in changed.arrays.items()}
        pointers, size = _pointers(), _layout()[1]
        self._struct = ctypes.create_string_buffer(size + 64)
        self.address = -(-ctypes.addressof(self._struct) // 64) * 64
        ctypes.memmove(self.address, model._address, size)
        for name, array in self._arrays.items():
            pointer = ctypes.c_uint64.from_address(self.address + pointers[name])
            if pointer.value != getattr(model, name).ctypes.data:
                raise RuntimeError(f"metaworld_physics: this MuJoCo has mjModel.{name} elsewhere than it declares")
            pointer.value = array.ctypes.data
        stat = self.address + _layout()[0]["stat"]
        for name, value in changed.stat.items():
            numbers = np.atleast_1d(np.asarray(value, dtype=np.float64))
            ctypes.memmove(stat + c_structs.offset("mjStatistic", name), numbers.ctypes.data, numbers.nbytes)


@cache
def _layout() -> tuple[dict[str, int], int]:
    """Offsets of the fields of mjModel, and its size, in bytes."""
    offsets, position = {}, 0
    for field in STRUCTS["mjModel"].fields:
        size, alignment = _size_and_alignment(field.type)
        position = -(-position // alignment) * alignment
        offsets[field.name] = position
        position += size
    return offsets, -(-position // 8) * 8


@cache
def _pointers() -> dict[str, int]:
    """Offsets of the pointers of mjModel, by name."""
    return {
        field.name: _layout()[0][field.name]
        for field in STRUCTS["mjModel"].fields
        if isinstance(field.type, PointerType)
    }


def _size_and_alignment(declared: Any) -> tuple[int, int]:
    """As ``c_structs`` has it, for structs without a name, too."""
    if isinstance(declared, ArrayType):
        size, alignment = _size_and_alignment(declared.inner_type)
        return size * int(np.prod(declared.extents)), alignment
    if not isinstance(declared, PointerType) and (
        isinstance(declared, AnonymousStructDecl) or declared.name in STRUCTS
    ):
        inner = declared if isinstance(declared, AnonymousStructDecl) else STRUCTS[declared.name]
        position, largest = 0, 1
        for field in inner.fields:
            size, alignment = _size_and_alignment(field.type)
            position = -(-position // alignment) * alignment + size
            largest = max(largest, alignment)
        return -(-position // largest) * largest, largest
    return c_structs._size_and_alignment(declared)
