"""How a webhook is called: ``clientConfig`` of admission webhooks and of conversions (apiserver util/webhook)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from sampan.api import errors, names
from sampan.api.validation.common import Errors

_FORM: Final = "; desired format: https://host[/path]"


def client_config(client: Mapping[str, Any], path: str) -> Errors:
    """``path``: where the clientConfig is."""
    url, service = client.get("url"), client.get("service")
    if (url is None) == (service is None):
        return [errors.required(path, "exactly one of url or service is required")]
    return _url(url, f"{path}.url") if url is not None else _service(service or {}, f"{path}.service")


def _url(url: str, path: str) -> Errors:
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


def _service(service: Mapping[str, Any], path: str) -> Errors:
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
