"""Symbolic numbers: arithmetic on them writes machine code that repeats Python's and numpy's arithmetic bit for bit.

A ``Symbol`` stands for a number that is only known when the code runs. Adding two of them appends an addition to a
function under construction (LLVM, strict IEEE: nothing is reordered, contracted or approximated). Three facts of the
arithmetic that is repeated decide what is written:

* ``x ** 2`` of a Python float or numpy scalar is C's ``pow``, which is not ``x * x`` in about one case of a thousand.
* ``np.log``, ``np.exp``, ``np.sin`` and ``np.cos`` are numpy's own loops, not C's, and a dot product is BLAS's, whose
  order of summation depends on the processor: they are called at their addresses.
* Since NEP 50 a float32 scalar stays float32 beside a Python float, and becomes float64 beside a numpy float64. With
  float32 actions some rewards take that turn depending on the data, so every symbol carries the conditions under
  which it is a float32 or an np.float64.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from llvmlite import ir

DOUBLE, SINGLE, BIT, WORD = ir.DoubleType(), ir.FloatType(), ir.IntType(1), ir.IntType(64)
POINTER = DOUBLE.as_pointer()
NO, YES = ir.Constant(BIT, 0), ir.Constant(BIT, 1)


class Unsupported(Exception):
    """The code uses something that has no exact translation here."""


class Writer:
    """The function under construction: where the next instruction goes, and under which conditions."""

    def __init__(self, builder: ir.IRBuilder) -> None:
        self.ir = builder
        self.guards: list[ir.Value] = []
        self.failed: ir.Value = NO
        self._functions: dict[str, ir.Function] = {}

    @contextmanager
    def guard(self, condition: Truth) -> Iterator[None]:
        """Failures inside count only where ``condition`` holds; everything else is computed and then selected."""
        self.guards.append(condition.value)
        yield
        self.guards.pop()

    def condition(self) -> Truth | None:
        """All guards together; None where there are none."""
        if not self.guards:
            return None
        here = self.guards[0]
        for condition in self.guards[1:]:
            here = self.ir.and_(here, condition)
        return Truth(self, here)

    def fail(self) -> None:
        """Here the original code raises."""
        here = self.condition()
        self.failed = self.ir.or_(self.failed, YES if here is None else here.value)

    def choose(self, condition: ir.Value, then: ir.Value, other: ir.Value) -> ir.Value:
        """A selection, decided now where it can be."""
        if then is other or condition is YES:
            return then
        return other if condition is NO else self.ir.select(condition, then, other)

    def disjunction(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self.choose(a, YES, b) if a is YES or a is NO or b is not NO else a

    def intrinsic(self, name: str, x: ir.Value) -> ir.Value:
        if name not in self._functions:
            self._functions[name] = self.ir.module.declare_intrinsic(f"llvm.{name}", [DOUBLE])
        return self.ir.call(self._functions[name], [x])

    def power(self, x: ir.Value, y: ir.Value) -> ir.Value:
        function = ir.FunctionType(DOUBLE, [DOUBLE, DOUBLE]).as_pointer()
        return self.ir.call(self.ir.inttoptr(ir.Constant(WORD, POW_ADDRESS), function), [x, y])

    def ufunc(self, name: str, x: ir.Value) -> ir.Value:
        """Numpy's inner loop of ufunc ``name`` over one double."""
        source, target = self._slots(1), self._slots(1)
        self.ir.store(x, source)
        self._run_loop(name, "d->d", [source, target], [1], [8, 8])
        return self.ir.load(target)

    def dot(self, x: Sequence[ir.Value]) -> ir.Value:
        """``x.dot(x)``: BLAS decides the order of the sum and whether products are fused, so BLAS is called."""
        source, target = self._slots(len(x)), self._slots(1)
        for i, item in enumerate(x):
            self.ir.store(item, self.ir.gep(source, [ir.Constant(WORD, i)]))
        # One row of len(x) numbers; the steps from row to row do not matter, then those from number to number.
        self._run_loop("vecdot", "dd->d", [source, source, target], [1, len(x)], [0, 0, 0, 8, 8])
        return self.ir.load(target)

    def _slots(self, n: int, kind: ir.Type = DOUBLE) -> ir.Value:
        entry = self.ir.function.entry_basic_block
        with self.ir.goto_block(entry):  # stack slots belong to the start of a function
            self.ir.position_at_start(entry)
            return self.ir.alloca(kind, n)

    def _run_loop(self, name: str, types: str, arrays: Sequence[ir.Value], sizes: list[int], steps: list[int]) -> None:
        """Call the inner loop of ufunc ``name``: ``loop(char** arrays, intp* sizes, intp* steps, void* data)``."""
        loop, data = ufunc_loop(name, types)
        pointers, numbers = self._slots(len(arrays), POINTER), self._slots(len(sizes) + len(steps), WORD)
        for i, array in enumerate(arrays):
            self.ir.store(array, self.ir.gep(pointers, [ir.Constant(WORD, i)]))
        for i, number in enumerate((*sizes, *steps)):
            self.ir.store(ir.Constant(WORD, number), self.ir.gep(numbers, [ir.Constant(WORD, i)]))
        words = WORD.as_pointer()
        function = ir.FunctionType(ir.VoidType(), [POINTER.as_pointer(), words, words, WORD]).as_pointer()
        address = self.ir.inttoptr(ir.Constant(WORD, loop), function)
        strides = self.ir.gep(numbers, [ir.Constant(WORD, len(sizes))])
        self.ir.call(address, [pointers, numbers, strides, ir.Constant(WORD, data)])


class Truth:
    """A condition that is only known when the code runs."""

    def __init__(self, writer: Writer, value: ir.Value) -> None:
        self.writer = writer
        self.value = value

    def __bool__(self) -> bool:
        raise Unsupported("a condition on run-time data outside the statements that are translated")

    def number(self) -> Symbol:
        """``float(condition)``."""
        return Symbol(self.writer, self.writer.ir.uitofp(self.value, DOUBLE))

    def __invert__(self) -> Truth:
        return Truth(self.writer, self.writer.ir.not_(self.value))

    def __and__(self, other: Truth) -> Truth:
        return Truth(self.writer, self.writer.ir.and_(self.value, other.value))

    def __or__(self, other: Truth) -> Truth:
        return Truth(self.writer, self.writer.ir.or_(self.value, other.value))


class Symbol:
    """A float that is only known when the code runs, and the conditions that decide its type.

    Attributes:
        value: the number, as a double, which also holds every float32.
        strong: it is an ``np.float64``.
        single: it is an ``np.float32``; where neither holds it is a Python number.
    """

    def __init__(self, writer: Writer, value: ir.Value, strong: ir.Value = NO, single: ir.Value = NO) -> None:
        self.writer = writer
        self.value = value
        self.strong = strong
        self.single = single

    def as_weak(self) -> Symbol:
        """``float(x)``."""
        return Symbol(self.writer, self.value)

    def item(self) -> Symbol:
        return self.as_weak()

    def as_numpy(self) -> Symbol:
        """As numpy's functions return it: np.float32 if it is one, else np.float64."""
        strong = YES if self.single is NO else self.writer.choose(self.single, NO, YES)
        return Symbol(self.writer, self.value, strong, self.single)

    def __bool__(self) -> bool:
        raise Unsupported("a condition on run-time data outside the statements that are translated")

    def __float__(self) -> float:
        raise Unsupported("a run-time number where a constant is needed")

    def lift(self, other: Any) -> Symbol:
        """``other``, a number or a symbol, as a symbol."""
        return lift(self.writer, other)

    def _arithmetic(self, other: Any, name: str, swap: bool = False) -> Any:
        if isinstance(other, np.ndarray):
            return NotImplemented  # the array's own operator goes element by element
        a, b = (self.lift(other), self) if swap else (self, self.lift(other))
        build = self.writer.ir
        emit = getattr(build, name)
        value = emit(a.value, b.value)
        strong, single = self._common_type(a, b)
        if single is not NO:
            # In float32 the operands are rounded first; a double holds the rounded result exactly.
            short = emit(build.fptrunc(a.value, SINGLE), build.fptrunc(b.value, SINGLE))
            value = self.writer.choose(single, build.fpext(short, DOUBLE), value)
        return Symbol(self.writer, value, strong, single)

    def _common_type(self, a: Symbol, b: Symbol) -> tuple[ir.Value, ir.Value]:
        """NEP 50: np.float64 wins over np.float32, which wins over a Python number."""
        strong = self.writer.disjunction(a.strong, b.strong)
        single = self.writer.disjunction(a.single, b.single)
        return strong, self.writer.choose(strong, NO, single)

    def __add__(self, other: Any) -> Any:
        return self._arithmetic(other, "fadd")

    def __radd__(self, other: Any) -> Any:
        return self._arithmetic(other, "fadd", swap=True)

    def __sub__(self, other: Any) -> Any:
        return self._arithmetic(other, "fsub")

    def __rsub__(self, other: Any) -> Any:
        return self._arithmetic(other, "fsub", swap=True)

    def __mul__(self, other: Any) -> Any:
        return self._arithmetic(other, "fmul")

    def __rmul__(self, other: Any) -> Any:
        return self._arithmetic(other, "fmul", swap=True)

    def __truediv__(self, other: Any) -> Any:
        return self._arithmetic(other, "fdiv")

    def __rtruediv__(self, other: Any) -> Any:
        return self._arithmetic(other, "fdiv", swap=True)

    def __pow__(self, other: float) -> Symbol:
        self.refuse_single("a power")
        return Symbol(self.writer, self.writer.power(self.value, self.lift(other).value), self.strong)

    def __neg__(self) -> Symbol:
        return Symbol(self.writer, self.writer.ir.fneg(self.value), self.strong, self.single)

    def __abs__(self) -> Symbol:
        return Symbol(self.writer, self.writer.intrinsic("fabs", self.value), self.strong, self.single)

    def sqrt(self) -> Symbol:
        """Found by name when ``np.sqrt`` meets an array of symbols."""
        self.refuse_single("a square root")
        return Symbol(self.writer, self.writer.intrinsic("sqrt", self.value), YES)

    def ufunc(self, name: str) -> Symbol:
        self.refuse_single(f"np.{name}")
        return Symbol(self.writer, self.writer.ufunc(name, self.value), YES)

    def refuse_single(self, what: str) -> None:
        """Raise Unsupported if this may be a float32."""
        if self.single is not NO:
            raise Unsupported(f"{what} of a float32")

    def _compare(self, other: Any, operator: str) -> Truth:
        b = self.lift(other)
        build = self.writer.ir
        compare = build.fcmp_unordered if operator == "!=" else build.fcmp_ordered
        found = compare(operator, self.value, b.value)
        _, single = self._common_type(self, b)
        if single is not NO:
            short = compare(operator, build.fptrunc(self.value, SINGLE), build.fptrunc(b.value, SINGLE))
            found = self.writer.choose(single, short, found)
        return Truth(self.writer, found)

    def __lt__(self, other: Any) -> Truth:
        return self._compare(other, "<")

    def __le__(self, other: Any) -> Truth:
        return self._compare(other, "<=")

    def __gt__(self, other: Any) -> Truth:
        return self._compare(other, ">")

    def __ge__(self, other: Any) -> Truth:
        return self._compare(other, ">=")

    def __eq__(self, other: object) -> Truth:  # type: ignore[override]  # numpy's arrays do the same
        return self._compare(other, "==")

    def __ne__(self, other: object) -> Truth:  # type: ignore[override]
        return self._compare(other, "!=")

    __hash__ = None  # type: ignore[assignment]


class Optional(Symbol):
    """A number or None, which is kept as NaN."""

    def missing(self) -> Truth:
        return self != self.as_weak()


def lift(writer: Writer, number: Any) -> Symbol:
    """A constant as a symbol: Python numbers are weak, numpy's float64 is strong."""
    if isinstance(number, Symbol):
        return number
    if isinstance(number, np.float64):
        return Symbol(writer, ir.Constant(DOUBLE, float(number)), YES)
    if isinstance(number, (bool, int, float)):
        return Symbol(writer, ir.Constant(DOUBLE, float(number)))
    raise Unsupported(f"a number of type {type(number).__name__}")


def select(condition: Truth, then: Any, other: Any) -> Any:
    """``then if condition else other`` for numbers, conditions, and arrays and tuples of them."""
    if then is other:
        return then
    if isinstance(then, np.ndarray) or isinstance(other, np.ndarray):
        pairs = [select(condition, a, b) for a, b in zip(then.flat, other.flat, strict=True)]
        return objects(pairs).reshape(then.shape)
    if isinstance(then, tuple):
        return tuple(select(condition, a, b) for a, b in zip(then, other, strict=True))
    writer = condition.writer
    if isinstance(then, Truth | bool) and isinstance(other, Truth | bool):
        a, b = (x.value if isinstance(x, Truth) else ir.Constant(BIT, int(x)) for x in (then, other))
        return Truth(writer, writer.ir.select(condition.value, a, b))
    x, y = lift(writer, then), lift(writer, other)
    parts = ((x.value, y.value), (x.strong, y.strong), (x.single, y.single))
    return Symbol(writer, *(writer.choose(condition.value, a, b) for a, b in parts))


def objects(items: Sequence[Any]) -> Any:
    """A one-dimensional array of symbols."""
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def _pow_address() -> int:
    library = ctypes.CDLL(ctypes.util.find_library("m"))
    address = ctypes.cast(library.pow, ctypes.c_void_p).value
    assert address is not None
    return address


POW_ADDRESS = _pow_address()


class _UFuncObject(ctypes.Structure):
    """The head of numpy's ``PyUFuncObject`` (numpy/_core/include/numpy/ufuncobject.h)."""

    _fields_ = (
        ("head", ctypes.c_char * object.__basicsize__),
        ("nin_nout_nargs_identity", ctypes.c_int * 4),
        ("functions", ctypes.POINTER(ctypes.c_void_p)),
        ("data", ctypes.POINTER(ctypes.c_void_p)),
    )


def ufunc_loop(name: str, types: str) -> tuple[int, int]:
    """Addresses of the inner loop of ``np.<name>`` for ``types`` and of its data."""
    ufunc: Any = getattr(np, name)
    position = ufunc.types.index(types)
    head = _UFuncObject.from_address(id(ufunc))
    return head.functions[position] or 0, (head.data[position] or 0) if head.data else 0
