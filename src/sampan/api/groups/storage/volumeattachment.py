"""VolumeAttachment (storage.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, names
from sampan.api.groups import printing
from sampan.api.groups.storage import parameters
from sampan.api.groups.strategy import zero_status
from sampan.api.kind import IDENTITY, Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common, volumes
from sampan.api.validation.common import Errors

_LONGEST_MESSAGE = 1024


def _validate(obj: Obj) -> Errors:
    """Of a new one; names are judged more strictly then than when it changes."""
    spec = obj.get("spec") or {}
    found = _always(obj) + volumes.csi_driver(spec.get("attacher") or "", "spec.attacher")
    volume = (spec.get("source") or {}).get("persistentVolumeName")
    if volume is not None:
        found += common.named(names.dns1123_subdomain, volume, "spec.source.persistentVolumeName")
    return found


def _always(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    found: Errors = [] if spec.get("attacher") else [errors.required("spec.attacher")]
    found += _source(spec.get("source") or {})
    found += common.named(names.dns1123_subdomain, spec.get("nodeName") or "", "spec.nodeName")
    return found + _status(obj.get("status") or {})


def _source(source: Obj) -> Errors:
    volume, inline = source.get("persistentVolumeName"), source.get("inlineVolumeSpec")
    text = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
    if volume is None and inline is None:
        return [errors.required("spec.source", text)]
    if volume is not None and inline is not None:
        return [errors.forbidden("spec.source", text)]
    if volume == "":
        return [errors.required("spec.source.persistentVolumeName", "must specify non empty persistentVolumeName")]
    return []


def _status(status: Obj) -> Errors:
    found: Errors = []
    if parameters.size(status.get("attachmentMetadata") or {}) > parameters.MOST_BYTES:
        found.append(errors.too_long("status.attachmentMetadata", parameters.MOST_BYTES))
    for key in ("attachError", "detachError"):
        error = status.get(key) or {}
        if len((error.get("message") or "").encode()) > _LONGEST_MESSAGE:
            # upstream names another limit here than the one it asks for
            found.append(errors.too_long(f"status.{key}.message", parameters.MOST_BYTES))
        code = error.get("errorCode")
        if code is not None and code < 0:
            text = "must be between 0 and 2147483647, inclusive"
            found.append(errors.invalid(f"status.{key}.errorCode", code, text))
    return found


def _validate_update(new: Obj, old: Obj) -> Errors:
    found = _always(new)
    if new.get("spec") != old.get("spec"):
        found.append(errors.invalid("spec", _as_go(new.get("spec") or {}), common.IMMUTABLE))
    return found


def _as_go(spec: Obj) -> Obj:
    """As upstream's refusals show it: its internal form, which has no JSON names."""
    source = spec.get("source") or {}
    shown = {
        "PersistentVolumeName": source.get("persistentVolumeName"), "InlineVolumeSpec": source.get("inlineVolumeSpec"),
    }  # fmt: skip
    return {"Attacher": spec.get("attacher", ""), "Source": shown, "NodeName": spec.get("nodeName", "")}


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    spec = obj.get("spec") or {}
    volume = (spec.get("source") or {}).get("persistentVolumeName", "")
    attached = bool((obj.get("status") or {}).get("attached"))
    return (
        printing.name(obj),
        spec.get("attacher", ""),
        volume,
        spec.get("nodeName", ""),
        attached,
        printing.age(obj, now),
    )


KINDS = (
    Kind(
        group="storage.k8s.io",
        version="v1",
        kind="VolumeAttachment",
        plural="volumeattachments",
        singular="volumeattachment",
        namespaced=False,
        schema="io.k8s.api.storage.v1.VolumeAttachment",
        status_metadata=IDENTITY,
        returns_deleted=True,
        status=True,
        prepare_create=zero_status("io.k8s.api.storage.v1.VolumeAttachmentStatus"),
        unconditional_update=False,
        validate=_validate,
        validate_update=_validate_update,
        validate_status=_validate_update,
        ratchets=True,
        columns=(
            printing.NAME,
            Column("Attacher", format="name"),
            Column("PV"),
            Column("Node"),
            Column("Attached", type="boolean"),
            printing.AGE,
        ),
        row=_row,
    ),
)
