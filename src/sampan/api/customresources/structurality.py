"""Whether a schema is structural (apiextensions ``schema/validation.go``, ``complete.go``): every node has a type, and
what stands within anyOf, oneOf, allOf and not only restricts values of what is declared outside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from sampan.api import errors
from sampan.api.customresources import patterns
from sampan.api.customresources.paths import Path
from sampan.api.errors import FieldError

Schema = Mapping[str, Any]
Errors = list[FieldError]
Level = Literal["root", "item", "field"]

#: A schema of one of these types that says nothing else is structural.
_SCALARS: Final = frozenset(("string", "integer", "boolean", "number"))
_HARMLESS: Final = frozenset((
    "type", "description", "title", "format", "default", "nullable", "enum", "example", "externalDocs", "minimum",
    "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "uniqueItems",
    "x-kubernetes-validations",
))  # fmt: skip
_UNSUPPORTED: Final = {
    "id": "id", "$schema": "schema", "$ref": "$ref", "patternProperties": "patternProperties",
    "dependencies": "dependencies", "additionalItems": "additionalItems", "definitions": "definitions",
}  # fmt: skip
_INT_OR_STRING: Final = [{"type": "integer"}, {"type": "string"}]
_TYPE_MISSING: Final[Mapping[Level, str]] = {
    "root": "must not be empty at the root",
    "item": "must not be empty for specified array items",
    "field": "must not be empty for specified object fields",
}
#: What a schema within a junctor may not say, and how that is told.
_NOT_NESTED: Final = (
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
    ("x-kubernetes-embedded-resource", "must be false to be structural"),
    ("x-kubernetes-int-or-string", "must be false to be structural"),
    ("x-kubernetes-list-map-keys", "must be empty to be structural"),
    ("x-kubernetes-list-type", "must be undefined to be structural"),
    ("x-kubernetes-map-type", "must be undefined to be structural"),
    ("x-kubernetes-validations", "must be empty to be structural"),
)


class NoSchemaError(ValueError):
    """It uses what no structural schema can hold at all; other checks tell where."""


def judge(schema: Schema, path: Path) -> Errors:
    """Sorted by text, as upstream tells them. Raises NoSchemaError."""
    found: Errors = []
    _invariants(schema, "root", path, found)
    _complete_junctors(schema, schema, path, path, found)
    return sorted(found, key=FieldError.message)


def _reject_unsupported(schema: Schema) -> None:
    for key in _UNSUPPORTED.keys() & schema.keys():
        if schema[key] or key == "additionalItems":
            raise NoSchemaError(f"OpenAPIV3Schema '{_UNSUPPORTED[key]}' is not supported")
    if isinstance(schema.get("items"), list):
        raise NoSchemaError("OpenAPIV3Schema 'items' must be a schema, but is an array")
    if schema.get("x-kubernetes-preserve-unknown-fields") is False:
        raise NoSchemaError("internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined")


def _invariants(schema: Schema, level: Level, path: Path, found: Errors) -> None:
    kind = schema.get("type") or ""
    if kind in _SCALARS and level != "root" and schema.keys() <= _HARMLESS:
        return
    _reject_unsupported(schema)
    items = schema.get("items")
    if kind == "array" and items is None:
        found.append(errors.required(str(path.child("items")), "must be specified"))
    if items is not None:
        _invariants(items, "item", path.child("items"), found)
    properties: Mapping[str, Schema] = schema.get("properties") or {}
    if properties:
        below = path.child("properties")
        for name, part in properties.items():
            _invariants(part, "field", below.key(name), found)
    additional = schema.get("additionalProperties")
    if additional is not None:
        if level == "root":
            found.append(errors.forbidden(str(path.child("additionalProperties")), "must not be used at the root"))
        if isinstance(additional, Mapping):
            _invariants(additional, "field", path.child("additionalProperties"), found)
    _extensions(schema, path, found)
    any_of, all_of = schema.get("anyOf"), schema.get("allOf")
    _values(
        schema,
        path,
        found,
        skip_any_of=any_of == _INT_OR_STRING,
        skip_first=bool(all_of and all_of[0].get("anyOf") == _INT_OR_STRING),
    )
    embedded = bool(schema.get("x-kubernetes-embedded-resource"))
    _type(schema, kind, level, path, found, embedded=embedded)
    if embedded and additional is not None:
        text = "must not be used if x-kubernetes-embedded-resource is set"
        found.append(errors.forbidden(str(path.child("additionalProperties")), text))
    if level == "root" or embedded:
        _type_meta(properties, path, found)
    if level == "root" and "metadata" in properties:
        _root_metadata(properties["metadata"], path.child("properties").key("metadata"), found)
    if embedded and not properties and not schema.get("x-kubernetes-preserve-unknown-fields"):
        text = (
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
        )
        found.append(errors.required(str(path.child("properties")), text))


def _type(schema: Schema, kind: str, level: Level, path: Path, found: Errors, *, embedded: bool) -> None:
    where = path.child("type")
    if embedded and kind != "object":
        text = "must be object if x-kubernetes-embedded-resource is true"
        found.append(errors.invalid(str(where), kind, text) if kind else errors.required(str(where), text))
    elif not kind and not (
        schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields")
    ):
        found.append(errors.required(str(where), _TYPE_MISSING[level]))
    if level == "root" and kind and kind != "object":
        found.append(errors.invalid(str(where), kind, "must be object at the root"))


def _extensions(schema: Schema, path: Path, found: Errors) -> None:
    if schema.get("x-kubernetes-int-or-string"):
        for key in ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"):
            if schema.get(key):
                text = "must be false if x-kubernetes-int-or-string is true"
                found.append(errors.invalid(str(path.child(key)), True, text))


def _type_meta(properties: Mapping[str, Schema], path: Path, found: Errors) -> None:
    for name, wanted in (("kind", "string"), ("apiVersion", "string"), ("metadata", "object")):
        kind = properties[name].get("type") or "" if name in properties else wanted
        if kind != wanted:
            where = path.child("properties").key(name).child("type")
            found.append(errors.invalid(str(where), kind, f"must be {wanted}"))


def _root_metadata(schema: Schema, path: Path, found: Errors) -> None:
    """The server knows what metadata is; a definition may only restrict the name."""
    properties = schema.get("properties") or {}
    others = {key for key in schema if key not in ("type", "default", "properties") and schema[key]}
    if others or not properties.keys() <= {"name", "generateName"}:
        text = "must not specify anything other than name and generateName, but metadata is implicitly specified"
        found.append(errors.forbidden(str(path), text))


# --- within anyOf, oneOf, allOf, not


def _values(schema: Schema, path: Path, found: Errors, *, skip_any_of: bool = False, skip_first: bool = False) -> None:
    if not skip_any_of:
        for index, part in enumerate(schema.get("anyOf") or ()):
            _nested(part, path.child("anyOf").key(index), found)
    for index, part in enumerate(schema.get("allOf") or ()):
        _nested(part, path.child("allOf").key(index), found, skip_any_of=skip_first and index == 0)
    for index, part in enumerate(schema.get("oneOf") or ()):
        _nested(part, path.child("oneOf").key(index), found)
    if schema.get("not") is not None:
        _nested(schema["not"], path.child("not"), found)
    if pattern := schema.get("pattern"):
        problem = patterns.fault(pattern)
        if problem:
            text = f"must be a valid regular expression, but isn't: {problem}"
            found.append(errors.invalid(str(path.child("pattern")), pattern, text))


def _nested(schema: Schema, path: Path, found: Errors, *, skip_any_of: bool = False) -> None:
    _reject_unsupported(schema)
    _values(schema, path, found, skip_any_of=skip_any_of)
    if schema.get("items") is not None:
        _nested(schema["items"], path.child("items"), found)
    properties: Mapping[str, Schema] = schema.get("properties") or {}
    for name, part in properties.items():
        _nested(part, path.child("properties").key(name), found)
    for key, text in _NOT_NESTED:
        value = schema.get(key)
        if value or (value is not None and key in ("additionalProperties", "default")):
            found.append(errors.forbidden(str(path.child(key)), text))
    if "metadata" in properties:
        where = path.child("properties").key("metadata")
        found.append(errors.forbidden(str(where), "must not be specified in a nested context"))


def _complete_junctors(values: Schema, schema: Schema, where: Path, seen: Path, found: Errors) -> None:
    """What ``values`` restricts within its junctors must be declared in ``schema``."""
    for key in ("allOf", "anyOf", "oneOf"):
        for index, part in enumerate(values.get(key) or ()):
            _complete(part, schema, where, seen.child(key).key(index), found)
    if values.get("not") is not None:
        _complete(values["not"], schema, where, seen.child("not"), found)


def _complete(values: Schema, schema: Schema | None, where: Path, seen: Path, found: Errors) -> None:
    if schema is None:
        found.append(errors.required(str(where), f"because it is defined in {seen}"))
        return
    _complete_junctors(values, schema, where, seen, found)
    if values.get("items") is not None:
        _complete(values["items"], schema.get("items"), where.child("items"), seen.child("items"), found)
    declared = schema.get("properties") or {}
    for name, part in (values.get("properties") or {}).items():
        below, at = where.child("properties").key(name), seen.child("properties").key(name)
        _complete(part, declared.get(name), below, at, found)
