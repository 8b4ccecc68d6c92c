"""What calls cost, by the sizes of their arguments (cel-go common/cost.go, interpreter/runtimecost.go).

To go through a text costs a tenth of its characters; a pattern counts as a quarter of its characters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sampan.cel.functions import Cost
from sampan.cel.patterns import steps_cost
from sampan.cel.values import size_of


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


def walked(value: Any) -> int:
    if isinstance(value, str | bytes):
        return len(value) // 10
    if isinstance(value, list):
        return sum(map(walked, value))
    if isinstance(value, dict):
        return sum(walked(key) + walked(item) for key, item in value.items())
    return 1
