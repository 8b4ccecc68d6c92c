"""Nodes from a CRD's OpenAPI v3 structural schema: what is pruned, where null may stand, what server-side apply merges.

Called by the server for custom resources. A value of a wrong type is left as it is: whether values are right (types,
enum, pattern, required, CEL) is told by ``sampan.api.customresources``, with 422 instead of a decoder's 400. Only the
metadata of the object, and of resources in it, is decoded as upstream's structs would be. Source: apiextensions
``schema/pruning``, ``schema/objectmeta``, ``schema/defaulting/prunenulls.go``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sampan.api.schema import scalars
from sampan.api.schema.catalog import load
from sampan.api.schema.nodes import AnyNode, Field, ListNode, MapNode, Node, ObjectNode, Place, ScalarNode, Settle, Walk
from sampan.api.schema.packed import Packed, Raw, pack
from sampan.api.schema.scalars import ScalarType

_OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
#: Longer ones have no exact form as a float, and none at all as an int64 far beyond.
_EXACT = 2**53
_SCALARS = {
    "string": scalars.STRING,
    "boolean": scalars.BOOL,
    "integer": scalars.INT64,
    "number": scalars.NUMBER,
}


def node_from_openapi(schema: Raw | Packed, *, type_name: str = "", root: bool = False) -> Node:
    """The node of a structural schema. ``root``: of a whole custom resource, so ``apiVersion``, ``kind`` and
    ``metadata`` are there whatever the schema says. Nothing of ``schema`` itself is kept."""
    packed = schema if isinstance(schema, Packed) else pack(schema)
    if packed.small and not root and not type_name:
        return _shared(packed)
    return _node(packed, type_name, root=root)


@lru_cache(maxsize=4096)
def _shared(packed: Packed) -> Node:
    return _node(packed, "", root=False)


def _node(packed: Packed, type_name: str, *, root: bool, preserve: bool = False) -> Node:
    schema = packed.open()
    node = _build(schema, type_name, embedded=root or bool(schema.get("x-kubernetes-embedded-resource")), keep=preserve)
    node.structural = True
    node.nullable = bool(schema.get("nullable"))
    if schema.get("default") is not None:
        node.has_default, node.default = True, schema["default"]
    return node


def _build(schema: Mapping[str, Any], type_name: str, *, embedded: bool, keep: bool) -> Node:
    """``keep``: the list around it keeps unknown fields, and with it those of its elements."""
    kind = schema.get("type")
    if schema.get("x-kubernetes-int-or-string"):
        return _Scalar(scalars.INT_OR_STRING)
    if kind in _SCALARS:
        return _Scalar(_SCALARS[kind])
    keep = keep or bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    if kind == "array" or (not kind and isinstance(schema.get("items"), Packed)):
        return _list(schema, keep=keep)
    if kind == "object" or schema.get("properties") or "additionalProperties" in schema or embedded:
        return _object(schema, type_name, embedded=embedded, keep=keep)
    return AnyNode("interface {}")


def _list(schema: Mapping[str, Any], *, keep: bool) -> Node:
    items = schema.get("items")
    node = _node(items, "", root=False, preserve=keep) if isinstance(items, Packed) else AnyNode("interface {}")
    return _List(
        node,
        list_type=schema.get("x-kubernetes-list-type") or "atomic",
        list_keys=tuple(schema.get("x-kubernetes-list-map-keys") or ()),
    )


def _object(schema: Mapping[str, Any], type_name: str, *, embedded: bool, keep: bool) -> Node:
    additional = schema.get("additionalProperties")
    map_type = schema.get("x-kubernetes-map-type") or "granular"
    properties: dict[str, Packed] = schema.get("properties") or {}
    if not properties and not embedded:
        if isinstance(additional, Packed):
            return _Map(node_from_openapi(additional), map_type=map_type)
        if additional is True:
            return _Map(AnyNode("interface {}"), map_type=map_type)

    def fields() -> Mapping[str, Field]:
        own = {name: Field(node_from_openapi(part)) for name, part in properties.items()}
        if embedded:
            own["apiVersion"] = own["kind"] = Field(_Scalar(scalars.STRING))
            own["metadata"] = Field(load().definition(_OBJECT_META))
        return own

    return _Object(
        "",
        type_name,
        type_name or "map[string]interface {}",
        fields,
        required=tuple(schema.get("required") or ()),
        map_type=map_type,
        preserve_unknown=keep or additional is True,
    )


class _Scalar(ScalarNode):
    """Holds what it is given; a whole number that came with a point is written without."""

    __slots__ = ()

    def __init__(self, scalar: ScalarType) -> None:
        super().__init__(scalar)
        self.structural = True

    def _compile(self) -> Settle:
        return _is_plain

    def decode(self, value: Any, walk: Walk, place: Place) -> Any:
        if type(value) is float and value.is_integer() and abs(value) < _EXACT:
            return int(value)
        if type(value) is dict:
            for key in list(value):
                walk.unknown_field(place, key)
                del value[key]
        return value


def _is_plain(value: Any) -> bool:
    kind = type(value)
    return (
        kind is str
        or kind is int
        or kind is bool
        or (kind is float and not (value.is_integer() and abs(value) < _EXACT))
        or kind is list
    )


class _Object(ObjectNode):
    __slots__ = ()

    def decode(self, value: Any, walk: Walk, place: Place) -> Any:
        return super().decode(value, walk, place) if type(value) is dict else value


class _Map(MapNode):
    """A null goes where it may not stand, unless a default takes its place."""

    __slots__ = ()

    def decode(self, value: Any, walk: Walk, place: Place) -> Any:
        if type(value) is not dict:
            return value
        node = self.values
        if not (node.nullable or node.has_default or isinstance(node, AnyNode)):
            for key in [key for key, item in value.items() if item is None]:
                del value[key]
        for key, item in value.items():
            if item is not None and not walk.settles(node, item):
                value[key] = walk.into(node, item, place.key(key))
        return value


class _List(ListNode):
    """A null stays: it would be another list without it."""

    __slots__ = ()

    def decode(self, value: Any, walk: Walk, place: Place) -> Any:
        if type(value) is not list:
            return value
        node = self.items
        for index, item in enumerate(value):
            if item is not None and not walk.settles(node, item):
                value[index] = walk.into(node, item, place.item(index))
        return value
