"""Types of the language from OpenAPI schemas (apiserver ``cel/common/schemas.go``), and values of them from JSON.

Types are built as far as expressions look into them. How large values can be is estimated as upstream does, from
maxLength, maxItems and maxProperties, or from what fits into a request.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from sampan.api.expressions.escaping import escape
from sampan.api.expressions.limits import REQUEST_BYTES
from sampan.cel.errors import EvaluationError
from sampan.cel.times import parse_duration, parse_timestamp
from sampan.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    Bind,
    FieldType,
    Type,
    list_of,
    map_of,
    object_type,
)
from sampan.cel.values import MapList, SetList

Schema = Mapping[str, Any]

_META: Final[Schema] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "generateName": {"type": "string"}},
}
_TEXT: Final[Schema] = {"type": "string"}

#: Characters of the longest text of a format, and of the shortest as JSON.
_LONGEST: Final = {"duration": 32, "date": 12, "date-time": 32}
_SHORTEST: Final = {"duration": 3, "date": 12, "date-time": 21}


def type_of_schema(schema: Schema, *, root: bool = False, name: str = "object") -> Type | None:
    """None: values of the schema cannot be seen by expressions. ``root``: it is of a whole resource, which has a kind,
    a version and names whatever the schema says."""
    if schema.get("x-kubernetes-int-or-string"):
        return DYN.sized(_most_characters(schema))
    if root:
        schema = _with_meta(schema)
    kind = schema.get("type")
    if kind == "array":
        return _list(schema, name)
    if kind == "object":
        return _object(schema, name)
    if kind == "string":
        return _text(schema)
    return {"boolean": BOOL, "number": _NUMBER, "integer": INT}.get(kind or "")


def _child(schema: Schema, name: str) -> Type | None:
    return type_of_schema(schema, root=bool(schema.get("x-kubernetes-embedded-resource")), name=name)


def _with_meta(schema: Schema) -> Schema:
    properties = schema.get("properties") or {}
    return {**schema, "properties": {**properties, "kind": _TEXT, "apiVersion": _TEXT, "metadata": _META}}


def _list(schema: Schema, name: str) -> Type | None:
    items = schema.get("items")
    item = _child(items, f"{name}.@idx") if isinstance(items, Mapping) else None
    if item is None:
        return None
    limit = schema.get("maxItems")
    most = max(0, limit) if limit is not None else (REQUEST_BYTES - 2) // (_least_bytes(items or {}) + 1)
    return list_of(item, max_size=most, bind=_bind(schema))


def _object(schema: Schema, name: str) -> Type | None:
    additional = schema.get("additionalProperties")
    if isinstance(additional, Mapping):
        value = _child(additional, f"{name}.@elem")
        if value is None:
            return None
        limit = schema.get("maxProperties")
        most = max(0, limit) if limit is not None else (REQUEST_BYTES - 2) // (_least_bytes(additional) + 6)
        return map_of(STRING.sized(0), value, max_size=most, bind=_bind(schema))
    return object_type(name, partial(_fields, schema, name), bind=_bind(schema))


def _fields(schema: Schema, name: str) -> Mapping[str, FieldType]:
    found: dict[str, FieldType] = {}
    for key, part in (schema.get("properties") or {}).items():
        spelled = escape(key)
        kind = _child(part, f"{name}.{key}") if spelled is not None else None
        if spelled is not None and kind is not None:
            found[spelled] = FieldType(kind, key)
    return found


def _text(schema: Schema) -> Type:
    form = schema.get("format")
    if form == "byte":
        limit = schema.get("maxLength")
        return BYTES.sized(max(0, limit) if limit is not None else REQUEST_BYTES - 2, _from_base64)
    if form == "duration":
        return DURATION.sized(_LONGEST[form], _from_text(parse_duration, form))
    if form in ("date", "date-time"):
        return TIMESTAMP.sized(_LONGEST[form], _from_date if form == "date" else _from_text(parse_timestamp, form))
    return STRING.sized(_most_characters(schema))


def _most_characters(schema: Schema) -> int:
    """A character may take four bytes, which upstream counts."""
    limit = schema.get("maxLength")
    if limit is not None:
        return int(max(0, limit)) * 4
    enum = schema.get("enum")
    if enum and schema.get("type") == "string":
        return max((len(value.encode(errors="replace")) for value in enum if isinstance(value, str)), default=0)
    return REQUEST_BYTES - 2


def most_copies(schema: Schema) -> int:
    """How often a value of the schema can stand in one request, where nothing else bounds it."""
    return REQUEST_BYTES // (_least_bytes(schema) + 1)


def _least_bytes(schema: Schema) -> int:
    """Bytes that a value takes as JSON at least."""
    if schema.get("x-kubernetes-int-or-string"):
        return 1
    kind = schema.get("type")
    if kind == "object" and not isinstance(schema.get("additionalProperties"), Mapping):
        properties = schema.get("properties") or {}
        needed = (key for key in schema.get("required") or () if "default" not in properties.get(key, {"default": 0}))
        return 2 + sum(len(key) + _least_bytes(properties[key]) + 4 for key in needed)
    if kind == "string":
        return _SHORTEST.get(schema.get("format") or "", 2)
    return {"array": 2, "object": 2, "boolean": 4, "number": 1, "integer": 1}.get(kind or "", 2)


# Values from JSON


def _from_base64(value: Any) -> Any:
    try:
        return base64.b64decode(value, validate=True) if isinstance(value, str) else value
    except (binascii.Error, ValueError):
        raise EvaluationError("Failed to decode base64 data") from None


def _from_text(parse: Callable[[str], Any], form: str) -> Bind:
    def bind(value: Any) -> Any:
        try:
            return parse(value) if isinstance(value, str) else value
        except ValueError:
            raise EvaluationError(f"Invalid {form} {value}") from None

    return bind


def _from_date(value: Any) -> Any:
    return _from_text(parse_timestamp, "date")(f"{value}T00:00:00Z" if isinstance(value, str) else value)


def _from_number(value: Any) -> Any:
    return float(value) if type(value) is int else value


_NUMBER: Final = DOUBLE.sized(0, _from_number)
_LEAVES: Final[dict[str, Bind]] = {
    "byte": _from_base64,
    "duration": _from_text(parse_duration, "duration"),
    "date": _from_date,
    "date-time": _from_text(parse_timestamp, "date-time"),
}


def _bind(schema: Schema) -> Bind | None:
    """What makes a value of JSON; None: it is one. Compiled when it is first used."""
    if not _is_converted(schema):
        return None
    made: list[Bind] = []

    def bind(value: Any) -> Any:
        if not made:
            made.append(_compiled(schema))
        return made[0](value)

    return bind


def _is_converted(schema: Schema) -> bool:
    if schema.get("x-kubernetes-int-or-string"):
        return False
    kind = schema.get("type")
    if kind == "number":
        return True
    if kind == "string":
        return schema.get("format") in _LEAVES
    if kind == "array":
        if schema.get("x-kubernetes-list-type") in ("set", "map"):
            return True
        return _is_converted(schema.get("items") or {})
    if isinstance(additional := schema.get("additionalProperties"), Mapping):
        return _is_converted(additional)
    return any(map(_is_converted, (schema.get("properties") or {}).values()))


def _compiled(schema: Schema) -> Bind:
    kind = schema.get("type")
    if kind == "number":
        return _from_number
    if kind == "string":
        return _LEAVES[schema["format"]]
    if kind == "array":
        return _compiled_list(schema)
    if isinstance(additional := schema.get("additionalProperties"), Mapping):
        each = _compiled(additional)
        return lambda value: {key: each(item) for key, item in value.items()} if isinstance(value, dict) else value
    parts = {key: _compiled(part) for key, part in (schema.get("properties") or {}).items() if _is_converted(part)}

    def bind(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        changed = {key: part(value[key]) for key, part in parts.items() if key in value}
        return {**value, **changed} if changed else value

    return bind


def _compiled_list(schema: Schema) -> Bind:
    items = schema.get("items") or {}
    each = _compiled(items) if _is_converted(items) else None
    kind = schema.get("x-kubernetes-list-type")
    keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())

    def bind(value: Any) -> Any:
        if not isinstance(value, list):
            return value
        made = [each(item) for item in value] if each is not None else value
        if kind == "set":
            return SetList(made)
        return MapList(made, keys) if kind == "map" else made

    return bind
