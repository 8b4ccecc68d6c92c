"""Conditions of the common form (metav1.Condition), as the API judges those that it knows as such.

Spec: metav1/validation ``ValidateConditions``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sampan.api import errors, names
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

_REASON = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?")
_REASON_TEXT = (
    "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric "
    "characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or "
    "'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is "
    "'[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')"
)
_LONGEST_REASON, _LONGEST_MESSAGE = 1024, 32 * 1024
_STATUSES = ("False", "True", "Unknown")


def conditions(listed: Sequence[Obj], path: str) -> Errors:
    """Each type once."""
    found: Errors = []
    first: dict[str, int] = {}
    for index, condition in enumerate(listed):
        kind = condition.get("type") or ""
        if kind in first:
            found.append(errors.duplicate(f"{path}[{index}].type", kind))
        first.setdefault(kind, index)
        found += _condition(condition, f"{path}[{index}]")
    return found


def shown(listed: Sequence[Obj]) -> list[Obj]:
    """As refusals show them: in the order of Go's fields, with those that are always written."""
    return [{key: each.get(key, "") for key in _FIELDS if key in each or key not in _OPTIONAL} for each in listed]


_OPTIONAL = ("observedGeneration",)
_FIELDS = ("type", "status", "observedGeneration", "lastTransitionTime", "reason", "message")


def _condition(condition: Obj, path: str) -> Errors:
    found = common.named(names.qualified_name, condition.get("type") or "", f"{path}.type")
    status = condition.get("status") or ""
    if status not in _STATUSES:
        found.append(errors.not_supported(f"{path}.status", status, _STATUSES))
    generation = condition.get("observedGeneration") or 0
    if generation < 0:
        found.append(errors.invalid(f"{path}.observedGeneration", generation, "must be greater than or equal to zero"))
    if not condition.get("lastTransitionTime"):
        found.append(errors.required(f"{path}.lastTransitionTime", "must be set"))
    reason = condition.get("reason") or ""
    if not reason:
        found.append(errors.required(f"{path}.reason", "must be set"))
    else:
        if not _REASON.fullmatch(reason):
            found.append(errors.invalid(f"{path}.reason", reason, _REASON_TEXT))
        if len(reason.encode()) > _LONGEST_REASON:
            found.append(errors.too_long(f"{path}.reason", _LONGEST_REASON))
    if len((condition.get("message") or "").encode()) > _LONGEST_MESSAGE:
        found.append(errors.too_long(f"{path}.message", _LONGEST_MESSAGE))
    return found
