"""Ranges of numbers, and the order in which free ones are looked for. Pure.

Automatic allocation prefers the upper band, so that people can pick from the lower one without collisions (KEP-3070
for IPs, KEP-3668 for ports): first at random, which is all it takes while there is room, then one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sampan.api.clock import Random
from sampan.records import dataclass

_RANDOM_TRIES = 16
#: how many taken numbers are passed over before others may run
_BREATH = 512


@dataclass(frozen=True, slots=True)
class Span:
    """The numbers from ``first`` on, ``size`` of them; the lowest ``static_band`` are given out last."""

    first: int
    size: int
    static_band: int

    def __contains__(self, number: int) -> bool:
        return self.first <= number < self.first + self.size

    def candidates(self, random: Random, taken: Callable[[int], bool]) -> Iterator[int | None]:
        """Numbers that look free. Each is the caller's to claim: it asks on when it lost the race for one.

        Every free number comes up, most of them many times apart. None: a pause is due, much has been looked at.
        """
        band = min(self.static_band, self.size)
        for low, high in ((band, self.size), (0, band)):
            if low < high:
                yield from self._of_band(self.first + low, high - low, random, taken)

    def _of_band(self, first: int, size: int, random: Random, taken: Callable[[int], bool]) -> Iterator[int | None]:
        for _ in range(_RANDOM_TRIES):
            number = first + random.randrange(size)
            if not taken(number):
                yield number
        start = random.randrange(size)  # nearly full: all of them, from a random place on
        for step in range(size):
            if step % _BREATH == _BREATH - 1:
                yield None
            number = first + (start + step) % size
            if not taken(number):
                yield number


def static_band(size: int, least: int, most: int, step: int) -> int:
    """``min(max(least, size/step), most)``; none when the range is too small to be split."""
    band = min(max(least, size // step), most)
    return band if size > band else 0
