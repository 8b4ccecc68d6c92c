"""Whether a configuration can be applied: known fields, the right types, no list item twice.

Source: structured-merge-diff ``typed/validate.go``, whose words these are.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from sampan.api.apply import elements
from sampan.api.apply.shapes import Deduced, Keyed, Leaf, Shape, Values

#: faults that are told
_MOST: Final = 50
#: of a value that does not fit
_SHOWN: Final = 256


#: the steps to a value, the last one first: it is written for faults alone, for it may be long
_Path = tuple["_Path", str] | None


def _written(path: _Path) -> str:
    steps: list[str] = []
    while path is not None:
        path, step = path
        steps.append(step)
    return "".join(reversed(steps))


class Faults:
    def __init__(self) -> None:
        self.found: list[str] = []

    @property
    def full(self) -> bool:
        return len(self.found) >= _MOST

    def add(self, path: _Path, text: str) -> None:
        if not self.full:
            self.found.append(f"{_written(path)}: {text}" if path else text)

    def text(self) -> str:
        return self.found[0] if len(self.found) == 1 else "\n".join(["errors:", *(f"  {one}" for one in self.found)])


def check(shape: Shape, config: Any) -> str | None:
    """What is wrong with the configuration; None: nothing."""
    faults = Faults()
    _check(shape, config, None, faults)
    return faults.text() if faults.found else None


def _check(shape: Shape, value: Any, path: _Path, faults: Faults) -> None:
    if value is None or faults.full:
        return
    if isinstance(shape, Leaf):
        _leaf(shape, value, path, faults)
    elif isinstance(shape, Keyed | Values):
        if isinstance(value, list):
            _items(shape, value, path, faults)
        else:
            faults.add(path, f"expected list, got {_shown(value)}")
    elif isinstance(value, dict):
        for name, item in value.items():
            found = shape.field(name)
            if found is None:
                faults.add((path, f".{name}"), "field not declared in schema")
            else:
                _check(found[1], item, (path, f".{name}"), faults)
    elif not isinstance(shape, Deduced):
        faults.add(path, f"expected map, got {_shown(value)}")


_FITS: Final = {
    "string": lambda value: isinstance(value, str),
    "numeric": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "list": lambda value: isinstance(value, list),
    "map": lambda value: isinstance(value, dict),
}
_WORDS: Final = {"numeric": "numeric (int or float)"}


def _leaf(shape: Leaf, value: Any, path: _Path, faults: Faults) -> None:
    fits = _FITS.get(shape.expected)
    if fits is not None and not fits(value):
        faults.add(path, f"expected {_WORDS.get(shape.expected, shape.expected)}, got {_shown(value)}")


def _items(shape: Keyed | Values, value: list[Any], path: _Path, faults: Faults) -> None:
    seen: set[str] = set()
    for index, item in enumerate(value):
        element = shape.element(item)
        if element is None:
            faults.add(path, f"element {index}: {_no_element(shape, item)}")
            continue
        shown = elements.readable(element)
        if element in seen:
            faults.add(path, f"duplicate entries for key {shown}")
        seen.add(element)
        _check(shape.items, item, (path, shown), faults)


def _no_element(shape: Keyed | Values, item: Any) -> str:
    if isinstance(shape, Values):
        if item is None:
            return "associative list without keys has an element that's an explicit null"
        if isinstance(item, dict):
            return "associative list without keys has an element that's a map type"
        return "not supported: associative list with lists as elements"
    if item is None:
        return "associative list with keys may not have a null element"
    if not isinstance(item, dict):
        return "associative list with keys may not have non-map elements"
    keys = " ".join(f'"{name}"' for name in shape.keys)
    return (
        f"associative list with keys has an element that omits all key fields [{keys}] "
        "(and doesn't have default values for any key fields)"
    )


def _shown(value: Any) -> str:
    return "&value.valueUnstructured{Value:" + _go_syntax(value)[:_SHOWN] + "}"


def _go_syntax(value: Any) -> str:
    if isinstance(value, dict):
        return (
            "map[string]interface {}{" + ", ".join(_some(f"{_json(k)}:{_go_syntax(v)}" for k, v in value.items())) + "}"
        )
    if isinstance(value, list):
        return "[]interface {}{" + ", ".join(_some(_go_syntax(item) for item in value)) + "}"
    return "interface {}(nil)" if value is None else _json(value)


def _some(parts: Any) -> list[str]:
    """No more of them than are shown."""
    return [part for _, part in zip(range(_SHOWN), parts, strict=False)]


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
