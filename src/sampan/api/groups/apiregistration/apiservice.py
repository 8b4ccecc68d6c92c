"""APIService (apiregistration.k8s.io/v1): who serves a group version, this API server or one behind a Service.

Spec: kube-aggregator's apiregistration validation and registry strategy. ``sampan.server.aggregation`` acts on them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson

from sampan.api import errors, names
from sampan.api.groups import printing
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

AVAILABLE = "Available"
_MAX_GROUP_PRIORITY = 20000
_MAX_VERSION_PRIORITY = 1000


def local_available(since: str | None) -> Obj:
    """The condition of every APIService that this API server answers for itself."""
    return {
        "type": AVAILABLE,
        "status": "True",
        "lastTransitionTime": since,
        "reason": "Local",
        "message": "Local APIServices are always available",
    }


def _default(obj: Obj) -> None:
    service = (obj.get("spec") or {}).get("service")
    if service is not None:
        service.setdefault("port", 443)


def _prepare_create(obj: Obj) -> None:
    """Local ones are available from the first moment, for nobody has to look."""
    local = not (obj.get("spec") or {}).get("service")
    obj["status"] = {"conditions": [local_available(obj["metadata"].get("creationTimestamp"))]} if local else {}


def _validate(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    group, version = spec.get("group") or "", spec.get("version") or ""
    found: Errors = []
    name, needed = obj["metadata"].get("name", ""), f"{version}.{group}"
    if name != needed and not names.path_segment(name):
        text = f'must be `spec.version+"."+spec.group`: {orjson.dumps(needed).decode()}'
        found.append(errors.invalid("metadata.name", name, text))
    if group:
        found += common.named(names.dns1123_subdomain, group, "spec.group")
    elif version != "v1":
        text = "only v1 may have an empty group and it better be legacy kube"
        found.append(errors.required("spec.group", text))
    found += common.named(names.dns1035_label, version, "spec.version")
    for field, limit in (("groupPriorityMinimum", _MAX_GROUP_PRIORITY), ("versionPriority", _MAX_VERSION_PRIORITY)):
        value = spec.get(field) or 0
        if not 0 < value <= limit:
            found.append(errors.invalid(f"spec.{field}", value, f"must be positive and less than {limit}"))
    return found + (_validate_remote(spec) if spec.get("service") is not None else _validate_local(spec))


def _validate_local(spec: Obj) -> Errors:
    found: Errors = []
    if bundle := ca_bundle(spec):
        text = "local APIServices may not have a caBundle"
        found.append(errors.invalid("spec.caBundle", f"{len(bundle)} bytes", text))
    if spec.get("insecureSkipTLSVerify"):
        text = "local APIServices may not have insecureSkipTLSVerify"
        found.append(errors.invalid("spec.insecureSkipTLSVerify", True, text))
    return found


def _validate_remote(spec: Obj) -> Errors:
    service = spec["service"]
    found = [errors.required(f"spec.service.{field}") for field in ("namespace", "name") if not service.get(field)]
    if spec.get("insecureSkipTLSVerify") and ca_bundle(spec):
        text = "may not be true if caBundle is present"
        found.append(errors.invalid("spec.insecureSkipTLSVerify", True, text))
    return found


def ca_bundle(spec: Obj) -> bytes:
    """The PEM bytes of ``spec.caBundle``; what is no base64 never came past the schema, and counts as none."""
    try:
        return base64.b64decode(spec.get("caBundle") or "")
    except (binascii.Error, TypeError, ValueError):
        return b""


def _validate_status(new: Obj, old: Obj) -> Errors:
    found: Errors = []
    for index, condition in enumerate((new.get("status") or {}).get("conditions") or ()):
        status = condition.get("status") or ""
        if status not in ("True", "False", "Unknown"):
            path = f"status.conditions[{index}].status"
            found.append(errors.not_supported(path, status, ("True", "False", "Unknown")))
    return found


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    spec = obj.get("spec") or {}
    service = spec.get("service")
    where = f"{service.get('namespace', '')}/{service.get('name', '')}" if service else "Local"
    available = "Unknown"
    for condition in (obj.get("status") or {}).get("conditions") or ():
        if condition.get("type") == AVAILABLE:
            available = condition.get("status", "")
            if available != "True":
                available = f"{available} ({condition.get('reason', '')})"
    return (printing.name(obj), where, available, printing.age(obj, now))


KINDS = (
    Kind(
        group="apiregistration.k8s.io",
        version="v1",
        kind="APIService",
        plural="apiservices",
        singular="apiservice",
        namespaced=False,
        schema="io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService",
        name_check=names.path_segment,
        categories=("api-extensions",),
        status=True,
        prepare_create=_prepare_create,
        unconditional_update=False,
        default=_default,
        validate=_validate,
        validate_status=_validate_status,
        columns=(
            printing.NAME,
            Column("Service"),
            Column("Available"),
            printing.AGE,
        ),
        row=_row,
    ),
)
