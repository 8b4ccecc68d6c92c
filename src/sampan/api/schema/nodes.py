"""The tree that says what an object of a kind looks like, and decoding along it.

Built by ``catalog`` (built-in kinds) and ``structural`` (custom resources); walked by decoding (here), strategic merge
(``sampan.api.patch``) and defaulting. Nodes are shared and immutable once built; their children are built on first
use, because a server that starts needs a handful of the 862 definitions.

Decoding is the hot path of every write, so it has two speeds. ``Node.settle(value)`` makes a value what upstream's
structs would hold, in place: zero values of fields that they omit go, as do nulls, and fields that they always write
come (see ``Presence``). It keeps no paths and is compiled to closures; False means that something is there which it
cannot settle. Only below such a value does ``Node.decode`` walk again, with paths, to repair it (drop unknown fields,
put leaves into canonical form) or to say what is wrong.

What this does not do: semantic validation, ``required``, enums. Upstream's decoder checks none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple

from sampan.api.schema import paths
from sampan.api.schema.paths import MAX_STRICT_ERRORS
from sampan.api.schema.scalars import Mismatch, ScalarType, describe
from sampan.records import dataclass

Settle = Callable[[Any], bool]

#: What Go's encoder writes of a field that holds its zero value. ``omitted``: nothing; ``kept``: it is a pointer, so
#: that zero is a value and only absence is nothing; ``always``: the zero itself; ``null``: null (slices, pointers and
#: times whose tag does not say omitempty).
Presence = Literal["omitted", "kept", "always", "null"]

#: Objects within objects that are settled before they are walked with paths. Deeper ones are only walked, or a value
#: nested by the hundred would be settled once from each of its ancestors.
_SETTLED_DEPTH: Final = 8


class DecodeError(Exception):
    """The first value that does not fit; the text is Go's."""


class Place(NamedTuple):
    """Where a value stands below ``parent`` (None: it is the root, and ``step`` the name of its type). ``struct``: the
    Go type whose field it is, or is part of; ``is_field``: ``step`` names a field, no key or index."""

    parent: Place | None
    step: str | int
    struct: str
    is_field: bool = False

    def field(self, struct: str, name: str) -> Place:
        return Place(self, name, struct, True)

    def key(self, key: str) -> Place:
        return Place(self, key, self.struct)

    def item(self, index: int) -> Place:
        return Place(self, index, self.struct)

    def fields(self) -> str:
        """As Go's decoder tells it: ``spec.containers.image``."""
        return ".".join(str(place.step) for place in self._way() if place.is_field)

    def path(self, key: str) -> str:
        """With indexes and map keys, of what stands below under ``key``."""
        return paths.join([*(place.step for place in self._way()), key])

    def _way(self) -> list[Place]:
        way: list[Place] = []
        place: Place | None = self
        while place is not None and place.parent is not None:
            way.append(place)
            place = place.parent
        return way[::-1]


def root(type_name: str = "") -> Place:
    return Place(None, "", type_name)


class Walk:
    """One decoding: collects unknown fields (``unknown`` None: they are dropped unseen). ``tolerant``: wrong types
    stay.
    """

    __slots__ = ("depth", "tolerant", "unknown")

    def __init__(self, *, collect_unknown: bool, tolerant: bool = False) -> None:
        self.unknown: dict[str, None] | None = {} if collect_unknown else None
        self.tolerant = tolerant
        self.depth = 0

    def unknown_field(self, place: Place, key: str) -> None:
        if self.unknown is not None and len(self.unknown) < MAX_STRICT_ERRORS:
            self.unknown[place.path(key)] = None

    def settles(self, node: Node, value: Any) -> bool:
        """Whether the value is right by now; else it has to be walked."""
        return (self.depth < _SETTLED_DEPTH or not node.branches) and node.settle(value)

    def into(self, node: Node, value: Any, place: Place) -> Any:
        """The value as ``node`` keeps it."""
        self.depth += 1
        value = node.decode(value, self, place)
        self.depth -= 1
        return value

    def mismatch(self, value: Any, go_type: str, place: Place, text: str = "") -> Any:
        if self.tolerant:
            return value
        text = text or f"cannot unmarshal {describe(value)}"
        if fields := place.fields():
            raise DecodeError(f"json: {text} into Go struct field {place.struct}.{fields} of type {go_type}")
        raise DecodeError(f"json: {text} into Go value of type {go_type}")


class Node:
    """Base of all nodes.

    ``settle`` is compiled on first use. ``go_type``: the Go type's name in errors. ``branches``: has values below.
    The rest is for custom resources: ``structural`` says that this is of one, ``nullable`` keeps an explicit null,
    ``default`` counts if ``has_default``. ``shape``: what server-side apply made of it (``api/apply``); None: nobody
    asked yet.
    """

    __slots__ = ("default", "go_type", "has_default", "nullable", "settle", "shape", "structural")

    go_type: str
    settle: Settle
    branches = True

    def __init__(self, go_type: str) -> None:
        self.go_type = go_type
        self.nullable = False
        self.structural = False
        self.has_default = False
        self.default: Any = None
        self.shape: Any = None
        self.settle = self._settle_first

    def _settle_first(self, value: Any) -> bool:
        self.settle = self._nullable(self._compile()) if self.nullable else self._compile()
        return self.settle(value)

    @staticmethod
    def _nullable(settle: Settle) -> Settle:
        return lambda value: value is None or settle(value)

    def _compile(self) -> Settle:
        raise AssertionError("abstract")

    def decode(self, value: Any, walk: Walk, place: Place) -> Any:
        """The value as the API keeps it: changed in place where it is a container. Raises DecodeError."""
        raise AssertionError("abstract")

    def zero(self) -> Any:
        """Go's zero value of the type as its encoder writes it: what a null element of a list or map becomes."""
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
    branches = False

    def _compile(self) -> Settle:
        return lambda value: True

    def decode(self, value: Any, walk: Walk, place: Place) -> Any:
        return value

    def null_element(self, walk: Walk, place: Place) -> Any:
        return None


class ScalarNode(Node):
    __slots__ = ("scalar",)
    branches = False

    def __init__(self, scalar: ScalarType, go_type: str = "") -> None:
        super().__init__(go_type or scalar.go_type)
        self.scalar = scalar

    def _compile(self) -> Settle:
        return self.scalar.clean

    def exact(self) -> type | None:
        return None if self.nullable else self.scalar.exact

    def zero(self) -> Any:
        return self.scalar.zero

    def decode(self, value: Any, walk: Walk, place: Place) -> Any:
        if self.settle(value):
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
    """One field of an object with how strategic merge treats it there: ``strategy`` of merge, replace, retainKeys.
    Fields of custom resources have no Go type: what they hold is kept."""

    node: Node
    strategy: frozenset[str] = frozenset()
    merge_key: str = ""
    presence: Presence = "kept"
    #: Where the field says otherwise than its type (server-side apply: the claimRef of a volume is granular).
    own_map_type: str = ""

    @property
    def omitted_when_empty(self) -> bool:
        """Does a value that is empty count as absent? (Storage knows no empty slice beside the absent one.)"""
        return self.presence == "omitted" or (self.presence == "null" and isinstance(self.node, ListNode | MapNode))


class ObjectNode(Node):
    """Known fields. ``preserve_unknown`` keeps others as they are. ``fields`` is built by ``build`` on first use."""

    __slots__ = ("_always", "_build", "_fields", "map_type", "name", "preserve_unknown", "required", "type_name")

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
        self._always: tuple[tuple[str, Node | None], ...] | None = None

    @property
    def fields(self) -> Mapping[str, Field]:
        if self._fields is None:
            self._fields = self._build()
        return self._fields

    def zero(self) -> Any:
        value: dict[str, Any] = {}
        self._fill(value)
        return value

    def _fill(self, value: dict[str, Any]) -> None:
        """Put in the fields that upstream always writes."""
        for name, node in self._written():
            if name not in value:
                value[name] = node.zero() if node is not None else None

    def _written(self) -> Iterable[tuple[str, Node | None]]:
        """Names of the fields that are always written, with the node whose zero they hold (None: null)."""
        if self._always is None:
            self._always = tuple(
                (name, field.node if field.presence == "always" else None)
                for name, field in self.fields.items()
                if field.presence in ("always", "null")
            )
        return self._always

    def _compile(self) -> Settle:
        #: Of a leaf the one Python type that fits, of all else what settles it.
        rules: dict[str, Any] = {}
        for name, field in self.fields.items():
            rules[name] = field.node.exact() or _first_use(rules, name, field.node)
        omitted = frozenset(name for name, field in self.fields.items() if field.omitted_when_empty)
        null_stays = frozenset(
            name for name, field in self.fields.items() if field.node.nullable or field.presence == "null"
        )
        always = tuple(name for name, _ in self._written())
        return _settler(rules, omitted, null_stays, always, self._fill, strict=not self.preserve_unknown)

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
                    walk.unknown_field(place, key)
                    del value[key]
                continue
            item = value[key]
            if (item is not None or field.node.nullable) and not walk.settles(field.node, item):
                item = value[key] = walk.into(field.node, item, place.field(self.type_name, key))
            if (item is None and not field.node.nullable) or (not item and field.omitted_when_empty):
                del value[key]
        self._fill(value)
        return value


def _settler(  # noqa: C901 (one loop: what it calls is paid for by every write)
    rules: Mapping[str, Any],
    omitted: frozenset[str],
    null_stays: frozenset[str],
    always: tuple[str, ...],
    fill: Callable[[dict[str, Any]], None],
    *,
    strict: bool,
) -> Settle:
    rule = rules.get

    def settle(value: Any) -> bool:  # noqa: C901
        if type(value) is not dict:
            return False
        dropped: list[str] | None = None
        for key, item in value.items():
            check = rule(key)
            if type(item) is check:
                if item or key not in omitted:
                    continue
            elif check is None:
                if strict:
                    return False
                continue
            elif item is None:
                if key in null_stays:
                    continue
            elif check is str or check is bool or not check(item):
                return False
            elif item or key not in omitted:
                continue
            if dropped is None:
                dropped = []
            dropped.append(key)
        if dropped is not None:
            for key in dropped:
                del value[key]
        for key in always:
            if key not in value:
                fill(value)
                break
        return True

    return settle


def _first_use(rules: dict[str, Any], name: str, node: Node) -> Settle:
    """Stands in for a child's check until it is first needed, then puts the compiled one in its place."""

    def first(value: Any) -> bool:
        result = node.settle(value)
        rules[name] = node.settle
        return result

    return first


def _all_are(exact: type, values: Iterable[Any]) -> bool:
    for kind in map(type, values):  # noqa: SIM110 (a generator takes twice as long)
        if kind is not exact:
            return False
    return True


class MapNode(Node):
    """Free keys, values of one type."""

    __slots__ = ("map_type", "values")

    def __init__(
        self, values: Node, *, map_type: str = "granular", key_type: str = "string", go_type: str = ""
    ) -> None:
        super().__init__(go_type or f"map[{key_type}]{values.go_type}")
        self.values = values
        self.map_type = map_type

    def zero(self) -> Any:
        return {}

    def _compile(self) -> Settle:
        node, exact = self.values, self.values.exact()

        def settle(value: Any) -> bool:
            if type(value) is not dict:
                return False
            if exact is not None:
                return _all_are(exact, value.values())
            return all(map(node.settle, value.values()))

        return settle

    def decode(self, value: Any, walk: Walk, place: Place) -> Any:
        if value is None and self.nullable:
            return value
        if type(value) is not dict:
            return walk.mismatch(value, self.go_type, place)
        node = self.values
        for key, item in value.items():
            if item is None:
                value[key] = node.null_element(walk, place.key(key))
            elif not walk.settles(node, item):
                value[key] = walk.into(node, item, place.key(key))
        return value


class ListNode(Node):
    """``list_type`` atomic, set or map (then ``list_keys``): how server-side apply sees it."""

    __slots__ = ("items", "list_keys", "list_type")

    def __init__(
        self, items: Node, *, list_type: str = "atomic", list_keys: tuple[str, ...] = (), go_type: str = ""
    ) -> None:
        super().__init__(go_type or f"[]{items.go_type}")
        self.items = items
        self.list_type = list_type
        self.list_keys = list_keys

    def zero(self) -> Any:
        return []

    def _compile(self) -> Settle:
        node, exact = self.items, self.items.exact()

        def settle(value: Any) -> bool:
            if type(value) is not list:
                return False
            if exact is not None:
                return _all_are(exact, value)
            return all(map(node.settle, value))

        return settle

    def decode(self, value: Any, walk: Walk, place: Place) -> Any:
        if value is None and self.nullable:
            return value
        if type(value) is not list:
            return walk.mismatch(value, self.go_type, place)
        node = self.items
        for index, item in enumerate(value):
            if item is None:
                value[index] = node.null_element(walk, place.item(index))
            elif not walk.settles(node, item):
                value[index] = walk.into(node, item, place.item(index))
        return value
