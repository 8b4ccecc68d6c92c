"""The tree that says what an object of a kind looks like, and decoding along it.

Built by ``catalog`` (built-in kinds) and ``structural`` (custom resources); walked by decoding (here), strategic merge
(``sampan.api.patch``) and defaulting. Nodes are shared and immutable once built; their children are built on first
use, because a server that starts needs a handful of the 862 definitions.

Decoding is the hot path of every write, so it has two speeds. ``Node.clean(value)`` only answers whether a value is
exactly right: all fields known, all types right, no nulls, every leaf in canonical form; it keeps no paths and is
compiled to closures. Only below a value that is not clean does ``Node.decode`` walk again, with paths, to repair it
in place (drop nulls and unknown fields as Go's decoder does) or to say what is wrong.

What this does not do: semantic validation, ``required``, enums. Upstream's decoder checks none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sampan.api.schema.scalars import Mismatch, ScalarType, describe

Clean = Callable[[Any], bool]

#: Upstream reports at most this many strict errors of one body (sigs.k8s.io/json).
MAX_STRICT_ERRORS: Final = 100


class DecodeError(Exception):
    """The first value that does not fit; the text is Go's."""


class Place(NamedTuple):
    """Where a value stands: ``struct`` and ``fields`` as Go's decoder tells it, ``path`` with indexes and map keys."""

    struct: str
    fields: str
    path: str

    def field(self, struct: str, name: str) -> Place:
        fields = f"{self.fields}.{name}" if self.fields else name
        return Place(struct, fields, f"{self.path}.{name}" if self.path else name)

    def key(self, key: str) -> Place:
        return Place(self.struct, self.fields, f"{self.path}.{key}" if self.path else key)

    def item(self, index: int) -> Place:
        return Place(self.struct, self.fields, f"{self.path}[{index}]")


class Walk:
    """One decoding: collects unknown fields (``unknown`` None: they are dropped unseen). ``tolerant``: wrong types
    stay.
    """

    __slots__ = ("tolerant", "unknown")

    def __init__(self, *, collect_unknown: bool, tolerant: bool = False) -> None:
        self.unknown: dict[str, None] | None = {} if collect_unknown else None
        self.tolerant = tolerant

    def unknown_field(self, path: str) -> None:
        if self.unknown is not None and len(self.unknown) < MAX_STRICT_ERRORS:
            self.unknown[path] = None

    def mismatch(self, value: Any, go_type: str, place: Place, text: str = "") -> Any:
        if self.tolerant:
            return value
        text = text or f"cannot unmarshal {describe(value)}"
        if place.fields:
            raise DecodeError(f"json: {text} into Go struct field {place.struct}.{place.fields} of type {go_type}")
        raise DecodeError(f"json: {text} into Go value of type {go_type}")


class Node:
    """Base of all nodes.

    ``clean`` is compiled on first use. ``go_type``: the Go type's name in errors. The rest is for custom resources:
    ``structural`` says that this is of one, ``nullable`` keeps an explicit null, ``default`` counts if ``has_default``.
    """

    __slots__ = ("clean", "default", "go_type", "has_default", "nullable", "structural")

    go_type: str
    clean: Clean

    def __init__(self, go_type: str) -> None:
        self.go_type = go_type
        self.nullable = False
        self.structural = False
        self.has_default = False
        self.default: Any = None
        self.clean = self._clean_first

    def _clean_first(self, value: Any) -> bool:
        self.clean = self._nullable(self._compile()) if self.nullable else self._compile()
        return self.clean(value)

    @staticmethod
    def _nullable(clean: Clean) -> Clean:
        return lambda value: value is None or clean(value)

    def _compile(self) -> Clean:
        raise AssertionError("abstract")

    def decode(self, value: Any, walk: Walk, place: Place) -> Any:
        """The value as the API keeps it: changed in place where it is a container. Raises DecodeError."""
        raise AssertionError("abstract")

    def zero(self) -> Any:
        """Go's zero value of the type: what a null element of a list or map becomes."""
        return None

    def null_element(self, walk: Walk, place: Place) -> Any:
        """A null in a list or map: the zero value; in a custom resource it stays, where it is allowed."""
        if self.nullable:
            return None
        return walk.mismatch(None, self.go_type, place) if self.structural else self.zero()

    def exact(self) -> type | None:
        """A Python type all of whose instances are clean, if there is one."""
        return None


class AnyNode(Node):
    """Anything, kept as it is: RawExtension, FieldsV1, JSON, ``x-kubernetes-preserve-unknown-fields`` without type."""

    __slots__ = ()

    def _compile(self) -> Clean:
        return lambda value: True

    def decode(self, value: Any, walk: Walk, place: Place) -> Any:
        return value

    def null_element(self, walk: Walk, place: Place) -> Any:
        return None


class ScalarNode(Node):
    __slots__ = ("scalar",)

    def __init__(self, scalar: ScalarType) -> None:
        super().__init__(scalar.go_type)
        self.scalar = scalar

    def _compile(self) -> Clean:
        return self.scalar.clean

    def exact(self) -> type | None:
        return None if self.nullable else self.scalar.exact

    def zero(self) -> Any:
        return self.scalar.zero

    def decode(self, value: Any, walk: Walk, place: Place) -> Any:
        if self.clean(value):
            return value
        try:
            return self.scalar.convert(value)
        except Mismatch as error:
            if walk.tolerant:
                return value
            if error.at_field:
                return walk.mismatch(value, self.go_type, place, error.text)
            raise DecodeError(error.text) from None


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an object with how strategic merge treats it there: ``strategy`` of merge, replace, retainKeys."""

    node: Node
    strategy: frozenset[str] = frozenset()
    merge_key: str = ""


class ObjectNode(Node):
    """Known fields. ``preserve_unknown`` keeps others as they are. ``fields`` is built by ``build`` on first use."""

    __slots__ = ("_build", "_fields", "map_type", "name", "preserve_unknown", "required", "type_name")

    def __init__(
        self,
        name: str,
        type_name: str,
        go_type: str,
        build: Callable[[], Mapping[str, Field]],
        *,
        required: tuple[str, ...] = (),
        map_type: str = "granular",
        preserve_unknown: bool = False,
    ) -> None:
        super().__init__(go_type)
        self.name = name
        self.type_name = type_name
        self.required = required
        self.map_type = map_type
        self.preserve_unknown = preserve_unknown
        self._build = build
        self._fields: Mapping[str, Field] | None = None

    @property
    def fields(self) -> Mapping[str, Field]:
        if self._fields is None:
            self._fields = self._build()
        return self._fields

    def zero(self) -> Any:
        return {}

    def _compile(self) -> Clean:
        leaves: dict[str, type] = {}
        nested: dict[str, Clean] = {}
        for name, field in self.fields.items():
            exact = field.node.exact()
            if exact is not None:
                leaves[name] = exact
            else:
                nested[name] = _first_use(nested, name, field.node)
        leaf, child, strict = leaves.get, nested.get, not self.preserve_unknown

        def clean(value: Any) -> bool:
            if type(value) is not dict:
                return False
            for key, item in value.items():
                if type(item) is leaf(key):
                    continue
                check = child(key)
                if check is None:
                    if strict or key in leaves:
                        return False
                elif item is None or not check(item):
                    return False
            return True

        return clean

    def decode(self, value: Any, walk: Walk, place: Place) -> Any:
        if value is None and self.nullable:
            return value
        if type(value) is not dict:
            return walk.mismatch(value, self.go_type, place)
        fields = self.fields
        for key in list(value):
            field = fields.get(key)
            if field is None:
                if not self.preserve_unknown:
                    walk.unknown_field(f"{place.path}.{key}" if place.path else key)
                    del value[key]
                continue
            item = value[key]
            node = field.node
            if item is None and not node.nullable:
                del value[key]
            elif not node.clean(item):
                value[key] = node.decode(item, walk, place.field(self.type_name, key))
        return value


def _first_use(nested: dict[str, Clean], name: str, node: Node) -> Clean:
    """Stands in for a child's check until it is first needed, then puts the compiled one in its place."""

    def first(value: Any) -> bool:
        result = node.clean(value)
        nested[name] = node.clean
        return result

    return first


class MapNode(Node):
    """Free keys, values of one type."""

    __slots__ = ("map_type", "values")

    def __init__(self, values: Node, *, map_type: str = "granular") -> None:
        super().__init__(f"map[string]{values.go_type}")
        self.values = values
        self.map_type = map_type

    def zero(self) -> Any:
        return {}

    def _compile(self) -> Clean:
        node, exact = self.values, self.values.exact()

        def clean(value: Any) -> bool:
            if type(value) is not dict:
                return False
            if exact is not None:
                return all(type(item) is exact for item in value.values())
            return all(item is not None and node.clean(item) for item in value.values())

        return clean

    def decode(self, value: Any, walk: Walk, place: Place) -> Any:
        if value is None and self.nullable:
            return value
        if type(value) is not dict:
            return walk.mismatch(value, self.go_type, place)
        node = self.values
        for key, item in value.items():
            if item is None:
                value[key] = node.null_element(walk, place.key(key))
            elif not node.clean(item):
                value[key] = node.decode(item, walk, place.key(key))
        return value


class ListNode(Node):
    """``list_type`` atomic, set or map (then ``list_keys``): how server-side apply sees it."""

    __slots__ = ("items", "list_keys", "list_type")

    def __init__(self, items: Node, *, list_type: str = "atomic", list_keys: tuple[str, ...] = ()) -> None:
        super().__init__(f"[]{items.go_type}")
        self.items = items
        self.list_type = list_type
        self.list_keys = list_keys

    def zero(self) -> Any:
        return []

    def _compile(self) -> Clean:
        node, exact = self.items, self.items.exact()

        def clean(value: Any) -> bool:
            if type(value) is not list:
                return False
            for item in value:
                if type(item) is exact:
                    continue
                if item is None or not node.clean(item):
                    return False
            return True

        return clean

    def decode(self, value: Any, walk: Walk, place: Place) -> Any:
        if value is None and self.nullable:
            return value
        if type(value) is not list:
            return walk.mismatch(value, self.go_type, place)
        node = self.items
        for index, item in enumerate(value):
            if item is None:
                value[index] = node.null_element(walk, place.item(index))
            elif not node.clean(item):
                value[index] = node.decode(item, walk, place.item(index))
        return value
