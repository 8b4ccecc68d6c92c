"""CertificateSigningRequest (certificates.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, humanize, strategies
from sampan.api.groups import printing, selectable
from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Column, Kind, Requester, Strategy, Subresource
from sampan.api.objects import deep_copy
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


def _stamp(obj: Obj, requester: Requester) -> None:
    """A request says who made it; nobody can say so for another."""
    spec = obj.setdefault("spec", {})
    for key in ("username", "uid", "groups", "extra"):
        spec.pop(key, None)
    if requester.name:
        spec["username"] = requester.name
    if requester.uid:
        spec["uid"] = requester.uid
    if requester.groups:
        spec["groups"] = list(requester.groups)
    if requester.extra:
        spec["extra"] = {key: list(values) for key, values in requester.extra.items()}


def _merge_approval(kind: Kind, new: Obj, old: Obj) -> Obj:
    """All conditions are the approver's; the rest of the status, the certificate above all, stays."""
    result = strategies.only(new, old)
    status = result["status"] = {**(result.get("status") or {})}
    conditions = deep_copy((new.get("status") or {}).get("conditions") or [])
    if conditions:
        status["conditions"] = conditions
    else:
        status.pop("conditions", None)
    return result


def _validate_approval(kind: Kind, new: Obj, old: Obj) -> Errors:
    path = "status.conditions"
    conditions = (new.get("status") or {}).get("conditions") or []
    found: Errors = []
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        found += _condition(condition, f"{path}[{index}]", seen)
        seen.add(condition.get("type", ""))
    before = {c.get("type") for c in (old.get("status") or {}).get("conditions") or []}
    for gone in sorted({"Approved", "Denied", "Failed"} & before - seen):
        found.append(errors.forbidden(path, f'updates may not remove a condition of type "{gone}"'))
    return found


def _condition(condition: Obj, path: str, seen: set[str]) -> Errors:
    """``seen``: the types of the conditions before it."""
    found: Errors = []
    kind, status = condition.get("type", ""), condition.get("status", "")
    if not kind:
        found.append(errors.required(f"{path}.type"))
    elif kind in seen:
        found.append(errors.duplicate(f"{path}.type", kind))
    allowed = ("True",) if kind in ("Approved", "Denied", "Failed") else ("False", "True", "Unknown")
    if not status:
        found.append(errors.required(f"{path}.status"))
    elif status not in allowed:
        found.append(errors.not_supported(f"{path}.status", status, allowed))
    if {"Approved": "Denied", "Denied": "Approved"}.get(kind) in seen:
        text = "Approved and Denied conditions are mutually exclusive"
        found.append(errors.invalid(f"{path}.type", kind, text))
    return found


_APPROVAL = Strategy(_merge_approval, _validate_approval, counts_generation=False)


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
        stamp=_stamp,
        subresources=(
            Subresource(
                "approval",
                "CertificateSigningRequest",
                "certificates.k8s.io",
                "v1",
                ("get", "patch", "update"),
                _APPROVAL,
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
