"""A list's items in portions, each with its bytes, so that after a change most of them are as they were.

A portion goes from one key to the next: what comes or goes between them changes that portion alone. Whether it is the
same as before is told by the revisions of its entries, for no two values have the same one. Pure.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import zip_longest
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
    than twice ``most_bytes``, every ``most_bytes``. ``entries`` are in the order of their keys, and stay as they are
    meanwhile: each portion is looked at when it is asked for."""
    start, size = 0, len(entries)
    for portion, after in zip_longest(before, before[1:]) if before else ((None, None),):
        end = size if after is None else bisect_left(entries, after.first, start, key=_key)
        if start == end:
            continue
        if portion is not None and len(portion.revisions) == end - start and entries[start].key == portion.first:
            revisions = _revisions(entries, start, end)
            if portion.revisions == revisions:
                yield Part(start, end, revisions, portion)
                start = end
                continue
        for last in _cut(entries, start, end, most_bytes):
            yield Part(start, last, _revisions(entries, start, last), None)
            start = last


def _revisions(entries: Sequence[Keyed], start: int, end: int) -> array[int]:
    return array("q", map(_revision, entries[start:end]))


def _cut(entries: Sequence[Keyed], start: int, end: int, most_bytes: int) -> Iterator[int]:
    """Where the portions end that are made of these entries."""
    whole = 0
    for at in range(start, end):
        whole += _ENTRY_BYTES + value_length(entries[at])
        if whole > 2 * most_bytes:
            break
    else:
        yield end
        return
    size = 0
    for at in range(start, end):
        size += _ENTRY_BYTES + value_length(entries[at])
        if size >= most_bytes or at + 1 == end:
            yield at + 1
            size = 0
