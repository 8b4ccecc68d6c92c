"""What calls cost, by the sizes of their arguments (cel-go common/cost.go, interpreter/runtimecost.go).

To go through a text costs a tenth of its characters; a pattern counts as a quarter of its characters. Where that would
be much less than what Python takes for it, it costs more here (``SLOW`` and what uses it): a budget bounds time, too.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, Final

from sampan.cel.errors import CostExceeded
from sampan.cel.functions import Cost
from sampan.cel.patterns import steps_cost
from sampan.cel.values import Made, Optional, UInt, size_of

_SCALARS: Final = frozenset({int, float, bool, UInt, type(None)})

#: What a call of any function takes beside its work.
CALL: Final = 4
#: A function that takes some microseconds, whatever its arguments are.
SLOW: Final = 40
#: What has more parts is not counted to the end: no budget pays for it.
MOST_PARTS: Final = 1_000_000


def tenths(size: int) -> int:
    return -(-size // 10)


def traversal(place: int = 0, times: int = 1) -> Cost:
    """Of going through one of the arguments."""

    def cost(args: Sequence[Any]) -> int:
        return tenths(size_of(args[place]) * times)

    return cost


def matching(args: Sequence[Any]) -> int:
    """Of a pattern, the second argument, on a text."""
    text, pattern = args[0], args[1]
    return max(pattern_cost(len(text), len(pattern)), steps_cost(pattern, len(text)))


def pattern_cost(text: int, pattern: int) -> int:
    return tenths(text + 1) * -(-pattern // 4)


def searching(args: Sequence[Any]) -> int:
    """Of a text within a text."""
    return tenths(size_of(args[0])) * tenths(size_of(args[1]))


def elements(args: Sequence[Any]) -> int:
    """Of going through a list and all that is in it."""
    return walked(args[0])


def slow(cost: Cost | None = None) -> Cost:
    """Of a function that is slow, beside what it costs anyway."""
    return lambda args: SLOW + (cost(args) if cost is not None else 0)


def parts(value: Any) -> int:
    """How much there is in a value: every container, every scalar, every tenth character. What stands in several places
    counts in each, so a short expression can make more than there is time to count. Raises CostExceeded."""
    total, left = 0, [value]
    while left:
        each = left.pop()
        total += 1
        if isinstance(each, str | bytes):
            total += len(each) // 10
        elif isinstance(each, list):
            _bound(total + len(left) + len(each))
            left.extend(each)
        elif isinstance(each, dict):
            total += len(each)
            _bound(total + len(left) + len(each))
            left.extend(each.values())
        elif isinstance(each, Made):
            left.extend(each.content.values())
        elif isinstance(each, Optional):
            left.append(each.value)
        _bound(total)
    return total


def walked(value: Any) -> int:
    """What it costs to go through a value. Raises CostExceeded, as ``parts`` does."""
    total, steps, left = 0, 0, [value]
    while left:
        each = left.pop()
        steps += 1
        if isinstance(each, str | bytes):
            total += len(each) // 10
        elif isinstance(each, list):
            if set(map(type, each)) <= _SCALARS:
                total += len(each)
            else:
                _bound(steps + len(left) + len(each))
                left.extend(each)
        elif isinstance(each, dict):
            _bound(steps + len(left) + 2 * len(each))
            left.extend(each)
            left.extend(each.values())
        else:
            total += 1
        _bound(total)
    return max(total, steps // 10)


class _Room(threading.local):
    left = MOST_PARTS


_room: Final = _Room()


def begin(left: int) -> int:
    """Evaluation begins in this thread with so much of its budget: nothing is counted far beyond that. What ``end``
    has to be given."""
    before = _room.left
    _room.left = left
    return before


def end(before: int) -> None:
    _room.left = before


def _bound(counted: int) -> None:
    if counted > MOST_PARTS or counted > _room.left * 10:
        raise CostExceeded
