"""Lists of indexes of an Indexed Job: ``1,3-5,7``, in order and without repetition. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

_NUMBER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)


class BadIndexes(ValueError):
    """What is wrong with a list, in the reference's words."""


def count(text: str, completions: int) -> int:
    """How many indexes a list has. Raises BadIndexes."""
    total, last = 0, None
    for part in _parts(text):
        low, high = interval(part, completions)
        if last is not None and last >= low:
            raise BadIndexes(f"non-increasing order, previous: {last}, current: {low}")
        total += high - low + 1
        last = high
    return total


def interval(part: str, completions: int) -> tuple[int, int]:
    """First and last of ``3`` or ``3-5``. Raises BadIndexes."""
    limits = part.split("-")
    if len(limits) > 2:
        raise BadIndexes(
            f'the fragment "{part}" violates the requirement that an index interval can have at most two parts '
            "separated by '-'"
        )
    first = _index(limits[0], completions)
    if len(limits) == 1:
        return first, first
    last = _index(limits[1], completions)
    if first >= last:
        raise BadIndexes(f"non-increasing order, previous: {first}, current: {last}")
    return first, last


def _index(text: str, completions: int) -> int:
    if not _NUMBER.fullmatch(text):
        raise BadIndexes(f'cannot convert string to integer for index: "{text}"')
    if int(text) >= completions:
        raise BadIndexes(f'too large index: "{text}"')
    return int(text)


def overlap(completed: str, failed: str, completions: int) -> int | None:
    """The first index that is in both lists; None: there is none. Parts that are none are passed over: their format
    is another rule's."""
    mine, theirs = _intervals(completed, completions), _intervals(failed, completions)
    one, other = next(mine, None), next(theirs, None)
    while one is not None and other is not None:
        if one[0] <= other[1] and other[0] <= one[1]:
            return max(one[0], other[0])
        if one[0] <= other[0]:
            one = next(mine, None)
        else:
            other = next(theirs, None)
    return None


def _parts(text: str) -> list[str]:
    return text.split(",") if text else []


def _intervals(text: str, completions: int) -> Iterator[tuple[int, int]]:
    for part in _parts(text):
        try:
            yield interval(part, completions)
        except BadIndexes:
            continue
