"""OpenAPI of custom resources: definitions in either dialect, and documents made of them and of shared pieces. Pure.

Source: apiextensions ``controller/openapi/builder`` and ``v2``. Apart from the build of the built-in documents, for it
is made when somebody asks, from what the definitions of the moment say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import orjson

from sampan.api.kind import Kind
from sampan.server.openapi import gnostic, v2, v3
from sampan.server.openapi.definitions import Raw
from sampan.server.openapi.operations import Path, group_version_paths

_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1."
OBJECT_META: Final = _META + "ObjectMeta"
LIST_META: Final = _META + "ListMeta"
#: of the old paths of watches, which custom resources have not
_WATCH_EVENT: Final = _META + "WatchEvent"
#: what documents of custom resources take from those of built-in kinds
SHARED: Final = (_META, "io.k8s.api.autoscaling.v1.Scale")

_TYPE_META: Final = {
    "apiVersion": "The version of the API that this object is written in, as GROUP/VERSION.",
    "kind": "What this object is; the server finds out from the URL where it is missing.",
}
_METADATA: Final = "What every object has: name, labels, owners and the like."
_PRESERVE: Final = "x-kubernetes-preserve-unknown-fields"
_EMBEDDED: Final = "x-kubernetes-embedded-resource"
#: OpenAPI v2 knows no alternatives
_NOT_IN_V2: Final = frozenset(("allOf", "anyOf", "oneOf", "not", "nullable", "default"))


def paths(group: str, version: str, kinds: Iterable[Kind]) -> tuple[Path, ...]:
    """Those of the resources; that of the group version's discovery is not published for custom ones."""
    found = group_version_paths(group, version, kinds, lambda name: name.startswith(SHARED))
    return tuple(path for path in found if not path.path.endswith("/"))


def definitions_v3(kind: Kind, schema: Raw) -> dict[str, Raw]:
    """The definitions of a kind and of its list."""
    return _definitions(kind, _third(schema), "#/components/schemas/", wrapped=True)


def definitions_v2(kind: Kind, schema: Raw) -> dict[str, Raw]:
    return _definitions(kind, _second(schema), "#/definitions/", wrapped=False)


def document_v3(group: str, version: str, described: Sequence[tuple[Kind, Raw]], shared: Mapping[str, bytes]) -> bytes:
    """The whole document of a group version. ``shared``: definitions of built-in kinds' documents, as JSON."""
    own: dict[str, Any] = {}
    for kind, schema in described:
        own |= definitions_v3(kind, schema)
    own |= {name: orjson.Fragment(text) for name, text in shared.items()}
    rendered = {path.path: v3.path_item(path) for path in paths(group, version, [kind for kind, _ in described])}
    return orjson.dumps(v3.document(dict(sorted(rendered.items())), dict(sorted(own.items()))))


def fragment_v2(kind: Kind, schema: Raw) -> Raw:
    """What a kind adds to the one document of v2: ``paths`` and ``definitions``."""
    mine = {path.path: v2.path_item(path) for path in paths(kind.group, kind.version, [kind])}
    return {"paths": mine, "definitions": definitions_v2(kind, schema)}


def json_members(members: Mapping[str, Any]) -> bytes:
    """The members of a JSON object, without its braces."""
    return orjson.dumps(members)[1:-1]


def protobuf_v2(fragment: Raw) -> bytes:
    """A message that, behind that of the whole document, adds to its maps: messages of one field are merged."""
    return gnostic.encode(fragment)


def shared_definitions(document: bytes) -> dict[str, bytes]:
    """What documents of custom resources need of a built-in v3 document."""
    schemas: dict[str, Any] = orjson.loads(document)["components"]["schemas"]
    return {
        name: orjson.dumps(schema)
        for name, schema in schemas.items()
        if name.startswith(SHARED) and name != _WATCH_EVENT
    }


def _definitions(kind: Kind, schema: Raw, prefix: str, *, wrapped: bool) -> dict[str, Raw]:
    gvk = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    list_gvk = {**gvk, "kind": kind.list_kind}

    def reference(name: str, text: str) -> Raw:
        ref = {"$ref": prefix + name}
        return {"allOf": [ref], "description": text} if wrapped else {**ref, "description": text}

    own = dict(schema)
    # A schema that keeps everything lists nothing in v2, or a client would refuse the rest.
    own["properties"] = {
        **{name: {"description": text, "type": "string"} for name, text in _TYPE_META.items()},
        "metadata": reference(OBJECT_META, _METADATA),
        **{name: part for name, part in (schema.get("properties") or {}).items() if name not in _OWN},
    }
    own["type"] = "object"
    own["x-kubernetes-group-version-kind"] = [gvk]
    items = {"$ref": prefix + kind.schema}
    listed = {
        "description": f"A list of {kind.kind}.",
        "type": "object",
        "required": ["items"],
        "properties": {
            **{name: {"description": text, "type": "string"} for name, text in _TYPE_META.items()},
            "items": {"description": f"The objects of kind {kind.kind}.", "type": "array", "items": items},
            "metadata": reference(LIST_META, "What every list has."),
        },
        "x-kubernetes-group-version-kind": [list_gvk],
    }
    return {kind.schema: own, list_schema(kind): listed}


_OWN = frozenset(("apiVersion", "kind", "metadata"))


def list_schema(kind: Kind) -> str:
    return kind.schema.removesuffix(kind.kind) + kind.list_kind


def _third(schema: Raw) -> Raw:
    """A schema as v3 shows it: as it is, with what an embedded resource has."""
    return _mapped(schema, _third, "#/components/schemas/", wrapped=True)


def _second(schema: Raw) -> Raw:
    """A schema as v2 can show it. What is too much for it is left out, so that nobody refuses what the server takes."""
    kept = {key: value for key, value in schema.items() if key not in _NOT_IN_V2}
    if schema.get("nullable"):
        for key in ("type", "items", "properties", "additionalProperties", "required"):
            kept.pop(key, None)
    if schema.get("x-kubernetes-int-or-string"):
        kept.pop("type", None)
    if schema.get(_PRESERVE):
        for key in ("items", "properties"):
            kept.pop(key, None)
    return _mapped(kept, _second, "#/definitions/", wrapped=False)


def _mapped(schema: Raw, below: Any, prefix: str, *, wrapped: bool) -> Raw:
    found = dict(schema)
    if isinstance(properties := schema.get("properties"), dict):
        found["properties"] = {name: below(part) for name, part in properties.items()}
    for key in ("items", "additionalProperties"):
        if isinstance(part := schema.get(key), dict):
            found[key] = below(part)
    if schema.get(_EMBEDDED):
        _embed(found, prefix, wrapped=wrapped)
    return found


def _embed(found: Raw, prefix: str, *, wrapped: bool) -> None:
    """What a resource inside of another has besides what the schema says of it."""
    reference = {"$ref": prefix + OBJECT_META}
    named = {name: {"description": text, "type": "string"} for name, text in _TYPE_META.items()}
    metadata = {"allOf": [reference], "description": _METADATA} if wrapped else {**reference, "description": _METADATA}
    found["properties"] = {**(found.get("properties") or {}), **named, "metadata": metadata}
    found["required"] = list(dict.fromkeys((*(found.get("required") or ()), "apiVersion", "kind")))
