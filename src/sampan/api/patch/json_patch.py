"""RFC 6902 JSON Patch as upstream's library (evanphx/json-patch v4) carries it out. Called by ``apply_patch``; pure.

It differs from the RFC in what it takes: negative indices count from the end (``add`` at -1 appends), what is not there
reads as null (in an object whose path exists), and the whole document can only be replaced and tested. Codes as
upstream: a document that is no patch is 400, one that does not apply is 422 with a generic message, one with too many
operations 413. The library's own words for what does not apply go with the error: clients of the API are not told them,
users of webhooks and policies are.

Operations work on one copy of the document; each costs its path, and for lists the moving of what follows.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import orjson

from sampan.api import objects
from sampan.api.errors import Invalid, RequestEntityTooLarge, quoted
from sampan.api.schema import json_text
from sampan.api.schema.scalars import describe
from sampan.api.types import Obj

#: Upstream's ``maxJSONPatchOperations`` and ``--json-patch-max-copy-bytes``.
MAX_OPERATIONS: Final = 10_000
MAX_COPY_BYTES: Final = 3 * 1024 * 1024

_INDEX = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_DIGITS = re.compile(r"[+-]?[0-9]+", re.ASCII)
#: A path may be as long as a request.
_LONGEST_WHY: Final = 4096
_MISSING: Final = "missing value"
_TEST_FAILED: Final = "test failed"


class DoesNotApply(Invalid):
    """``why``: in the library's words, with a bound."""

    def __init__(self, why: str) -> None:
        super().__init__("the server rejected our request due to an error in our request")
        self.why = why if len(why) <= _LONGEST_WHY else f"{why[:_LONGEST_WHY]}..."


class _Fault(Exception):
    """In the library's words; what is found below an operation has its text around it."""

    def around(self, text: str) -> _Fault:
        return _Fault(f"{text}: {self}")


def apply(current: Obj, operations: list[Any]) -> Obj:
    """A new object. ``operations``: objects all. Raises BadRequest (nested too deep), DoesNotApply or
    RequestEntityTooLarge."""
    if len(operations) > MAX_OPERATIONS:
        raise RequestEntityTooLarge(
            f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}"
        )
    document = _Document(objects.deep_copy(current))
    try:
        for operation in operations:
            document.carry_out(operation)
    except _Fault as fault:
        raise DoesNotApply(str(fault)) from None
    if not isinstance(document.root, dict):
        raise DoesNotApply("replace operation value must be object or array")
    json_text.check_depth(document.root)
    return document.root


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
            raise _Fault(f"Unexpected kind: {name if isinstance(name, str) else 'unknown'}")
        act(operation)

    # --- operations. Values are copied in: the patch's own containers stay its own.

    def _add(self, operation: Obj) -> None:
        path = _pointer(operation, "path", "add operation failed to decode path", brief=True)
        holder, key = self._find(path, f'add operation does not apply: doc is missing path: "{path}"')
        _insert(holder, key, objects.deep_copy(operation.get("value")), f"error in add for path: '{path}'")

    def _remove(self, operation: Obj) -> None:
        path = _pointer(operation, "path", "remove operation failed to decode path", brief=True)
        holder, key = self._find(path, f'remove operation does not apply: doc is missing path: "{path}"')
        _take(holder, key, f"error in remove for path: '{path}'")

    def _replace(self, operation: Obj) -> None:
        path = _pointer(operation, "path", "replace operation failed to decode path")
        value = objects.deep_copy(operation.get("value"))
        if path == "":
            self.root = value
            return
        holder, key = self._find(path, f"replace operation does not apply: doc is missing path: {path}")
        if isinstance(holder, list):
            try:
                holder[_index(key, len(holder))] = value
            except _Fault:
                raise _Fault(f"replace operation does not apply: doc is missing key: {path}: {_MISSING}") from None
        else:
            holder[key] = value

    def _move(self, operation: Obj) -> None:
        source = _pointer(operation, "from", "move operation failed to decode from")
        holder, key = self._find(source, f"move operation does not apply: doc is missing from path: {source}")
        value = _take(holder, key, f"error in move for path: '{key}'")
        path = _pointer(operation, "path", "move operation failed to decode path")
        holder, key = self._find(path, f"move operation does not apply: doc is missing destination path: {path}")
        _insert(holder, key, value, f"error in move for path: '{path}'")

    def _copy(self, operation: Obj) -> None:
        source = _pointer(operation, "from", "copy operation failed to decode from")
        holder, key = self._find(source, f"copy operation does not apply: doc is missing from path: {source}")
        value = _value(holder, key, f"error in copy for from: '{source}'")
        path = _pointer(operation, "path", "copy operation failed to decode path", brief=True)
        holder, key = self._find(path, f"copy operation does not apply: doc is missing destination path: {path}")
        try:
            self._copied_bytes += len(orjson.dumps(value))
        except orjson.JSONEncodeError:  # what earlier operations built is nested deeper than any object may be
            raise _Fault("error while performing deep copy: exceeded max depth") from None
        if self._copied_bytes > MAX_COPY_BYTES:
            raise _Fault(
                "Unable to complete the copy, the accumulated size increase of copy is "
                f"{self._copied_bytes}, exceeding the limit {MAX_COPY_BYTES}"
            )
        _insert(holder, key, objects.deep_copy(value), "error while adding value during copy")

    def _test(self, operation: Obj) -> None:
        path = _pointer(operation, "path", "test operation failed to decode path")
        if path == "":
            value = self.root
        else:
            holder, key = self._find(path, f"test operation does not apply: is missing path: {path}")
            value = _value(holder, key, f"error in test for path: '{path}'")
        if not _same(value, operation.get("value")):
            raise _Fault(f"testing value {path} failed: {_TEST_FAILED}")

    def _find(self, path: str, missing: str) -> tuple[Any, str]:
        """The object or list that the path leads to, and the last step, which need not be there."""
        *steps, last = path.split("/")[1:] or [""]
        holder = self.root if "/" in path else None
        for step in steps:
            if not isinstance(holder, dict | list):
                break
            try:
                holder = _at(holder, _plain(step))
            except _Fault:
                holder = None
        if not isinstance(holder, dict | list):
            raise _Fault(f"{missing}: {_MISSING}")
        return holder, _plain(last)


def _pointer(operation: Obj, member: str, what: str, *, brief: bool = False) -> str:
    """``brief``: the library does not repeat there what its decoder said."""
    path = operation.get(member)
    if isinstance(path, str):
        return path
    if brief:
        raise _Fault(f"{what}: {_MISSING}")
    if path is not None:
        raise _Fault(f"{what}: json: cannot unmarshal {describe(path)} into Go value of type string")
    missing = "operation missing path field" if member == "path" else "operation, missing from field"
    raise _Fault(f"{what}: {missing}: {_MISSING}")


def _plain(step: str) -> str:
    """A step of a JSON pointer without its escapes, read from left to right."""
    return "~".join(part.replace("~1", "/") for part in step.split("~0")) if "~" in step else step


def _index(text: str, length: int) -> int:
    """As Go's Atoi reads it; below nought it counts from ``length``."""
    if not _INDEX.fullmatch(text):
        why = "value out of range" if _DIGITS.fullmatch(text) else "invalid syntax"
        raise _Fault(f"strconv.Atoi: parsing {quoted(text)}: {why}")
    index = int(text)
    if not -length <= index < length:
        raise _Fault(f"Unable to access invalid index: {index}: invalid index referenced")
    return index + length if index < 0 else index


def _at(holder: Any, key: str) -> Any:
    """None: the object has no such key. An index must be there."""
    return holder[_index(key, len(holder))] if isinstance(holder, list) else holder.get(key)


def _value(holder: Any, key: str, what: str) -> Any:
    try:
        return _at(holder, key)
    except _Fault as fault:
        raise fault.around(what) from None


def _insert(holder: Any, key: str, value: Any, what: str) -> None:
    if isinstance(holder, dict):
        holder[key] = value
    elif key == "-":
        holder.append(value)
    else:
        try:
            holder.insert(_index(key, len(holder) + 1), value)
        except _Fault as fault:
            text = "" if str(fault).startswith("Unable") else f": value was not a proper array index: '{key}'"
            raise fault.around(what + text) from None


def _take(holder: Any, key: str, what: str) -> Any:
    if isinstance(holder, dict):
        if key not in holder:
            raise _Fault(f"{what}: Unable to remove nonexistent key: {key}: {_MISSING}")
        return holder.pop(key)
    try:
        return holder.pop(_index(key, len(holder)))
    except _Fault as fault:
        raise fault.around(what) from None


def _same(left: Any, right: Any) -> bool:
    """Equal as texts of JSON are: ``1``, ``1.0`` and ``true`` differ, the order of keys does not matter."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_same(item, right[key]) for key, item in left.items())
    if isinstance(left, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return bool(left == right)
