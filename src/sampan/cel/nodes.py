"""The tree of an expression. ``at``: where faults point. ``type`` and what calls resolve to are the checker's.

Comprehensions stay nodes of their own, and are not expanded into folds as cel-go does: they run faster, and read
better. The checker and the costs treat them as what cel-go would have made of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import Any

from sampan.cel.functions import Overload
from sampan.cel.types import DYN, Type
from sampan.records import dataclass


@dataclass(slots=True, eq=False, kw_only=True)
class Node:
    at: int
    type: Type = DYN
    #: the type as it was declared, with its hints, where the value comes straight from a variable
    declared: Type | None = None

    def children(self) -> Iterator[Node]:
        return iter(())


@dataclass(slots=True, eq=False)
class Literal(Node):
    value: Any


@dataclass(slots=True, eq=False)
class Ident(Node):
    name: str
    #: the type that it is the name of
    named: Type | None = None


@dataclass(slots=True, eq=False)
class Select(Node):
    """``operand.field``; ``test``: has(operand.field); ``optional``: operand.?field. ``key``: the field in the data."""

    operand: Node
    field: str
    test: bool = False
    optional: bool = False
    key: str = ""
    #: the type that the whole is the name of; or the variable
    named: Type | None = None
    variable: str = ""

    def children(self) -> Iterator[Node]:
        yield self.operand


@dataclass(slots=True, eq=False)
class Call(Node):
    """``target``: of a member function. ``optional``: of ``a[?b]``."""

    function: str
    args: list[Node]
    target: Node | None = None
    overloads: list[Overload] = field(default_factory=list)

    def children(self) -> Iterator[Node]:
        if self.target is not None:
            yield self.target
        yield from self.args

    def operands(self) -> list[Node]:
        return [self.target, *self.args] if self.target is not None else self.args


@dataclass(slots=True, eq=False)
class Logic(Node):
    """A run of ``&&`` or ``||``: one node, for a long one must not be a deep one."""

    operator: str
    parts: list[Node]
    parenthesized: bool = False

    def children(self) -> Iterator[Node]:
        return iter(self.parts)


@dataclass(slots=True, eq=False)
class ListLiteral(Node):
    items: list[Node]
    optional: frozenset[int] = frozenset()

    def children(self) -> Iterator[Node]:
        return iter(self.items)


@dataclass(slots=True, eq=False)
class Entry:
    at: int
    key: Node
    value: Node
    optional: bool = False


@dataclass(slots=True, eq=False)
class MapLiteral(Node):
    entries: list[Entry]

    def children(self) -> Iterator[Node]:
        for entry in self.entries:
            yield entry.key
            yield entry.value


@dataclass(slots=True, eq=False)
class FieldEntry:
    at: int
    name: str
    value: Node
    optional: bool = False
    key: str = ""


@dataclass(slots=True, eq=False)
class ObjectLiteral(Node):
    """``Name{field: value}``."""

    name: str
    entries: list[FieldEntry]

    def children(self) -> Iterator[Node]:
        for entry in self.entries:
            yield entry.value


@dataclass(slots=True, eq=False)
class Fold(Node):
    """A comprehension: ``range.kind(variables, [filter,] step)``."""

    kind: str
    range: Node
    variables: list[str]
    step: Node
    filter: Node | None = None

    def children(self) -> Iterator[Node]:
        yield self.range
        if self.filter is not None:
            yield self.filter
        yield self.step


@dataclass(slots=True, eq=False)
class OptionalMap(Node):
    """``target.optMap(variable, step)``; ``flat``: optFlatMap."""

    target: Node
    variable: str
    step: Node
    flat: bool

    def children(self) -> Iterator[Node]:
        yield self.target
        yield self.step


@dataclass(slots=True, eq=False)
class Bind(Node):
    """``cel.bind(variable, value, result)``."""

    variable: str
    value: Node
    result: Node

    def children(self) -> Iterator[Node]:
        yield self.value
        yield self.result
