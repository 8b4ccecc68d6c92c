"""Patches: RFC 6902 JSON Patch, RFC 7386 merge patch, Kubernetes' strategic merge patch.

``apply_patch`` is what the server calls; it returns a new object and never changes its arguments. What comes out is
not yet decoded along the kind's node: the server does that, as for any body. Server-side apply is not a patch in this
sense.
"""

from __future__ import annotations

from typing import Any, Final

from sampan.api.errors import BadRequest, UnsupportedMediaType
from sampan.api.patch import json_patch, merge_patch, strategic
from sampan.api.schema.json_text import parse_json
from sampan.api.schema.nodes import Node
from sampan.api.schema.scalars import describe
from sampan.api.types import Obj

JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH: Final = "application/strategic-merge-patch+json"

#: Patch and object together: beyond this, copying and parsing alone take some milliseconds.
LONG_BYTES: Final = 128 * 1024
#: Milliseconds in terms of bytes that a list of operations may move; one costs as much as this many.
_MOVED_BYTES: Final = 8 * 1024 * 1024
_OPERATION_BYTES: Final = 8 * 1024

__all__ = ["JSON_PATCH", "MERGE_PATCH", "STRATEGIC_MERGE_PATCH", "apply_patch", "is_heavy", "parse_patch"]


def parse_patch(patch: bytes | Obj | list[Any], content_type: str) -> tuple[Any, list[str]]:
    """The patch as a value of the shape its type needs, and paths of duplicate keys. Bodies are held to the limits of
    ``parse_json``. Raises BadRequest."""
    value, duplicates = parse_json(patch, "error decoding patch") if isinstance(patch, bytes) else (patch, [])
    wanted, go_type = (list, "jsonpatch.Patch") if content_type == JSON_PATCH else (dict, "map[string]interface {}")
    if not isinstance(value, wanted):
        raise BadRequest(
            f"error decoding patch: json: cannot unmarshal {describe(value)} into Go value of type {go_type}"
        )
    return value, duplicates


def is_heavy(patch: Any, patch_bytes: int, current_bytes: int) -> bool:
    """Whether applying this may take more than a few milliseconds, and so belongs into a thread: it is long, or a JSON
    Patch of many operations on a long document (each may move a whole list)."""
    if patch_bytes + current_bytes > LONG_BYTES:
        return True
    return isinstance(patch, list) and len(patch) * (_OPERATION_BYTES + current_bytes) > _MOVED_BYTES


def apply_patch(kind_node: Node, current: Obj, patch: bytes | Obj | list[Any], content_type: str) -> Obj:
    """``current`` with the patch applied. Raises BadRequest (malformed), Invalid (it does not apply),
    RequestEntityTooLarge, UnsupportedMediaType."""
    if content_type not in (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH):
        raise UnsupportedMediaType(f"the body of the request was in an unknown format: {content_type}")
    value, _ = parse_patch(patch, content_type)
    if content_type == JSON_PATCH:
        return json_patch.apply(current, value)
    if content_type == MERGE_PATCH:
        return merge_patch.apply(current, value)
    return strategic.apply(kind_node, current, value)
