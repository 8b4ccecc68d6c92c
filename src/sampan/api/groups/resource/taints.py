"""Taints of devices, and tolerations of them. Spec: resource/validation (v1.37)."""

from __future__ import annotations

from sampan.api import errors, names
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

_EFFECTS = ("NoExecute", "NoSchedule", "None")
_OPERATORS = ("Equal", "Exists")


def taint(value: Obj, path: str, old: Obj | None = None) -> Errors:
    """An effect that it had before may be one that is not known."""
    found = common.named(names.qualified_name, value.get("key") or "", f"{path}.key")
    if value.get("value"):
        found += common.named(names.label_value, value["value"], f"{path}.value")
    effect = value.get("effect") or ""
    if old is not None and (old.get("effect") or "") == effect:
        return found
    if not effect:
        found.append(errors.required(f"{path}.effect"))
    return found + (common.in_list(effect, _EFFECTS, f"{path}.effect") if effect else [])


def toleration(value: Obj, path: str) -> Errors:
    found: Errors = []
    if value.get("key"):
        found += common.named(names.qualified_name, value["key"], f"{path}.key")
    operator, told = value.get("operator") or "", value.get("value") or ""
    if operator == "Exists":
        if told:
            found.append(errors.invalid(f"{path}.value", told, "must be empty for operator `Exists`"))
    elif operator == "Equal":
        found += common.named(names.label_value, told, f"{path}.value")
    elif not operator:
        found.append(errors.required(f"{path}.operator"))
    else:
        found.append(errors.not_supported(f"{path}.operator", operator, _OPERATORS))
    effect = value.get("effect") or ""
    return found + (common.in_list(effect, _EFFECTS, f"{path}.effect") if effect else [])
