"""The way in: variables, types and functions under which expressions are compiled, and the programs they become."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sampan.cel import costs
from sampan.cel.checker import Checker
from sampan.cel.compiler import Compiler
from sampan.cel.errors import CelError, CompileError, CostExceeded, EvaluationError
from sampan.cel.estimate import Estimate, estimate
from sampan.cel.functions import Library, collect
from sampan.cel.nodes import Ident, Node, Select
from sampan.cel.parser import parse
from sampan.cel.patterns import is_pattern
from sampan.cel.running import Budget, Run
from sampan.cel.source import Source
from sampan.cel.standard import STANDARD
from sampan.cel.times import parse_duration, parse_timestamp
from sampan.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    UINT,
    Type,
    TypeNames,
    list_of,
    map_of,
)

_TYPES: Final[Mapping[str, Type]] = {
    "bool": BOOL,
    "int": INT,
    "uint": UINT,
    "double": DOUBLE,
    "string": STRING,
    "bytes": BYTES,
    "null_type": NULL,
    "list": list_of(DYN),
    "map": map_of(DYN, DYN),
    "type": Type("type"),
    "google.protobuf.Timestamp": TIMESTAMP,
    "google.protobuf.Duration": DURATION,
}


def _is_duration(text: str) -> bool:
    try:
        parse_duration(text)
    except (ValueError, EvaluationError):
        return False
    return True


def _is_timestamp(text: str) -> bool:
    try:
        parse_timestamp(text)
    except (ValueError, EvaluationError):
        return False
    return True


_VALIDATORS: Final = {"duration": _is_duration, "timestamp": _is_timestamp, "matches": is_pattern}


class Program:
    """A compiled expression. Immutable; may be evaluated by several threads at once."""

    __slots__ = ("_binders", "_code", "_cost", "_slots", "_tree", "references", "result")

    def __init__(self, tree: Node, compiler: Compiler, variables: Mapping[str, Type]) -> None:
        self._tree = tree
        self._code, self._cost = compiler.compile(tree)
        self._slots = compiler.slots
        self.result: Type = tree.type
        #: variables that the expression names
        self.references = frozenset(_names(tree)) & frozenset(variables)
        self._binders = tuple(
            (name, kind.bind) for name, kind in variables.items() if kind.bind is not None and name in self.references
        )

    def evaluate(self, bindings: Mapping[str, Any], budget: Budget) -> Any:
        """The value. Raises EvaluationError; CostExceeded. What it cost is taken off the budget in any case.

        Values of variables whose types bind are made of their data here; only those that the expression names.
        """
        if self._binders:
            bindings = {**bindings, **{name: bind(bindings[name]) for name, bind in self._binders if name in bindings}}
        run = Run(bindings, self._slots, budget.left)
        before = costs.begin(budget.left)
        try:
            run.charge(self._cost)
            return self._code(run)
        except CostExceeded:
            run.left = min(run.left, -1)  # whoever counted it stopped counting: all that was left is spent
            raise
        except CelError:
            raise
        except RecursionError:
            raise EvaluationError("value is nested too deeply") from None
        except Exception as error:  # a value that is not of its declared type is the user's fault, not the server's
            raise EvaluationError("no such overload") from error
        finally:
            costs.end(before)
            budget.left = run.left

    def estimated_cost(self) -> Estimate:
        """The least and the most that an evaluation can cost, by the types' hints."""
        return estimate(self._tree)


class Environment:
    """``variables`` with their types; ``types`` by the names under which expressions make or compare them; ``resolve``
    knows those of names that are not listed."""

    def __init__(
        self,
        variables: Mapping[str, Type],
        libraries: Sequence[Library] = (),
        types: Mapping[str, Type] | None = None,
        resolve: Callable[[str], Type | None] | None = None,
    ) -> None:
        self._variables = dict(variables)
        self._functions = collect([STANDARD, *libraries])
        self._types = TypeNames({**_TYPES, **(types or {})}, resolve)

    def extended(self, variables: Mapping[str, Type], types: Mapping[str, Type] | None = None) -> Environment:
        """With more variables and types, and the same functions."""
        other = Environment.__new__(Environment)
        other._variables = {**self._variables, **variables}
        other._functions = self._functions
        other._types = TypeNames({**self._types.known, **types}, self._types.resolve) if types else self._types
        return other

    def compile(self, expression: str, expected: Type = DYN) -> Program:
        """The program of an expression whose value is of the expected type, or of any (DYN). Raises CompileError."""
        source = Source(expression)
        try:
            tree = parse(source)
            result = Checker(source, self._variables, self._functions, self._types, _VALIDATORS).check(tree)
            if not _allowed(result, expected):
                raise CompileError(f"must evaluate to {expected} but got {result}")
            return Program(tree, Compiler(), self._variables)
        except RecursionError:
            raise CompileError("expression is nested too deeply") from None


def _allowed(result: Type, expected: Type) -> bool:
    return expected.is_dyn or result == expected


def _names(tree: Node) -> set[str]:
    found: set[str] = set()
    left = [tree]
    while left:
        node = left.pop()
        if isinstance(node, Ident):
            found.add(node.name.removeprefix("."))
        if isinstance(node, Select) and node.variable:
            found.add(node.variable)
        left.extend(node.children())
    return found
