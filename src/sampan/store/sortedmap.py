"""A map from keys to values that is always in key order: the index of a store and of a watch cache.

Sorted keys lie in blocks of a few hundred, so an insert moves one block and a page of a list is a slice: no list
request sorts anything. Not for concurrent threads.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from typing import Generic, TypeVar

from sampan.store.protocol import StoreUnavailable

V = TypeVar("V")

_BLOCK = 512
#: Sorts after every key that a prefix can have: keys never contain the last code point.
LAST = "\U0010ffff"


class SortedMap(Generic[V]):
    """Invariant: the blocks, joined, are the sorted keys of ``_values``; no block is empty; ``_lasts[i]`` is the
    last key of block i."""

    __slots__ = ("_blocks", "_lasts", "_values")

    def __init__(self, items: Iterable[tuple[str, V]] = ()) -> None:
        self._values: dict[str, V] = dict(items)
        keys = sorted(self._values)  # linear when the items came in order
        self._blocks: list[list[str]] = [keys[i : i + _BLOCK] for i in range(0, len(keys), _BLOCK)]
        self._lasts: list[str] = [block[-1] for block in self._blocks]

    def __len__(self) -> int:
        return len(self._values)

    def check(self) -> None:
        """Raises what asking would raise: nothing, but of one that has ended."""

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def get(self, key: str) -> V | None:
        return self._values.get(key)

    def set(self, key: str, value: V) -> None:
        if key not in self._values:
            self._insert(key)
        self._values[key] = value

    def pop(self, key: str) -> V | None:
        value = self._values.pop(key, None)
        if value is not None:
            at = bisect_left(self._lasts, key)
            block = self._blocks[at]
            del block[bisect_left(block, key)]
            if block:
                self._lasts[at] = block[-1]
            else:
                del self._blocks[at], self._lasts[at]
        return value

    def values(self, prefix: str = "", after: str | None = None, limit: int = 0) -> list[V]:
        """Values in key order of keys that start with ``prefix`` and sort after ``after``; ``limit`` 0: all."""
        (first_block, first), (last_block, last) = self._bounds(prefix, after)
        get = self._values.__getitem__
        found: list[V] = []
        for at in range(first_block, min(last_block + 1, len(self._blocks))):
            keys = self._blocks[at]
            start, end = first if at == first_block else 0, last if at == last_block else len(keys)
            if limit:
                end = min(end, start + limit - len(found))
            found.extend(map(get, keys if end - start == len(keys) else keys[start:end]))
            if limit and len(found) == limit:
                break
        return found

    def count(self, prefix: str = "", after: str | None = None) -> int:
        (first_block, first), (last_block, last) = self._bounds(prefix, after)
        if (first_block, first) >= (last_block, last):
            return 0
        return sum(len(block) for block in self._blocks[first_block:last_block]) - first + last

    def _insert(self, key: str) -> None:
        if not self._blocks:
            self._blocks.append([key])
            self._lasts.append(key)
            return
        at = min(bisect_left(self._lasts, key), len(self._blocks) - 1)
        block = self._blocks[at]
        insort(block, key)
        self._lasts[at] = block[-1]
        if len(block) > 2 * _BLOCK:
            self._blocks[at : at + 1] = [block[:_BLOCK], block[_BLOCK:]]
            self._lasts[at : at + 1] = [block[_BLOCK - 1], block[-1]]

    def _bounds(self, prefix: str, after: str | None) -> tuple[tuple[int, int], tuple[int, int]]:
        """Positions (block, place in it) of the first key that matches and of the first one behind the matches."""
        if after is not None and after >= prefix:
            start = self._position(after, behind=True)
        else:
            start = self._position(prefix, behind=False)
        return start, self._position(prefix + LAST, behind=True)

    def _position(self, key: str, *, behind: bool) -> tuple[int, int]:
        bisect = bisect_right if behind else bisect_left
        at = bisect(self._lasts, key)
        return (at, bisect(self._blocks[at], key)) if at < len(self._blocks) else (at, 0)


class Ended(SortedMap[V]):
    """Stands in for a map that is no more: whoever asks it is told why. Writes go nowhere."""

    __slots__ = ("_why",)

    def __init__(self, why: str) -> None:
        super().__init__()
        self._why = why

    def check(self) -> None:
        raise StoreUnavailable(self._why)

    def get(self, key: str) -> V | None:
        raise StoreUnavailable(self._why)

    def values(self, prefix: str = "", after: str | None = None, limit: int = 0) -> list[V]:
        raise StoreUnavailable(self._why)

    def count(self, prefix: str = "", after: str | None = None) -> int:
        raise StoreUnavailable(self._why)
