"""Fields and elements of values, and what is said where there are none."""

from __future__ import annotations

from typing import Any

from sampan.cel.errors import EvaluationError, no_such_key, no_such_overload
from sampan.cel.values import NONE, Fields, Optional, UInt, key_of, type_name


def select(value: Any, key: str) -> Any:
    """``value.key``. Raises EvaluationError."""
    kind = type(value)
    if kind is dict:
        if key in value:
            return value[key]
        raise no_such_key(key)
    if kind is Optional:
        return optional_field(value, key)
    if isinstance(value, Fields):
        return value.field(key)
    raise no_such_overload()


def has_field(value: Any, key: str) -> bool:
    if type(value) is dict:
        return key in value
    if type(value) is Optional:
        return value.present and has_field(value.value, key)
    if isinstance(value, Fields):
        return value.has(key)
    raise no_such_overload()


def optional_field(value: Any, key: str) -> Optional:
    """``value.?key``."""
    if type(value) is Optional:
        if not value.present:
            return NONE
        value = value.value
    return Optional(select(value, key)) if has_field(value, key) else NONE


def index(value: Any, key: Any) -> Any:
    """``value[key]``. Raises EvaluationError."""
    if type(value) is Optional:
        return optional_index(value, key)
    found = _element(value, key)
    if found is not None:
        return found[0]
    if isinstance(value, list):
        raise EvaluationError(f"index out of bounds: {int(key)}")
    raise no_such_key(key if not isinstance(key, bool) else str(key).lower())


def optional_index(value: Any, key: Any) -> Optional:
    """``value[?key]``."""
    if type(value) is Optional:
        if not value.present:
            return NONE
        value = value.value
    found = _element(value, key)
    return NONE if found is None else Optional(found[0])


def _element(value: Any, key: Any) -> tuple[Any] | None:
    """The element in a tuple; None: there is none. Raises EvaluationError for keys that no element can have."""
    if type(value) is dict:
        wanted = key_of(key)
        try:
            return (value[wanted],) if wanted in value else None
        except TypeError:  # lists and maps cannot be keys
            raise EvaluationError(f"unsupported key type: {type_name(key)}") from None
    if isinstance(value, list):
        whole = isinstance(key, int) or (isinstance(key, float) and key.is_integer())
        if not whole or isinstance(key, bool):
            raise EvaluationError(f"unsupported index type '{type_name(key)}' in list")
        return (value[int(key)],) if 0 <= key < len(value) else None
    if isinstance(value, Fields) and isinstance(key, str):
        return value.element(key)
    raise no_such_overload()


def map_key(value: Any) -> Any:
    """Raises EvaluationError for what cannot be one."""
    kind = type(value)
    if kind is str or kind is int or kind is UInt:
        return value
    if kind is bool:
        return key_of(value)
    raise EvaluationError("unsupported key type")
