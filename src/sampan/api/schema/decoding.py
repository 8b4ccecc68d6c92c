"""Decoding a parsed body along its kind's node: errors, unknown fields, nulls. The entry points of this package.

Called by the server on every write and by patches. Changes values in place; see ``nodes`` for how it is made fast.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any

from sampan.api import objects
from sampan.api.schema.nodes import DecodeError, Node, ObjectNode, Walk, root
from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class Decoded:
    """``error``: why the body is not of its kind (``json: cannot unmarshal ...``), or None. ``unknown``: paths of
    dropped fields in document order. ``value`` is the given one, changed in place (``{}`` for a JSON null)."""

    value: Any
    error: str | None = None
    unknown: list[str] = field(default_factory=list)


def decode(node: Node, value: Any, type_name: str = "", *, collect_unknown: bool = True) -> Decoded:
    """Decode in place as Go would: unknown fields, nulls and omitted zero values are dropped, fields that are always
    written come, times and quantities are made canonical; the first wrong type ends it. ``type_name`` names the root
    when the node has no Go type of its own (custom resources)."""
    if node.settle(value):
        return Decoded(value)
    if value is None:
        return Decoded(node.zero())
    walk = Walk(collect_unknown=collect_unknown)
    try:
        value = node.decode(value, walk, root(_root_name(node, type_name)))
    except DecodeError as error:
        return Decoded(value, str(error))
    return Decoded(value, None, list(walk.unknown or ()))


def _root_name(node: Node, type_name: str) -> str:
    return node.type_name if isinstance(node, ObjectNode) and node.type_name else type_name


def normalise(node: Node, value: Any) -> Any:
    """``value``, an object of this kind by type already, as upstream's structs would hold it: in place, and returned.
    For what defaults, patches and callers in the process made, and for values stored by earlier versions. What does
    not fit its type stays."""
    if node.settle(value):
        return value
    return node.decode(value, Walk(collect_unknown=False, tolerant=True), root())


def check(node: Node, value: Any, type_name: str = "") -> str | None:
    """The first type error, or None. The value is not changed."""
    return decode(node, objects.deep_copy(value), type_name, collect_unknown=False).error


def unknown_fields(node: Node, value: Any) -> list[str]:
    """Paths of fields that the kind does not have (``spec.containers[0].foo``). The value is not changed."""
    walk = Walk(collect_unknown=True, tolerant=True)
    node.decode(objects.deep_copy(value), walk, root())
    return list(walk.unknown or ())


def unknown_field_message(path: str) -> str:
    return f'unknown field "{path}"'


def duplicate_field_message(path: str) -> str:
    return f'duplicate field "{path}"'


def wrong_type_message(kind: str, version: str, error: str, *, wanted: str = "") -> str:
    """The message of the 400 for ``Decoded.error``."""
    return f'{kind} in version "{version}" cannot be handled as a {wanted or kind}: {error}'
