"""Types of the language from the trees of built-in kinds: for type checking, which warns. Values stay plain JSON."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from sampan.api.expressions.escaping import escape
from sampan.api.schema import ListNode, MapNode, Node, ObjectNode, ScalarNode
from sampan.api.schema.scalars import (
    BOOL,
    BYTES,
    INT32,
    INT64,
    INT_OR_STRING,
    MICRO_TIME,
    NUMBER,
    QUANTITY,
    STRING,
    TIME,
)
from sampan.cel import types
from sampan.cel.types import FieldType, Type, list_of, map_of, object_type

_SCALARS: Final = {
    id(STRING): types.STRING,
    id(QUANTITY): types.STRING,
    id(BOOL): types.BOOL,
    id(INT32): types.INT,
    id(INT64): types.INT,
    id(NUMBER): types.DOUBLE,
    id(BYTES): types.BYTES,
    id(TIME): types.TIMESTAMP,
    id(MICRO_TIME): types.TIMESTAMP,
    id(INT_OR_STRING): types.DYN,
}


def type_of_node(node: Node, name: str) -> Type:
    """``name``: of the kind, and then of the path to what is below it."""
    if isinstance(node, ScalarNode):
        return _SCALARS.get(id(node.scalar), types.DYN)
    if isinstance(node, ListNode):
        return list_of(type_of_node(node.items, f"{name}.@idx"))
    if isinstance(node, MapNode):
        return map_of(types.STRING, type_of_node(node.values, f"{name}.@elem"))
    if isinstance(node, ObjectNode) and not node.preserve_unknown:
        return object_type(name, partial(_fields, node, name))
    return types.DYN


def _fields(node: ObjectNode, name: str) -> Mapping[str, FieldType]:
    """Reserved words name fields, too, as those who wrote ``object.metadata.namespace`` expect."""
    found: dict[str, FieldType] = {}
    for key, field in node.fields.items():
        kind = FieldType(type_of_node(field.node, f"{name}.{key}"), key)
        for spelled in (escape(key), key):
            if spelled is not None:
                found[spelled] = kind
    return found
