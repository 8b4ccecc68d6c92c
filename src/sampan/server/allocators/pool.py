"""A pool of numbers with owners: what cluster IPs and node ports have in common.

Numbers are offsets in a range. Automatic allocation prefers the upper band, so that people can pick from the lower
one without collisions (KEP-3070 for IPs, KEP-3668 for ports). No I/O; not safe across threads.
"""

from __future__ import annotations

from collections.abc import Iterable

from sampan.api.clock import Random

_RANDOM_TRIES = 16


class AlreadyAllocated(Exception):
    """Somebody else owns the number."""


class NotInRange(Exception):
    """The number is not one of the pool's."""


class Full(Exception):
    """Nothing is left."""


class Pool:
    """Invariant: ``_owners`` holds exactly the allocated offsets, each with the object that has it."""

    def __init__(self, size: int, static_band: int, random: Random) -> None:
        self._size, self._static_band, self._random = size, min(static_band, size), random
        self._owners: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._owners)

    def owner(self, offset: int) -> str | None:
        return self._owners.get(offset)

    def take(self, offset: int, owner: str) -> bool:
        """True: newly allocated; False: the owner had it. Raises AlreadyAllocated, NotInRange."""
        if not 0 <= offset < self._size:
            raise NotInRange
        present = self._owners.get(offset)
        if present is not None:
            if present != owner:
                raise AlreadyAllocated
            return False
        self._owners[offset] = owner
        return True

    def take_any(self, owner: str) -> int:
        """Raises Full."""
        for low, high in ((self._static_band, self._size), (0, self._static_band)):
            offset = self._free_offset(low, high)
            if offset is not None:
                self._owners[offset] = owner
                return offset
        raise Full

    def _free_offset(self, low: int, high: int) -> int | None:
        if low >= high:
            return None
        for _ in range(_RANDOM_TRIES):
            offset = low + self._random.randrange(high - low)
            if offset not in self._owners:
                return offset
        # Nearly full: look at all of them, from a random place on.
        start = self._random.randrange(high - low)
        candidates: Iterable[int] = (low + (start + step) % (high - low) for step in range(high - low))
        return next((offset for offset in candidates if offset not in self._owners), None)

    def release(self, offset: int, owner: str) -> None:
        """Idempotent; a number that belongs to somebody else stays theirs."""
        if self._owners.get(offset) == owner:
            del self._owners[offset]


def static_band(size: int, least: int, most: int, step: int) -> int:
    """``min(max(least, size/step), most)``; none when the range is too small to be split."""
    band = min(max(least, size // step), most)
    return band if size > band else 0
