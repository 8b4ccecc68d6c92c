"""Parameters that classes hand to drivers. Spec: storage/validation ``validateParameters``."""

from __future__ import annotations

from collections.abc import Mapping

from sampan.api import errors
from sampan.api.validation.common import Errors

_MOST = 512
MOST_BYTES = 256 * 1024


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
