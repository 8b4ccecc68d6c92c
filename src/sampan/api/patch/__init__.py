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
from sampan.api.types import Obj

JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH: Final = "application/strategic-merge-patch+json"

__all__ = ["JSON_PATCH", "MERGE_PATCH", "STRATEGIC_MERGE_PATCH", "apply_patch", "parse_patch"]


def parse_patch(patch: bytes | Obj | list[Any], content_type: str) -> tuple[Any, list[str]]:
    """The patch as a value of the shape its type needs, and paths of duplicate keys. Raises BadRequest."""
    value, duplicates = parse_json(patch) if isinstance(patch, bytes) else (patch, [])
    wanted: type = list if content_type == JSON_PATCH else dict
    if not isinstance(value, wanted):
        name = "a list of operations" if wanted is list else "a JSON object"
        raise BadRequest(f"error decoding patch: {content_type} must be {name}")
    return value, duplicates


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
