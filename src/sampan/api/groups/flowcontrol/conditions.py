"""The status of both kinds: conditions, each type once."""

from __future__ import annotations

from sampan.api import errors
from sampan.api.types import Obj
from sampan.api.validation.common import Errors


def validate_status(new: Obj, old: Obj) -> Errors:
    found: Errors = []
    seen: set[str] = set()
    for index, condition in enumerate((new.get("status") or {}).get("conditions") or ()):
        path, kind = f"status.conditions[{index}].type", condition.get("type") or ""
        if kind in seen:
            found.append(errors.duplicate(path, kind))
        seen.add(kind)
        if not kind:
            found.append(errors.required(path, "must not be empty"))
    return found
