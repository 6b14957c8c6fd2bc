"""For symbols: the few numpy and scipy functions that Metaworld's step code calls."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from llvmlite import ir

from kshot.envs.metaworld.engine.symbols import DOUBLE, Condition, Symbol, Unsupported, lift, select, symbol_array


class Rotation:
    """``scipy.spatial.transform.Rotation``, as far as ``from_matrix(...).as_quat()`` of MuJoCo's matrices."""

    def __init__(self, matrix: Any) -> None:
        self._matrix = matrix

    @staticmethod
    def from_matrix(matrix: Any) -> Rotation:
        return Rotation(matrix)

    def as_quat(self) -> Any:
        """[4] quaternion, scalar last, by the formula of the largest pivot (scipy, _rotation.pyx, ``from_matrix``)."""
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
            quaternions.append(symbol_array(quat))
        quaternions.append(symbol_array([m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], 1 + trace]))
        best, quat = pivots[0], quaternions[0]
        for pivot, candidate in zip(pivots[1:], quaternions[1:], strict=True):
            better = pivot > best
            best, quat = select(better, pivot, best), select(better, candidate, quat)
        return quat / (quat[0] * quat[0] + quat[1] * quat[1] + quat[2] * quat[2] + quat[3] * quat[3]).sqrt()


def clip(x: Any, a_min: Any, a_max: Any, dtype: Any = None) -> Any:
    """``np.clip``. Of a number equal to its bound it returns the bound if bounds are arrays, else the number.

    That matters for the sign of a zero.
    """
    if isinstance(x, np.ndarray):
        bound_at_tie = isinstance(a_min, np.ndarray)
        low, high = np.broadcast_to(a_min, x.shape), np.broadcast_to(a_max, x.shape)
        return symbol_array([_clip(v, lo, hi, bound_at_tie) for v, lo, hi in zip(x, low, high, strict=True)])
    return _clip(x, a_min, a_max, False)


def _clip(x: Any, a_min: Any, a_max: Any, bound_at_tie: bool) -> Any:
    if not isinstance(x, Symbol):
        return np.clip(x, a_min, a_max)
    x = x.as_numpy()
    # -inf and inf bounds of the observation space change nothing. NaN is neither below nor above and stays.
    y = x if a_min == -np.inf else _inside_or_bound(~(x <= a_min if bound_at_tie else x < a_min), x, a_min)
    return y if a_max == np.inf else _inside_or_bound(~(y >= a_max if bound_at_tie else y > a_max), y, a_max)


def _inside_or_bound(inside: Condition, x: Symbol, bound: Any) -> Symbol:
    """``x`` where ``inside``, else the bound as a number of the same type as ``x``."""
    limit = Symbol(x.writer, ir.Constant(DOUBLE, float(bound)), x.strong, x.single)
    chosen: Symbol = select(inside, x, limit)
    return chosen


def norm(x: Any, ord: int | None = None) -> Any:
    """``np.linalg.norm`` of a vector: the square root of BLAS's dot product."""
    items = list(_as_float64(np.atleast_1d(x)))
    writer = next((item.writer for item in items if isinstance(item, Symbol)), None)
    if writer is None:
        return np.linalg.norm(np.array(items, dtype=np.float64), ord)
    return Symbol(writer, writer.dot([lift(writer, item).value for item in items])).sqrt()


def _where(condition: Any, x: Any, y: Any) -> Any:
    if not isinstance(condition, Condition):
        return np.where(condition, x, y)
    return select(condition, *_as_float64(np.array([x, y], dtype=object)))


def _as_float64(items: Any) -> Any:
    """The elements of an array as np.float64. Raises Unsupported where one may be a float32."""
    return symbol_array([_element_as_float64(item) for item in items.flat]).reshape(items.shape)


def _element_as_float64(item: Any) -> Any:
    if isinstance(item, Symbol):
        item.refuse_single("an array")
        return item.as_numpy()
    return np.float64(item)


def _elementwise(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``function`` of a number, for numbers and arrays."""

    def apply(x: Any) -> Any:
        return (
            symbol_array([function(item) for item in x.flat]).reshape(x.shape)
            if isinstance(x, np.ndarray)
            else function(x)
        )

    return apply


def _ufunc(name: str) -> Callable[[Any], Any]:
    return _elementwise(lambda x: x.ufunc(name) if isinstance(x, Symbol) else getattr(np, name)(x))


def _logical_and(a: Any, b: Any) -> Any:
    if isinstance(a, Condition) and isinstance(b, Condition):
        return a & b
    constant, other = (b, a) if isinstance(a, Condition) else (a, b)
    return other if constant else False


class _Numpy:
    """What ``np`` means in rewritten code. Functions that are not listed raise Unsupported: they might not be exact.

    Arrays of symbols are object arrays, so that functions which only move elements are numpy's own.
    """

    pi = np.pi
    ndarray = np.ndarray
    linalg = SimpleNamespace(norm=norm)
    split = staticmethod(np.split)
    copy = staticmethod(np.copy)
    clip = staticmethod(clip)
    where = staticmethod(_where)
    logical_and = staticmethod(_logical_and)
    log, exp, sin, cos = (staticmethod(_ufunc(name)) for name in ("log", "exp", "sin", "cos"))
    sqrt = staticmethod(_elementwise(np.sqrt))
    abs = staticmethod(_elementwise(lambda x: abs(x).as_numpy() if isinstance(x, Symbol) else np.abs(x)))

    @staticmethod
    def array(items: Any) -> Any:
        return _as_float64(np.array(items, dtype=object))

    @staticmethod
    def hstack(items: Any) -> Any:
        return _as_float64(np.hstack([np.atleast_1d(np.asarray(item, dtype=object)) for item in items]))

    @staticmethod
    def zeros(n: int) -> Any:
        return symbol_array([np.float64(0.0)] * n)

    @staticmethod
    def zeros_like(x: Any) -> Any:
        return symbol_array([np.float64(0.0)] * len(x))

    @staticmethod
    def isscalar(x: Any) -> bool:
        return isinstance(x, Symbol) or np.isscalar(x)

    def __getattr__(self, name: str) -> Any:
        raise Unsupported(f"np.{name}")


numpy = _Numpy()
