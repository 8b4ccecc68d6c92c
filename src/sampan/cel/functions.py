"""Functions of the language: overloads by types, with what they do and what they cost.

A library is a tuple of functions. ``Overload.run`` takes the values; what its types are is checked before, for values
of type dyn may be anything. It raises EvaluationError, and nothing it does may take more time than its cost pays for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sampan.cel.types import Type
from sampan.records import dataclass

Run = Callable[..., Any]
#: What a call costs, by its arguments (the target first). It is charged before the call.
Cost = Callable[[Sequence[Any]], int]


@dataclass(frozen=True, slots=True)
class Overload:
    """``cost`` None: 1."""

    id: str
    args: tuple[Type, ...]
    result: Type
    run: Run
    member: bool = False
    cost: Cost | None = None


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    overloads: tuple[Overload, ...]


Library = tuple[Function, ...]


def function(name: str, *overloads: Overload) -> Function:
    return Function(name, overloads)


def member(id_: str, args: Sequence[Type], result: Type, run: Run, cost: Cost | None = None) -> Overload:
    """A member: the first argument is the target."""
    return Overload(id_, tuple(args), result, run, True, cost)


def plain(id_: str, args: Sequence[Type], result: Type, run: Run, cost: Cost | None = None) -> Overload:
    return Overload(id_, tuple(args), result, run, False, cost)


def collect(libraries: Sequence[Library]) -> Mapping[str, Function]:
    """By name; overloads of one name in several libraries come together."""
    found: dict[str, Function] = {}
    for library in libraries:
        for one in library:
            before = found.get(one.name)
            found[one.name] = Function(one.name, (*before.overloads, *one.overloads)) if before else one
    return found
