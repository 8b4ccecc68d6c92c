"""What changed from one object to another, as sets of fields that were added, modified and removed.

The hot path of every write: parts that are equal are passed over by one comparison of Python's own (by one
more where types may change), and what is new is walked only to name it.
Source: structured-merge-diff ``typed/compare.go``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sampan.api import objects
from sampan.api.apply import sets
from sampan.api.apply.sets import NONE, Fields
from sampan.api.apply.shapes import Keyed, Leaf, Shape, Values, by_element


class Comparison(NamedTuple):
    added: Fields
    modified: Fields
    removed: Fields

    @property
    def changed(self) -> Fields:
        """Added or modified: what whoever wrote now owns, and others lose."""
        return sets.union(self.added, self.modified)

    @property
    def same(self) -> bool:
        return not (self.added or self.modified or self.removed)

    def without(self, ignored: Fields) -> Comparison:
        """Fields that a strategy resets, and all below them, are nobody's change."""
        if not ignored or self.same:
            return self
        return Comparison(*(sets.without(part, ignored) for part in self))


def compare(shape: Shape, old: Any, new: Any) -> Comparison:
    """Of two objects of the kind that has this shape."""
    found = Comparison({}, {}, {})
    _fields(shape, old or {}, new or {}, found)
    return found


def _compare(shape: Shape, old: Any, new: Any, element: str, into: Comparison) -> None:
    """Of two values that both are there and differ."""
    if type(shape) is Leaf or not (old or new):
        into.modified[element] = NONE
    elif isinstance(shape, Keyed | Values):
        if _is_any(old, list) and _is_any(new, list):
            below = Comparison({}, {}, {})
            _items(shape, old or [], new or [], below)
            _take(element, below, into)
        else:
            into.modified[element] = NONE
    elif _is_any(old, dict) and _is_any(new, dict):
        below = Comparison({}, {}, {})
        _fields(shape, old or {}, new or {}, below)
        _take(element, below, into)
    else:
        into.modified[element] = NONE


def _equal(shape: Shape, old: Any, new: Any) -> bool:
    """Of parts of what has this shape."""
    return bool(old == new) and (not shape.free or objects.same(old, new))


def _is_any(value: Any, kind: type) -> bool:
    """Null counts as empty."""
    return type(value) is kind or value is None


def _take(element: str, below: Comparison, into: Comparison) -> None:
    added, modified, removed = below
    if added:
        into.added[element] = added
    if modified:
        into.modified[element] = modified
    if removed:
        into.removed[element] = removed


def _fields(shape: Shape, old: dict[str, Any], new: dict[str, Any], into: Comparison) -> None:
    field, free = shape.field, shape.free
    for name, value in new.items():
        if name not in old:
            found = field(name)
            if found is not None:
                into.added[found[0]] = found[1].whole(value)
        else:
            before = old[name]
            alike = before is value or (before == value and type(before) is type(value))
            if alike and (not free or objects.same(before, value)):
                continue
            found = field(name)
            if found is not None:
                _compare(found[1], before, value, found[0], into)
    if old.keys() <= new.keys():
        return
    for name, value in old.items():
        if name not in new:
            found = field(name)
            if found is not None:
                into.removed[found[0]] = found[1].whole(value)


def _items(shape: Keyed | Values, old: list[Any], new: list[Any], into: Comparison) -> None:
    before, after, below = by_element(shape, old), by_element(shape, new), shape.items
    for element, present in after.items():
        previous = before.get(element)
        if previous is None:
            into.added[element] = NONE if len(present) > 1 else below.whole(present[0])
        elif len(previous) == len(present) == 1:
            if not _equal(shape, previous[0], present[0]):
                _compare(below, previous[0], present[0], element, into)
        elif len(previous) > 1 and len(present) > 1:
            # items given twice are compared as if their list were one value
            if not _equal(shape, previous, present):
                into.modified[element] = NONE
        elif len(previous) > 1:
            into.added[element] = below.whole(present[0])
            into.removed[element] = NONE
        else:
            into.removed[element] = below.whole(previous[0])
            into.added[element] = NONE
    for element, previous in before.items():
        if element not in after:
            into.removed[element] = NONE if len(previous) > 1 else below.whole(previous[0])
