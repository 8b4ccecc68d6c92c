"""What a pure function reads from objects, found once for each state of each: so a look at an owner of a thousand pods
reads those that have changed since the last one.

For planners, one an owner. An informer gives the same object as long as nothing changed; it is read-only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from sampan.api.types import Obj

T = TypeVar("T")


class Remembered(Generic[T]):
    """Invariant: ``_known`` holds the objects of the last look, by identity, so that no other has one of these."""

    def __init__(self, read: Callable[[Obj], T]) -> None:
        self._read = read
        self._known: dict[int, tuple[Obj, T]] = {}

    def __call__(self, objects: Iterable[Obj]) -> list[T]:
        """What is read from each of them. Those of earlier looks that are not among them are forgotten."""
        before, now, found = self._known, {}, []
        for obj in objects:
            known = before.get(id(obj))
            if known is None:
                known = obj, self._read(obj)
            now[id(obj)] = known
            found.append(known[1])
        self._known = now
        return found
