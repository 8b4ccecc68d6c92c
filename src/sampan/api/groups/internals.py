"""Values in faults as the reference shows them: the JSON of its internal types, whose fields have no JSON names.

A shape lists the Go fields of such a type in order, each with what stands for it when it is not set: a zero value, or
``Pointer`` or ``Listed`` of another shape (nothing is ``null`` then). Only faults that name a whole struct need this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sampan.api.types import Obj

Shape = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pointer:
    shape: Shape


@dataclass(frozen=True, slots=True)
class Listed:
    shape: Shape


#: what is left as it is: numbers and texts behind pointers, values whose types have JSON names
PLAIN: Final = None


def shown(value: Obj, shape: Shape) -> Obj:
    """``value``, of the versioned type, with Go's names and every field."""
    return {name: _field(value.get(_json_name(name)), kind) for name, kind in shape.items()}


_ACRONYMS: Final = {"UID": "uid", "APIVersion": "apiVersion"}


def _json_name(name: str) -> str:
    return _ACRONYMS.get(name) or name[:1].lower() + name[1:]


def _field(value: Any, kind: Any) -> Any:
    match kind:
        case Pointer(shape):
            return None if value is None else shown(value, shape)
        case Listed(shape):
            return None if value is None else [shown(item, shape) for item in value]
        case _:
            return kind if value is None else value
