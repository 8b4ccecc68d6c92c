"""The set of fields that an applied configuration speaks of, and what a set owns besides by owning what is below.

Source: structured-merge-diff ``typed/tofieldset.go``, ``fieldpath/set.go``.
"""

from __future__ import annotations

from typing import Any

from sampan.api.apply import sets
from sampan.api.apply.elements import SELF
from sampan.api.apply.sets import NONE, Fields
from sampan.api.apply.shapes import Deduced, FreeMap, Keyed, Leaf, Shape, Struct, Values, by_element


def set_of(shape: Shape, value: Any) -> Fields:
    """Every field of a whole object. A structure's own fields are members when nothing of them is; keys of maps and
    items of lists always are."""
    return _below(shape, value)[1]


def _below(shape: Shape, value: Any) -> tuple[bool, Fields]:
    """Whether the value is a member for what it is, and what is below it."""
    if isinstance(shape, Leaf):
        return True, {}
    below: Fields = {}
    if type(value) is dict and not isinstance(shape, Keyed | Values):
        for name, item in value.items():
            found = shape.field(name)
            if found is None:
                continue
            member, inner = _below(found[1], item)
            member = member or item is None or (type(item) is dict and not item) or not _declared(shape, name)
            made = sets.node(member, inner)
            if made is not None:
                below[found[0]] = made
        return False, below
    if type(value) is list and isinstance(shape, Keyed | Values):
        for element, items in by_element(shape, value).items():
            inner = {} if len(items) > 1 else _below(shape.items, items[0])[1]
            below[element] = sets.node(True, inner) or NONE
        return False, below
    return isinstance(shape, Deduced), {}


def _declared(shape: Shape, name: str) -> bool:
    return isinstance(shape, Struct) and shape.child(name) is not None


def with_named(shape: Shape, fields: Fields) -> Fields:
    """The set with every declared field as a member of which something below is (upstream:
    EnsureNamedFieldsAreMembers)."""
    result: Fields = {}
    for element, below in fields.items():
        inner, declared = _inner(shape, element)
        if not below or element == SELF or inner is None:
            result[element] = below
            continue
        made = with_named(inner, below)
        result[element] = {SELF: NONE, **made} if declared and SELF not in made else made
    return result


def _inner(shape: Shape, element: str) -> tuple[Shape | None, bool]:
    """The shape below an element, and whether the element is a declared field."""
    name = element[2:]
    if isinstance(shape, Struct):
        found = shape.child(name)
        return (found[1], True) if found is not None else (shape.others, False)
    if isinstance(shape, FreeMap):
        return shape.values, False
    if isinstance(shape, Keyed):
        return shape.items, False
    return (shape, False) if isinstance(shape, Deduced) else (None, False)
