"""What a definition's schema may say, besides being structural (apiextensions ``validation/validation.go``).

``judge`` walks all schemas once. Faults of rules that upstream made stricter in the past carry the rule's name: an
update of a definition that broke it before is let through (``definition``). Where CEL rules stand is collected on the
way, for ``rules`` to compile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any, Final, Literal

from sampan.api import errors
from sampan.api.customresources import paths
from sampan.api.customresources.paths import Path
from sampan.api.errors import FieldError
from sampan.records import dataclass

Schema = Mapping[str, Any]
Errors = list[FieldError]
#: Which rule a fault is of, if an old definition may break it.
Rule = Literal["", "types", "pruned", "sets", "keys"]
Tagged = list[tuple[Rule, FieldError]]

_TYPES: Final = ("array", "boolean", "integer", "number", "object", "string")
_REASONS: Final = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")
_META: Final = frozenset(("metadata", "kind", "apiVersion"))
_SCALARS: Final = frozenset(("string", "integer", "boolean", "number"))
_HARMLESS: Final = frozenset((
    "type", "description", "title", "format", "nullable", "enum", "example", "externalDocs", "minimum", "maximum",
    "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern",
))  # fmt: skip
_REFUSED: Final = (
    ("id", "id is not supported"),
    ("additionalItems", "additionalItems is not supported"),
    ("patternProperties", "patternProperties is not supported"),
    ("definitions", "definitions is not supported"),
    ("dependencies", "dependencies is not supported"),
    ("$ref", "$ref is not supported"),
)

#: The most elements a map or list may have: None, no limit.
Cardinality = int | None
_MAX_UINT64: Final = 2**64 - 1


@dataclass(frozen=True, slots=True)
class RuleSite:
    """A schema with rules. ``cardinality``: how often it may stand in one object; ``uncorrelatable``: the list around
    it whose items have no old value to compare with."""

    schema: Schema
    path: Path
    is_root: bool
    cardinality: Cardinality
    uncorrelatable: Path | None


@dataclass(frozen=True, slots=True)
class _Context:
    """``no_defaults``: why no default may stand here; None: it may. ``nested``: within a junctor, where upstream
    compiles no rules."""

    no_defaults: str | None = None
    inside_meta: bool = False
    uncorrelatable: Path | None = None
    cardinality: Cardinality = 1
    nested: bool = False


@dataclass(slots=True)
class Findings:
    faults: Tagged = field(default_factory=list)
    sites: list[RuleSite] = field(default_factory=list)


def judge(schema: Schema, path: Path) -> Findings:
    findings = Findings()
    _walk(schema, path, _Context(), findings, root=True)
    return findings


def _walk(schema: Schema, path: Path, context: _Context, findings: Findings, *, root: bool = False) -> None:
    kind = schema.get("type") or ""
    if kind in _SCALARS and schema.keys() <= _HARMLESS:
        return
    found = findings.faults
    _standard(schema, kind, path, context, found)
    if schema.get("uniqueItems"):
        text = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        found.append(("", errors.forbidden(str(path.child("uniqueItems")), text)))
    _below(schema, kind, path, context, findings, root=root)
    if schema.get("x-kubernetes-preserve-unknown-fields") is False:
        where = str(path.child("x-kubernetes-preserve-unknown-fields"))
        found.append(("", errors.invalid(where, False, "must be true or undefined")))
    _map_type(schema, kind, path, found)
    if schema.get("x-kubernetes-list-type") is not None or schema.get("x-kubernetes-list-map-keys"):
        _list_type(schema, kind, path, found)
        _keys_of_items(schema, path, found)
    if schema.get("x-kubernetes-validations"):
        _declared_rules(schema, path, found)
        if not context.nested:
            is_root = root or bool(schema.get("x-kubernetes-embedded-resource"))
            findings.sites.append(RuleSite(schema, path, is_root, context.cardinality, context.uncorrelatable))


def _standard(schema: Schema, kind: str, path: Path, context: _Context, found: Tagged) -> None:
    if kind and kind not in _TYPES:
        found.append(("types", errors.not_supported(str(path.child("type")), kind, _TYPES)))
    if schema.get("default") is not None and context.no_defaults is not None:
        text = f"must not be set {context.no_defaults}"
        found.append(("", errors.forbidden(str(path.child("default")), text)))
    for key, text in _REFUSED:
        if schema.get(key):
            found.append(("", errors.forbidden(str(path.child(key)), text)))
    if kind == "null":
        text = "type cannot be set to null, use nullable as an alternative"
        found.append(("", errors.forbidden(str(path.child("type")), text)))
    if isinstance(schema.get("items"), list):
        text = "items must be a schema object and not an array"
        found.append(("", errors.forbidden(str(path.child("items")), text)))
    if context.inside_meta and schema.get("x-kubernetes-embedded-resource"):
        where = str(path.child("x-kubernetes-embedded-resource"))
        found.append(("", errors.forbidden(where, "must not be used inside of resource meta")))


def _below(schema: Schema, kind: str, path: Path, context: _Context, findings: Findings, *, root: bool) -> None:
    properties: Mapping[str, Schema] = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    inner = replace(context, cardinality=_times(context.cardinality, _most_elements(schema, kind)))
    if additional is not None:
        if properties and additional is not True:
            text = "additionalProperties and properties are mutual exclusive"
            findings.faults.append(("", errors.forbidden(str(path.child("additionalProperties")), text)))
        if isinstance(additional, Mapping):
            sub = inner
            if context.inside_meta:
                sub = replace(inner, no_defaults="inside additionalProperties applying to object metadata")
            _walk(additional, path.child("additionalProperties"), sub, findings)
    if properties:
        has_meta = root or bool(schema.get("x-kubernetes-embedded-resource"))
        below = path.child("properties")
        for name, part in properties.items():
            sub = inner
            if has_meta and name in _META:
                sub = replace(sub, inside_meta=True)
                if root:
                    sub = replace(sub, no_defaults=f"in top-level {name}")
            _walk(part, below.key(name), sub, findings)
    _junctors(schema, path, replace(context, nested=True), findings)
    items = schema.get("items")
    if items is not None:
        sub = inner
        if schema.get("x-kubernetes-list-type") != "map" and context.uncorrelatable is None:
            sub = replace(sub, uncorrelatable=path)
        for index, part in enumerate(items if isinstance(items, list) else ()):
            _walk(part, path.child("items").key(index), sub, findings)
        if isinstance(items, Mapping):
            _walk(items, path.child("items"), sub, findings)


def _junctors(schema: Schema, path: Path, context: _Context, findings: Findings) -> None:
    if schema.get("not") is not None:
        _walk(schema["not"], path.child("not"), context, findings)
    for key in ("allOf", "oneOf", "anyOf"):
        for index, part in enumerate(schema.get(key) or ()):
            _walk(part, path.child(key).key(index), context, findings)


def _most_elements(schema: Schema, kind: str) -> Cardinality:
    if kind == "object" and schema.get("additionalProperties") is not None:
        most = schema.get("maxProperties")
    elif kind == "array":
        most = schema.get("maxItems")
    else:
        return 1
    return max(0, most) if most is not None else None


def _times(left: Cardinality, right: Cardinality) -> Cardinality:
    return None if left is None or right is None else min(left * right, _MAX_UINT64)


# --- x-kubernetes-map-type, -list-type, -list-map-keys


def _map_type(schema: Schema, kind: str, path: Path, found: Tagged) -> None:
    map_type = schema.get("x-kubernetes-map-type")
    if map_type is None:
        return
    if kind != "object":
        text, where = "must be object if x-kubernetes-map-type is specified", str(path.child("type"))
        found.append(("", errors.invalid(where, kind, text) if kind else errors.required(where, text)))
    if map_type not in ("atomic", "granular"):
        where = str(path.child("x-kubernetes-map-type"))
        found.append(("", errors.not_supported(where, map_type, ("atomic", "granular"))))


def _list_type(schema: Schema, kind: str, path: Path, found: Tagged) -> None:
    list_type, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys") or []
    items = schema.get("items")
    where = path.child("x-kubernetes-list-type")
    if list_type is not None and kind != "array":
        text, at = "must be array if x-kubernetes-list-type is specified", str(path.child("type"))
        found.append(("", errors.invalid(at, kind, text) if kind else errors.required(at, text)))
    elif list_type == "set" and isinstance(items, Mapping):
        _atomic_items(items, path.child("items"), found)
    if list_type is not None and list_type not in ("atomic", "set", "map"):
        found.append(("", errors.not_supported(str(where), list_type, ("atomic", "set", "map"))))
    if keys and list_type != "map":
        text = "must be map if x-kubernetes-list-map-keys is non-empty"
        fault = errors.required(str(where), text) if list_type is None else errors.invalid(str(where), list_type, text)
        found.append(("", fault))
    if list_type == "map":
        _list_map(items, keys, path, found)


def _atomic_items(items: Schema, path: Path, found: Tagged) -> None:
    text = "must be atomic as item of a list with x-kubernetes-list-type=set"
    kind = items.get("type")
    if kind == "array" and (items.get("x-kubernetes-list-type") or "atomic") != "atomic":
        where = str(path.child("x-kubernetes-list-type"))
        found.append(("sets", errors.invalid(where, items.get("x-kubernetes-list-type"), text)))
    if kind == "object" and items.get("x-kubernetes-map-type") != "atomic":
        where = str(path.child("x-kubernetes-map-type"))
        found.append(("sets", FieldError("FieldValueInvalid", where, f"Invalid value: null: {text}")))


def _list_map(items: Any, keys: list[str], path: Path, found: Tagged) -> None:
    where = str(path.child("x-kubernetes-list-map-keys"))
    if not keys:
        found.append(("", errors.required(where, "must not be empty if x-kubernetes-list-type is map")))
    at = path.child("items")
    if items is None:
        found.append(("", errors.required(str(at), "must have a schema if x-kubernetes-list-type is map")))
        return
    if not isinstance(items, Mapping):
        text = "must only have a single schema if x-kubernetes-list-type is map"
        found.append(("", errors.invalid(str(at), items, text)))
        return
    if items.get("type") != "object":
        text = "must be object if parent array's x-kubernetes-list-type is map"
        found.append(("", errors.invalid(str(at.child("type")), items.get("type") or "", text)))
        return
    properties = items.get("properties") or {}
    for index, key in enumerate(keys):
        if key not in properties:
            found.append(("", errors.invalid(where, keys, "entries must all be names of item properties")))
        elif properties[key].get("type") in ("array", "object"):
            text = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            found.append(("", errors.invalid(str(at.child("properties").key(key).child("type")), "object", text)))
        if key in keys[:index]:
            found.append(("", errors.invalid(where, keys, "must not contain duplicate entries")))


def _keys_of_items(schema: Schema, path: Path, found: Tagged) -> None:
    """Every item of a set or map can be told from the others."""
    items, list_type = schema.get("items"), schema.get("x-kubernetes-list-type")
    if not isinstance(items, Mapping) or list_type not in ("set", "map"):
        return
    at = path.child("items")
    if items.get("nullable"):
        text = f"cannot be nullable when x-kubernetes-list-type is {list_type}"
        found.append(("keys", errors.forbidden(str(at.child("nullable")), text)))
    if list_type != "map":
        return
    properties, required = items.get("properties") or {}, items.get("required") or ()
    for key in schema.get("x-kubernetes-list-map-keys") or ():
        if key not in properties:
            continue
        where = at.child("properties").key(key)
        if key not in required and properties[key].get("default") is None:
            text = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            found.append(("keys", errors.required(str(where.child("default")), text)))
        if properties[key].get("nullable"):
            text = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable"
            found.append(("keys", errors.forbidden(str(where.child("nullable")), text)))


# --- x-kubernetes-validations


def _declared_rules(schema: Schema, path: Path, found: Tagged) -> None:
    for index, rule in enumerate(schema["x-kubernetes-validations"]):
        at = path.child("x-kubernetes-validations").key(index)
        found += (("", fault) for fault in _declared_rule(schema, rule, at))


def _declared_rule(schema: Schema, rule: Mapping[str, Any], at: Path) -> Errors:
    found: Errors = []
    expression, message = (rule.get("rule") or "").strip(), rule.get("message") or ""
    if not expression:
        found.append(errors.required(str(at.child("rule")), "rule is not specified"))
    elif message and not message.strip():
        text = "message must be non-empty if specified"
        found.append(errors.invalid(str(at.child("message")), message, text))
    elif _has_line_breaks(message.strip()):
        found.append(errors.invalid(str(at.child("message")), message, "message must not contain line breaks"))
    elif _has_line_breaks(expression) and not message.strip():
        text = "message must be specified if rule contains line breaks"
        found.append(errors.required(str(at.child("message")), text))
    message_expression = rule.get("messageExpression") or ""
    if message_expression and not message_expression.strip():
        text = "messageExpression must be non-empty if specified"
        found.append(errors.required(str(at.child("messageExpression")), text))
    reason = rule.get("reason")
    if reason is not None and reason not in _REASONS:
        found.append(errors.not_supported(str(at.child("reason")), reason, _REASONS))
    return found + _field_path(schema, rule.get("fieldPath") or "", str(at.child("fieldPath")))


def _field_path(schema: Schema, path: str, where: str) -> Errors:
    if not path:
        return []
    found: Errors = []
    if not path.strip():
        found.append(errors.invalid(where, path, "fieldPath must be non-empty if specified"))
    if _has_line_breaks(path):
        found.append(errors.invalid(where, path, "fieldPath must not contain line breaks"))
    try:
        paths.resolve(path, schema)
    except paths.BadPathError:
        found.append(errors.invalid(where, path, "fieldPath must be a valid path"))
    return found


def _has_line_breaks(text: str) -> bool:
    return "\n" in text or "\r" in text
