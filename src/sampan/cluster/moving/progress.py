"""What the commands of this package tell while they work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    def step(self, text: str) -> None: ...

    def warn(self, text: str) -> None: ...

    def count(self, done: int, total: int) -> None:
        """How far the present step is. May be called often."""
        ...


def counting(progress: Progress, total: int) -> Callable[[int], None]:
    return lambda done: progress.count(done, total)
