"""RFC 6902 JSON Patch as upstream's library (evanphx/json-patch v4) carries it out. Called by ``apply_patch``; pure.

It differs from the RFC in what it takes: negative indices count from the end (``add`` at -1 appends), what is not there
reads as null (in an object whose path exists), and the whole document can only be replaced and tested. Codes as
upstream: a document that is no patch is 400, one that does not apply is 422 with a generic message, one with too many
operations 413.

Operations work on one copy of the document; each costs its path, and for lists the moving of what follows.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import orjson

from sampan.api import objects
from sampan.api.errors import BadRequest, Invalid, RequestEntityTooLarge
from sampan.api.schema import json_text
from sampan.api.schema.scalars import describe
from sampan.api.types import Obj

#: Upstream's ``maxJSONPatchOperations`` and ``--json-patch-max-copy-bytes``.
MAX_OPERATIONS: Final = 10_000
MAX_COPY_BYTES: Final = 3 * 1024 * 1024

_INDEX = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)


class _DoesNotApplyError(Exception):
    """Upstream has many texts for this and shows none of them."""


def apply(current: Obj, operations: list[Any]) -> Obj:
    """A new object. Raises BadRequest, Invalid or RequestEntityTooLarge."""
    if len(operations) > MAX_OPERATIONS:
        raise RequestEntityTooLarge(
            f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}"
        )
    for operation in operations:
        if not isinstance(operation, dict):
            what = describe(operation)
            raise BadRequest(
                f"error decoding patch: json: cannot unmarshal {what} into Go value of type jsonpatch.Operation"
            )
    document = _Document(objects.deep_copy(current))
    try:
        for operation in operations:
            document.carry_out(operation)
    except _DoesNotApplyError:
        raise _does_not_apply() from None
    if not isinstance(document.root, dict):
        raise _does_not_apply()
    json_text.check_depth(document.root)
    return document.root


def _does_not_apply() -> Invalid:
    return Invalid("the server rejected our request due to an error in our request")


class _Document:
    def __init__(self, root: Any) -> None:
        self.root = root
        self._copied_bytes = 0
        self._operations: dict[Any, Callable[[Obj], None]] = {
            "add": self._add,
            "remove": self._remove,
            "replace": self._replace,
            "move": self._move,
            "copy": self._copy,
            "test": self._test,
        }

    def carry_out(self, operation: Obj) -> None:
        name = operation.get("op")
        act = self._operations.get(name) if isinstance(name, str) else None
        if act is None:
            raise _DoesNotApplyError
        act(operation)

    # --- operations. Values are copied in: the patch's own containers stay its own.

    def _add(self, operation: Obj) -> None:
        holder, key = self._find(operation, "path")
        _insert(holder, key, objects.deep_copy(operation.get("value")))

    def _remove(self, operation: Obj) -> None:
        _take(*self._find(operation, "path"))

    def _replace(self, operation: Obj) -> None:
        value = objects.deep_copy(operation.get("value"))
        if operation.get("path") == "":
            self.root = value
            return
        holder, key = self._find(operation, "path")
        if isinstance(holder, list):
            holder[_index(key, len(holder))] = value
        else:
            holder[key] = value

    def _move(self, operation: Obj) -> None:
        value = _take(*self._find(operation, "from"))
        holder, key = self._find(operation, "path")
        _insert(holder, key, value)

    def _copy(self, operation: Obj) -> None:
        value = _value(*self._find(operation, "from"))
        holder, key = self._find(operation, "path")
        try:
            self._copied_bytes += len(orjson.dumps(value))
        except orjson.JSONEncodeError:  # what earlier operations built is nested deeper than any object may be
            raise _DoesNotApplyError from None
        if self._copied_bytes > MAX_COPY_BYTES:
            raise _DoesNotApplyError
        _insert(holder, key, objects.deep_copy(value))

    def _test(self, operation: Obj) -> None:
        value = self.root if operation.get("path") == "" else _value(*self._find(operation, "path"))
        if not _same(value, operation.get("value")):
            raise _DoesNotApplyError

    def _find(self, operation: Obj, member: str) -> tuple[Any, str]:
        """The object or list that the path leads to, and the last step, which need not be there."""
        path = operation.get(member)
        if not isinstance(path, str) or "/" not in path:
            raise _DoesNotApplyError
        *steps, last = path.split("/")[1:]
        holder = self.root
        for step in steps:
            holder = _value(holder, _plain(step))
            if not isinstance(holder, dict | list):
                raise _DoesNotApplyError
        if not isinstance(holder, dict | list):
            raise _DoesNotApplyError
        return holder, _plain(last)


def _plain(step: str) -> str:
    """A step of a JSON pointer without its escapes, read from left to right."""
    return "~".join(part.replace("~1", "/") for part in step.split("~0")) if "~" in step else step


def _index(text: str, length: int) -> int:
    """As Go's Atoi reads it; below nought it counts from ``length``."""
    if not _INDEX.fullmatch(text):
        raise _DoesNotApplyError
    index = int(text)
    if index < 0:
        index += length
    if not 0 <= index < length:
        raise _DoesNotApplyError
    return index


def _value(holder: Any, key: str) -> Any:
    """None: the object has no such key. An index must be there."""
    return holder[_index(key, len(holder))] if isinstance(holder, list) else holder.get(key)


def _insert(holder: Any, key: str, value: Any) -> None:
    if isinstance(holder, dict):
        holder[key] = value
    elif key == "-":
        holder.append(value)
    else:
        holder.insert(_index(key, len(holder) + 1), value)


def _take(holder: Any, key: str) -> Any:
    if isinstance(holder, list):
        return holder.pop(_index(key, len(holder)))
    if key not in holder:
        raise _DoesNotApplyError
    return holder.pop(key)


def _same(left: Any, right: Any) -> bool:
    """Equal as texts of JSON are: ``1``, ``1.0`` and ``true`` differ, the order of keys does not matter."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_same(item, right[key]) for key, item in left.items())
    if isinstance(left, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return bool(left == right)
