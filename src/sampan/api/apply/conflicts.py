"""The 409 of an apply that would take fields from others (apimachinery ``managedfields/internal/conflict.go``)."""

from __future__ import annotations

from typing import Final

from sampan.api import errors
from sampan.api.apply import sets
from sampan.api.apply.managers import Identity
from sampan.api.apply.sets import Fields

#: conflicts that are told; the rest is counted
_MOST: Final = 500


def conflict_error(found: dict[Identity, Fields]) -> errors.Conflict:
    conflicts = [(who, path) for who in sorted(found) for path in sets.paths(found[who])]
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {who.readable()}", "field": path}
        for who, path in conflicts[:_MOST]
    ]
    if len(conflicts) == 1:
        who, path = conflicts[0]
        message = f"Apply failed with 1 conflict: conflict with {who.readable()}: {path}"
    else:
        lines: list[str] = []
        last: Identity | None = None
        for who, path in conflicts[:_MOST]:
            if who != last:
                lines.append(f"conflicts with {who.readable()}:")
                last = who
            lines.append(f"- {path}")
        message = f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(lines)
    return errors.Conflict(message, details={"causes": causes})
