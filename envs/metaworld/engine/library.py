"""The few numpy and scipy functions that Metaworld's step code calls, for symbols."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from llvmlite import ir

from kshot.envs.metaworld.engine.symbols import DOUBLE, Symbol, Truth, Unsupported, lift, objects, select


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
    """``np.clip``: a bound in an array wins a tie, another bound loses it, which matters for the sign of a zero."""
    if isinstance(x, np.ndarray):
        wins = isinstance(a_min, np.ndarray)
        low, high = np.broadcast_to(a_min, x.shape), np.broadcast_to(a_max, x.shape)
        return objects([_clip(v, lo, hi, wins) for v, lo, hi in zip(x, low, high, strict=True)])
    return _clip(x, a_min, a_max, False)


def _clip(x: Any, a_min: Any, a_max: Any, wins: bool) -> Any:
    if not isinstance(x, Symbol):
        return np.clip(x, a_min, a_max)
    x = x.as_numpy()
    # -inf and inf bounds of the observation space change nothing. NaN is neither below nor above and stays.
    raised = x if a_min == -np.inf else _bounded(~(x <= a_min if wins else x < a_min), x, a_min)
    return raised if a_max == np.inf else _bounded(~(raised >= a_max if wins else raised > a_max), raised, a_max)


def _bounded(inside: Truth, x: Symbol, bound: Any) -> Symbol:
    """``x`` where ``inside``, else the bound as a number of the same type as ``x``."""
    limit = Symbol(x.writer, ir.Constant(DOUBLE, float(bound)), x.strong, x.single)
    chosen: Symbol = select(inside, x, limit)
    return chosen


def norm(x: Any, ord: int | None = None) -> Any:
    """Norm of a vector as ``np.linalg.norm`` computes it: the root of BLAS's dot product."""
    items = list(_elements(np.atleast_1d(x)))
    writer = next((item.writer for item in items if isinstance(item, Symbol)), None)
    if writer is None:
        return np.linalg.norm(np.array(items, dtype=np.float64), ord)
    return Symbol(writer, writer.dot([lift(writer, item).value for item in items])).sqrt()


def _where(condition: Any, x: Any, y: Any) -> Any:
    if not isinstance(condition, Truth):
        return np.where(condition, x, y)
    return select(condition, *_elements(np.array([x, y], dtype=object)))


def _elements(items: Any) -> Any:
    """``items`` as they are in an array of float64."""
    return objects([_element(item) for item in items.flat]).reshape(items.shape)


def _element(item: Any) -> Any:
    if isinstance(item, Symbol):
        item.refuse_single("an array")
        return item.as_numpy()
    return np.float64(item)


def _each(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``function`` of a number, for arrays too."""

    def apply(x: Any) -> Any:
        return (
            objects([function(item) for item in x.flat]).reshape(x.shape) if isinstance(x, np.ndarray) else function(x)
        )

    return apply


def _ufunc(name: str) -> Callable[[Any], Any]:
    return _each(lambda x: x.ufunc(name) if isinstance(x, Symbol) else getattr(np, name)(x))


def _logical_and(a: Any, b: Any) -> Any:
    if isinstance(a, Truth) and isinstance(b, Truth):
        return a & b
    known, other = (b, a) if isinstance(a, Truth) else (a, b)
    return other if known else False


class _Numpy:
    """A stand-in for the numpy module. What it does not have is refused: it might not be exact.

    Arrays of symbols are object arrays, so the functions that only move elements are numpy's own.
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
    sqrt = staticmethod(_each(np.sqrt))
    abs = staticmethod(_each(lambda x: abs(x).as_numpy() if isinstance(x, Symbol) else np.abs(x)))

    @staticmethod
    def array(items: Any) -> Any:
        return _elements(np.array(items, dtype=object))

    @staticmethod
    def hstack(items: Any) -> Any:
        return _elements(np.hstack([np.atleast_1d(np.asarray(item, dtype=object)) for item in items]))

    @staticmethod
    def zeros(n: int) -> Any:
        return objects([np.float64(0.0)] * n)

    @staticmethod
    def zeros_like(x: Any) -> Any:
        return objects([np.float64(0.0)] * len(x))

    @staticmethod
    def isscalar(x: Any) -> bool:
        return isinstance(x, Symbol) or np.isscalar(x)

    def __getattr__(self, name: str) -> Any:
        raise Unsupported(f"np.{name}")


numpy = _Numpy()
