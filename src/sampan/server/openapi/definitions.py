"""Definitions with their descriptions, which of them a document needs, and their references in either dialect.

Pure. Used by ``v2`` and ``v3``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sampan.api.schema import Schema
from sampan.api.schema.overlay import SPECIAL
from sampan.server.openapi.descriptions import TypeDescription

Raw = dict[str, Any]
#: Takes the bare name of a definition and the keys beside the reference.
Reference = Callable[[str, Raw], Raw]

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_APIEXTENSIONS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."
QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"

_ZEROS: Raw = {"string": "", "integer": 0, "number": 0, "boolean": False}

#: Types that are no classes in lightkube-models.
_TEXTS = {
    QUANTITY: "A number of fixed point with an optional suffix: decimal (m, k, M, G ...), binary (Ki, Mi, Gi ...) "
    'or an exponent. "100m" is a tenth, "1Gi" is 1073741824.',
    INT_OR_STRING: "A whole number or a string, as a port is a number or a name, an amount a number or a percentage.",
    "io.k8s.apimachinery.pkg.runtime.RawExtension": "Any object; its own apiVersion and kind say what it is.",
    _META + "Time": "A moment, to the second, as RFC 3339 writes it.",
    _META + "MicroTime": "A moment, to the microsecond, as RFC 3339 writes it.",
    _META + "FieldsV1": "A set of fields, as a trie: keys are f:NAME of a field, k:{KEYS} or v:VALUE of a list item, "
    "i:INDEX, or . for the item itself.",
    _META + "Patch": "A JSON patch, merge patch, strategic merge patch or applied configuration; the content type says "
    "which.",
    _APIEXTENSIONS + "JSON": "Any JSON value.",
    _APIEXTENSIONS + "JSONSchemaPropsOrArray": "A schema or a list of schemas.",
    _APIEXTENSIONS + "JSONSchemaPropsOrBool": "A schema or a boolean.",
    _APIEXTENSIONS + "JSONSchemaPropsOrStringArray": "A schema or a list of strings.",
}


class Definitions:
    def __init__(self, schema: Schema, described: Mapping[str, TypeDescription]) -> None:
        self._schema, self._described = schema, described
        self._cache: dict[str, Raw] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._schema

    def get(self, name: str) -> Raw:
        """The definition with descriptions; references are bare names. Shared: read-only."""
        if name not in self._cache:
            self._cache[name] = self._build(name)
        return self._cache[name]

    def _build(self, name: str) -> Raw:
        raw = self._schema.raw(name)
        like = self._schema.base(name) or name  # of a former version: what is said of the one that it is like
        described = self._described.get(like, TypeDescription(_TEXTS.get(name, "")))
        if described.text:
            raw["description"] = described.text
        types = self._schema.go_types(name)
        for key, schema in raw.get("properties", {}).items():
            if text := described.fields.get(key):
                schema["description"] = text
            if key in types:
                self._enumerate(schema, types[key])
        return raw

    def _enumerate(self, schema: Raw, go_type: str) -> None:
        """The values of an enumeration, where it stands; in the description if the field itself is one."""
        below, _, element = go_type.rpartition("]")
        values = self._schema.enum(element)
        if not values:
            return
        if not below:
            listed = "".join(f'\n - `"{value}"`' for value in values)
            schema["description"] = f"{schema.get('description', '')}\n\nPossible enum values:{listed}".lstrip()
        while "type" in schema and schema["type"] in ("array", "object"):
            schema = schema["items" if schema["type"] == "array" else "additionalProperties"]
        schema["enum"] = values

    def get_with_defaults(self, name: str) -> Raw:
        """The definition with the defaults that Go's types imply: what is no pointer and never left out holds its zero
        value. Only v3 has them."""
        raw = dict(self.get(name))
        if "properties" in raw:
            stated, presence = self._schema.defaults(name), self._schema.presence(name)
            raw["properties"] = {
                key: self._defaulted(part, stated.get(key), always=presence.get(key) == "always")
                for key, part in raw["properties"].items()
            }
        return raw

    def _defaulted(self, schema: Raw, stated: Any, *, always: bool) -> Raw:
        """``always``: the value is no pointer, and written even if it is empty."""
        copy = dict(schema)
        for key in ("items", "additionalProperties"):
            if isinstance(schema.get(key), dict):
                copy[key] = self._defaulted(schema[key], None, always=True)
        zero = stated if stated is not None else self._zero(schema) if always else None
        return copy if zero is None else {**copy, "default": zero}

    def _zero(self, schema: Raw) -> Any:
        """None: lists, maps and types with a form of their own have no default."""
        if "$ref" in schema:
            return None if schema["$ref"] in SPECIAL else {}
        if schema.get("format") == "byte":
            return None
        return _ZEROS.get(schema.get("type", ""))

    def closure(self, roots: Iterable[str]) -> list[str]:
        """These definitions and all that they refer to, by name."""
        found: set[str] = set()
        waiting = list(roots)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting.extend(_references(self.get(name)))
        return sorted(found)


def _references(schema: Raw) -> Iterable[str]:
    if "$ref" in schema:
        yield schema["$ref"]
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from _references(schema[key])
    for value in schema.get("properties", {}).values():
        yield from _references(value)


def with_references(schema: Raw, reference: Reference) -> Raw:
    """A copy of the schema whose references are as ``reference`` writes them."""
    if "$ref" in schema:
        return reference(schema["$ref"], {key: value for key, value in schema.items() if key != "$ref"})
    copy = dict(schema)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            copy[key] = with_references(schema[key], reference)
    if "properties" in schema:
        copy["properties"] = {key: with_references(value, reference) for key, value in schema["properties"].items()}
    return copy
