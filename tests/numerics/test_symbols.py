"""The translator of Metaworld's code: numbers and types as Python and numpy have them, or a refusal."""

from __future__ import annotations

import itertools
import linecache
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from kshot.envs.metaworld.engine import library
from kshot.envs.metaworld.engine.exactness import compile_function
from kshot.envs.metaworld.engine.rewriting import rewrite
from kshot.envs.metaworld.engine.symbols import FALSE, TRUE, Condition, Symbol, Unsupported
from kshot.types import Array

TYPES = {float: (FALSE, FALSE), np.float64: (TRUE, FALSE), np.float32: (FALSE, TRUE)}
"""(strong, single) of a symbol that stands for a number of the type."""
RAISED = "the original raises"


def translated(function: Callable[..., Any], *types: type, n_outputs: int = 1) -> Callable[..., Any]:
    """``function`` for symbols of these types, as machine code; results bear the types that the translation found."""

    def body(x: Array) -> list[Any]:
        writer = x[0].writer
        inputs = [Symbol(writer, item.value, *TYPES[kind]) for item, kind in zip(x, types, strict=True)]
        found = rewrite(function, writer, {"np": library.numpy})(*inputs)
        parts: list[Any] = []
        for item in found if n_outputs > 1 else [found]:
            symbol = item.number() if isinstance(item, Condition) else x[0].lift(item)
            parts += [symbol.as_weak(), Condition(writer, symbol.strong), Condition(writer, symbol.single)]
        return [*parts, Condition(writer, writer.failed)]

    run = compile_function(body, len(types), 3 * n_outputs + 1)

    def call(*values: float) -> Any:
        *parts, failed = run(np.array(values, dtype=np.float64))
        if failed:
            return RAISED
        results = [
            np.float64(value) if strong else np.float32(value) if single else float(value)
            for value, strong, single in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
        ]
        return results[0] if n_outputs == 1 else results

    return call


def same(a: Any, b: Any) -> bool:
    """Equal in type and bits; a Python int counts as the float that the machine code keeps it as."""
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, str) or isinstance(b, str):
        return bool(a == b)
    a, b = (float(x) if isinstance(x, (bool, int)) else x for x in (a, b))
    return type(a) is type(b) and np.float64(a).tobytes() == np.float64(b).tobytes()


def check(function: Callable[..., Any], *arguments: Any, n_outputs: int = 1) -> None:
    """The machine code for arguments of these types gives what Python gives."""
    run = translated(function, *map(type, arguments), n_outputs=n_outputs)
    try:
        expected = function(*arguments)
    except ValueError:
        expected = RAISED
    found = run(*map(float, arguments))
    listed = list(expected) if n_outputs > 1 else expected
    assert same(found, listed), f"{function.__name__}{arguments}: {found!r}, Python has {listed!r}"


def mixed(x, y):
    return 0.1 * x + (x - y) / 3


@pytest.mark.parametrize("kinds", list(itertools.product(TYPES, repeat=2)))
def test_numbers_have_the_type_that_nep_50_gives_them(kinds: tuple[type, type]) -> None:
    """Float32 actions stay float32 beside Python's numbers, and the reward's last digits with them."""
    for a, b in [(0.7, 0.1), (1 / 3, -2.5), (1e-3, 7.0)]:
        check(mixed, kinds[0](a), kinds[1](b))


def either_type(x, y, z):
    chosen = x if z > 0 else y
    return chosen * 0.1 + 0.3


def test_a_type_that_depends_on_the_data() -> None:
    """As in rewards that multiply by the action in one branch only."""
    for x, y in itertools.product((np.float32(0.7), np.float64(0.7), 0.7), repeat=2):
        for z in (-1.0, 1.0):
            check(either_type, x, y, z)


def below(x, y):
    return 1.0 if x < y else 1.0 if x == y else 0.0


def test_a_float32_is_compared_in_its_own_precision() -> None:
    """np.float32(0.1) equals 0.1 and lies above np.float64(0.1)."""
    assert np.float32(0.1) == 0.1 and np.float32(0.1) > np.float64(0.1)
    for a, b in itertools.product((np.float32(0.1), np.float64(0.1), 0.1, np.float32(0.2)), repeat=2):
        check(below, a, b)


def smallest(x, y, z):
    return min(x, y, z)


def largest(x, y, z):
    return max(x, y, z)


def clipped(x, y, z):
    return np.clip(x, 0.0, 1.0) + y * z


def clipped_from_negative_zero(x, y, z):
    return np.clip(x, -0.0, 1.0)


def clipped_array(x, y, z):
    low, high = np.array([-1.0, 0.0, -0.0]), np.array([-0.0, 1.0, 0.0])
    return np.clip(np.array([x, y, z]), low, high)


def magnitude(x, y, z):
    return -abs(x)


@pytest.mark.parametrize("function", [smallest, largest, clipped, clipped_from_negative_zero, magnitude])
def test_ties_and_the_signs_of_zeros(function: Callable[..., Any]) -> None:
    """Of equal numbers Python's min and max take the first, and np.clip of a number the number: -0.0 shows it."""
    for values in itertools.product((0.0, -0.0, 1.0), repeat=3):
        check(function, *map(np.float64, values))


def test_a_bound_in_an_array_wins_a_tie() -> None:
    """As in the clipping of observations, whose hidden goal lies between zero and zero."""
    for values in itertools.product((0.0, -0.0, 2.0), repeat=3):
        check(clipped_array, *map(np.float64, values), n_outputs=3)


def test_min_and_max_keep_the_type_of_the_one_they_take() -> None:
    for function in (smallest, largest):
        for values in itertools.permutations((np.float32(0.1), 0.1, np.float64(0.3))):
            check(function, *values)


def square(x):
    return x**2


def test_a_power_is_that_of_c() -> None:
    """``pow(x, 2)`` is not ``x * x`` for about one number of a thousand."""
    numbers = np.random.default_rng(0).uniform(0.0, 2.0, 20_000)
    for kind in (float, np.float64):
        run = translated(square, kind)
        assert all(same(run(x), kind(x) ** 2) for x in numbers)


def nested(x, y, z):
    result = 0.5
    if x > y:
        if y > z:
            result = x * 2
            extra = 1.0
        else:
            extra = y
        result = result + extra
    elif z > 0:
        result = z
    return result


def test_nested_branches() -> None:
    """An assignment of a branch that is not taken must not be seen, nor one of the branch before it."""
    for values in itertools.product((-1.0, 0.25, 3.0), repeat=3):
        check(nested, *map(np.float64, values))


def two_returns(x, y):
    if x > y:
        return x
    else:
        return y * 2


def early_return(x, y):
    if x > y:
        return x
    return y * 2


def test_a_return_in_one_branch_only_is_refused() -> None:
    """The code after it would run in any case."""
    for values in [(1.0, 2.0), (2.0, 1.0)]:
        check(two_returns, *map(np.float64, values))
    with pytest.raises(Unsupported, match="return in one branch"):
        translated(early_return, np.float64, np.float64)


def filled(x, y):
    parts = np.zeros(3)
    parts[0] = y
    if x > 0:
        parts[0] = x
        parts[1:3] = np.array([x, y])
        if y > 0:
            parts[2] = x * y
    return parts


def test_elements_are_overwritten_only_where_the_branch_is_taken() -> None:
    """An array is changed in place, so that nothing would bring the old element back afterwards."""
    for values in itertools.product((-1.5, 0.5), repeat=2):
        check(filled, *map(np.float64, values), n_outputs=3)


def refusing(x, y):
    if x > 0:
        if y > 0:
            raise ValueError("both")
        x = x + 1.0
    return x


def test_arrays_are_not_changed_in_place_in_one_branch() -> None:
    """Both branches run, so the other one would see the change."""

    def scaled(x: float) -> Any:
        pair = np.array([x, x])
        if x > 0:
            pair *= 2.0
        return pair[0]

    with pytest.raises(Unsupported, match="changed in place"):
        translated(scaled, np.float64)


def test_an_error_counts_only_where_its_branch_is_taken() -> None:
    """Otherwise a check for impossible states would stop every episode, or none."""
    for values in itertools.product((-1.5, 0.5), repeat=2):
        check(refusing, *map(np.float64, values))


def chained(x, y, z):
    inside = 1.0 if x < y <= z else 0.0
    return inside + (2.0 if not (x < y and y < z) else 0.0) + (4.0 if x > y or y > z else 0.0)


def test_chained_comparisons_and_logic() -> None:
    for values in itertools.product((0.0, 1.0, 2.0), repeat=3):
        check(chained, *map(np.float64, values))


def root(x):
    return x**2


def looping(x):
    while x > 1:
        x = x / 2
    return x


def indexed(x):
    return [1.0, 2.0][int(x)]


@pytest.mark.parametrize(("function", "kind"), [(root, np.float32), (looping, np.float64), (indexed, np.float64)])
def test_what_has_no_exact_translation_is_refused(function: Callable[..., Any], kind: type) -> None:
    """A new release of Metaworld may use it: better no engine than another reward."""
    with pytest.raises((Unsupported, TypeError)):
        translated(function, kind)


NAMES = ("x", "y", "z")
leaves = st.sampled_from([*NAMES, "t", "u", "0.1", "-0.0", "2", "1.5"])


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    binary = st.builds("({} {} {})".format, inner, st.sampled_from("+-*"), inner)
    # Python's floats refuse a division by zero, which numpy's do not.
    quotient = st.builds("({} / (abs({}) + 1.0))".format, inner, inner)
    unary = st.builds("{}({})".format, st.sampled_from(["-", "abs", "float"]), inner)
    extreme = st.builds("{}({}, {})".format, st.sampled_from(["min", "max"]), inner, inner)
    test = st.builds("{} {} {}".format, inner, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), inner)
    chosen = st.builds("({} if {} else {})".format, inner, test, inner)
    return binary | quotient | unary | extreme | chosen


expressions = st.recursive(leaves, _grow, max_leaves=6)
assignments = st.builds("{} = {}".format, st.sampled_from(["t", "u"]), expressions)


def _indented(lines: list[str]) -> str:
    return "\n".join(f"    {line}" for part in lines for line in part.split("\n"))


def _branch(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    body = st.lists(inner, min_size=1, max_size=3).map(_indented)
    condition = st.builds("{} {} {}".format, expressions, st.sampled_from(["<", ">="]), expressions)
    return st.builds("if {}:\n{}\nelse:\n{}".format, condition, body, body)


programs = st.lists(st.recursive(assignments, _branch, max_leaves=5), min_size=1, max_size=4).map(
    lambda lines: f"def program(x, y, z):\n    t, u = x, 0.3\n{_indented(lines)}\n    return t + u"
)
numbers = st.floats(-8, 8, width=32) | st.sampled_from([0.0, -0.0, 1.0])


def _defined(source: str) -> Callable[..., Any]:
    """The function, with its source where ``inspect`` finds it."""
    name = f"<program {hash(source)}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    scope: dict[str, Any] = {}
    exec(compile(source, name, "exec"), scope)
    function: Callable[..., Any] = scope["program"]
    return function


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(programs, st.tuples(*[st.sampled_from(list(TYPES))] * 3), st.lists(st.tuples(*[numbers] * 3), min_size=4))
def test_any_program_gives_what_python_gives(
    source: str, kinds: tuple[type, type, type], values: list[tuple[float, float, float]]
) -> None:
    """Random programs meet combinations of types and branches that today's rewards do not, and tomorrow's may."""
    function = _defined(source)
    run = translated(function, *kinds)
    with np.errstate(all="ignore"):
        for row in values:
            arguments = [kind(value) for kind, value in zip(kinds, row, strict=True)]
            assert same(run(*row), function(*arguments))
