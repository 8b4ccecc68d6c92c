"""CustomResourceDefinition (apiextensions.k8s.io/v1): the declaration itself.

What it may say is judged by ``sampan.api.customresources``; serving what it declares is the server's extension
package's task.
"""

from __future__ import annotations

from sampan.api import customresources
from sampan.api.customresources import ending
from sampan.api.errors import FieldError
from sampan.api.groups import printing
from sampan.api.kind import Kind
from sampan.api.types import Obj


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


def _validate(definition: Obj) -> list[FieldError]:
    return customresources.validate_definition(definition)


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
        kept_decoded=False,
        generation=True,
        unconditional_update=False,
        default=_default,
        validate=_validate,
        validate_update=customresources.validate_definition,
        validate_status=customresources.validate_status,
        ratchets=True,
        warnings=customresources.warnings_of,
        demanding=True,
        prepare_create=_prepare_create,
        prepare_update=_prepare_update,
        removable=ending.is_marked,
        prepare_delete=ending.mark,
        columns=printing.CREATED_AT_COLUMNS,
        row=printing.created_at_row,
    ),
)
