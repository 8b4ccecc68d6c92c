"""How a definition says that its versions are converted: not at all, or by a webhook."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

from sampan.api import errors, names
from sampan.api.errors import FieldError
from sampan.api.validation import common
from sampan.api.validation.clientconfig import client_config

Errors = list[FieldError]

_REVIEWS: Final = ("v1", "v1beta1")
_PATH: Final = "spec.conversion"
_CLIENT: Final = f"{_PATH}.webhookClientConfig"


def validate(
    conversion: Mapping[str, Any] | None, old: Mapping[str, Any] | None, updates: bool, *, established: bool
) -> Errors:
    """``old``: of the definition that is updated. A bundle of certificates that is none is let through while nobody
    relies on it, or where it was none before."""
    if not conversion:
        return []
    strategy = conversion.get("strategy")
    found = common.one_of(strategy, ("None", "Webhook"), f"{_PATH}.strategy", must=True)
    webhook = conversion.get("webhook") or {}
    client, reviews = webhook.get("clientConfig"), webhook.get("conversionReviewVersions") or []
    if strategy != "Webhook":
        text = "should not be set when strategy is not set to Webhook"
        if client is not None:
            found.append(errors.forbidden(_CLIENT, text))
        if reviews:
            found.append(errors.forbidden(f"{_PATH}.conversionReviewVersions", text))
        return found
    before = (old or {}).get("webhook") or {}
    if client is None:
        found.append(errors.required(_CLIENT, "required when strategy is set to Webhook"))
    else:
        found += client_config(client, _CLIENT)
        bundle, earlier = client.get("caBundle"), (before.get("clientConfig") or {}).get("caBundle")
        if bundle and established and not (earlier and _bundle(earlier)):
            found += _bundle(bundle)
    known = before.get("conversionReviewVersions") or []
    lenient = updates and bool(known) and not set(known) & set(_REVIEWS)
    return found + _review_versions(reviews, must_know_one=not lenient)


def _bundle(text: str) -> Errors:
    """A base64 text of PEM certificates."""
    from cryptography import x509  # a fifth of a second, for the few definitions that convert

    try:
        x509.load_pem_x509_certificates(base64.b64decode(text))
    except (ValueError, binascii.Error):
        detail = "unable to load root certificates: unable to parse bytes as PEM block"
        return [errors.invalid(f"{_CLIENT}.caBundle", text, detail)]
    return []


def _review_versions(versions: list[str], *, must_know_one: bool) -> Errors:
    path = f"{_PATH}.conversionReviewVersions"
    if not versions:
        return [errors.required(path)]
    found: Errors = []
    for index, version in enumerate(versions):
        where = f"{path}[{index}]"
        if version in versions[:index]:
            found.append(errors.invalid(where, version, "duplicate version"))
        else:
            found += [errors.invalid(where, version, problem) for problem in names.dns1035_label(version)]
    if must_know_one and not set(versions) & set(_REVIEWS):
        found.append(errors.invalid(path, versions, f"must include at least one of {', '.join(_REVIEWS)}"))
    return found
