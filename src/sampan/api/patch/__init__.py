"""Patches: RFC 6902 JSON Patch, RFC 7386 merge patch, Kubernetes' strategic merge patch.

``apply_patch`` is what the server calls; it returns a new object and never changes its arguments. What comes out is
not yet decoded along the kind's node: the server does that, as for any body. Server-side apply is not a patch in this
sense.
"""

from __future__ import annotations

from typing import Any, Final

from sampan.api.errors import BadRequest, UnsupportedMediaType
from sampan.api.patch import json_patch, merge_patch, strategic
from sampan.api.patch.json_patch import DoesNotApply
from sampan.api.schema.decoding import duplicate_field_message, unknown_field_message
from sampan.api.schema.json_text import parse_json
from sampan.api.schema.nodes import Node
from sampan.api.schema.paths import MAX_STRICT_ERRORS
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

__all__ = [
    "JSON_PATCH",
    "MERGE_PATCH",
    "STRATEGIC_MERGE_PATCH",
    "DoesNotApply",
    "apply_patch",
    "is_heavy",
    "parse_patch",
]


def parse_patch(patch: bytes | Obj | list[Any], content_type: str, *, checked: bool = True) -> tuple[Any, list[str]]:
    """The patch as a value of the shape its type needs, and what is wrong with its fields without hindering it.
    ``checked``: fields are validated (``fieldValidation`` is not Ignore), which upstream does with another decoder and
    so in other words. Bodies are held to the limits of ``parse_json``. Raises BadRequest."""
    if isinstance(patch, bytes):
        try:
            value, duplicates = parse_json(patch, "")
        except BadRequest as error:
            raise _undecodable(error.message.removeprefix(": "), content_type, checked=checked) from None
    else:
        value, duplicates = patch, []
    wanted = list if content_type == JSON_PATCH else dict
    if not isinstance(value, wanted):
        raise _mismatch(value, _ROOTS[content_type == JSON_PATCH, checked], content_type, checked=checked)
    problems = list(map(duplicate_field_message, duplicates))
    if content_type != JSON_PATCH:
        return value, problems
    for operation in value:
        if not isinstance(operation, dict):
            raise _mismatch(operation, _OPERATIONS[checked], content_type, checked=checked)
    return value, _check_operations(list(value), problems) if checked else []


#: Go types of a patch, by whether it is a JSON Patch and whether it is checked.
_ROOTS: Final = {
    (True, True): "[]handlers.jsonPatchOp",
    (True, False): "jsonpatch.Patch",
    (False, True): "map[string]interface {}",
    (False, False): "map[string]interface {}",
}
_OPERATIONS: Final = {True: "handlers.jsonPatchOp", False: "jsonpatch.Operation"}


def _undecodable(why: str, content_type: str, *, checked: bool) -> BadRequest:
    if content_type == MERGE_PATCH and not checked:
        return BadRequest("Invalid JSON Patch")
    return BadRequest(f"error decoding patch: {why}" if checked and content_type != STRATEGIC_MERGE_PATCH else why)


def _mismatch(value: Any, go_type: str, content_type: str, *, checked: bool) -> BadRequest:
    why = f"json: cannot unmarshal {describe(value)} into Go value of type {go_type}"
    return _undecodable(why, content_type, checked=checked)


def _check_operations(operations: list[Obj], problems: list[str]) -> list[str]:
    """Raises BadRequest for a member of another type than text."""
    found = [f"json patch {problem}" for problem in problems]
    for index, operation in enumerate(operations):
        for key, value in operation.items():
            if key in ("op", "path", "from"):
                if value is not None and not isinstance(value, str):
                    raise BadRequest(
                        f"error decoding patch: json: cannot unmarshal {describe(value)} into Go struct field "
                        f"jsonPatchOp.{key} of type string"
                    )
            elif key != "value" and len(found) < MAX_STRICT_ERRORS:
                found.append(f"json patch {unknown_field_message(f'[{index}].{key}')}")
    return found


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
    value, _ = parse_patch(patch, content_type, checked=False)
    if content_type == JSON_PATCH:
        return json_patch.apply(current, value)
    if content_type == MERGE_PATCH:
        return merge_patch.apply(current, value)
    return strategic.apply(kind_node, current, value)
