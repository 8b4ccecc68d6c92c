"""How a definition says that its versions are converted: not at all, or by a webhook."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from sampan.api import errors, names
from sampan.api.errors import FieldError
from sampan.api.validation import common

Errors = list[FieldError]

_REVIEWS: Final = ("v1", "v1beta1")
_PATH: Final = "spec.conversion"
_CLIENT: Final = f"{_PATH}.webhookClientConfig"
_FORM: Final = "; desired format: https://host[/path]"


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
        found += _client(client)
        bundle, earlier = client.get("caBundle"), (before.get("clientConfig") or {}).get("caBundle")
        if bundle and established and not (earlier and _bundle(earlier)):
            found += _bundle(bundle)
    known = before.get("conversionReviewVersions") or []
    lenient = updates and bool(known) and not set(known) & set(_REVIEWS)
    return found + _review_versions(reviews, must_know_one=not lenient)


def _client(client: Mapping[str, Any]) -> Errors:
    url, service = client.get("url"), client.get("service")
    if (url is None) == (service is None):
        return [errors.required(_CLIENT, "exactly one of url or service is required")]
    return _url(url) if url is not None else _service(service or {})


def _url(url: str) -> Errors:
    path = f"{_CLIENT}.url"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        return [errors.required(path, f"url must be a valid URL: {error}{_FORM}")]
    found: Errors = []
    if parts.scheme != "https":
        found.append(errors.invalid(path, parts.scheme, f"'https' is the only allowed URL scheme{_FORM}"))
    user, _, host = parts.netloc.rpartition("@")
    if not host:
        found.append(errors.invalid(path, host, f"host must be provided{_FORM}"))
    for value, text in (
        (user, "user information is not permitted in the URL"),
        (parts.fragment, "fragments are not permitted in the URL"),
        (parts.query, "query parameters are not permitted in the URL"),
    ):
        if value:
            found.append(errors.invalid(path, value, text))
    return found


def _service(service: Mapping[str, Any]) -> Errors:
    path = f"{_CLIENT}.service"
    found: Errors = []
    for key in ("name", "namespace"):
        if not service.get(key):
            found.append(errors.required(f"{path}.{key}", f"service {key} is required"))
    port = service.get("port", 443)
    if problems := names.port_number(port):
        found.append(errors.invalid(f"{path}.port", port, f"port is not valid: {', '.join(problems)}"))
    return found + _url_path(service.get("path") or "", f"{path}.path")


def _url_path(text: str, path: str) -> Errors:
    if text in ("", "/"):
        return []
    if text == "//":
        return [errors.invalid(path, text, "segment[0] may not be empty")]
    found: Errors = []
    if not text.startswith("/"):
        found.append(errors.invalid(path, text, "must start with a '/'"))
    for index, step in enumerate(text[1:].removesuffix("/").split("/")):
        problems = names.dns1123_subdomain(step) if step else ["may not be empty"]
        separator = ": " if step else " "
        found += [errors.invalid(path, text, f"segment[{index}]{separator}{problem}") for problem in problems]
    return found


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
