"""Reads objects that may be damaged: what is not of its type counts as absent. Pure; never raises.

For whoever sees objects before validation (admission) or as a store holds them, whoever wrote them: policy, the meaning
of pods and nodes (``api/pods``, ``api/nodes``), and through these every component. A damaged object costs its own
effect and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sampan.api.clock import parse_time
from sampan.api.types import Obj


def part(holder: Any, key: str) -> Obj:
    """The object below ``key``; an unattached empty one when there is none."""
    value = holder.get(key) if isinstance(holder, dict) else None
    return value if isinstance(value, dict) else {}


def parts(holder: Any, key: str) -> Sequence[Obj]:
    """The objects in the list below ``key``. To be read only: it may be the list itself."""
    value = holder.get(key) if isinstance(holder, dict) else None
    if not value or not isinstance(value, list):
        return ()
    for item in value:
        if not isinstance(item, dict):
            return [item for item in value if isinstance(item, dict)]
    return value


def text(holder: Any, key: str) -> str:
    """The text below ``key``; "" when there is none."""
    value = holder.get(key) if isinstance(holder, dict) else None
    return value if isinstance(value, str) else ""


def texts(holder: Any, key: str) -> Iterator[str]:
    """The texts in the list below ``key``."""
    value = holder.get(key) if isinstance(holder, dict) else None
    if isinstance(value, list):
        for item in value:
            if isinstance(item, str):
                yield item


def text_map(holder: Any, key: str) -> Mapping[str, str]:
    """The map of texts below ``key`` (labels, annotations); entries of another type are left out."""
    found = part(holder, key)
    for value in found.values():
        if type(value) is not str:
            return {name: value for name, value in found.items() if type(value) is str}
    return found


def whole(holder: Any, key: str) -> int | None:
    """The whole number below ``key``; a boolean is none."""
    value = holder.get(key) if isinstance(holder, dict) else None
    return value if type(value) is int else None


def flag(holder: Any, key: str) -> bool:
    """Whether ``true`` stands below ``key``."""
    return isinstance(holder, dict) and holder.get(key) is True


def moment(holder: Any, key: str) -> datetime | None:
    """The time below ``key``."""
    found = text(holder, key)
    try:
        return parse_time(found) if found else None
    except ValueError:
        return None
