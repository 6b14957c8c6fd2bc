"""Symbolic numbers: arithmetic on them writes machine code that gives the same bits as Python's and numpy's arithmetic.

A ``Symbol`` stands for a number that is only known when the code runs. Adding two of them appends an addition to a
function under construction (LLVM, strict IEEE: nothing is reordered, contracted or approximated). To give the same
bits, the code follows three facts:

* ``x ** 2`` of a Python float or numpy scalar is C's ``pow``, which differs from ``x * x`` in about one case of a
  thousand.
* ``np.log``, ``np.exp``, ``np.sin`` and ``np.cos`` are numpy's own loops, not C's, and a dot product is BLAS's, whose
  order of summation depends on the processor. The code calls them at their addresses.
* Since NEP 50 a float32 scalar stays float32 in arithmetic with a Python float, and becomes float64 with an np.float64.
  With float32 actions, the type of some rewards therefore depends on the data. Every symbol carries the conditions
  under which it is an np.float32 or an np.float64.
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
FALSE, TRUE = ir.Constant(BIT, 0), ir.Constant(BIT, 1)


class Unsupported(Exception):
    """The Python code uses something that has no exact translation."""


class Writer:
    """Writes the function under construction, instruction by instruction.

    Attributes:
        ir: LLVM's builder, which appends instructions.
        guards: conditions of the branches that are being written.
        failed: whether the original code would have raised so far.
    """

    def __init__(self, builder: ir.IRBuilder) -> None:
        self.ir = builder
        self.guards: list[ir.Value] = []
        self.failed: ir.Value = FALSE
        self._functions: dict[str, ir.Function] = {}

    @contextmanager
    def guard(self, condition: Condition) -> Iterator[None]:
        """A branch that the original takes where ``condition`` holds.

        The translated code runs it in any case. ``fail`` inside it counts only under the condition, and what else the
        branch computes is selected by it afterwards.
        """
        self.guards.append(condition.value)
        yield
        self.guards.pop()

    def condition(self) -> Condition | None:
        """Whether the original reaches this point: all guards together; None where there are none."""
        if not self.guards:
            return None
        reached = self.guards[0]
        for condition in self.guards[1:]:
            reached = self.ir.and_(reached, condition)
        return Condition(self, reached)

    def fail(self) -> None:
        """Note that the original raises at this point, if it reaches it."""
        reached = self.condition()
        self.failed = self.ir.or_(self.failed, TRUE if reached is None else reached.value)

    def choose(self, condition: ir.Value, then: ir.Value, other: ir.Value) -> ir.Value:
        """``then if condition else other``, without an instruction where the condition is a constant."""
        if then is other or condition is TRUE:
            return then
        return other if condition is FALSE else self.ir.select(condition, then, other)

    def either(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """``a or b``, without an instruction where one of them is a constant."""
        return self.choose(a, TRUE, b) if a is TRUE or a is FALSE or b is not FALSE else a

    def intrinsic(self, name: str, x: ir.Value) -> ir.Value:
        """LLVM's own function ``name`` of a double, such as "sqrt"."""
        if name not in self._functions:
            self._functions[name] = self.ir.module.declare_intrinsic(f"llvm.{name}", [DOUBLE])
        return self.ir.call(self._functions[name], [x])

    def power(self, x: ir.Value, y: ir.Value) -> ir.Value:
        """C's ``pow``."""
        function = ir.FunctionType(DOUBLE, [DOUBLE, DOUBLE]).as_pointer()
        return self.ir.call(self.ir.inttoptr(ir.Constant(WORD, POW_ADDRESS), function), [x, y])

    def ufunc(self, name: str, x: ir.Value) -> ir.Value:
        """``np.<name>(x)``, by numpy's inner loop for doubles."""
        source, target = self._slots(1), self._slots(1)
        self.ir.store(x, source)
        self._run_loop(name, "d->d", [source, target], [1], [8, 8])
        return self.ir.load(target)

    def dot(self, x: Sequence[ir.Value]) -> ir.Value:
        """``x.dot(x)``, by BLAS: it decides the order of the sum and whether products are fused."""
        source, target = self._slots(len(x)), self._slots(1)
        for i, item in enumerate(x):
            self.ir.store(item, self.ir.gep(source, [ir.Constant(WORD, i)]))
        # One row of len(x) numbers; the steps from row to row do not matter, then those from number to number.
        self._run_loop("vecdot", "dd->d", [source, source, target], [1, len(x)], [0, 0, 0, 8, 8])
        return self.ir.load(target)

    def _slots(self, n: int, kind: ir.Type = DOUBLE) -> ir.Value:
        """Pointer to ``n`` values on the stack."""
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


class Condition:
    """A truth value that is only known when the code runs."""

    def __init__(self, writer: Writer, value: ir.Value) -> None:
        self.writer = writer
        self.value = value

    def __bool__(self) -> bool:
        raise Unsupported("a condition on run-time data outside the statements that are translated")

    def number(self) -> Symbol:
        """``float(condition)``."""
        return Symbol(self.writer, self.writer.ir.uitofp(self.value, DOUBLE))

    def __invert__(self) -> Condition:
        return Condition(self.writer, self.writer.ir.not_(self.value))

    def __and__(self, other: Condition) -> Condition:
        return Condition(self.writer, self.writer.ir.and_(self.value, other.value))

    def __or__(self, other: Condition) -> Condition:
        return Condition(self.writer, self.writer.ir.or_(self.value, other.value))


class Symbol:
    """A float that is only known when the code runs, and the conditions that decide its type.

    Attributes:
        value: the number, as a double, which also holds every float32.
        strong: whether it is an ``np.float64``, which decides the type of a result.
        single: whether it is an ``np.float32``. A number that is neither is a Python number ("weak" in NEP 50).
    """

    def __init__(self, writer: Writer, value: ir.Value, strong: ir.Value = FALSE, single: ir.Value = FALSE) -> None:
        self.writer = writer
        self.value = value
        self.strong = strong
        self.single = single

    def as_weak(self) -> Symbol:
        """``float(x)``: the same number as a Python number."""
        return Symbol(self.writer, self.value)

    def item(self) -> Symbol:
        return self.as_weak()

    def as_numpy(self) -> Symbol:
        """The number with the type that numpy's functions return: np.float32 if it is one, else np.float64."""
        strong = TRUE if self.single is FALSE else self.writer.choose(self.single, FALSE, TRUE)
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
        if single is not FALSE:
            # In float32 the operands are rounded first; a double holds the rounded result exactly.
            in_single = emit(build.fptrunc(a.value, SINGLE), build.fptrunc(b.value, SINGLE))
            value = self.writer.choose(single, build.fpext(in_single, DOUBLE), value)
        return Symbol(self.writer, value, strong, single)

    def _common_type(self, a: Symbol, b: Symbol) -> tuple[ir.Value, ir.Value]:
        """Whether a result is an np.float64, and an np.float32: the former wins over the latter, that over Python's."""
        strong = self.writer.either(a.strong, b.strong)
        single = self.writer.either(a.single, b.single)
        return strong, self.writer.choose(strong, FALSE, single)

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
        """Square root; ``np.sqrt`` calls this method of the elements of an object array."""
        self.refuse_single("a square root")
        return Symbol(self.writer, self.writer.intrinsic("sqrt", self.value), TRUE)

    def ufunc(self, name: str) -> Symbol:
        """``np.<name>(x)``."""
        self.refuse_single(f"np.{name}")
        return Symbol(self.writer, self.writer.ufunc(name, self.value), TRUE)

    def refuse_single(self, what: str) -> None:
        """Raise Unsupported if this may be a float32."""
        if self.single is not FALSE:
            raise Unsupported(f"{what} of a float32")

    def _compare(self, other: Any, operator: str) -> Condition:
        b = self.lift(other)
        build = self.writer.ir
        compare = build.fcmp_unordered if operator == "!=" else build.fcmp_ordered
        result = compare(operator, self.value, b.value)
        _, single = self._common_type(self, b)
        if single is not FALSE:
            in_single = compare(operator, build.fptrunc(self.value, SINGLE), build.fptrunc(b.value, SINGLE))
            result = self.writer.choose(single, in_single, result)
        return Condition(self.writer, result)

    def __lt__(self, other: Any) -> Condition:
        return self._compare(other, "<")

    def __le__(self, other: Any) -> Condition:
        return self._compare(other, "<=")

    def __gt__(self, other: Any) -> Condition:
        return self._compare(other, ">")

    def __ge__(self, other: Any) -> Condition:
        return self._compare(other, ">=")

    def __eq__(self, other: object) -> Condition:  # type: ignore[override]  # numpy's arrays do the same
        return self._compare(other, "==")

    def __ne__(self, other: object) -> Condition:  # type: ignore[override]
        return self._compare(other, "!=")

    __hash__ = None  # type: ignore[assignment]


class OptionalSymbol(Symbol):
    """A number or None, which NaN stands for."""

    def is_none(self) -> Condition:
        return self != self.as_weak()


def lift(writer: Writer, number: Any) -> Symbol:
    """A constant as a symbol of its type; symbols stay as they are. Raises Unsupported for other types."""
    if isinstance(number, Symbol):
        return number
    if isinstance(number, np.float64):
        return Symbol(writer, ir.Constant(DOUBLE, float(number)), TRUE)
    if isinstance(number, (bool, int, float)):
        return Symbol(writer, ir.Constant(DOUBLE, float(number)))
    raise Unsupported(f"a number of type {type(number).__name__}")


def select(condition: Condition, then: Any, other: Any) -> Any:
    """``then if condition else other``, for numbers and conditions, and elementwise for arrays and tuples of them."""
    if then is other:
        return then
    if isinstance(then, np.ndarray) or isinstance(other, np.ndarray):
        pairs = [select(condition, a, b) for a, b in zip(then.flat, other.flat, strict=True)]
        return symbol_array(pairs).reshape(then.shape)
    if isinstance(then, tuple):
        return tuple(select(condition, a, b) for a, b in zip(then, other, strict=True))
    writer = condition.writer
    if isinstance(then, Condition | bool) and isinstance(other, Condition | bool):
        a, b = (x.value if isinstance(x, Condition) else ir.Constant(BIT, int(x)) for x in (then, other))
        return Condition(writer, writer.ir.select(condition.value, a, b))
    x, y = lift(writer, then), lift(writer, other)
    parts = ((x.value, y.value), (x.strong, y.strong), (x.single, y.single))
    return Symbol(writer, *(writer.choose(condition.value, a, b) for a, b in parts))


def symbol_array(items: Sequence[Any]) -> Any:
    """A one-dimensional numpy array (of dtype object) of symbols."""
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
    """Addresses of the inner loop of ``np.<name>`` for ``types``, such as "d->d", and of the loop's data."""
    ufunc: Any = getattr(np, name)
    position = ufunc.types.index(types)
    head = _UFuncObject.from_address(id(ufunc))
    return head.functions[position] or 0, (head.data[position] or 0) if head.data else 0
