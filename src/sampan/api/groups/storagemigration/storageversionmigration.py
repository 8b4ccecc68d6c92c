"""StorageVersionMigration (storagemigration.k8s.io/v1)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors
from sampan.api.groups import printing
from sampan.api.groups.strategy import drop_status
from sampan.api.kind import IDENTITY, Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors
from sampan.api.validation.conditions import conditions, shown

_REVISION = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)


def _validate(obj: Obj) -> Errors:
    if _resource(obj, "resource"):
        return []
    return [errors.required("spec.resource.resource", "resource is required")]


def _resource(obj: Obj, key: str) -> str:
    return ((obj.get("spec") or {}).get("resource") or {}).get(key) or ""


def _validate_update(new: Obj, old: Obj) -> Errors:
    """Upstream names the fields without where they are."""
    return common.immutable_value(_resource(new, "group"), _resource(old, "group"), "group") + common.immutable_value(
        _resource(new, "resource"), _resource(old, "resource"), "resource"
    )


def _validate_status(new: Obj, old: Obj) -> Errors:
    """A migration that ended stays ended, in one way, and at the revision at which it began."""
    status, path = new.get("status") or {}, "status.conditions"
    listed = status.get("conditions") or []
    found = _version(status.get("resourceVersion") or "", (old.get("status") or {}).get("resourceVersion") or "")
    faults = conditions(listed, path)
    found = found[:1] + faults + found[1:] if _unparsable(found) else faults + found
    succeeded, failed, running = (_is(new, kind) for kind in ("Succeeded", "Failed", "Running"))
    texts = {
        "Both success and failed conditions cannot be true at the same time": succeeded and failed,
        "Running condition cannot be true when success condition is true": succeeded and running,
        "Running condition cannot be true when failed condition is true": failed and running,
        "Success condition cannot be set to false once it is true": _is(old, "Succeeded") and not succeeded,
        "Failed condition cannot be set to false once it is true": _is(old, "Failed") and not failed,
    }
    return found + [errors.invalid(path, shown(listed), text) for text, wrong in texts.items() if wrong]


def _is(obj: Obj, kind: str) -> bool:
    listed = (obj.get("status") or {}).get("conditions") or ()
    return any(each.get("type") == kind and each.get("status") == "True" for each in listed)


def _unparsable(found: Errors) -> bool:
    return bool(found) and common.IMMUTABLE not in found[0].detail


def _version(version: str, before: str) -> Errors:
    """A revision, and the same for ever."""
    path = "status.resourceVersion"
    found: Errors = []
    if version and not _REVISION.fullmatch(version):
        text = f'failed to parse resource version "{version}": strconv.ParseInt: parsing "{version}": invalid syntax'
        found.append(errors.invalid(path, version, text))
    elif version.startswith("-") and version.strip("-0"):
        found.append(errors.invalid(path, int(version), common.NON_NEGATIVE))
    if before and before != version:
        found.append(errors.invalid(path, version, common.IMMUTABLE))
    return found


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    resource = (obj.get("spec") or {}).get("resource") or {}
    said = (obj.get("status") or {}).get("conditions") or ()
    true = [condition.get("type", "") for condition in said if condition.get("status") == "True"]
    state = next((state for state in ("Succeeded", "Failed", "Running") if state in true), "Pending")
    named = ".".join(filter(None, (resource.get("resource"), resource.get("group"))))
    return (printing.name(obj), named, state)


KINDS = (
    Kind(
        group="storagemigration.k8s.io",
        version="v1",
        kind="StorageVersionMigration",
        plural="storageversionmigrations",
        singular="storageversionmigration",
        namespaced=False,
        schema="io.k8s.api.storagemigration.v1.StorageVersionMigration",
        status_metadata=IDENTITY,
        status=True,
        prepare_create=drop_status,
        validate=_validate,
        validate_update=_validate_update,
        validate_status=_validate_status,
        columns=(Column("Name"), Column("Resource"), Column("Status")),
        row=_row,
    ),
)
