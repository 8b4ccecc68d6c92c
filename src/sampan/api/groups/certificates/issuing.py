"""What a signer may say of a PodCertificateRequest, once: issued, denied or failed.

Spec: certificates/validation ``ValidatePodCertificateRequestStatusUpdate``. Pure: that the certificate begins about now
is for who has a clock to see.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sampan.api import errors
from sampan.api.errors import FieldError
from sampan.api.types import Obj
from sampan.api.validation import pem
from sampan.api.validation.common import Errors
from sampan.api.validation.conditions import conditions as validate_conditions

if TYPE_CHECKING:
    from cryptography import x509

_OUTCOMES = ("Issued", "Denied", "Failed")
_CHAIN = "status.certificateChain"
_LONGEST_CHAIN = 100 * 1024
_MARGIN = timedelta(minutes=10)
_PRESENT = "must be present and consistent with the issued certificate"


def validate_status(new: Obj, old: Obj) -> Errors:
    status, before = new.get("status") or {}, old.get("status") or {}
    conditions = status.get("conditions") or []
    if found := _outcomes(conditions) + validate_conditions(conditions, "status.conditions"):
        return found
    if _outcome(before):
        text = "immutable after PodCertificateRequest is issued, denied, or failed"
        return _unchanged(status, before, text)
    match _outcome(status):
        case "Issued":
            fault = _chain_fault(new, status)
            return _times(status) if fault is None else [fault]
        case "":
            text = 'status is immutable unless transitioning to "Issued", "Denied", or "Failed"'
            return _unchanged(status, before, text)
        case _:
            text = "non-condition status fields must be empty when denying or failing the PodCertificateRequest"
            return _unchanged(status, {"conditions": conditions}, text)


def _unchanged(status: Obj, wanted: Obj, text: str) -> Errors:
    present, expected = ({key: value for key, value in each.items() if value} for each in (status, wanted))
    return [] if present == expected else [FieldError("FieldValueInvalid", "status", f"Invalid value: {text}")]


def _outcome(status: Obj) -> str:
    """ "" as long as there is none."""
    said = [each.get("type") for each in status.get("conditions") or () if each.get("status") == "True"]
    return next((kind for kind in _OUTCOMES if kind in said), "")


def _outcomes(conditions: list[Obj]) -> Errors:
    found: Errors = []
    known = 0
    for index, condition in enumerate(conditions):
        path, kind = f"status.conditions.[{index}]", condition.get("type") or ""
        if kind not in _OUTCOMES:
            found.append(errors.not_supported(f"{path}.type", kind, _OUTCOMES))
            continue
        known += 1
        if known > 1:
            text = 'There may be at most one condition with type "Issued", "Denied", or "Failed"'
            found.append(errors.invalid(f"{path}.type", kind, text))
        if condition.get("status") != "True":
            found.append(errors.not_supported(f"{path}.status", condition.get("status") or "", ("True",)))
    return found


def _chain_fault(obj: Obj, status: Obj) -> FieldError | None:
    """Of the chain: a leaf for the key that was shown, and certificates after it."""
    chain = status.get("certificateChain") or ""
    if len(chain.encode()) > _LONGEST_CHAIN:
        return errors.too_long(_CHAIN, _LONGEST_CHAIN)
    found = list(pem.blocks(chain.encode()))
    if not found:
        return errors.invalid(_CHAIN, chain, "issued certificate chain must contain at least one certificate")
    if found[0].kind != "CERTIFICATE":
        text = "issued certificate chain must consist entirely of CERTIFICATE PEM blocks"
        return errors.invalid(_CHAIN, chain, text)
    leaf = pem.certificate(found[0].der)
    if leaf is None:
        return errors.invalid(_CHAIN, chain, "leaf certificate does not parse as valid X.509")
    if not _is_for(leaf, obj):
        return errors.invalid(_CHAIN, chain, "leaf certificate was not issued to the requested public key")
    return _time_fault(obj, status, leaf) or _rest_fault(chain, found[1:])


def _rest_fault(chain: str, rest: list[pem.Block]) -> FieldError | None:
    for block in rest:
        if block.kind != "CERTIFICATE":
            text = "issued certificate chain must consist entirely of CERTFICATE PEM blocks"
            return errors.invalid(_CHAIN, chain, text)
        if pem.certificate(block.der) is None:
            return errors.invalid(_CHAIN, chain, "intermediate certificate does not parse as valid X.509")
    return None


def _is_for(leaf: x509.Certificate, obj: Obj) -> bool:
    request = pem.request_der(pem.decoded((obj.get("spec") or {}).get("stubPKCS10Request")))
    return request is not None and pem.key_bytes(leaf.public_key()) == pem.key_bytes(request.public_key())


def _time_fault(obj: Obj, status: Obj, leaf: x509.Certificate) -> FieldError | None:
    """The status repeats the leaf's life; who uses it begins to renew it within."""
    begins, ends, renewed = (_time(status.get(key)) for key in ("notBefore", "notAfter", "beginRefreshAt"))
    if begins is None or ends is None or renewed is None:
        return None  # ``_times`` names them
    if begins != leaf.not_valid_before_utc:
        text = "must be set to the NotBefore time encoded in the leaf certificate"
        return errors.invalid("status.notBefore", status["notBefore"], text)
    if ends != leaf.not_valid_after_utc:
        text = "must be set to the NotAfter time encoded in the leaf certificate"
        return errors.invalid("status.notAfter", status["notAfter"], text)
    life = ends - begins
    most = (obj.get("spec") or {}).get("maxExpirationSeconds") or 0
    if life < timedelta(hours=1):
        return errors.invalid(_CHAIN, _seconds(life), "leaf certificate lifetime must be >= 1 hour")
    if life > timedelta(seconds=most):
        text = f"leaf certificate lifetime must be <= spec.maxExpirationSeconds ({most})"
        return errors.invalid(_CHAIN, _seconds(life), text)
    if renewed < begins + _MARGIN:
        text = "must be at least 10 minutes after status.notBefore"
        return errors.invalid("status.beginRefreshAt", status["beginRefreshAt"], text)
    if renewed > ends - _MARGIN:
        text = "must be at least 10 minutes before status.notAfter"
        return errors.invalid("status.beginRefreshAt", status["beginRefreshAt"], text)
    return None


def _times(status: Obj) -> Errors:
    missing = [key for key in ("notBefore", "notAfter", "beginRefreshAt") if _time(status.get(key)) is None]
    refresh = "must be present and in the range [notbefore+10min, notafter-10min]"
    return [errors.required(f"status.{key}", refresh if key == "beginRefreshAt" else _PRESENT) for key in missing]


def _seconds(life: timedelta) -> int:
    """Go's Duration in JSON: nanoseconds."""
    return int(life.total_seconds()) * 10**9


def _time(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
