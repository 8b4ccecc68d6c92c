"""When two values are equal: numbers of all types by what they are worth, lists and maps by what is in them.

cel-go asks for the size of the smaller value; what is inside of containers costs here, too, as it takes its time.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from sampan.cel.running import Run
from sampan.cel.values import MapList, Opaque, SetList, UInt

_NUMBERS: Final = frozenset({int, UInt, float})
_PLAIN: Final = frozenset({str, int, bytes, bool, type(None), float, UInt})


def equal(one: Any, other: Any, run: Run) -> bool:
    """Raises CostExceeded."""
    kind, other_kind = type(one), type(other)
    if kind is other_kind and kind in _PLAIN:
        return bool(one == other)
    if kind in _NUMBERS or other_kind in _NUMBERS:
        return kind in _NUMBERS and other_kind in _NUMBERS and bool(one == other)
    if kind is dict and other_kind is dict:
        return _maps(one, other, run)
    if isinstance(one, list) and isinstance(other, list):
        return _lists(one, other, run)
    return kind is other_kind and bool(one == other)


def _maps(one: dict[Any, Any], other: dict[Any, Any], run: Run) -> bool:
    if len(one) != len(other):
        return False
    run.charge(1 + len(one) * 2)
    for key, value in one.items():  # noqa: SIM110 (a generator would take a frame more a level)
        if key not in other or not equal(value, other[key], run):
            return False
    return True


def _lists(one: list[Any], other: list[Any], run: Run) -> bool:
    if len(one) != len(other):
        return False
    run.charge(1 + len(one))
    if isinstance(one, SetList) or isinstance(other, SetList):
        return _sets(one, other, run)
    if isinstance(one, MapList):
        return _keyed(one, other, run)
    if isinstance(other, MapList):
        return _keyed(other, one, run)
    for left, right in zip(one, other, strict=True):  # noqa: SIM110 (a generator would take a frame more a level)
        if not equal(left, right, run):
            return False
    return True


def _sets(one: list[Any], other: list[Any], run: Run) -> bool:
    try:
        return Counter(map(_marked, one)) == Counter(map(_marked, other))
    except TypeError:  # lists and maps inside
        return all(contains(other, item, run) for item in one)


def _keyed(one: MapList, other: list[Any], run: Run) -> bool:
    there = {one.identity(item): item for item in other}
    for item in one:
        identity = one.identity(item)
        if identity not in there or not equal(item, there[identity], run):
            return False
    return True


def contains(items: list[Any], value: Any, run: Run) -> bool:
    run.charge(1 + len(items))
    return any(equal(item, value, run) for item in items)


def _marked(value: Any) -> Any:
    return (value,) if isinstance(value, bool | Opaque) else value
