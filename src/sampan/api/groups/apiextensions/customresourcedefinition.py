"""CustomResourceDefinition (apiextensions.k8s.io/v1): the declaration itself.

Serving what it declares, and checking that its schemas are structural, is the server's extension package's task.
"""

from __future__ import annotations

from typing import Any

from sampan.api import errors, names
from sampan.api.customresources import ending
from sampan.api.groups import printing
from sampan.api.kind import Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

_SCOPES = ("Cluster", "Namespaced")


def _default(definition: Obj) -> None:
    spec = definition.setdefault("spec", {})
    declared = spec.setdefault("names", {})
    if not declared.get("singular") and declared.get("kind"):
        declared["singular"] = declared.get("kind", "").lower()
    if not declared.get("listKind") and declared.get("kind"):
        declared["listKind"] = f"{declared['kind']}List"
    conversion = spec.setdefault("conversion", {})
    if not conversion.get("strategy"):
        conversion["strategy"] = "None"
    service = ((conversion.get("webhook") or {}).get("clientConfig") or {}).get("service")
    if service is not None:
        service.setdefault("port", 443)


def _storage_versions(spec: Obj) -> list[str]:
    return [version.get("name", "") for version in spec.get("versions") or () if version.get("storage")]


def _prepare_create(definition: Obj) -> None:
    definition["status"] = {
        "conditions": None,
        "acceptedNames": {"plural": "", "kind": ""},
        "storedVersions": _storage_versions(definition.get("spec") or {}) or None,
    }


def _prepare_update(new: Obj, old: Obj) -> None:
    """Whatever version ever stored objects is remembered, until somebody has migrated them."""
    status = dict(old.get("status") or {})
    stored = list(status.get("storedVersions") or ())
    added = [name for name in _storage_versions(new.get("spec") or {}) if name not in stored]
    if added:
        new["status"] = {**status, "storedVersions": stored + added}


def _names(declared: Obj) -> Errors:
    found: Errors = []
    for key in ("plural", "singular"):
        found += common.named(names.dns1035_label, declared.get(key, ""), f"spec.names.{key}")
    for key in ("kind", "listKind"):
        text = declared.get(key, "")
        found += common.named(names.dns1035_label, text.lower(), f"spec.names.{key}")
    for key in ("shortNames", "categories"):
        for index, text in enumerate(declared.get(key) or ()):
            found += common.named(names.dns1035_label, text, f"spec.names.{key}[{index}]")
    if declared.get("kind") and declared.get("kind") == declared.get("listKind"):
        text = "kind and listKind may not be the same"
        found.append(errors.invalid("spec.names.listKind", declared["listKind"], text))
    return found


def _versions(spec: Obj) -> Errors:
    versions: list[Obj] = spec.get("versions") or []
    found: Errors = []
    seen: set[str] = set()
    for index, version in enumerate(versions):
        path, name = f"spec.versions[{index}]", version.get("name", "")
        found += common.named(names.dns1035_label, name, f"{path}.name")
        if name in seen:
            found.append(errors.invalid("spec.versions", versions, "must contain unique version names"))
        seen.add(name)
        if ((version.get("schema") or {}).get("openAPIV3Schema")) is None:
            found.append(errors.required(f"{path}.schema.openAPIV3Schema", "schemas are required"))
    if len(_storage_versions(spec)) != 1:
        text = "must have exactly one version marked as storage version"
        found.append(errors.invalid("spec.versions", versions, text))
    return found


def _validate(definition: Obj) -> Errors:
    spec: dict[str, Any] = definition.get("spec") or {}
    declared, group = spec.get("names") or {}, spec.get("group", "")
    name = definition.get("metadata", {}).get("name", "")
    found: Errors = []
    if name != f"{declared.get('plural', '')}.{group}":
        found.append(errors.invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group'))
    if not group:
        found.append(errors.required("spec.group"))
    else:
        found += common.named(names.dns1123_subdomain, group, "spec.group")
        if "." not in group:
            text = "should be a domain with at least one dot"
            found.append(errors.invalid("spec.group", group, text))
    found += common.one_of(spec.get("scope"), _SCOPES, "spec.scope", must=True)
    if spec.get("preserveUnknownFields"):
        text = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        found.append(errors.invalid("spec.preserveUnknownFields", True, text))
    strategy = (spec.get("conversion") or {}).get("strategy")
    found += common.one_of(strategy, ("None", "Webhook"), "spec.conversion.strategy", must=True)
    return found + _versions(spec) + _names(declared)


def _validate_update(new: Obj, old: Obj) -> Errors:
    """Once established, objects exist under these names."""
    if not printing.has_condition(old, "Established"):
        return []
    spec, before = new.get("spec", {}), old.get("spec", {})
    found = common.immutable(spec.get("group"), before.get("group"), "spec.group")
    found += common.immutable(spec.get("scope"), before.get("scope"), "spec.scope")
    for key in ("kind", "plural"):
        after, earlier = (spec.get("names") or {}).get(key), (before.get("names") or {}).get(key)
        found += common.immutable(after, earlier, f"spec.names.{key}")
    return found


KINDS = (
    Kind(
        group="apiextensions.k8s.io",
        version="v1",
        kind="CustomResourceDefinition",
        plural="customresourcedefinitions",
        singular="customresourcedefinition",
        namespaced=False,
        schema="io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition",
        short_names=("crd", "crds"),
        categories=("api-extensions",),
        status=True,
        generation=True,
        unconditional_update=False,
        default=_default,
        validate=_validate,
        validate_update=_validate_update,
        prepare_create=_prepare_create,
        prepare_update=_prepare_update,
        removable=ending.is_marked,
        prepare_delete=ending.mark,
        columns=printing.CREATED_AT_COLUMNS,
        row=printing.created_at_row,
    ),
)
