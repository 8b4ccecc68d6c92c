"""The versions of a definition: names, storage, schemas, subresources, printer columns, selectable fields.

What all versions share is judged once and told at the top of ``spec`` (see ``definition``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from sampan.api import errors, names
from sampan.api.customresources import defaultrules, paths, patterns, rulejudge, schemarules, structurality
from sampan.api.customresources.paths import Path
from sampan.api.customresources.schemarules import Tagged
from sampan.api.errors import FieldError

Errors = list[FieldError]
Spec = Mapping[str, Any]
Version = Mapping[str, Any]

_SPEC: Final = Path(None, ".spec")
MOST_SELECTABLE_FIELDS: Final = 8
_LONGEST_WARNING: Final = 256

_COLUMN_TYPES: Final = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS: Final = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
#: At the root of a schema with a status subresource, by the names of Go's fields: the status part must say the same
#: when it is taken out.
_AT_ROOT: Final = {
    "description": "Description", "type": "Type", "format": "Format", "title": "Title", "maximum": "Maximum",
    "exclusiveMaximum": "ExclusiveMaximum", "minimum": "Minimum", "exclusiveMinimum": "ExclusiveMinimum",
    "maxLength": "MaxLength", "minLength": "MinLength", "pattern": "Pattern", "maxItems": "MaxItems",
    "minItems": "MinItems", "uniqueItems": "UniqueItems", "multipleOf": "MultipleOf", "required": "Required",
    "items": "Items", "properties": "Properties", "externalDocs": "ExternalDocs", "example": "Example",
    "x-kubernetes-preserve-unknown-fields": "XPreserveUnknownFields", "x-kubernetes-validations": "XValidations",
}  # fmt: skip


def validate(spec: Spec, old: Spec | None) -> Errors:
    versions: list[Version] = spec.get("versions") or []
    if patterns.are_too_many(_changed_schemas(versions, old)):
        return [errors.forbidden("spec.versions", "the patterns of all schemas are too large together")]
    found = _missing_schemas(versions, old)
    shared = _Shared(versions)
    for index, version in enumerate(versions):
        path, name = _SPEC.child("versions").key(index), version.get("name") or ""
        if problems := names.dns1035_label(name):
            found.append(errors.invalid(str(path.child("name")), name, ",".join(problems)))
        found += _deprecation(version, path)
        if not shared.schema:
            found += _schema(version.get("schema"), path.child("schema"), [version], _judged_before(old, version))
        if not shared.subresources:
            found += _subresources(version.get("subresources"), path.child("subresources"))
        if not shared.columns:
            found += _columns(version.get("additionalPrinterColumns") or [], path)
        if not shared.selectable:
            text = "selectableFields may only be set when version.schema.openAPIV3Schema is not included"
            found += _selectable(version, path.child("selectableFields"), text)
    found += _set_of_versions(versions)
    return found + _of_all(versions, shared, old)


class _Shared:
    """What stands the same in all versions."""

    def __init__(self, versions: list[Version]) -> None:
        first: Version = versions[0] if versions else {}

        def alike(key: str) -> bool:
            return bool(versions) and all(version.get(key) == first.get(key) for version in versions[1:])

        self.schema = alike("schema")
        self.subresources = alike("subresources")
        self.columns = alike("additionalPrinterColumns")
        self.selectable = self.schema and alike("selectableFields")


def _of_all(versions: list[Version], shared: _Shared, old: Spec | None) -> Errors:
    found: Errors = []
    if not versions:
        return found
    first = versions[0]
    if shared.schema:
        before = next((b for b in (_judged_before(old, version) for version in versions) if b is not None), None)
        found += _schema(first.get("schema"), _SPEC.child("validation"), versions, before)
    if shared.subresources:
        found += _subresources(first.get("subresources"), _SPEC.child("subresources"))
    if shared.columns:
        found += _columns(first.get("additionalPrinterColumns") or [], _SPEC)
    if shared.selectable:
        text = "selectableFields may only be set when validations.schema is included"
        found += _selectable(first, _SPEC.child("selectableFields"), text)
    return found


def _set_of_versions(versions: list[Version]) -> Errors:
    listed = [version.get("name") or "" for version in versions]
    found: Errors = []
    if len(set(listed)) < len(listed):
        found.append(errors.invalid("spec.versions", listed, "must contain unique version names"))
    if sum(bool(version.get("storage")) for version in versions) != 1:
        text = "must have exactly one version marked as storage version"
        found.append(errors.invalid("spec.versions", listed, text))
    return found


def _missing_schemas(versions: list[Version], old: Spec | None) -> Errors:
    """An old definition without schemas may stay without them where it is not served."""
    lenient = old is not None and any(_schema_of(version) is None for version in old.get("versions") or ())
    text = "because otherwise all fields are pruned" if lenient else "schemas are required"
    return [
        errors.required(f"spec.versions[{index}].schema.openAPIV3Schema", text)
        for index, version in enumerate(versions)
        if _schema_of(version) is None and (version.get("served") or not lenient)
    ]


def _schema_of(version: Version) -> Mapping[str, Any] | None:
    return (version.get("schema") or {}).get("openAPIV3Schema")


def _deprecation(version: Version, path: Path) -> Errors:
    warning = version.get("deprecationWarning")
    if warning is None:
        return []
    where = str(path.child("deprecationWarning"))
    if not version.get("deprecated"):
        return [errors.invalid(where, warning, "can only be set for deprecated versions")]
    found: Errors = []
    if len(warning.encode()) > _LONGEST_WARNING:
        found.append(errors.invalid(where, warning, f"must be <= {_LONGEST_WARNING} characters long"))
    if not warning:
        found.append(errors.invalid(where, warning, "must not be an empty string"))
    for index, character in enumerate(warning):
        if not character.isprintable():
            at = len(warning[:index].encode())
            text = f"must only contain printable UTF-8 characters; non-printable character found at index {at}"
            found.append(errors.invalid(where, warning, text))
            break
    return found


# --- schemas


def _judged_before(old: Spec | None, version: Version) -> Version | None:
    """The version of this name that is there already."""
    for earlier in (old or {}).get("versions") or ():
        if earlier.get("name") == version.get("name"):
            found: Version = earlier
            return found
    return None


def _changed_schemas(versions: list[Version], old: Spec | None) -> bytes:
    before = {version.get("name"): _schema_of(version) for version in (old or {}).get("versions") or ()}
    schemas = ((version.get("name"), _schema_of(version)) for version in versions)
    return orjson.dumps([schema for name, schema in schemas if schema is not None and schema != before.get(name)])


def _has_status(version: Version) -> bool:
    return (version.get("subresources") or {}).get("status") is not None


def _schema(validation: Any, path: Path, versions: list[Version], old: Version | None) -> Errors:
    """``old``: a version that had a schema. Where it had this one, nothing is judged again."""
    schema = (validation or {}).get("openAPIV3Schema")
    if schema is None:
        return []
    status = any(map(_has_status, versions))
    if old is not None and _schema_of(old) == schema and _has_status(old) >= status:
        return []
    where = path.child("openAPIV3Schema")
    found = _root(schema, where, status=status)
    faults, earlier = _judge(schema, where), None
    rules = {rule for rule, _ in faults if rule}
    if rules and old is not None:
        earlier = {rule for rule, _ in _judge(_schema_of(old) or {}, where)}
    return found + [fault for rule, fault in faults if not rule or earlier is None or rule not in earlier]


def _judge(schema: Mapping[str, Any], path: Path) -> Tagged:
    faults: Tagged = []
    unusable = ""
    try:
        faults += (("", fault) for fault in structurality.judge(schema, path))
        if not faults:
            faults += defaultrules.judge(schema, path)
    except structurality.NoSchemaError as error:
        unusable = str(error)
    findings = schemarules.judge(schema, path)
    faults += findings.faults
    if unusable and not faults:
        faults.append(("", errors.invalid(str(path), "", unusable)))
    if not faults and findings.sites:
        faults += (("", fault) for fault in rulejudge.judge(findings.sites, path))
        if not faults:
            faults += defaultrules.judge_rules(schema, path)
    return faults


def _root(schema: Mapping[str, Any], path: Path, *, status: bool) -> Errors:
    found: Errors = []
    if status:
        kind = schema.get("type") or "object"
        if kind != "object":
            text = 'only "object" is allowed as the type at the root of the schema if the status subresource is enabled'
            found.append(errors.invalid(str(path.child("type")), kind, text))
        if any(value and key not in _AT_ROOT for key, value in schema.items()):
            listed = " ".join(_AT_ROOT.values())
            text = f"only [{listed}] fields are allowed at the root of the schema if the status subresource is enabled"
            found.append(errors.invalid(str(path), schema, text))
    if schema.get("nullable"):
        found.append(errors.forbidden(str(path.child("nullable")), "nullable cannot be true at the root"))
    return found


# --- subresources, columns, selectable fields


def _subresources(subresources: Any, path: Path) -> Errors:
    scale = (subresources or {}).get("scale")
    if scale is None:
        return []
    found: Errors = []
    for key, top in (("specReplicasPath", "spec"), ("statusReplicasPath", "status")):
        where, text = str(path.child("scale").child(key)), scale.get(key) or ""
        if not text:
            found.append(errors.required(where))
        elif problems := _simple_path(text, where):
            found += problems
        elif not text.startswith(f".{top}."):
            found.append(errors.invalid(where, text, f"should be a json path under .{top}"))
    selector, where = scale.get("labelSelectorPath") or "", str(path.child("scale").child("labelSelectorPath"))
    if selector and not (problems := _simple_path(selector, where)):
        if not selector.startswith((".spec.", ".status.")):
            found.append(errors.invalid(where, selector, "should be a json path under either .spec or .status"))
    elif selector:
        found += problems
    return found


def _simple_path(text: str, where: str) -> Errors:
    if not text.startswith("."):
        return [errors.invalid(where, text, "must be a simple json path starting with .")]
    return []


def _columns(columns: list[Mapping[str, Any]], path: Path) -> Errors:
    found: Errors = []
    for index, column in enumerate(columns):
        found += _column(column, path.child("additionalPrinterColumns").key(index))
    return found


def _column(column: Mapping[str, Any], path: Path) -> Errors:
    found: Errors = []
    if not column.get("name"):
        found.append(errors.required(str(path.child("name"))))
    kind, text = column.get("type") or "", f"must be one of {','.join(_COLUMN_TYPES)}"
    if not kind:
        found.append(errors.required(str(path.child("type")), text))
    elif kind not in _COLUMN_TYPES:
        found.append(errors.invalid(str(path.child("type")), kind, text))
    format_ = column.get("format") or ""
    if format_ and format_ not in _COLUMN_FORMATS:
        text = f"must be one of {','.join(_COLUMN_FORMATS)}"
        found.append(errors.invalid(str(path.child("format")), format_, text))
    where, json_path = str(path.child("JSONPath")), column.get("jsonPath") or ""
    return found + (_simple_path(json_path, where) if json_path else [errors.required(where)])


def _selectable(version: Version, path: Path, without_schema: str) -> Errors:
    declared, schema = version.get("selectableFields") or [], _schema_of(version)
    if declared and schema is None:
        return [errors.invalid(str(path), "", without_schema)]
    found: Errors = []
    seen: set[str] = set()
    for index, item in enumerate(declared):
        where, text = str(path.key(index).child("jsonPath")), item.get("jsonPath") or ""
        if not text:
            found.append(errors.required(where))
            continue
        try:
            field = paths.resolve(text, schema or {}, brackets=False)
        except paths.BadPathError as error:
            found.append(errors.invalid(where, text, f"is an invalid path: {error}"))
            continue
        if field.steps and field.steps[0][0] == "metadata":
            found.append(errors.invalid(where, text, "must not point to fields in metadata"))
        if field.schema.get("type") not in ("string", "boolean", "integer"):
            detail = (
                "must point to a field of type string, boolean or integer. "
                "Enum string fields and strings with formats are allowed."
            )
            found.append(errors.invalid(where, text, detail))
        if str(field) in seen:
            found.append(errors.duplicate(where, text))
        seen.add(str(field))
    if len(seen) > MOST_SELECTABLE_FIELDS:
        found.append(errors.too_many(str(path), len(seen), MOST_SELECTABLE_FIELDS))
    return found
