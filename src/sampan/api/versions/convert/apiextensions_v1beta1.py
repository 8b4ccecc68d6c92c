"""CustomResourceDefinition of apiextensions.k8s.io/v1beta1 and v1: what each version has, all of them had together.

v1 wants a schema of every version and prunes by it. A definition without one keeps what it is given, and so does one
that asked for it (``preserveUnknownFields``, the default then); an annotation keeps how it was written. Upstream:
``pkg/apis/apiextensions/v1beta1/{conversion,defaults}.go``, last served by 1.21.
"""

from __future__ import annotations

from typing import Any, Final

from sampan.api.objects import deep_copy
from sampan.api.types import Obj
from sampan.api.versions.convert.parts import OWN, annotate_json, part, parts, rename, take_json

_PRESERVE: Final = "x-kubernetes-preserve-unknown-fields"
#: What the former version said and v1 cannot: see ``_Written``.
WRITTEN: Final = f"{OWN}apiextensions-v1beta1"
_TOGETHER: Final = {
    "validation": "schema",
    "subresources": "subresources",
    "additionalPrinterColumns": "additionalPrinterColumns",
    "selectableFields": "selectableFields",
}


def default_customresourcedefinition(definition: Obj) -> None:
    spec = part(definition, "spec")
    if not spec.get("scope"):
        spec["scope"] = "Namespaced"
    if not spec.get("versions") and spec.get("version"):
        spec["versions"] = [{"name": spec["version"], "served": True, "storage": True}]
    if not spec.get("version") and parts(spec, "versions"):
        spec["version"] = parts(spec, "versions")[0].get("name", "")
    conversion = spec.setdefault("conversion", {})
    if not conversion.get("strategy"):
        conversion["strategy"] = "None"
    if conversion["strategy"] == "Webhook" and not conversion.get("conversionReviewVersions"):
        conversion["conversionReviewVersions"] = ["v1beta1"]
    spec.setdefault("preserveUnknownFields", True)


def to_customresourcedefinition(definition: Obj) -> Obj:
    spec = part(definition, "spec")
    written: Obj = {}
    together = {key: spec.pop(key) for key in _TOGETHER if key in spec}
    spec.pop("version", None)
    preserve = spec.pop("preserveUnknownFields", None)
    if preserve is not None:
        written["preserveUnknownFields"] = preserve
    bare = []
    for index, version in enumerate(parts(spec, "versions")):
        for key, below in _TOGETHER.items():
            if key in together:
                version[below] = deep_copy(together[key])
        _columns(version, "JSONPath", "jsonPath")
        if preserve and not isinstance(part(version, "schema").get("openAPIV3Schema"), dict):
            version["schema"] = {"openAPIV3Schema": {"type": "object", _PRESERVE: True}}
            bare.append(index)
        elif preserve:
            written.setdefault("schemas", {})[str(index)] = deep_copy(version["schema"]["openAPIV3Schema"])
            _keep_unknown(version["schema"]["openAPIV3Schema"])
    if bare:
        written["bare"] = bare
    if written and written != {"preserveUnknownFields": False}:
        annotate_json(definition, WRITTEN, written)
    _to_conversion(part(spec, "conversion"))
    return definition


def from_customresourcedefinition(definition: Obj) -> Obj:
    spec = part(definition, "spec")
    found = take_json(definition, WRITTEN)
    written: Obj = found if isinstance(found, dict) else {}
    versions = parts(spec, "versions")
    bare = written.get("bare")
    schemas = part(written, "schemas")
    preserve = written.get("preserveUnknownFields", False) is True
    for index, version in enumerate(versions):
        _columns(version, "jsonPath", "JSONPath")
        if preserve:
            _restore(version, index, bare if isinstance(bare, list) else [], schemas)
    for key, below in _TOGETHER.items():
        first = versions[0].get(below) if versions else None
        if first is None or any(version.get(below) != first for version in versions):
            continue
        spec[key] = first  # what all have alike must not stand in each
        for version in versions:
            version.pop(below, None)
    if versions and versions[0].get("name"):
        spec["version"] = versions[0]["name"]
    if spec.get("preserveUnknownFields") is None and versions:
        spec["preserveUnknownFields"] = preserve
    _from_conversion(part(spec, "conversion"))
    return definition


def _restore(version: Obj, index: int, bare: list[Any], schemas: Obj) -> None:
    """The schema as it was written, if today's is what came of that."""
    schema = part(version, "schema").get("openAPIV3Schema")
    if index in bare and schema == {"type": "object", _PRESERVE: True}:
        version.pop("schema", None)
        return
    before = schemas.get(str(index))
    if isinstance(before, dict):
        kept = deep_copy(before)
        _keep_unknown(kept)
        if kept == schema:
            version["schema"]["openAPIV3Schema"] = before


def _columns(version: Obj, old: str, new: str) -> None:
    for column in parts(version, "additionalPrinterColumns"):
        rename(column, old, new)


def _keep_unknown(schema: Any) -> None:
    """Nothing below is pruned, as far as a schema can say that."""
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "object" and not schema.get("additionalProperties"):
        schema.setdefault(_PRESERVE, True)
    for each in part(schema, "properties").values():
        _keep_unknown(each)
    _keep_unknown(schema.get("items"))
    _keep_unknown(schema.get("additionalProperties"))


def _to_conversion(conversion: Obj) -> None:
    client, versions = conversion.pop("webhookClientConfig", None), conversion.pop("conversionReviewVersions", None)
    if client is not None or (versions is not None and conversion.get("strategy") == "Webhook"):
        webhook: Obj = {}
        if client is not None:
            webhook["clientConfig"] = client
        webhook["conversionReviewVersions"] = versions
        conversion["webhook"] = webhook


def _from_conversion(conversion: Obj) -> None:
    webhook = conversion.pop("webhook", None)
    if isinstance(webhook, dict):
        if webhook.get("clientConfig") is not None:
            conversion["webhookClientConfig"] = webhook["clientConfig"]
        if webhook.get("conversionReviewVersions") is not None:
            conversion["conversionReviewVersions"] = webhook["conversionReviewVersions"]
