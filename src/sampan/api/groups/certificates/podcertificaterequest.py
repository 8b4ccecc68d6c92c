"""PodCertificateRequest (certificates.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sampan.api import errors, names
from sampan.api.groups import printing, selectable
from sampan.api.groups.certificates import issuing
from sampan.api.groups.strategy import drop_status
from sampan.api.kind import IDENTITY, Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common, go_values, pem, signers
from sampan.api.validation.common import Errors

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

_LONGEST_UID = 128
_LONGEST_STUB = 10 * 1024
_HOUR, _DAY = 3600, 86400
#: certificates of Kubernetes' own signers, and of others
_LONGEST_OWN, _LONGEST_OTHER = _DAY, 91 * _DAY


def _default(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    if spec.get("maxExpirationSeconds") is None:
        spec["maxExpirationSeconds"] = _DAY


def _validate(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    signer = spec.get("signerName") or ""
    found = signers.signer_name(signer, "spec.signerName")
    found += signers.user_annotations(spec.get("unverifiedUserAnnotations") or {}, "spec.unverifiedUserAnnotations")
    for who in ("pod", "serviceAccount", "node"):
        found += common.named(names.dns1123_subdomain, spec.get(f"{who}Name") or "", f"spec.{who}Name")
        found += _uid(spec.get(f"{who}UID") or "", f"spec.{who}UID")
    seconds = spec.get("maxExpirationSeconds")
    longest = _LONGEST_OWN if signers.is_kubernetes_signer(signer) else _LONGEST_OTHER
    if seconds is None:
        return [*found, errors.required("spec.maxExpirationSeconds", "must be set")]
    if not _HOUR <= seconds <= longest:
        text = f"must be in the range [{_HOUR}, {longest}]"
        found.append(errors.invalid("spec.maxExpirationSeconds", seconds, text))
    return found + _stub(spec.get("stubPKCS10Request") or "")


def _uid(uid: str, path: str) -> Errors:
    if not uid:
        return [errors.invalid(path, uid, "must not be empty")]
    return [errors.too_long(path, _LONGEST_UID)] if len(uid.encode()) > _LONGEST_UID else []


def _stub(encoded: str) -> Errors:
    """A request that shows the key, and that whoever asks has it."""
    path, der = "spec.stubPKCS10Request", pem.decoded(encoded)
    if not der:
        return [errors.required(path)]
    if len(der) > _LONGEST_STUB:
        return [errors.too_long(path, _LONGEST_STUB)]
    request = pem.request_der(der)
    if request is None:
        return [errors.invalid(path, encoded, "must be a valid PKCS#10 request")]
    if fault := _key_fault(request.public_key()):
        return [errors.invalid(path, *fault)]
    return [] if pem.is_signed(request) else [errors.invalid(path, encoded, "signature on request is not valid")]


def _key_fault(key: PublicKeyTypes) -> tuple[str, str] | None:
    """What it is, and what it should be."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ed25519.Ed25519PublicKey):
        return None
    if isinstance(key, ec.EllipticCurvePublicKey):
        known = isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1 | ec.SECP521R1)
        text = "elliptic public keys must use curve P256 or P384"
        return None if known else (f"curve {key.curve.name}", text)
    if isinstance(key, rsa.RSAPublicKey):
        text = "RSA keys must have modulus size 3072 or 4096"
        return None if key.key_size in (3072, 4096) else (f"{key.key_size}-bit modulus", text)
    return "", "unknown public key type; supported types are Ed25519, ECDSA, and RSA"


_SPEC: go_values.Layout = {
    "signerName": ("SignerName", "", None),
    "podName": ("PodName", "", None),
    "podUID": ("PodUID", "", None),
    "serviceAccountName": ("ServiceAccountName", "", None),
    "serviceAccountUID": ("ServiceAccountUID", "", None),
    "nodeName": ("NodeName", "", None),
    "nodeUID": ("NodeUID", "", None),
    "maxExpirationSeconds": ("MaxExpirationSeconds", None, None),
    "pkixPublicKey": ("PKIXPublicKey", None, None),
    "proofOfPossession": ("ProofOfPossession", None, None),
    "stubPKCS10Request": ("StubPKCS10Request", None, None),
    "unverifiedUserAnnotations": ("UnverifiedUserAnnotations", None, None),
}


def _validate_update(new: Obj, old: Obj) -> Errors:
    now, before = new.get("spec") or {}, old.get("spec") or {}
    return [] if now == before else [errors.invalid("spec", go_values.struct(now, _SPEC), common.IMMUTABLE)]


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
        default=_default,
        validate_update=_validate_update,
        validate_status=issuing.validate_status,
        status_metadata=IDENTITY,
        ratchets=True,
        demanding=True,
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
