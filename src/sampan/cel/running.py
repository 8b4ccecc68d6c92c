"""One evaluation under way: its variables, and what is left of its budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sampan.cel.errors import CostExceeded

#: More elements no list or map that an expression makes may have; more characters no text.
MAX_ELEMENTS: Final = 1_000_000
MAX_CHARACTERS: Final = 10_000_000


class Budget:
    """What an evaluation may cost. Several evaluations in a row may share one."""

    __slots__ = ("left", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.left = limit

    @property
    def spent(self) -> int:
        return self.limit - self.left

    def charge(self, cost: int) -> None:
        """Raises CostExceeded."""
        self.left -= cost
        if self.left < 0:
            raise CostExceeded


class Run:
    """``slots``: what comprehensions bind. ``left`` is the budget's while the evaluation runs."""

    __slots__ = ("left", "slots", "variables")

    def __init__(self, variables: Mapping[str, Any], slots: int, left: int) -> None:
        self.variables = variables
        self.slots: list[Any] = [None] * slots
        self.left = left

    def charge(self, cost: int) -> None:
        """Raises CostExceeded."""
        self.left -= cost
        if self.left < 0:
            raise CostExceeded
