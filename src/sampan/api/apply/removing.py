"""An object without the fields and items of a set.

Source: structured-merge-diff ``typed/remove.go``. What is left empty goes, too. Results share what is below with the
argument, which is not changed.
"""

from __future__ import annotations

from typing import Any

from sampan.api.apply import sets
from sampan.api.apply.sets import Fields
from sampan.api.apply.shapes import Keyed, Leaf, Shape, Values


def remove(shape: Shape, value: Any, gone: Fields) -> Any:
    """The rest; None: nothing is left. ``gone`` holds elements below the value."""
    if isinstance(shape, Leaf):
        return value
    if isinstance(shape, Keyed | Values):
        return _items(shape, value, gone) if isinstance(value, list) else value
    return _fields(shape, value, gone) if isinstance(value, dict) else value


def _fields(shape: Shape, value: dict[str, Any], gone: Fields) -> Any:
    result: dict[str, Any] = {}
    for name, item in value.items():
        found = shape.field(name)
        below = gone.get(f"f:{name}") if found is not None else None
        if found is None or below is None:
            result[name] = item
        elif not sets.is_member(below):
            rest = remove(found[1], item, below)
            if rest is not None or item is None:
                result[name] = rest
    return result or None


def _items(shape: Keyed | Values, value: list[Any], gone: Fields) -> Any:
    inner = shape.items
    result: list[Any] = []
    for item in value:
        element = shape.element(item)
        below = gone.get(element) if element is not None else None
        if below is None:
            result.append(item)
        elif not sets.is_member(below):
            result.append(remove(inner, item, below))
    return result or None
