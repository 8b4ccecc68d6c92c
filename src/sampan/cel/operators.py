"""Arithmetic and order, by the types of the values (cel-spec, Standard Definitions). Nothing overflows silently."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sampan.cel.errors import EvaluationError, no_such_overload
from sampan.cel.running import MAX_CHARACTERS, MAX_ELEMENTS, Run
from sampan.cel.values import INT_MAX, INT_MIN, UINT_MAX, Duration, MapList, SetList, Timestamp, UInt

#: Years 1 to 9999.
_FIRST: Final = -62_135_596_800 * 10**9
_LAST: Final = 253_402_300_799 * 10**9 + 999_999_999

_NUMBERS: Final = frozenset({int, UInt, float})
_ORDERED: Final = frozenset({str, bytes, bool, Timestamp, Duration})


def integer(value: int) -> int:
    if INT_MIN <= value <= INT_MAX:
        return value
    raise EvaluationError("integer overflow")


def unsigned(value: int) -> UInt:
    if 0 <= value <= UINT_MAX:
        return UInt(value)
    raise EvaluationError("unsigned integer overflow")


def timestamp(ns: int) -> Timestamp:
    if _FIRST <= ns <= _LAST:
        return Timestamp(ns)
    raise EvaluationError("timestamp overflow")


def duration(ns: int) -> Duration:
    if INT_MIN <= ns <= INT_MAX:
        return Duration(ns)
    raise EvaluationError("duration overflow")


def add(one: Any, other: Any, run: Run) -> Any:
    kind, other_kind = type(one), type(other)
    if kind is other_kind:
        if kind is int:
            run.left -= 1
            return integer(one + other)
        if kind is str or kind is bytes:
            size = len(one) + len(other)
            run.charge(-(-size // 10))
            if size > MAX_CHARACTERS:
                raise EvaluationError("text is too long")
            return one + other
        if kind is float:
            run.charge(1)
            return one + other
        if kind is UInt:
            run.charge(1)
            return unsigned(int(one) + int(other))
        if kind is Duration:
            run.charge(1)
            return duration(one.ns + other.ns)
    if isinstance(one, list) and isinstance(other, list):
        return _joined(one, other, run)
    run.charge(1)
    if {kind, other_kind} == {Timestamp, Duration}:
        return timestamp(one.ns + other.ns)
    raise no_such_overload()


def _joined(one: list[Any], other: list[Any], run: Run) -> list[Any]:
    """Both lists in one. cel-go asks one for it, as it copies nothing; here large ones cost what they take."""
    size = len(one) + len(other)
    run.charge(1 + size // 64)
    if size > MAX_ELEMENTS:
        raise EvaluationError("list is too long")
    if isinstance(one, SetList):
        return SetList([*one, *(item for item in other if item not in one)])
    if isinstance(one, MapList):
        later = {one.identity(item): item for item in other}
        kept = [later.pop(one.identity(item), item) for item in one]
        return MapList([*kept, *later.values()], one.keys)
    return [*one, *other]


def subtract(one: Any, other: Any) -> Any:
    kind, other_kind = type(one), type(other)
    if kind is other_kind:
        if kind is int:
            return integer(one - other)
        if kind is float:
            return one - other
        if kind is UInt:
            return unsigned(int(one) - int(other))
        if kind is Timestamp or kind is Duration:
            return duration(one.ns - other.ns)
    if kind is Timestamp and other_kind is Duration:
        return timestamp(one.ns - other.ns)
    raise no_such_overload()


def multiply(one: Any, other: Any) -> Any:
    kind = type(one)
    if kind is type(other):
        if kind is int:
            return integer(one * other)
        if kind is float:
            return one * other
        if kind is UInt:
            return unsigned(int(one) * int(other))
    raise no_such_overload()


def divide(one: Any, other: Any) -> Any:
    kind = type(one)
    if kind is not type(other):
        raise no_such_overload()
    if kind is float:
        return _float_quotient(one, other)
    if kind is not int and kind is not UInt:
        raise no_such_overload()
    if other == 0:
        raise EvaluationError("division by zero")
    quotient = abs(int(one)) // abs(int(other))
    if kind is UInt:
        return UInt(quotient)
    return integer(quotient if (one < 0) == (other < 0) else -quotient)


def _float_quotient(one: float, other: float) -> float:
    try:
        return one / other
    except ZeroDivisionError:
        negative = str(other).startswith("-") is not (one < 0)
        return float("nan") if one == 0 or one != one else float("-inf" if negative else "inf")


def modulo(one: Any, other: Any) -> Any:
    kind = type(one)
    if kind is not type(other) or (kind is not int and kind is not UInt):
        raise no_such_overload()
    if other == 0:
        raise EvaluationError("modulus by zero")
    if one == INT_MIN and other == -1:
        raise EvaluationError("integer overflow")
    rest = abs(int(one)) % abs(int(other))
    return UInt(rest) if kind is UInt else (-rest if one < 0 else rest)


def negate(value: Any) -> Any:
    if type(value) is int:
        return integer(-value)
    if type(value) is float:
        return -value
    raise no_such_overload()


def _order(compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], bool]:
    def ordered(one: Any, other: Any) -> bool:
        kind, other_kind = type(one), type(other)
        if (kind is other_kind and kind in _ORDERED) or (kind in _NUMBERS and other_kind in _NUMBERS):
            return bool(compare(one, other))
        raise no_such_overload()

    return ordered


less = _order(lambda one, other: one < other)
less_equal = _order(lambda one, other: one <= other)
greater = _order(lambda one, other: one > other)
greater_equal = _order(lambda one, other: one >= other)
