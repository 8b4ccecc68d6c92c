"""CertificateSigningRequest (certificates.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, humanize, names, strategies
from sampan.api.groups import printing, selectable
from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Column, Kind, Requester, Strategy, Subresource
from sampan.api.objects import deep_copy
from sampan.api.types import Obj
from sampan.api.validation import pem, signers
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


_USAGES = tuple(sorted((
    "signing", "digital signature", "content commitment", "key encipherment", "key agreement", "data encipherment",
    "cert sign", "crl sign", "encipher only", "decipher only", "any", "server auth", "client auth", "code signing",
    "email protection", "s/mime", "ipsec end system", "ipsec tunnel", "ipsec user", "timestamping", "ocsp signing",
    "microsoft sgc", "netscape sgc",
)))  # fmt: skip
_SHORTEST_SECONDS = 600
_LEGACY = "kubernetes.io/legacy-unknown"


def _validate(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    found: Errors = []
    encoded = spec.get("request") or ""
    try:
        pem.request(pem.decoded(encoded))
    except pem.Unreadable as fault:
        found.append(errors.invalid("spec.request", encoded, str(fault)))
    found += _usages(spec.get("usages") or ())
    signer = spec.get("signerName") or ""
    if signer == _LEGACY:
        text = "the legacy signerName is not allowed via this API version"
        found.append(errors.invalid("spec.signerName", signer, text))
    else:
        found += signers.signer_name(signer, "spec.signerName")
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < _SHORTEST_SECONDS:
        text = "may not specify a duration less than 600 seconds (10 minutes)"
        found.append(errors.invalid("spec.expirationSeconds", seconds, text))
    return found


def _usages(usages: Sequence[str]) -> Errors:
    if not usages:
        return [errors.required("spec.usages")]
    found = [
        errors.not_supported(f"spec.usages[{index}]", usage, _USAGES)
        for index, usage in enumerate(usages)
        if usage not in _USAGES
    ]
    seen: set[str] = set()
    for index, usage in enumerate(usages):
        if usage in seen:
            found.append(errors.duplicate(f"spec.usages[{index}]", usage))
        seen.add(usage)
    return found


def _prepare_update(new: Obj, old: Obj) -> None:
    """What is asked for stays as it is, whatever a client sends along."""
    strategies.take(new, old, "spec")


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
    return _conditions(new, old) + _removed(new, old)


def _validate_status(new: Obj, old: Obj) -> Errors:
    """Of a signer: the certificate, once, and conditions, but for those that are the approvers'."""
    found = _conditions(new, old)
    given, before = (pem.decoded((obj.get("status") or {}).get("certificate")) for obj in (new, old))
    if given != before and not pem.chain_fault(before) and (fault := pem.chain_fault(given)):
        found.append(errors.invalid("status.certificate", "<certificate data>", fault))
    found += _removed(new, old)
    for kind in ("Approved", "Denied"):
        after, earlier = _of_type(new, kind), _of_type(old, kind)
        if len(after) > len(earlier):
            text = f'updates may not add a condition of type "{kind}"'
            found.append(errors.forbidden("status.conditions", text))
        elif len(after) == len(earlier) and after != earlier:
            text = f'updates may not modify a condition of type "{kind}"'
            found.append(errors.forbidden("status.conditions", text))
    if given != before and before:
        text = "updates may not modify existing certificate content"
        found.append(errors.forbidden("status.certificate", text))
    return found


def _listed(obj: Obj) -> list[Obj]:
    return (obj.get("status") or {}).get("conditions") or []


def _of_type(obj: Obj, kind: str) -> list[Obj]:
    return [condition for condition in _listed(obj) if condition.get("type") == kind]


def _removed(new: Obj, old: Obj) -> Errors:
    return [
        errors.forbidden("status.conditions", f'updates may not remove a condition of type "{kind}"')
        for kind in _FINAL
        if len(_of_type(new, kind)) < len(_of_type(old, kind))
    ]


#: conditions that are only ever True, and stay
_FINAL = ("Approved", "Denied", "Failed")


def _conditions(new: Obj, old: Obj) -> Errors:
    """Faults that the stored object has already are tolerated."""
    before = [condition.get("type") or "" for condition in _listed(old)]
    both = {"Approved", "Denied"}
    may_be_empty, may_repeat, may_contradict = "" in before, len(set(before)) < len(before), both <= set(before)
    found: Errors = []
    seen: set[str] = set()
    for index, condition in enumerate(_listed(new)):
        path, kind = f"status.conditions[{index}]", condition.get("type") or ""
        if not kind and not may_be_empty:
            found.append(errors.required(f"{path}.type"))
        allowed = ("True",) if kind in _FINAL else ("False", "True", "Unknown")
        status = condition.get("status") or ""
        if not status:
            found.append(errors.required(f"{path}.status"))
        elif status not in allowed:
            found.append(errors.not_supported(f"{path}.status", status, allowed))
        if kind in both and both - {kind} <= seen and not may_contradict:
            text = "Approved and Denied conditions are mutually exclusive"
            found.append(errors.invalid("status.conditions", kind, text))
        if kind in seen and not may_repeat:
            found.append(errors.duplicate(f"{path}.type", kind))
        seen.add(kind)
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
        # nothing of a request changes but its metadata, so that nothing has to be judged again
        ratchets=True,
        prepare_update=_prepare_update,
        validate_status=_validate_status,
        demanding=True,
        name_check=names.path_segment,
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
