"""How server-side apply sees a structure: what is owned as a whole, field by field, or item by item.

``shape_of(node)`` gives the shape of a node of ``api.schema``; it is kept with the node, and built as far as it is
looked at (definitions are recursive). Atomic lists and maps, scalars, and what nobody knows the structure of are
leaves. Source: structured-merge-diff ``schema``, kube-openapi ``schemaconv``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sampan.api.apply import elements
from sampan.api.apply.elements import SELF
from sampan.api.apply.sets import NONE, Fields
from sampan.api.schema import AnyNode, ListNode, MapNode, Node, ObjectNode, ScalarNode
from sampan.api.schema.overlay import SchemaOr
from sampan.api.schema.scalars import BOOL, BYTES, INT32, INT64, NUMBER, STRING, ScalarType

#: Fields that a list item's key may leave out, because they have a default: (definition, field) to its value.
_KEY_DEFAULTS: Final[Mapping[tuple[str, str], Any]] = {
    ("io.k8s.api.core.v1.ContainerPort", "protocol"): "TCP",
    ("io.k8s.api.core.v1.ServicePort", "protocol"): "TCP",
    ("io.k8s.api.core.v1.LocalObjectReference", "name"): "",
}

#: how many keys' elements a list remembers
_KEPT: Final = 2048


class Shape:
    """``field(name)``: the element and shape of a key of an object; None: the structure has no such field.
    ``whole(value)``: what stands below the element of a value that comes, or goes, with all that is in it.
    ``free``: types of what is below may change, so that Python's ``==`` (to which 1 is True) does not tell enough."""

    __slots__ = ()
    free: bool = False

    def field(self, name: str) -> tuple[str, Shape] | None:
        return None

    def whole(self, value: Any) -> Fields:
        return NONE


class Leaf(Shape):
    """Owned as a whole. ``expected``: string, numeric, boolean, list, map; anything else: no matter."""

    __slots__ = ("expected",)

    def __init__(self, expected: str = "") -> None:
        self.expected = expected


class Deduced(Shape):
    """What a schema preserves without knowing it: objects field by field, all else as a whole."""

    __slots__ = ()
    free = True

    def field(self, name: str) -> tuple[str, Shape] | None:
        return f"f:{name}", self

    def whole(self, value: Any) -> Fields:
        if type(value) is not dict or not value:
            return NONE
        below: Fields = {f"f:{name}": self.whole(item) for name, item in value.items()}
        below[SELF] = NONE
        return below


class Struct(Shape):
    """Declared fields; ``others``: the shape of those that are not declared, if they may be there."""

    __slots__ = ("_children", "_custom", "_node", "_zero", "free", "others")

    def __init__(self, node: ObjectNode, *, custom: bool) -> None:
        self._node = node
        self._custom = custom
        self._children: dict[str, tuple[str, Shape]] = {}
        self._zero: Any = None
        self.others: Shape | None = DEDUCED if node.preserve_unknown else None
        self.free = custom or node.preserve_unknown

    def child(self, name: str) -> tuple[str, Shape] | None:
        """The element and shape of a declared field; None: there is no such field."""
        return self._children.get(name) or self._first_look(name)

    def _first_look(self, name: str) -> tuple[str, Shape] | None:
        field = self._node.fields.get(name)
        if field is None:
            return None  # not kept: anybody may ask for any name
        if field.own_map_type:
            found = _mapping(field.node, field.own_map_type, custom=self._custom)
        else:
            found = shape_of(field.node, custom=self._custom)
        self._children[name] = (f"f:{name}", found)
        return self._children[name]

    def field(self, name: str) -> tuple[str, Shape] | None:
        found = self._children.get(name) or self._first_look(name)
        if found is None and self.others is not None:
            return f"f:{name}", self.others
        return found

    def whole(self, value: Any) -> Fields:
        if type(value) is not dict or not value:
            return NONE
        below: Fields = {}
        known = self._children
        for name, item in value.items():
            found = known.get(name) or self.field(name)
            if found is not None:
                element, shape = found
                below[element] = shape.whole(item) if item and type(shape) is not Leaf else NONE
        if not below:
            return NONE
        below[SELF] = NONE
        return below

    def zero(self) -> Any:
        """The object without content, as upstream's structs write it. Shared: read-only."""
        if self._zero is None:
            self._zero = self._node.zero()
        return self._zero


class FreeMap(Shape):
    """Any keys, values of one shape."""

    __slots__ = ("free", "values")

    def __init__(self, values: Shape) -> None:
        self.values, self.free = values, values.free

    def field(self, name: str) -> tuple[str, Shape] | None:
        return f"f:{name}", self.values

    def whole(self, value: Any) -> Fields:
        if type(value) is not dict or not value:
            return NONE
        values = self.values
        below: Fields = {f"f:{name}": values.whole(item) for name, item in value.items()}
        below[SELF] = NONE
        return below


class Keyed(Shape):
    """A list whose items are told apart by the values of some of their fields."""

    __slots__ = ("_custom", "_defaults", "_elements", "_items", "_shape", "free", "keys")

    def __init__(self, node: ListNode, *, custom: bool) -> None:
        self.keys = node.list_keys
        self._items = node.items
        self._custom = self.free = custom
        self._defaults = _key_defaults(node)
        self._elements: dict[Any, str] = {}
        self._shape: Shape | None = None

    @property
    def items(self) -> Shape:
        if self._shape is None:
            self._shape = shape_of(self._items, custom=self._custom)
        return self._shape

    def element(self, item: Any) -> str | None:
        """None: it is no object, or has none of the keys."""
        if type(item) is not dict:
            return None
        defaults = self._defaults
        values = []
        for name in self.keys:
            value = item.get(name, defaults.get(name, _ABSENT))
            if type(value) is not str and type(value) is not int:
                return self._unusual(item)
            values.append(value)
        known = tuple(values)
        found = self._elements.get(known)
        if found is None:
            if len(self._elements) >= _KEPT:
                self._elements.clear()
            found = elements.of_key(dict(zip(self.keys, values, strict=True)))
            if len(found) <= elements.LONGEST_KEPT:
                self._elements[known] = found
        return found

    def whole(self, value: Any) -> Fields:
        return _whole_items(self, value)

    def _unusual(self, item: Any) -> str | None:
        """Of a key that is not all texts and whole numbers, or not all there."""
        key = {
            name: item[name] if name in item else self._defaults[name]
            for name in self.keys
            if name in item or name in self._defaults
        }
        return elements.of_key(key) if key else None


class Values(Shape):
    """A list that is a set of scalars."""

    __slots__ = ()

    @property
    def items(self) -> Shape:
        return _ANY

    def element(self, item: Any) -> str | None:
        """None: it is nothing that can be told apart."""
        return None if item is None or isinstance(item, dict | list) else elements.of_value(item)

    def whole(self, value: Any) -> Fields:
        return _whole_items(self, value)


def by_element(shape: Keyed | Values, items: list[Any]) -> dict[str, list[Any]]:
    """The items of each element, in the order of the first of each. What cannot be told apart is left out."""
    found: dict[str, list[Any]] = {}
    for item in items:
        element = shape.element(item)
        if element is not None:
            if element in found:
                found[element].append(item)
            else:
                found[element] = [item]
    return found


def _whole_items(shape: Keyed | Values, value: Any) -> Fields:
    """Of items given twice only the element is owned."""
    if type(value) is not list or not value:
        return NONE
    below: Fields = {}
    inner, element_of = shape.items, shape.element
    for item in value:
        element = element_of(item)
        if element is not None:
            below[element] = NONE if element in below else inner.whole(item)
    if below:
        below[SELF] = NONE
    return below


_ABSENT: Final = object()
DEDUCED: Final = Deduced()
_ANY: Final = Leaf()
_LIST: Final = Leaf("list")
_MAP: Final = Leaf("map")
_STRING, _NUMERIC, _BOOLEAN = Leaf("string"), Leaf("numeric"), Leaf("boolean")
_SCALARS: Final[Mapping[int, Leaf]] = {
    id(STRING): _STRING,
    id(BYTES): _STRING,
    id(INT32): _NUMERIC,
    id(INT64): _NUMERIC,
    id(NUMBER): _NUMERIC,
    id(BOOL): _BOOLEAN,
}


def _scalar(scalar: ScalarType) -> Leaf:
    return _SCALARS.get(id(scalar), _ANY)


def shape_of(node: Node, *, custom: bool = False) -> Shape:
    """``custom``: it stands in a custom resource, outside of what upstream itself declares."""
    if isinstance(node, ScalarNode):
        return _scalar(node.scalar)
    custom = custom or node.structural
    if isinstance(node, AnyNode):
        return DEDUCED if custom else _ANY
    found = node.shape
    if found is None:
        if isinstance(node, ListNode):
            found = _list(node, custom=custom)
        else:
            found = _mapping(node, getattr(node, "map_type", "granular"), custom=custom)
        node.shape = found
    return found  # type: ignore[no-any-return]  # the node keeps it for us, and knows no shapes


def _mapping(node: Node, map_type: str, *, custom: bool) -> Shape:
    if map_type == "atomic":
        return _MAP
    if isinstance(node, ObjectNode):
        return Struct(node, custom=custom and not node.name)
    if isinstance(node, MapNode):
        return FreeMap(shape_of(node.values, custom=custom))
    return _ANY if isinstance(node, SchemaOr) else shape_of(node, custom=custom)


def _list(node: ListNode, *, custom: bool) -> Shape:
    if node.list_type == "map" and node.list_keys:
        return Keyed(node, custom=custom)
    return Values() if node.list_type == "set" else _LIST


def _key_defaults(node: ListNode) -> dict[str, Any]:
    """What the keys that an item leaves out are."""
    found: dict[str, Any] = {}
    items = node.items
    if isinstance(items, ObjectNode):
        for name in node.list_keys:
            if (items.name, name) in _KEY_DEFAULTS:
                found[name] = _KEY_DEFAULTS[items.name, name]
            elif (field := items.fields.get(name)) is not None and field.node.has_default:
                found[name] = field.node.default
    return found
