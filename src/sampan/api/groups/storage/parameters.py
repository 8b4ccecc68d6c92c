"""What classes hand to drivers, and the names of those.

Spec: storage/validation ``validateParameters``, ``validateProvisioner``.
"""

from __future__ import annotations

from collections.abc import Mapping

from sampan.api import errors, names
from sampan.api.validation.common import Errors

_MOST = 512
MOST_BYTES = 256 * 1024


def provisioner(name: str, path: str) -> Errors:
    """A qualified name, in any case."""
    if not name:
        return [errors.required(path)]
    return [errors.invalid(path, name.lower(), text) for text in names.qualified_name(name.lower())]


def size(values: Mapping[str, str]) -> int:
    """In bytes, keys and values."""
    return sum(len(key.encode()) + len(value.encode()) for key, value in values.items())


def validate(values: Mapping[str, str] | None, path: str, *, needed: bool = False) -> Errors:
    values = values or {}
    if len(values) > _MOST:
        return [errors.too_long(path, _MOST)]
    found: Errors = [errors.invalid(path, "", "field can not be empty.")] if "" in values else []
    if size(values) > MOST_BYTES:
        found.append(errors.too_long(path, MOST_BYTES))
    if needed and not values:
        found.append(errors.required(path, "must contain at least one key/value pair"))
    return found
