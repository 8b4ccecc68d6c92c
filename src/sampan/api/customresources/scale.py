"""What the scale subresource reads of an object must be numbers and text (``customresource/validator.go``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sampan.api import errors, go_text
from sampan.api.errors import FieldError
from sampan.api.types import Obj
from sampan.records import dataclass

Errors = list[FieldError]

_MOST: Final = 2**31 - 1
_GO_TYPES: Final = {
    str: "string", bool: "bool", int: "int64", float: "float64", dict: "map[string]interface {}", list: "[]interface {}"
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Paths:
    """As the definition writes them: ``.spec.replicas``."""

    spec_replicas: str
    status_replicas: str
    selector: str = ""


def paths(declared: Mapping[str, Any] | None) -> Paths | None:
    if not declared:
        return None
    selector = declared.get("labelSelectorPath") or ""
    return Paths(declared.get("specReplicasPath", ""), declared.get("statusReplicasPath", ""), selector)


def validate(where: Paths | None, obj: Obj) -> Errors:
    if where is None:
        return []
    return _replicas(where.spec_replicas, obj) + validate_status(where, obj)


def validate_status(where: Paths | None, obj: Obj) -> Errors:
    if where is None:
        return []
    found = _replicas(where.status_replicas, obj)
    if where.selector:
        _, problem = _at(where.selector, obj, str, "string")
        if problem:
            found.append(errors.invalid(where.selector, "", problem))
    return found


def _replicas(path: str, obj: Obj) -> Errors:
    value, problem = _at(path, obj, int, "int64")
    if problem:
        return [errors.invalid(path, 0, problem)]
    if value is None or 0 <= value <= _MOST:
        return []
    text = "should be a non-negative integer" if value < 0 else f"should be less than or equal to {_MOST}"
    return [errors.invalid(path, value, text)]


def _at(path: str, obj: Any, wanted: type, shown: str) -> tuple[Any, str]:
    """The value at the path, or why it cannot be read. None and no reason: nothing is there."""
    keys = path.removeprefix(".").split(".")
    for index, key in enumerate(keys):
        if type(obj) is not dict:
            return None, _problem(keys[: index + 1], obj, "map[string]interface{}")
        if key not in obj:
            return None, ""
        obj = obj[key]
        if obj is None and index + 1 < len(keys):
            return None, ""
    return (obj, "") if type(obj) is wanted else (None, _problem(keys, obj, shown))


def _problem(keys: list[str], value: Any, wanted: str) -> str:
    kind = _GO_TYPES.get(type(value), "<nil>")
    return f".{'.'.join(keys)} accessor error: {go_text.show(value)} is of the type {kind}, expected {wanted}"
