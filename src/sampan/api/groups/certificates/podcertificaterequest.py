"""PodCertificateRequest (certificates.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api.groups import printing, selectable
from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors


def _validate(obj: Obj) -> Errors:
    return common.needed(
        obj.get("spec") or {},
        "spec",
        "signerName",
        "podName",
        "podUID",
        "serviceAccountName",
        "serviceAccountUID",
        "nodeName",
        "nodeUID",
    )


def _validate_update(new: Obj, old: Obj) -> Errors:
    return common.immutable(new.get("spec"), old.get("spec"), "spec")


#: what a signer says in the end
_OUTCOMES = ("Issued", "Denied", "Failed")


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    spec = obj.get("spec") or {}
    said = (obj.get("status") or {}).get("conditions") or ()
    states = [condition.get("type", "") for condition in said if condition.get("type") in _OUTCOMES]
    annotations = spec.get("unverifiedUserAnnotations") or {}
    return (
        printing.name(obj),
        spec.get("podName", ""),
        spec.get("serviceAccountName", ""),
        spec.get("nodeName", ""),
        spec.get("signerName", ""),
        states[-1] if states else "Pending",
        ",".join(f"{key}={annotations[key]}" for key in sorted(annotations)) or printing.NONE,
    )


KINDS = (
    Kind(
        group="certificates.k8s.io",
        version="v1",
        kind="PodCertificateRequest",
        plural="podcertificaterequests",
        singular="podcertificaterequest",
        namespaced=True,
        schema="io.k8s.api.certificates.v1.PodCertificateRequest",
        status=True,
        prepare_create=drop_status,
        unconditional_update=False,
        validate=_validate,
        validate_update=_validate_update,
        columns=(
            printing.NAME,
            Column("PodName"),
            Column("ServiceAccountName"),
            Column("NodeName"),
            Column("SignerName"),
            Column("State"),
            Column("UnverifiedUserAnnotations"),
        ),
        row=_row,
        selectable_fields=selectable.fields_at("spec.signerName", "spec.podName", "spec.nodeName"),
        selectable_names=("spec.signerName", "spec.podName", "spec.nodeName"),
    ),
)
