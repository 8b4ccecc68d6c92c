"""A list's items in portions, each with its bytes, so that after a change most of them are as they were.

A portion goes from one key to the next: what comes or goes between them changes that portion alone. Whether it is the
same as before is told by the revisions of its entries, for no two values have the same one. Pure.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise
from operator import attrgetter
from typing import Final, Protocol

from sampan.records import dataclass
from sampan.server.turns import value_length

#: what an entry costs besides its value
_ENTRY_BYTES: Final = 1000


class Keyed(Protocol):
    @property
    def key(self) -> str: ...
    @property
    def revision(self) -> int: ...
    @property
    def value(self) -> bytes | None: ...


_key = attrgetter("key")
_revision = attrgetter("revision")


@dataclass(frozen=True, slots=True)
class Portion:
    """``piece``: the bytes of its items, none of which is damaged."""

    first: str
    revisions: array[int]
    piece: bytes

    @property
    def cost(self) -> int:
        return len(self.piece) + 8 * len(self.revisions) + 2 * len(self.first)


@dataclass(frozen=True, slots=True)
class Part:
    """Entries ``[start:end]`` of a list. ``kept``: the portion that they still are; None: it is to be made."""

    start: int
    end: int
    revisions: array[int]
    kept: Portion | None


def parts(entries: Sequence[Keyed], before: Sequence[Portion], most_bytes: int) -> Iterator[Part]:
    """The list in portions, in order and without gaps: where those of before begin, and where one has grown to more
    than twice ``most_bytes``, every ``most_bytes``. ``entries`` are in the order of their keys."""
    if not entries:
        return
    starts = [0, *(bisect_left(entries, portion.first, key=_key) for portion in before[1:]), len(entries)]
    known = {portion.first: portion for portion in before}
    for start, end in pairwise(starts):
        if start == end:
            continue
        revisions = array("q", map(_revision, entries[start:end]))
        kept = known.get(entries[start].key)
        if kept is not None and kept.revisions == revisions:
            yield Part(start, end, revisions, kept)
            continue
        for first, last in _cut(entries, start, end, most_bytes):
            yield Part(first, last, revisions[first - start : last - start], None)


def _cut(entries: Sequence[Keyed], start: int, end: int, most_bytes: int) -> Iterator[tuple[int, int]]:
    sizes = [_ENTRY_BYTES + value_length(entry) for entry in entries[start:end]]
    if sum(sizes) <= 2 * most_bytes:
        yield start, end
        return
    first = size = 0
    for at, each in enumerate(sizes, 1):
        size += each
        if size >= most_bytes or at == len(sizes):
            yield start + first, start + at
            first, size = at, 0
