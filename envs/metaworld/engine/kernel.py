"""The compiled loop of one thread, without the GIL: take a sub-environment, load its state, simulate, evaluate."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import mujoco
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from kshot.envs.metaworld.engine.layout import offset, size

STATE = int(mujoco.mjtState.mjSTATE_INTEGRATION)
"""The part of MjData that the next step depends on, the solver's warm start included."""

# Columns of the table with one row per (thread, class).
MODEL, DATA, FIELDS, BODY_POS, SITE_POS, N_BODY, N_SITE, MOCAP, CTRL, SINGLE, DOUBLE, TOUCHED, LEFT_PAD, RIGHT_PAD = (
    range(14)
)
MACHINE_COLUMNS = 14
# Rows of the table of C functions.
SET_STATE, GET_STATE, MJ_STEP, FORWARD, COPY = range(5)

RAISED, UNSTABLE = 1, 2
"""Bits of a sub-environment's fault."""

_NCON, _NEFC = offset("mjData", "ncon"), offset("mjData", "nefc")
_CONTACT, _FORCE = offset("mjData", "contact"), offset("mjData", "efc_force")
_CONTACT_SIZE, _ROW = size("mjContact"), offset("mjContact", "efc_address")
_GEOM = offset("mjContact", "geom")
_WARNINGS = offset("mjData", "warning") + offset("mjWarningStat", "number")
_WARNING_SIZE = size("mjWarningStat")
_FIRST_BAD, _LAST_BAD = int(mujoco.mjtWarning.mjWARN_BADQPOS), int(mujoco.mjtWarning.mjWARN_BADQACC)
_SUBSTEPS = 5


def functions() -> Any:
    """[5] addresses of the C functions that the loop calls."""
    library = ctypes.CDLL(str(next(Path(mujoco.__file__).parent.glob("libmujoco*"))))
    libc = ctypes.CDLL(None)
    found = (library.mj_setState, library.mj_getState, library.mj_step, library.mj_forward, libc.memcpy)
    return np.array([ctypes.cast(f, ctypes.c_void_p).value for f in found], dtype=np.int64)


@intrinsic
def call(typing: Any, function: Any, arguments: Any) -> Any:
    """Call the C function at an address; ``arguments`` is a tuple of int64, for pointers and integers alike."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        address, packed = values
        items = cgutils.unpack_tuple(builder, packed)
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)] * len(items)).as_pointer()
        builder.call(builder.inttoptr(address, kind), items)
        return context.get_dummy_value()

    return types.void(types.int64, arguments), generate


def _memory(kind: Any, llvm: Any) -> Any:
    @intrinsic
    def at(typing: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.load(builder.inttoptr(values[0], llvm.as_pointer()))

        return kind(types.int64), generate

    return at


_int_at = _memory(types.int32, ir.IntType(32))
_address_at = _memory(types.int64, ir.IntType(64))
_float_at = _memory(types.float64, ir.DoubleType())


@intrinsic
def _clear(typing: Any, address: Any) -> Any:
    """Set the 32-bit integer at an address to zero."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        builder.store(ir.Constant(ir.IntType(32), 0), builder.inttoptr(values[0], ir.IntType(32).as_pointer()))
        return context.get_dummy_value()

    return types.void(types.int64), generate


@intrinsic
def count_up(typing: Any, address: Any) -> Any:
    """Count up the 64-bit integer at an address, for all threads, and return what it was."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = builder.inttoptr(values[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", pointer, ir.Constant(ir.IntType(64), 1), "seq_cst")

    return types.int64(types.int64), generate


@numba.njit(cache=True, nogil=True)
def _force(data: int, pad: int, geom: int) -> float:
    """Sum of the first constraint force of every contact between two geoms (sawyer_xyz_env.py, touching_object)."""
    total = 0.0
    contacts = _address_at(data + _CONTACT)
    forces = _address_at(data + _FORCE)
    for i in range(_int_at(data + _NCON)):
        contact = contacts + i * _CONTACT_SIZE
        a, b = _int_at(contact + _GEOM), _int_at(contact + _GEOM + 4)
        if (a == pad or b == pad) and (a == geom or b == geom):
            row = _int_at(contact + _ROW)
            if row < 0:  # not in the solver; official code then reads the last force, as Python's index -1
                row += _int_at(data + _NEFC)
            total += _float_at(forces + 8 * row)
    return total


@numba.njit(cache=True, nogil=True)
def simulate(
    end: int,
    counter: Any,
    order: Any,
    machines: Any,
    calls: Any,
    kind: Any,
    state: Any,
    places: Any,
    params: Any,
    delta: Any,
    limits: Any,
    action: Any,
    single: bool,
    obs: Any,
    out: Any,
    fault: Any,
) -> None:
    """Step the sub-environments in ``order``, shared with other threads through ``counter``.

    Args:
        end: 0 takes from the front of the order, 1 from the back, so that they meet wherever the work ends.
        counter: [1] how many have been taken; zero at the start.
        order: sub-environments to step.
        machines: [classes, ``MACHINE_COLUMNS``] of this thread.
        calls: result of ``functions``.
        kind: [N] class of each sub-environment.
        state: [N, S] integration state; read and written.
        places: [N, L] positions of all bodies, then of all sites, in the sub-environment's model.
        params: [N, P] rows of ``Translation.params``; read and written.
        delta: [N, 3] movement of the mocap body in metres.
        limits: [N, 2, 3] lowest and highest place of the mocap body.
        action: [N, 5] the action; the last column is filled here.
        single: the actions came as float32.
        obs: [N, 39], written.
        out: [N, 9], written.
        fault: [N] ``RAISED`` and ``UNSTABLE`` bits, written.
    """
    taken = 0
    while count_up(counter.ctypes.data) < len(order):
        i = order[taken] if end == 0 else order[len(order) - 1 - taken]
        taken += 1
        machine = machines[kind[i]]
        model, data = machine[MODEL], machine[DATA]
        place = places[i].ctypes.data
        call(calls[COPY], (machine[BODY_POS], place, machine[N_BODY] * 24))
        call(calls[COPY], (machine[SITE_POS], place + machine[N_BODY] * 24, machine[N_SITE] * 24))

        mocap, ctrl = machine[MOCAP], machine[CTRL]
        for k in range(3):
            moved = state[i, mocap + k] + delta[i, k]
            state[i, mocap + k] = min(max(moved, limits[i, 0, k]), limits[i, 1, k])
        for k in range(4):
            state[i, mocap + 3 + k] = 1.0 - k % 2  # mocap_quat is 1, 0, 1, 0
        state[i, ctrl] = action[i, 3]
        state[i, ctrl + 1] = -action[i, 3]

        call(calls[SET_STATE], (model, data, state[i].ctypes.data, STATE))
        for _ in range(_SUBSTEPS):
            call(calls[MJ_STEP], (model, data))
        call(calls[FORWARD], (model, data))
        call(calls[GET_STATE], (model, data, state[i].ctypes.data, STATE))

        fault[i] = 0
        for warning in range(_FIRST_BAD, _LAST_BAD + 1):
            count = data + _WARNINGS + warning * _WARNING_SIZE
            if _int_at(count) != 0:
                fault[i] |= UNSTABLE
                _clear(count)
        action[i, 4] = 0.0
        if machine[TOUCHED] >= 0 and _force(data, machine[LEFT_PAD], machine[TOUCHED]) > 0:
            action[i, 4] = 1.0 if _force(data, machine[RIGHT_PAD], machine[TOUCHED]) > 0 else 0.0
        evaluate = machine[SINGLE] if single else machine[DOUBLE]
        call(
            evaluate,
            (
                machine[FIELDS],
                params[i].ctypes.data,
                action[i].ctypes.data,
                obs[i].ctypes.data,
                out[i].ctypes.data,
            ),
        )
        if out[i, 8] != 0:
            fault[i] |= RAISED
