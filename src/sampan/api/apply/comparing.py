"""What changed from one object to another, as sets of fields that were added, modified and removed.

The hot path of every write: parts that are equal are passed over by one comparison of Python's own, and what is new is
walked only to name it. Source: structured-merge-diff ``typed/compare.go``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from sampan.api.apply import sets
from sampan.api.apply.elements import SELF
from sampan.api.apply.sets import NONE, Fields
from sampan.api.apply.shapes import DEDUCED, Deduced, FreeMap, Keyed, Leaf, Shape, Struct, Values


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
    if old == new:
        return Comparison(NONE, NONE, NONE)
    whole = Comparison({}, {}, {})
    if isinstance(shape, Struct | FreeMap | Deduced):
        _fields(shape, old or {}, new or {}, whole)
    return whole


def _compare(shape: Shape, old: Any, new: Any, element: str, into: Comparison) -> None:
    """Of two values that both are there and differ."""
    below = Comparison({}, {}, {})
    if isinstance(shape, Keyed | Values):
        fits = _is_any(old, list) and _is_any(new, list)
        if fits and (old or new):
            _items(shape, old or [], new or [], below)
            return _take(element, below, into)
    elif not isinstance(shape, Leaf):
        fits = _is_any(old, dict) and _is_any(new, dict)
        if fits and (old or new):
            _fields(shape, old or {}, new or {}, below)
            return _take(element, below, into)
    into.modified[element] = NONE
    return None


def _is_any(value: Any, kind: type) -> bool:
    """Null counts as empty."""
    return type(value) is kind or value is None


def _take(element: str, below: Comparison, into: Comparison) -> None:
    for part, whole in zip(below, into, strict=True):
        if part:
            whole[element] = part


def _fields(shape: Shape, old: dict[str, Any], new: dict[str, Any], into: Comparison) -> None:
    for name, value in new.items():
        if name not in old:
            found = field_of(shape, name)
            if found is not None:
                into.added[found[0]] = whole(found[1], value)
        else:
            before = old[name]
            if before is value or (before == value and type(before) is type(value)):
                continue
            found = field_of(shape, name)
            if found is not None:
                _compare(found[1], before, value, found[0], into)
    for name, value in old.items():
        if name not in new:
            found = field_of(shape, name)
            if found is not None:
                into.removed[found[0]] = whole(found[1], value)


def field_of(shape: Shape, name: str) -> tuple[str, Shape] | None:
    """The element and shape of a key; None: the structure has no such field."""
    if isinstance(shape, Struct):
        found = shape.child(name)
        if found is None and shape.others is not None:
            return f"f:{name}", shape.others
        return found
    if isinstance(shape, FreeMap):
        return f"f:{name}", shape.values
    return f"f:{name}", DEDUCED


def whole(shape: Shape, value: Any) -> Fields:
    """What stands below the element of a value that comes, or goes, with all that is in it."""
    below: Fields = {}
    if isinstance(shape, Leaf) or not value:
        return NONE
    if type(value) is dict:
        if isinstance(shape, Struct):
            child = shape.child
            for name, item in value.items():
                found = child(name) or field_of(shape, name)
                if found is not None:
                    below[found[0]] = NONE if isinstance(found[1], Leaf) else whole(found[1], item)
        elif isinstance(shape, FreeMap):
            values = shape.values
            if isinstance(values, Leaf):
                below = dict.fromkeys([f"f:{name}" for name in value], NONE)
            else:
                below = {f"f:{name}": whole(values, item) for name, item in value.items()}
        elif isinstance(shape, Deduced):
            below = {f"f:{name}": whole(shape, item) for name, item in value.items()}
    elif type(value) is list and isinstance(shape, Keyed | Values):
        for element, found_items in by_element(shape, value):
            below[element] = NONE if len(found_items) > 1 else whole(items_of(shape), found_items[0])
    if not below:
        return NONE
    below[SELF] = NONE
    return below


def items_of(shape: Keyed | Values) -> Shape:
    return shape.items if isinstance(shape, Keyed) else _SCALAR


_SCALAR = Leaf()


def by_element(shape: Keyed | Values, items: list[Any]) -> Iterable[tuple[str, list[Any]]]:
    """The items of each element, in the order of the first of each. What cannot be told apart is left out."""
    found: dict[str, list[Any]] = {}
    for item in items:
        element = shape.element(item)
        if element is not None:
            found.setdefault(element, []).append(item)
    return found.items()


def _items(shape: Keyed | Values, old: list[Any], new: list[Any], into: Comparison) -> None:
    before, after = dict(by_element(shape, old)), dict(by_element(shape, new))
    below = items_of(shape)
    for element, present in after.items():
        previous = before.get(element)
        if previous is None:
            into.added[element] = NONE if len(present) > 1 else whole(below, present[0])
        elif len(previous) == len(present) == 1:
            if previous[0] != present[0]:
                _compare(below, previous[0], present[0], element, into)
        elif len(previous) > 1 and len(present) > 1:
            # items given twice are compared as if their list were one value
            if previous != present:
                into.modified[element] = NONE
        elif len(previous) > 1:
            into.added[element] = whole(below, present[0])
            into.removed[element] = NONE
        else:
            into.removed[element] = whole(below, previous[0])
            into.added[element] = NONE
    for element, previous in before.items():
        if element not in after:
            into.removed[element] = NONE if len(previous) > 1 else whole(below, previous[0])
