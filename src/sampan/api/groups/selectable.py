"""Field selectors of kinds that simply read paths of the object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sampan.api.types import Obj


def text(value: Any) -> str:
    """The form in which selectors compare values: Go's formatting of strings, booleans and numbers."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def at(obj: Obj, path: tuple[str, ...]) -> Any:
    value: Any = obj
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def fields_at(*names: str, zero: str = "") -> Callable[[Obj], Mapping[str, str]]:
    """Reads dotted paths; ``zero`` is what an absent value compares as (``0``, ``false``)."""
    paths = tuple((name, tuple(name.split("."))) for name in names)

    def read(obj: Obj) -> Mapping[str, str]:
        return {name: text(at(obj, path)) or zero for name, path in paths}

    return read
