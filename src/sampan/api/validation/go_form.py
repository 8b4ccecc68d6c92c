"""How upstream's refusals show a value that is a whole struct: its internal Go form, which has no JSON names. Pure.

A refusal of one field shows what a client sent; only ``field is immutable`` and the like show more than a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Go's name of each field, in order -> (its JSON name, what an absent one shows, the same of what it holds)
Shape = Mapping[str, tuple[str, Any, "Shape | None"]]


def shown(value: Any, shape: Shape) -> Any:
    """A struct, or a list of them; an absent one is null."""
    if value is None:
        return None
    if isinstance(value, list):
        return [shown(each, shape) for each in value]
    found: dict[str, Any] = {}
    for name, (key, zero, below) in shape.items():
        held = value.get(key)
        if held is None:
            held = zero
        found[name] = shown(held, below) if below is not None else held
    return found
