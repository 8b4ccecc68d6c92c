"""Sets of fields in their own JSON form (FieldsV1), and their algebra.

A set is a dict from elements to what is below them. Below an element stands ``{}``: it is a member, and nothing below
it is; or more elements, of which ``.`` says that it is a member itself. The outermost dict is the set of the whole
object, which is never a member: there ``{}`` is the empty set.

Sets are values: nobody changes one that he did not just make, results share parts with their arguments, and a result
that equals an argument is that argument. That is what makes it cheap to see that nothing changed, and lets decoded
objects share one set (``interned``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sampan.api.apply import elements
from sampan.api.apply.elements import SELF

Fields = dict[str, Any]

#: a member with nothing below; as a whole set, the empty one
NONE: Final[Fields] = {}


def is_member(below: Fields) -> bool:
    """Whether an element is a member, from what stands below it."""
    return not below or SELF in below


def node(member: bool, below: Fields) -> Fields | None:
    """What stands below an element, from whether it is a member and its (own) dict of elements; None: nothing does."""
    if not below:
        return NONE if member else None
    if member:
        below[SELF] = NONE
    return below


def union(left: Fields, right: Fields) -> Fields:
    if not left or left is right:
        return right
    return _joined(left, right) if right else left


def _joined(left: Fields, right: Fields) -> Fields:
    result: Fields | None = None
    for element, below in right.items():
        present = left.get(element)
        joined = below if present is None else _joined_nodes(present, below)
        if joined is not present:
            if result is None:
                result = dict(left)
            result[element] = joined
    return left if result is None else result


def _joined_nodes(left: Fields, right: Fields) -> Fields:
    if left is right or (not right and is_member(left)):
        return left
    if not right:
        return {SELF: NONE, **left}
    if not left:
        return right if SELF in right else {SELF: NONE, **right}
    return _joined(left, right)


def difference(left: Fields, right: Fields) -> Fields:
    """Without the members of ``right``; what is below those stays."""
    if not right:
        return left
    result: Fields | None = None
    # whoever has fewer says where to look
    for element in [element for element in left if element in right] if len(left) < len(right) else right:
        present = left.get(element)
        if present is None:
            continue
        rest = _node_difference(present, right[element])
        if rest is present:
            continue
        if result is None:
            result = dict(left)
        if rest is None:
            del result[element]
        else:
            result[element] = rest
    return left if result is None else result


def _node_difference(left: Fields, right: Fields) -> Fields | None:
    if not left:
        return None if is_member(right) else left
    if right:
        below = difference(left, right)
    elif SELF in left:
        below = {element: item for element, item in left.items() if element != SELF}
    else:
        return left
    if not below:
        return None
    return NONE if len(below) == 1 and SELF in below else below


def intersection(left: Fields, right: Fields) -> Fields:
    """Members of both."""
    if left is right:
        return left
    if len(right) < len(left):
        left, right = right, left
    result: Fields = {}
    for element, below in left.items():
        other = right.get(element)
        if other is None:
            continue
        both = _node_intersection(below, other)
        if both is not None:
            result[element] = both
    return result


def _node_intersection(left: Fields, right: Fields) -> Fields | None:
    if left is right:
        return left
    member = is_member(left) and is_member(right)
    below = intersection(left, right) if left and right else {}
    below.pop(SELF, None)
    return node(member, below)


def without(left: Fields, right: Fields) -> Fields:
    """Without the members of ``right`` and all that is below them (upstream: RecursiveDifference)."""
    result: Fields | None = None
    for element, other in right.items():
        present = left.get(element)
        if present is None:
            continue
        rest = None if is_member(other) else without(present, other)
        if rest is present:
            continue
        if result is None:
            result = dict(left)
        if rest:
            result[element] = rest
        else:
            del result[element]
    return left if result is None else result


def contains(whole: Fields, path: tuple[str, ...]) -> bool:
    """Whether the element at the end of this path is a member."""
    below: Fields | None = whole
    for element in path:
        below = below.get(element) if below is not None else None
    return below is not None and is_member(below)


def at(path: tuple[str, ...]) -> Fields:
    """The set of one member."""
    below = NONE
    for element in reversed(path):
        below = {element: below}
    return below


def ordered(fields: Fields) -> Fields:
    """The set with its elements in upstream's order."""
    names = sorted(fields)
    if names and names[-1][0] in "kv" and len(names) > 1:
        names.sort(key=elements.rank)
    return {name: ordered(fields[name]) if fields[name] else NONE for name in names}


def paths(fields: Fields) -> Iterator[str]:
    """Every member's path as errors show it: those of a level first, then what is below each."""
    yield from _paths(ordered(fields), "")


def _paths(fields: Fields, prefix: str) -> Iterator[str]:
    below = [(prefix + elements.readable(name), item) for name, item in fields.items() if name != SELF]
    for path, item in below:
        if is_member(item):
            yield path
    for path, item in below:
        if item:
            yield from _paths(item, path)


def count(fields: Fields) -> int:
    """How many members it has."""
    return sum((is_member(below) + count(below)) for name, below in fields.items() if name != SELF)


def parse(value: Any) -> Fields:
    """A set that somebody sent, in canonical form. Raises ValueError."""
    if not isinstance(value, dict):
        raise ValueError("a set of fields is an object")
    result: Fields = {}
    for text, below in value.items():
        element = elements.canonical(text)
        if element is None:
            continue
        if element == SELF:
            result[SELF] = NONE
            continue
        parsed = parse(below)
        result[element] = _joined_nodes(result[element], parsed) if element in result else parsed
    return NONE if len(result) == 1 and SELF in result else result
