"""CertificateSigningRequest (certificates.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import humanize
from sampan.api.groups import printing, selectable
from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Column, Kind, Subresource
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors


def condition_words(obj: Obj) -> str:
    """``Pending``, ``Approved,Issued`` ..."""
    status = obj.get("status") or {}
    types = {condition.get("type") for condition in status.get("conditions") or ()}
    words = ["Denied" if "Denied" in types else "Approved" if "Approved" in types else "Pending"]
    if "Failed" in types:
        words.append("Failed")
    if status.get("certificate"):
        words.append("Issued")
    return ",".join(words)


def _validate(obj: Obj) -> Errors:
    return common.needed(obj.get("spec") or {}, "spec", "request", "signerName", "usages")


def _validate_update(new: Obj, old: Obj) -> Errors:
    return common.immutable(new.get("spec"), old.get("spec"), "spec")


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    spec = obj.get("spec") or {}
    seconds = spec.get("expirationSeconds")
    return (
        printing.name(obj),
        printing.age(obj, now),
        spec.get("signerName", "") or printing.NONE,
        spec.get("username", ""),
        printing.NONE if seconds is None else humanize.human_duration(seconds),
        condition_words(obj),
    )


KINDS = (
    Kind(
        group="certificates.k8s.io",
        version="v1",
        kind="CertificateSigningRequest",
        plural="certificatesigningrequests",
        singular="certificatesigningrequest",
        namespaced=False,
        schema="io.k8s.api.certificates.v1.CertificateSigningRequest",
        short_names=("csr",),
        status=True,
        prepare_create=drop_status,
        subresources=(
            Subresource(
                "approval", "CertificateSigningRequest", "certificates.k8s.io", "v1", ("get", "patch", "update")
            ),
        ),
        validate=_validate,
        validate_update=_validate_update,
        columns=(
            printing.NAME,
            printing.AGE,
            Column("SignerName"),
            Column("Requestor"),
            Column("RequestedDuration"),
            Column("Condition"),
        ),
        row=_row,
        selectable_fields=selectable.fields_at("spec.signerName"),
        selectable_names=("spec.signerName",),
    ),
)
