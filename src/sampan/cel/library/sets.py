"""Functions of lists taken as sets (cel-go ext.Sets)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sampan.cel.costs import MOST_PARTS, walked
from sampan.cel.equality import equal
from sampan.cel.errors import CostExceeded
from sampan.cel.functions import Library, function, plain
from sampan.cel.running import Run
from sampan.cel.types import BOOL, Type, list_of, param

_A: Final = param("T")
_TWO: Final[list[Type]] = [list_of(_A), list_of(_A)]


def _in(items: list[Any], value: Any) -> bool:
    run = Run({}, 0, 2**62)  # charged for already
    return any(equal(item, value, run) for item in items)


def _contains(items: list[Any], others: list[Any]) -> bool:
    return all(_in(items, other) for other in others)


def _equivalent(items: list[Any], others: list[Any]) -> bool:
    return _contains(items, others) and _contains(others, items)


def _intersects(items: list[Any], others: list[Any]) -> bool:
    return any(_in(items, other) for other in others)


def _pairs(args: Sequence[Any]) -> int:
    """Everything is compared with everything."""
    one, other = args[0], args[1]
    return 1 + max(len(one), _size(one)) * max(len(other), _size(other))


def _both_ways(args: Sequence[Any]) -> int:
    return 2 * _pairs(args)


def _size(items: list[Any]) -> int:
    """Raises CostExceeded."""
    total = 0
    for item in items:
        total += walked(item) if isinstance(item, list | dict) else 1
        if total > MOST_PARTS:
            raise CostExceeded
    return total


LIBRARY: Final[Library] = (
    function("sets.contains", plain("list_sets_contains_list", _TWO, BOOL, _contains, _pairs)),
    function("sets.equivalent", plain("list_sets_equivalent_list", _TWO, BOOL, _equivalent, _both_ways)),
    function("sets.intersects", plain("list_sets_intersects_list", _TWO, BOOL, _intersects, _pairs)),
)
