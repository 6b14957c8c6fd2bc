"""Rewrites Python functions to run on symbols: both branches run, and conditions select between their results.

Metaworld's own functions are read from its source, rewritten here and run once per class on symbols, which writes the
machine code. Only the syntax that these functions use is supported; anything else raises ``Unsupported``.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import operator
import textwrap
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from kshot.envs.metaworld.engine.symbols import TRUE, Condition, OptionalSymbol, Symbol, Unsupported, Writer, select

_parsing = threading.Lock()
"""Python 3.11 counts the depth of syntax trees per process: two threads that parse at once can get a SystemError."""


def rewrite(function: Callable[..., Any], writer: Writer, replaced: Mapping[str, Any]) -> Callable[..., Any]:
    """A version of ``function`` for symbols.

    Args:
        function: stays as it is.
        writer: writes what the rewritten function computes.
        replaced: global names that mean something else in the rewritten function.
    """
    original = inspect.unwrap(function)
    if original.__name__ == "inner" and original.__closure__:  # metaworld's assert_task_is_set hides the method
        original = next(c.cell_contents for c in original.__closure__ if isinstance(c.cell_contents, FunctionType))
    names: dict[str, Any] = {**original.__globals__, **_operations(writer), **replaced}
    with _parsing:
        code = _code(original)
    exec(code, names)
    rewritten: Callable[..., Any] = names[original.__name__]
    return rewritten


@cache
def _code(function: FunctionType) -> CodeType:
    """The rewritten definition of ``function``, with the line numbers of the original file, for tracebacks."""
    lines, first = inspect.getsourcelines(function)
    tree = ast.parse(textwrap.dedent("".join(lines)))
    ast.increment_lineno(tree, first - 1)
    definition = tree.body[0]
    assert isinstance(definition, ast.FunctionDef)
    definition.decorator_list = []
    definition.returns = None
    for argument in [*definition.args.args, *definition.args.kwonlyargs]:
        argument.annotation = None
    Rewriter().visit(definition)
    return compile(ast.fix_missing_locations(tree), inspect.getfile(function), "exec")


class Rewriter(ast.NodeTransformer):
    """Turns branches and logic into calls of the operations below; drops assertions and annotations."""

    def visit_Assert(self, node: ast.Assert) -> ast.Pass:
        return ast.Pass()

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        return ast.Pass() if node.value is None else ast.Assign(targets=[node.target], value=node.value)

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        """An assignment to an element becomes a call: it must have no effect where its branch is not taken."""
        self.generic_visit(node)
        target = node.targets[0]
        if not isinstance(target, ast.Subscript):
            return node
        part = target.slice
        if isinstance(part, ast.Slice):
            part = _call("slice", part.lower or ast.Constant(None), part.upper or ast.Constant(None))
        return ast.Expr(_call("_overwrite", target.value, part, node.value))

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST | list[ast.stmt]:
        """``x += y`` of an array changes it in place, for whoever else holds it: refused within a branch."""
        self.generic_visit(node)
        if isinstance(node.target, ast.Subscript):
            raise Unsupported("an element that is added to in place")
        if not isinstance(node.target, ast.Name):
            return node
        return [ast.Expr(_call("_refuse_in_branch", ast.Name(node.target.id, ast.Load()))), node]

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return ast.parse("_fail()").body[0]

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        name = "_and" if isinstance(node.op, ast.And) else "_or"
        return _call(name, *(_lambda(value) for value in node.values))

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        return _call("_not", node.operand) if isinstance(node.op, ast.Not) else node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        if len(node.ops) == 1:
            return _call("_is_none", node.left) if ast.unparse(node).endswith(" is None") else node
        sides = [node.left, *node.comparators]
        links = [ast.Compare(a, [op], [b]) for a, op, b in zip(sides, node.ops, sides[1:], strict=False)]
        return _call("_and", *(_lambda(link) for link in links))

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        self.generic_visit(node)
        return _call("_choose", node.test, _lambda(node.body), _lambda(node.orelse))

    def visit_If(self, node: ast.If) -> list[ast.stmt]:
        """Both branches run, each from the variables as they were before; what they assigned is selected afterwards.

        Branches that both end in ``return`` become one return of a selection. A condition on constants only runs the
        branch that is taken, and no other.
        """
        test = node.test
        if isinstance(test, ast.Compare) and ast.unparse(test.left) == "self.reward_function_version":
            # The other version's code is not even read: it assigns attributes and deletes arguments.
            taken = node.body if ast.literal_eval(test.comparators[0]) == "v2" else node.orelse
            return [statement for old in taken for statement in _as_list(self.visit(old))]
        self.generic_visit(node)
        if node.orelse and isinstance(node.body[-1], ast.Return) and isinstance(node.orelse[-1], ast.Return):
            chosen = _parse("return _choose(_t, _then, _else)", _t=node.test)
            return [_define("_then", node.body), _define("_else", node.orelse), *chosen]
        nodes = [n for part in (*node.body, *node.orelse) for n in ast.walk(part)]
        assigned = sorted({n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)})
        names = repr(assigned)
        template = f"""
_test = _condition(_t)
RETURNS
_before = _variables(locals(), {names})
if _test is not False:
    with _guard(_test):
        _BODY
_then = _variables(locals(), {names})
if not _is_constant(_test):
    {", ".join(assigned) + ", = _restored(_before, " + names + ")" if assigned else "pass"}
if _test is not True:
    with _guard(_not(_test)):
        _ELSE
if not _is_constant(_test):
    {", ".join(assigned) + ", = _merged(_test, _then, _variables(locals(), " + names + "))" if assigned else "pass"}
"""
        returns = any(isinstance(n, ast.Return) for n in nodes)
        template = template.replace("RETURNS", "_require_constant(_test)" if returns else "pass")
        # Nested statements use names of their own.
        suffix = f"_{node.lineno}_{node.col_offset}"
        for name in ("_test", "_before", "_then"):
            template = template.replace(name, name + suffix)
        return _parse(template, _t=node.test, _BODY=node.body, _ELSE=node.orelse or [ast.Pass()])


def _call(name: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), list(arguments), [])


def _lambda(expression: ast.expr) -> ast.Lambda:
    """``lambda: expression``, for operations that decide whether and when to evaluate it."""
    return ast.Lambda(ast.arguments([], [], None, [], [], None, []), expression)


def _define(name: str, body: list[ast.stmt]) -> ast.stmt:
    definition = ast.parse(f"def {name}(): pass").body[0]
    assert isinstance(definition, ast.FunctionDef)
    definition.body = body
    return definition


def _as_list(statements: Any) -> list[ast.stmt]:
    return statements if isinstance(statements, list) else [statements]


def _parse(template: str, **parts: Any) -> list[ast.stmt]:
    """The statements of ``template``, with the names in ``parts`` replaced.

    A part is an expression, or a list of statements for a name that is a statement by itself.
    """

    class Fill(ast.NodeTransformer):
        def visit_Expr(self, node: ast.Expr) -> Any:
            if isinstance(node.value, ast.Name) and node.value.id in parts:
                return parts[node.value.id]
            return self.generic_visit(node)

        def visit_Name(self, node: ast.Name) -> Any:
            return parts.get(node.id, node)

    tree = Fill().visit(ast.parse(template))
    body: list[ast.stmt] = tree.body
    return body


_MISSING = object()


def _truth_value(value: Any) -> Any:
    """A symbol as a condition; anything else as it is."""
    return value != 0.0 if isinstance(value, Symbol) else value


def _operations(writer: Writer) -> dict[str, Any]:
    """The operations that rewritten code calls, and the builtins that behave differently on symbols."""

    def condition_of(value: Any) -> bool | Condition:
        truth = _truth_value(value)
        return truth if isinstance(truth, Condition) else bool(truth)

    def require_constant(test: bool | Condition) -> None:
        if not isinstance(test, bool):
            raise Unsupported("a return in one branch only, chosen by run-time data")

    def all_of(*values: Callable[[], Any]) -> Any:
        result: Any = True
        for value in values:
            operand = _truth_value(value())
            if isinstance(operand, Condition) and isinstance(result, Condition):
                result = result & operand
            elif isinstance(operand, Condition):
                result = operand
            elif not operand:
                return False
        return result

    def any_of(*values: Callable[[], Any]) -> Any:
        result: Any = False
        for value in values:
            operand = _truth_value(value())
            if isinstance(operand, Condition) and isinstance(result, Condition):
                result = result | operand
            elif isinstance(operand, Condition):
                result = operand
            elif operand:
                return True
        return result

    def negation(value: Any) -> Any:
        condition = condition_of(value)
        return not condition if isinstance(condition, bool) else ~condition

    def choose(test: Any, then: Callable[[], Any], other: Callable[[], Any]) -> Any:
        """``then() if test else other()``."""
        condition = condition_of(test)
        if isinstance(condition, bool):
            return then() if condition else other()
        with writer.guard(condition):
            first = then()
        with writer.guard(~condition):
            second = other()
        return select(condition, first, second)

    def guard(test: bool | Condition) -> AbstractContextManager[None]:
        return nullcontext() if isinstance(test, bool) else writer.guard(test)

    def variables(scope: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
        return {name: scope[name] for name in names if name in scope}

    def restored(before: Mapping[str, Any], names: list[str]) -> tuple[Any, ...]:
        return tuple(before.get(name, _MISSING) for name in names)

    def merged(test: Condition, then: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[Any, ...]:
        """The variables after both branches, in the order of their names."""

        def merge(name: str) -> Any:
            a, b = then.get(name, _MISSING), other.get(name, _MISSING)
            # A name that one branch leaves unassigned is only used where the other one ran.
            return a if b is _MISSING else b if a is _MISSING else select(test, a, b)

        return tuple(merge(name) for name in sorted(then.keys() | other.keys()))

    def refuse_in_branch(value: Any) -> None:
        if isinstance(value, np.ndarray) and writer.condition() is not None:
            raise Unsupported("an array that is changed in place in one branch")

    def overwrite(array: Any, part: Any, value: Any) -> None:
        """``array[part] = value`` where the branch is taken."""
        condition = writer.condition()
        if isinstance(value, Symbol):
            value = Symbol(writer, value.value, strong=TRUE)  # the arrays of the translated code hold float64
        array[part] = value if condition is None else select(condition, value, array[part])

    def to_float(value: Any) -> Any:
        if isinstance(value, Condition):
            return value.number()
        return value.as_weak() if isinstance(value, Symbol) else float(value)

    def to_bool(value: Any) -> Any:
        return condition_of(value)

    def extreme(better: Callable[[Any, Any], Any]) -> Callable[..., Any]:
        """``min`` or ``max``: of several numbers, the first that no later one is ``better`` than."""

        def pick(*items: Any) -> Any:
            best, *others = items if len(items) > 1 else items[0]
            for other in others:
                best = choose(better(other, best), lambda o=other: o, lambda b=best: b)  # type: ignore[misc]
            return best

        return pick

    return {
        "_condition": condition_of,
        "_is_none": lambda value: value.is_none() if isinstance(value, OptionalSymbol) else value is None,
        "_is_constant": lambda test: isinstance(test, bool),
        "_require_constant": require_constant,
        "_and": all_of,
        "_or": any_of,
        "_not": negation,
        "_choose": choose,
        "_guard": guard,
        "_variables": variables,
        "_restored": restored,
        "_merged": merged,
        "_refuse_in_branch": refuse_in_branch,
        "_overwrite": overwrite,
        "_fail": writer.fail,
        "float": to_float,
        "bool": to_bool,
        "max": extreme(operator.gt),
        "min": extreme(operator.lt),
        "__builtins__": builtins,
    }
