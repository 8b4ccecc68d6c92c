"""Which fields whoever makes an object owns: all that it has. Objects of one template are walked once.

Pods come by the hundred with one and the same spec, the largest part of them. What they own is kept by their kind's
shape, the JSON of the spec and what there is besides, which is looked at every time, for metadata differ.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from sampan.api.apply.comparing import compare
from sampan.api.apply.interned import SETS
from sampan.api.apply.sets import Fields
from sampan.api.apply.shapes import Shape
from sampan.api.apply.updating import UNOWNED
from sampan.api.types import Obj

MOST: Final = 256
LONGEST_BYTES: Final = 8 * 1024
#: a shorter spec is walked as fast
_SHORTEST_KEYS: Final = 3

_made: dict[tuple[Shape, bytes], Fields] = {}


def made(shape: Shape, zero: Obj, obj: Obj, reset: Fields) -> Fields:
    """In upstream's order. ``zero``: an object of the kind with nothing in it; ``reset``: what nobody can own."""
    spec = obj.get("spec")
    if type(spec) is not dict or len(spec) < _SHORTEST_KEYS:
        return _all(shape, zero, obj, reset)
    besides = compare(shape, zero, {**obj, "spec": zero.get("spec")})
    try:
        text = orjson.dumps((spec, besides.added, besides.modified, reset))
    except orjson.JSONEncodeError:  # an in-process client's own: nothing that could be stored
        return _all(shape, zero, obj, reset)
    found = _made.get((shape, text))
    if found is None:
        found = _all(shape, zero, obj, reset)
        if len(text) <= LONGEST_BYTES:
            if len(_made) >= MOST:
                _made.clear()
            # orjson's bytes keep the buffer that they were written to
            _made[shape, bytes(memoryview(text))] = found
    return found


def forget() -> None:
    _made.clear()


def _all(shape: Shape, zero: Any, obj: Obj, reset: Fields) -> Fields:
    return SETS.written(compare(shape, zero, obj), reset, UNOWNED)
