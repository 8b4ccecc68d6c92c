"""Revisions of what an owner makes its pods from: short names for templates, the one in force, which to forget. Pure.

A Deployment keeps its history in ReplicaSets; owners that keep ControllerRevisions ask the same questions of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson

from sampan.api import objects
from sampan.api.types import Obj

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def short_hash(value: Any, collisions: int = 0) -> str:
    """A short stable name for a value; ``collisions`` varies it. FNV-1a over canonical JSON, in letters that make no
    words (``rand.SafeEncodeString``)."""
    data = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    if collisions:
        data += collisions.to_bytes(8, "little")
    number = 0x811C9DC5
    for byte in data:
        number = ((number ^ byte) * 0x01000193) & 0xFFFFFFFF
    return "".join(_ALPHABET[ord(digit) % len(_ALPHABET)] for digit in str(number))


def without_label(template: Obj, label: str) -> Obj:
    """A pod template without the label that names its revision."""
    meta = dict(template.get("metadata") or {})
    meta["labels"] = {key: value for key, value in (meta.get("labels") or {}).items() if key != label}
    return {**template, "metadata": meta}


def by_creation(revisions: Iterable[Obj]) -> list[Obj]:
    return sorted(revisions, key=lambda obj: (obj["metadata"].get("creationTimestamp", ""), obj["metadata"]["name"]))


def find_equal(revisions: Iterable[Obj], is_equal: Callable[[Obj], bool]) -> Obj | None:
    """The revision that holds what is wanted; the oldest if there are several."""
    return next((revision for revision in by_creation(revisions) if is_equal(revision)), None)


def next_number(numbers: Iterable[int]) -> int:
    return max(numbers, default=0) + 1


def surplus(
    revisions: Sequence[Obj], limit: int | None, number: Callable[[Obj], int], is_unused: Callable[[Obj], bool]
) -> list[Obj]:
    """The oldest ones above the limit that nothing uses any more. ``limit`` None: all are kept."""
    kept = [revision for revision in revisions if not objects.is_deleting(revision)]
    over = len(kept) - limit if limit is not None else 0
    if over <= 0:
        return []
    kept.sort(key=lambda obj: (number(obj), obj["metadata"].get("creationTimestamp", "")))
    return [revision for revision in kept[:over] if is_unused(revision)]
