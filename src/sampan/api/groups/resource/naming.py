"""Names of devices, pools, attributes and requests. Spec: resource/validation (v1.37)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from sampan.api import errors, names
from sampan.api.validation import common, volumes
from sampan.api.validation.common import Errors

_LONGEST_POOL = 253
_LONGEST_ID = 32
_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_ID_TEXT = (
    "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters "
    "or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')"
)
_UID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)

driver = volumes.csi_driver


def label(name: str, path: str) -> Errors:
    """Of a device, a request, a counter."""
    return common.named(names.dns1123_label, name, path)


def pool(name: str, path: str) -> Errors:
    if not name:
        return [errors.required(path)]
    found: Errors = [errors.too_long(path, _LONGEST_POOL)] if len(name.encode()) > _LONGEST_POOL else []
    for part in name.split("/"):
        found += common.named(names.dns1123_subdomain, part, path)
    return found


def device_class(name: str, path: str) -> Errors:
    return common.named(names.dns1123_subdomain, name, path) if name else [errors.required(path)]


def _identifier(name: str, path: str) -> Errors:
    found: Errors = [errors.too_long(path, _LONGEST_ID)] if len(name) > _LONGEST_ID else []
    return found if _ID.fullmatch(name) else [*found, errors.invalid(path, name, _ID_TEXT)]


def qualified(name: str, path: str) -> Errors:
    """Of an attribute or capacity: an identifier, of a domain or of the driver's. With two slashes anything goes."""
    parts = name.split("/")
    if len(parts) == 1:
        return _identifier(name, path)
    if len(parts) > 2:
        return []
    found = driver(parts[0], path) if parts[0] else [errors.invalid(path, "", "the domain must not be empty")]
    return found + (
        _identifier(parts[1], path) if parts[1] else [errors.invalid(path, "", "the name must not be empty")]
    )


def fully_qualified(name: str, path: str) -> Errors:
    found = qualified(name, path)
    if "/" not in name:
        text = "a fully qualified name must be a domain and a name separated by a slash"
        found.append(errors.invalid(path, name, text))
    return found


def share(uid: str, path: str) -> Errors:
    if not _UID.fullmatch(uid):
        fault = "invalid UUID length: " + str(len(uid)) if len(uid) not in (32, 36, 38, 45) else "invalid UUID format"
        return [errors.invalid(path, uid, f"error validating uid: {fault}")]
    if uid != uid.lower():
        text = (
            "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase "
            "hexadecimal characters"
        )
        return [errors.invalid(path, uid, text)]
    return []


def each(
    items: Sequence[Any],
    most: int | None,
    path: str,
    check: Callable[[Any, str], Errors],
    key: Callable[[Any], Any] | None = None,
) -> Errors:
    """All of a list that is not too long; ``key``: each once by it."""
    if most is not None and len(items) > most:
        return [errors.too_many(path, len(items), most)]
    found: Errors = []
    for index, item in enumerate(items):
        found += check(item, f"{path}[{index}]")
    if key is None:
        return found
    seen: set[Any] = set()
    for index, item in enumerate(items):
        told = key(item)
        if told in seen:
            found.append(errors.duplicate(f"{path}[{index}]", told))
        seen.add(told)
    return found
