"""The few numpy and scipy functions that Metaworld's step code calls, for symbols."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from llvmlite import ir

from envs.metaworld.engine.symbols import DOUBLE, YES, Symbol, Truth, lift, objects, select


class Rotation:
    """``scipy.spatial.transform.Rotation.from_matrix(...).as_quat()`` for the matrices that MuJoCo keeps."""

    def __init__(self, matrix: Any) -> None:
        self._matrix = matrix

    @staticmethod
    def from_matrix(matrix: Any) -> Rotation:
        return Rotation(matrix)

    def as_quat(self) -> Any:
        """[4], scalar last; the branch with the largest pivot (scipy, _rotation.pyx, ``from_matrix``)."""
        m = self._matrix
        trace = m[0, 0] + m[1, 1] + m[2, 2]
        pivots = (m[0, 0], m[1, 1], m[2, 2], trace)
        quaternions = []
        for i in range(3):
            j, k = (i + 1) % 3, (i + 2) % 3
            quat: list[Any] = [None] * 4
            quat[i] = 1 - trace + 2 * m[i, i]
            quat[j] = m[j, i] + m[i, j]
            quat[k] = m[k, i] + m[i, k]
            quat[3] = m[k, j] - m[j, k]
            quaternions.append(objects(quat))
        quaternions.append(objects([m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], 1 + trace]))
        best, quat = pivots[0], quaternions[0]
        for pivot, candidate in zip(pivots[1:], quaternions[1:], strict=True):
            better = pivot > best
            best, quat = select(better, pivot, best), select(better, candidate, quat)
        return quat / (quat[0] * quat[0] + quat[1] * quat[1] + quat[2] * quat[2] + quat[3] * quat[3]).sqrt()


def clip(x: Any, a_min: Any, a_max: Any, dtype: Any = None) -> Any:
    """``np.clip``: the bound wins a tie, which matters for the sign of a zero."""
    if isinstance(x, np.ndarray):
        low, high = np.broadcast_to(a_min, x.shape), np.broadcast_to(a_max, x.shape)
        return objects([clip(v, lo, hi) for v, lo, hi in zip(x, low, high, strict=True)])
    if not isinstance(x, Symbol):
        return np.clip(x, a_min, a_max)
    # -inf and inf bounds of the observation space change nothing.
    raised = x if a_min == -np.inf else _bounded(x > a_min, x, a_min)
    return raised if a_max == np.inf else _bounded(raised < a_max, raised, a_max)


def _bounded(inside: Truth, x: Symbol, bound: Any) -> Symbol:
    """``x`` where ``inside``, else the bound as a number of the same type as ``x``."""
    limit = Symbol(x.writer, ir.Constant(DOUBLE, float(bound)), x.strong, x.single)
    chosen: Symbol = select(inside, x, limit)
    return chosen


def norm(x: Any, ord: int | None = None) -> Any:
    """Norm of a vector as ``np.linalg.norm`` computes it: the root of BLAS's dot product."""
    if isinstance(x, Symbol):
        x = [x]
    if not any(isinstance(item, Symbol) for item in x):
        return np.linalg.norm(x.astype(np.float64), ord)
    writer = next(item.writer for item in x if isinstance(item, Symbol))
    return Symbol(writer, writer.dot([lift(writer, item).value for item in x])).sqrt()


def _where(condition: Any, x: Any, y: Any) -> Any:
    if not isinstance(condition, Truth):
        return np.where(condition, x, y)
    # np.where makes an array, whose elements are np.float64.
    a, b = (np.float64(v) if isinstance(v, (int, float)) else v for v in (x, y))
    chosen = select(condition, a, b)
    return Symbol(chosen.writer, chosen.value, YES)


def _ufunc(name: str) -> Callable[[Any], Any]:
    def apply(x: Any) -> Any:
        if isinstance(x, np.ndarray):
            return objects([apply(item) for item in x.flat]).reshape(x.shape)
        return x.ufunc(name) if isinstance(x, Symbol) else getattr(np, name)(x)

    return apply


def numpy() -> Any:
    """A stand-in for the numpy module; arrays of symbols are object arrays, so most of numpy works on them as it is."""

    def array(items: Any, *args: Any, **kwargs: Any) -> Any:
        return np.array(items, dtype=object)

    def conjunction(a: Any, b: Any) -> Any:
        return a & b if isinstance(a, Truth) and isinstance(b, Truth) else (b if a is True else a)

    class Shim:
        ndarray = np.ndarray
        linalg = SimpleNamespace(norm=norm)

        def __getattr__(self, name: str) -> Any:
            return getattr(np, name)

    shim = Shim()
    for name, function in {
        "array": array,
        "zeros": lambda n: array([np.float64(0.0)] * n),
        "abs": abs,
        "clip": clip,
        "where": _where,
        "logical_and": conjunction,
        "isscalar": lambda x: isinstance(x, Symbol) or np.isscalar(x),
        "zeros_like": lambda x: objects([np.float64(0.0)] * len(x)),
        **{name: _ufunc(name) for name in ("log", "exp", "sin", "cos")},
    }.items():
        setattr(shim, name, function)
    return shim
