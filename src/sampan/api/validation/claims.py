"""The spec of a PersistentVolumeClaim, also where it is a template: of a StatefulSet, of an ephemeral volume."""

from __future__ import annotations

from typing import Final

from sampan.api import errors, names, quantity
from sampan.api import metadata as object_metadata
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

_MODES: Final = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
#: of ObjectMeta, what a template may say
_OF_TEMPLATES: Final = ("annotations", "labels")


def claim_template(template: Obj, path: str) -> Errors:
    meta = template.get("metadata") or {}
    found = object_metadata.validate_annotations(meta.get("annotations"), f"{path}.metadata.annotations")
    found += object_metadata.validate_labels(meta.get("labels"), f"{path}.metadata.labels")
    for key in meta:
        if key not in _OF_TEMPLATES and meta[key]:
            found.append(errors.forbidden(f"{path}.metadata.{key}", "cannot be set"))
    return found + claim_spec(template.get("spec") or {}, f"{path}.spec")


def claim_spec(spec: Obj, path: str) -> Errors:
    found: Errors = []
    modes = spec.get("accessModes") or []
    if not modes:
        found.append(errors.required(f"{path}.accessModes", "at least 1 access mode is required"))
    found += common.label_selector(spec.get("selector"), f"{path}.selector")
    found += [errors.not_supported(f"{path}.accessModes", mode, _MODES) for mode in modes if mode not in _MODES]
    if "ReadWriteOncePod" in modes and any(mode != "ReadWriteOncePod" for mode in modes):
        found.append(errors.forbidden(f"{path}.accessModes", "may not use ReadWriteOncePod with other access modes"))
    storage = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if storage is None:
        found.append(errors.required(f"{path}.resources[storage]"))
    elif quantity.parse(storage) <= 0:
        shown = quantity.canonical(storage)
        found.append(errors.invalid(f"{path}.resources[storage]", shown, "must be greater than zero"))
    if spec.get("storageClassName"):
        found += common.named(names.dns1123_subdomain, spec["storageClassName"], f"{path}.storageClassName")
    if spec.get("volumeMode") is not None and spec["volumeMode"] not in ("Block", "Filesystem"):
        found.append(errors.not_supported(f"{path}.volumeMode", spec["volumeMode"], ("Block", "Filesystem")))
    found += _sources(spec, path)
    if spec.get("volumeAttributesClassName"):
        name, where = spec["volumeAttributesClassName"], f"{path}.volumeAttributesClassName"
        found += common.named(names.dns1123_subdomain, name, where)
    return found


def _sources(spec: Obj, path: str) -> Errors:
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    found: Errors = []
    if source is not None:
        found += _source(source, f"{path}.dataSource")
    if reference is not None:
        found += _source(reference, f"{path}.dataSourceRef")
        if reference.get("namespace"):
            found += common.named(names.dns1123_label, reference["namespace"], f"{path}.dataSourceRef.namespace")
            if source is not None:
                text = "may not be specified when dataSourceRef.namespace is specified"
                found.append(errors.invalid(path, f"{path}.dataSource", text))
        elif source is not None and any(source.get(key) != reference.get(key) for key in ("apiGroup", "kind", "name")):
            found.append(errors.invalid(path, f"{path}.dataSource", "must match dataSourceRef"))
    return found


def _source(source: Obj, path: str) -> Errors:
    found: Errors = []
    for key in ("name", "kind"):
        if not source.get(key):
            found.append(errors.required(f"{path}.{key}"))
    group, kind = source.get("apiGroup") or "", source.get("kind", "")
    if not group and kind != "PersistentVolumeClaim":
        text = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
        found.append(errors.invalid(path, kind, text))
    if group:
        found += common.named(names.dns1123_subdomain, group, f"{path}.apiGroup")
    return found
