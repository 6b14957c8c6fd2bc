"""Checks whether the translation is exact on this machine, by comparing small translated functions with numpy's."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from scipy.spatial.transform import Rotation

from kshot.envs.metaworld.engine import library
from kshot.envs.metaworld.engine.symbols import POINTER, TRUE, Symbol, Writer, symbol_array
from kshot.envs.metaworld.engine.translation import compile_module, load, store
from kshot.types import Array

_SAMPLES = 300


def compile_function(body: Callable[[Any], Any], n_inputs: int, n_outputs: int) -> Callable[[Array], Array]:
    """A function from float64 [n_inputs] to [n_outputs], compiled from ``body``, which maps symbols to symbols."""
    module = ir.Module("check")
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER, POINTER]), "check")
    writer = Writer(ir.IRBuilder(function.append_basic_block()))
    source, target = function.args
    outputs = body(symbol_array([Symbol(writer, load(writer, source, i), TRUE) for i in range(n_inputs)]))
    for i, value in enumerate(np.atleast_1d(outputs)):
        store(writer, target, i, value)
    writer.ir.ret_void()
    jit_engine = compile_module(module)
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(jit_engine.get_function_address("check"))

    def run(x: Array) -> Array:
        inputs, result = np.ascontiguousarray(x, dtype=np.float64), np.empty(n_outputs)
        call(inputs.ctypes.data, result.ctypes.data)
        assert jit_engine  # the code lives as long as its engine
        return result

    return run


@cache
def why_inexact() -> str | None:
    """What is not exact on this machine, None if everything is; takes a fraction of a second, once per process."""
    rng = np.random.default_rng(0)
    for name, body, original, samples in _checks(rng):
        run = compile_function(body, samples.shape[1], np.size(original(samples[0])))
        for x in samples:
            if run(x).tobytes() != np.atleast_1d(original(x)).astype(np.float64).tobytes():
                return f"{name} differs from numpy's"
    return None


def _checks(rng: np.random.Generator) -> list[tuple[str, Callable[[Any], Any], Callable[[Array], Any], Array]]:
    """Name, function for symbols, numpy's or scipy's original, and inputs [samples, n_inputs] of each check."""
    numbers = rng.normal(size=(_SAMPLES, 1))
    matrices = Rotation.random(_SAMPLES, rng=rng).as_matrix().reshape(_SAMPLES, 9)
    checks: list[Any] = [
        ("a square", lambda x: x[0] ** 2, lambda x: x[0] ** 2, numbers),
        ("a quotient", lambda x: (x[0] - 0.1) / x[1], lambda x: (x[0] - 0.1) / x[1], rng.normal(size=(_SAMPLES, 2))),
        (
            "a quaternion",
            lambda x: library.Rotation.from_matrix(x.reshape(3, 3)).as_quat(),
            lambda x: Rotation.from_matrix(x.reshape(3, 3)).as_quat(),
            matrices,
        ),
    ]
    for n in (2, 3, 4):
        checks.append((f"the norm of {n} numbers", library.norm, np.linalg.norm, rng.normal(size=(_SAMPLES, n))))
    for name in ("log", "exp", "sin", "cos"):
        samples = np.abs(numbers) + 1e-3 if name == "log" else numbers
        checks.append((f"np.{name}", lambda x, f=name: x[0].ufunc(f), lambda x, f=name: getattr(np, f)(x[0]), samples))
    return checks
