"""RFC 6902 JSON Patch, with upstream's limits. Called by ``apply_patch``; pure.

The ``jsonpatch`` library does the work, and is imported on first use. Codes as upstream: a document that is no patch
is 400, one that does not apply is 422 with a generic message, one with too many operations 413.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from sampan.api import objects
from sampan.api.errors import BadRequest, Invalid, RequestEntityTooLarge
from sampan.api.types import Obj

#: Upstream's ``maxJSONPatchOperations`` and ``--json-patch-max-copy-bytes``.
MAX_OPERATIONS: Final = 10_000
MAX_COPY_BYTES: Final = 3 * 1024 * 1024

_OPERATIONS = frozenset(("add", "remove", "replace", "move", "copy", "test"))


def _does_not_apply() -> Invalid:
    return Invalid("the server rejected our request due to an error in our request")


def apply(current: Obj, operations: list[Any]) -> Obj:
    """A new object. Raises BadRequest, Invalid or RequestEntityTooLarge."""
    if len(operations) > MAX_OPERATIONS:
        raise RequestEntityTooLarge(
            f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}"
        )
    for operation in operations:
        if not isinstance(operation, dict):
            raise BadRequest("error decoding patch: each operation must be a JSON object")
        if operation.get("op") not in _OPERATIONS or not isinstance(operation.get("path"), str):
            raise _does_not_apply()
    result = _run(objects.deep_copy(current), operations)
    if not isinstance(result, dict):
        raise _does_not_apply()
    return result


def _run(document: Any, operations: list[Any]) -> Any:
    import jsonpatch

    failures = (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError, KeyError, IndexError)
    copied_bytes = 0
    for operation in operations:
        try:
            if operation["op"] == "copy":
                copied_bytes += _size(jsonpatch.JsonPointer(operation["from"]).resolve(document))
                if copied_bytes > MAX_COPY_BYTES:
                    raise _does_not_apply()
            # Values are copied in: the library puts the patch's own containers into the document.
            document = jsonpatch.JsonPatch([objects.deep_copy(operation)]).apply(document, in_place=True)
        except failures:  # the library lets a wrong type in the path surface as Python's own error
            raise _does_not_apply() from None
    return document


def _size(value: Any) -> int:
    return len(orjson.dumps(value))
