"""Why the result of a strategic merge patch is not of its kind, in the words of upstream's converter.

A strategic merge patch makes maps of an object and an object of maps; the converter in between tells less than the
decoder of bodies, and otherwise. Called by the server when a result cannot be decoded; pure.
"""

from __future__ import annotations

from typing import Any, Final

from sampan.api import go_text
from sampan.api.schema.nodes import ListNode, MapNode, Node, ObjectNode, ScalarNode
from sampan.api.schema.scalars import Mismatch

_KINDS: Final = {"string": "string", "bool": "bool", "int32": "int32", "int64": "int64", "number": "float64"}


def fault(node: Node, value: Any) -> str | None:
    """The first value that cannot be restored; None: upstream would restore them all."""
    if value is None:
        return None
    if isinstance(node, ObjectNode):
        return _fields(node, value)
    if isinstance(node, MapNode):
        if not isinstance(value, dict):
            return f"cannot restore map from {_kind(value)}"
        return _first((node.values, item) for item in value.values())
    if isinstance(node, ListNode):
        if not isinstance(value, list):
            return f"cannot restore slice from {_kind(value)}"
        return _first((node.items, item) for item in value)
    return _scalar(node, value) if isinstance(node, ScalarNode) else None


def _fields(node: ObjectNode, value: Any) -> str | None:
    if not isinstance(value, dict):
        return f"cannot restore struct from: {_kind(value)}"
    return _first((field.node, value[name]) for name, field in node.fields.items() if name in value)


def _first(pairs: Any) -> str | None:
    for node, value in pairs:
        if (found := fault(node, value)) is not None:
            return found
    return None


def _scalar(node: ScalarNode, value: Any) -> str | None:
    if node.settle(value):
        return None
    wanted = _KINDS.get(node.scalar.name)
    if wanted is None:
        return _own_form(node, value)
    given = go_text.type_name(value)
    if (wanted == "string" and given == "int64") or (wanted in ("int32", "int64") and given == "float64"):
        return f"cannot convert {given} to {node.go_type}"
    return f"unrecognized type: {wanted}"


def _own_form(node: ScalarNode, value: Any) -> str | None:
    """Types that read JSON themselves, and bytes."""
    try:
        node.scalar.convert(value)
    except Mismatch as error:
        if node.scalar.name != "bytes":
            return error.text
        if isinstance(value, str):
            return f"error decoding from json: {error.text}"
        return f"cannot restore slice from {_kind(value)}"
    return None


def _kind(value: Any) -> str:
    """Of Go's kinds: ``map``, ``slice``, ``string``, ``int64``."""
    if isinstance(value, dict):
        return "map"
    return "slice" if isinstance(value, list) else go_text.type_name(value)
