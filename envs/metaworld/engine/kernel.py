"""The compiled loop of one thread, which runs without the GIL.

For one sub-environment after the other it loads the state into the thread's simulation, simulates a step, and evaluates
observation and reward.
"""

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

from kshot.envs.metaworld.engine.c_structs import offset, size

STATE = int(mujoco.mjtState.mjSTATE_INTEGRATION)
"""The part of MjData that the next step depends on, the solver's warm start included."""

# Columns of the table of simulations, in which each pair of thread and class has a line of integers.
MODEL, DATA, FIELDS, BODY_POS, SITE_POS = range(5)
"""Addresses of MjModel, of MjData, of the addresses of its arrays (``FIELDS``), and of two arrays of MjModel."""
N_BODY, N_SITE = range(5, 7)
"""Lengths of those two arrays."""
MOCAP, CTRL = range(7, 9)
"""Where the mocap body's position and the controls begin in the integration state."""
SINGLE, DOUBLE = range(9, 11)
"""Addresses of the class's machine code for float32 and float64 actions."""
TOUCHED_GEOM, LEFT_PAD, RIGHT_PAD = range(11, 14)
"""Numbers of the geom that counts as the object, and of the gripper's pads."""
SIMULATION_COLUMNS = 14
# Positions in the result of ``c_functions``.
SET_STATE, GET_STATE, MJ_STEP, FORWARD, COPY = range(5)

RAISED, UNSTABLE = 1, 2
"""Bits of a sub-environment's fault."""

_NCON, _NEFC = offset("mjData", "ncon"), offset("mjData", "nefc")
_CONTACT, _FORCE = offset("mjData", "contact"), offset("mjData", "efc_force")
_CONTACT_SIZE, _CONSTRAINT = size("mjContact"), offset("mjContact", "efc_address")
_GEOM = offset("mjContact", "geom")
_WARNINGS = offset("mjData", "warning") + offset("mjWarningStat", "number")
_WARNING_SIZE = size("mjWarningStat")
_FIRST_BAD, _LAST_BAD = int(mujoco.mjtWarning.mjWARN_BADQPOS), int(mujoco.mjtWarning.mjWARN_BADQACC)
_SUBSTEPS = 5


def c_functions() -> Any:
    """[5] addresses of the C functions that the loop calls."""
    library = ctypes.CDLL(str(next(Path(mujoco.__file__).parent.glob("libmujoco*"))))
    libc = ctypes.CDLL(None)
    functions = (library.mj_setState, library.mj_getState, library.mj_step, library.mj_forward, libc.memcpy)
    return np.array([ctypes.cast(f, ctypes.c_void_p).value for f in functions], dtype=np.int64)


@intrinsic
def call(typing: Any, function: Any, arguments: Any) -> Any:
    """Call the C function at an address; ``arguments`` is a tuple of int64, for pointers and integers alike."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        address, packed = values
        items = cgutils.unpack_tuple(builder, packed)
        function_type = ir.FunctionType(ir.VoidType(), [ir.IntType(64)] * len(items)).as_pointer()
        builder.call(builder.inttoptr(address, function_type), items)
        return context.get_dummy_value()

    return types.void(types.int64, arguments), generate


def _reader(numba_type: Any, llvm_type: Any) -> Any:
    """A function that reads the number of this type at an address."""

    @intrinsic
    def read(typing: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.load(builder.inttoptr(values[0], llvm_type.as_pointer()))

        return numba_type(types.int64), generate

    return read


_int_at = _reader(types.int32, ir.IntType(32))
_address_at = _reader(types.int64, ir.IntType(64))
_float_at = _reader(types.float64, ir.DoubleType())


@intrinsic
def _clear(typing: Any, address: Any) -> Any:
    """Set the 32-bit integer at an address to zero."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        builder.store(ir.Constant(ir.IntType(32), 0), builder.inttoptr(values[0], ir.IntType(32).as_pointer()))
        return context.get_dummy_value()

    return types.void(types.int64), generate


@intrinsic
def count_up(typing: Any, address: Any) -> Any:
    """Add 1 to the 64-bit integer at an address, atomically, and return what it was."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer = builder.inttoptr(values[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", pointer, ir.Constant(ir.IntType(64), 1), "seq_cst")

    return types.int64(types.int64), generate


def _compiled(function: Any) -> Any:
    """Compile without the GIL, and keep the machine code for the next process where that can be.

    Numba keeps it beside this file, in ``$NUMBA_CACHE_DIR`` or in the user's cache folder. Where none can be written,
    as in a container whose user has no home, it raises instead of going without.
    """
    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:
        return numba.njit(nogil=True)(function)


@_compiled
def _contact_force(data: int, pad: int, geom: int) -> float:
    """Sum, over contacts between two geoms, of the first constraint force (sawyer_xyz_env.py, touching_object)."""
    total = 0.0
    contacts = _address_at(data + _CONTACT)
    forces = _address_at(data + _FORCE)
    for i in range(_int_at(data + _NCON)):
        contact = contacts + i * _CONTACT_SIZE
        a, b = _int_at(contact + _GEOM), _int_at(contact + _GEOM + 4)
        if (a == pad or b == pad) and (a == geom or b == geom):
            constraint = _int_at(contact + _CONSTRAINT)
            if constraint < 0:  # not in the solver; official code then reads the last force, as Python's index -1
                constraint += _int_at(data + _NEFC)
            total += _float_at(forces + 8 * constraint)
    return total


@_compiled
def simulate(
    end: int,
    counter: Any,
    order: Any,
    simulations: Any,
    c_functions: Any,
    class_index: Any,
    state: Any,
    positions: Any,
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
        simulations: [classes, ``SIMULATION_COLUMNS``] of this thread.
        c_functions: the result of the function of that name.
        class_index: [N] which of the classes each sub-environment is of.
        state: [N, S] integration states; read and written.
        positions: [N, L] positions of all bodies, then of all sites, in each sub-environment's model.
        params: [N, P] parameters as ``Translation.params`` has them; read and written.
        delta: [N, 3] movement of the mocap body in metres.
        limits: [N, 2, 3] lowest and highest position of the mocap body in metres.
        action: [N, 5] the action, and whether the gripper touches the object, which is written.
        single: the actions came as float32.
        obs: [N, 39], written.
        out: [N, 9] as ``Translation.address`` says, written.
        fault: [N] ``RAISED`` and ``UNSTABLE`` bits, written.
    """
    taken = 0
    while count_up(counter.ctypes.data) < len(order):
        i = order[taken] if end == 0 else order[len(order) - 1 - taken]
        taken += 1
        simulation = simulations[class_index[i]]
        model, data = simulation[MODEL], simulation[DATA]
        bodies = positions[i].ctypes.data
        call(c_functions[COPY], (simulation[BODY_POS], bodies, simulation[N_BODY] * 24))
        call(c_functions[COPY], (simulation[SITE_POS], bodies + simulation[N_BODY] * 24, simulation[N_SITE] * 24))

        mocap, ctrl = simulation[MOCAP], simulation[CTRL]
        for k in range(3):
            target = state[i, mocap + k] + delta[i, k]
            state[i, mocap + k] = min(max(target, limits[i, 0, k]), limits[i, 1, k])
        for k in range(4):
            state[i, mocap + 3 + k] = 1.0 - k % 2  # mocap_quat is 1, 0, 1, 0
        state[i, ctrl] = action[i, 3]
        state[i, ctrl + 1] = -action[i, 3]

        call(c_functions[SET_STATE], (model, data, state[i].ctypes.data, STATE))
        for _ in range(_SUBSTEPS):
            call(c_functions[MJ_STEP], (model, data))
        call(c_functions[FORWARD], (model, data))
        call(c_functions[GET_STATE], (model, data, state[i].ctypes.data, STATE))

        fault[i] = 0
        for warning in range(_FIRST_BAD, _LAST_BAD + 1):
            count = data + _WARNINGS + warning * _WARNING_SIZE
            if _int_at(count) != 0:
                fault[i] |= UNSTABLE
                _clear(count)
        action[i, 4] = 0.0
        if simulation[TOUCHED_GEOM] >= 0 and _contact_force(data, simulation[LEFT_PAD], simulation[TOUCHED_GEOM]) > 0:
            action[i, 4] = 1.0 if _contact_force(data, simulation[RIGHT_PAD], simulation[TOUCHED_GEOM]) > 0 else 0.0
        evaluate = simulation[SINGLE] if single else simulation[DOUBLE]
        call(
            evaluate,
            (
                simulation[FIELDS],
                params[i].ctypes.data,
                action[i].ctypes.data,
                obs[i].ctypes.data,
                out[i].ctypes.data,
            ),
        )
        if out[i, 8] != 0:
            fault[i] |= RAISED
