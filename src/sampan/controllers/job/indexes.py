"""Sets of completion indexes, as ``completedIndexes`` writes them: ``0-3,5``. Pure.

Source: the batch/v1 API reference (JobStatus), upstream ``indexed_job_utils.go``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Final

#: No index has more digits.
_LONGEST: Final = 10


def whole_number(text: str) -> int | None:
    """An index or a count as annotations and statuses write them; None: it is none."""
    return int(text) if len(text) <= _LONGEST and text.isascii() and text.isdecimal() else None


class Indexes:
    """Kept as ranges: a Job of a hundred thousand indexes that are done is one pair of numbers."""

    __slots__ = ("_ranges",)

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        """``ranges``: first and last of each, in any order; they may overlap."""
        merged: list[tuple[int, int]] = []
        for first, last in sorted(ranges):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], last))
            else:
                merged.append((first, last))
        self._ranges = tuple(merged)

    @classmethod
    def parse(cls, text: str, completions: int) -> Indexes:
        """What is not written as it should be, or beyond the completions, is left out."""
        found = []
        for part in text.split(",") if text else ():
            first, dash, last = part.partition("-")
            low, high = whole_number(first), whole_number(last if dash else first)
            if low is not None and high is not None and low <= min(high, completions - 1):
                found.append((low, min(high, completions - 1)))
        return cls(found)

    @classmethod
    def of(cls, numbers: Iterable[int]) -> Indexes:
        return cls((number, number) for number in numbers)

    def __str__(self) -> str:
        """A pair is written as two: ``0,1,4-7``."""
        return ",".join(_written(first, last) for first, last in self._ranges)

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self._ranges)

    def __contains__(self, number: int) -> bool:
        before = bisect_right(self._ranges, number, key=_first)
        return before > 0 and number <= self._ranges[before - 1][1]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Indexes) and self._ranges == other._ranges

    def __hash__(self) -> int:
        return hash(self._ranges)

    def __or__(self, other: Indexes) -> Indexes:
        return Indexes((*self._ranges, *other._ranges))

    def common(self, other: Indexes) -> int:
        """How many are in both."""
        found = here = there = 0
        while here < len(self._ranges) and there < len(other._ranges):
            (first, last), (start, end) = self._ranges[here], other._ranges[there]
            found += max(0, min(last, end) - max(first, start) + 1)
            if last < end:
                here += 1
            else:
                there += 1
        return found

    def missing(self, completions: int) -> Iterator[int]:
        """Those below the completions that are not in it, the lowest first."""
        at = 0
        for first, last in self._ranges:
            yield from range(at, min(first, completions))
            at = last + 1
        yield from range(at, completions)


def _first(numbers: tuple[int, int]) -> int:
    return numbers[0]


def _written(first: int, last: int) -> str:
    if first == last:
        return str(first)
    return f"{first},{last}" if last == first + 1 else f"{first}-{last}"
