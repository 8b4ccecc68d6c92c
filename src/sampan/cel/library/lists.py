"""Functions of lists (Kubernetes' library: isSorted, sum, min, max, indexOf, lastIndexOf)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from operator import le
from typing import Any, Final

from sampan.cel.costs import elements, walked
from sampan.cel.equality import equal
from sampan.cel.errors import EvaluationError
from sampan.cel.functions import Library, Overload, function, member
from sampan.cel.operators import add, less, less_equal
from sampan.cel.running import Run
from sampan.cel.types import BOOL, BYTES, DOUBLE, DURATION, INT, STRING, TIMESTAMP, UINT, Type, list_of, param
from sampan.cel.values import Duration, UInt

_A: Final = param("T")
_ORDERED: Final = (INT, UINT, DOUBLE, BOOL, DURATION, TIMESTAMP, STRING, BYTES)
_SUMMED: Final[dict[Type, Any]] = {INT: 0, UINT: UInt(0), DOUBLE: 0.0, DURATION: Duration(0)}


#: Types whose values Python orders as the language does.
_NATIVE: Final = frozenset({int, str, bytes, bool, UInt})


def _alike(items: list[Any]) -> bool:
    kinds = set(map(type, items))
    return len(kinds) == 1 and kinds <= _NATIVE


def _is_sorted(items: list[Any]) -> bool:
    if _alike(items):
        return all(map(le, items, items[1:]))
    return all(less_equal(one, other) for one, other in pairwise(items))


def _sum(zero: Any) -> Any:
    def total(items: list[Any]) -> Any:
        run = Run({}, 0, 2**62)  # charged for already
        value = zero
        for item in items:
            value = add(value, item, run)
        return value

    return total


def _least(items: list[Any]) -> Any:
    if not items:
        raise EvaluationError("min called on empty list")
    if _alike(items):
        return min(items)
    found = items[0]
    for item in items[1:]:
        if less(item, found):
            found = item
    return found


def _most(items: list[Any]) -> Any:
    if not items:
        raise EvaluationError("max called on empty list")
    if _alike(items):
        return max(items)
    found = items[0]
    for item in items[1:]:
        if less(found, item):
            found = item
    return found


def _index(items: list[Any], value: Any) -> int:
    run = Run({}, 0, 2**62)
    return next((place for place, item in enumerate(items) if equal(item, value, run)), -1)


def _last_index(items: list[Any], value: Any) -> int:
    run = Run({}, 0, 2**62)
    return next((place for place in range(len(items) - 1, -1, -1) if equal(items[place], value, run)), -1)


def _searching(args: Sequence[Any]) -> int:
    """Every element is compared with the value: the value's size counts, too."""
    return elements(args) + (walked(args[1]) // 10 if isinstance(args[1], list | dict) else 0)


def _each(name: str, run: Any, result: Type | None = None) -> tuple[Overload, ...]:
    return tuple(member(f"list_{kind}_{name}", [list_of(kind)], result or kind, run, elements) for kind in _ORDERED)


def _sums() -> tuple[Overload, ...]:
    return tuple(
        member(f"list_{kind}_sum", [list_of(kind)], kind, _sum(zero), elements) for kind, zero in _SUMMED.items()
    )


LIBRARY: Final[Library] = (
    function("isSorted", *_each("is_sorted_bool", _is_sorted, BOOL)),
    function("sum", *_sums()),
    function("min", *_each("min", _least)),
    function("max", *_each("max", _most)),
    function("indexOf", member("list_a_index_of_int", [list_of(_A), _A], INT, _index, _searching)),
    function("lastIndexOf", member("list_a_last_index_of_int", [list_of(_A), _A], INT, _last_index, _searching)),
)
