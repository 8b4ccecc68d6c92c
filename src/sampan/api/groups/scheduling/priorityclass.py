"""PriorityClass (scheduling.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sampan.api import errors
from sampan.api.groups import printing
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

HIGHEST_USER_PRIORITY = 1_000_000_000
#: The classes that the system itself brings, and their values.
SYSTEM_CLASSES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


_POLICIES: Final = ("PreemptLowerPriority", "Never")


def _default(priority_class: Obj) -> None:
    priority_class.setdefault("value", 0)
    priority_class.setdefault("preemptionPolicy", "PreemptLowerPriority")


def _system_problem(name: str, priority_class: Obj) -> str:
    """Why a class is none of the system's own, though it is called like one."""
    value = SYSTEM_CLASSES.get(name)
    if value is None:
        return f"{name} is not a known system priority class"
    if priority_class.get("value", 0) != value:
        return f"value of {name} PriorityClass must be {value}"
    return f"globalDefault of {name} PriorityClass must be false" if priority_class.get("globalDefault") else ""


def _validate(priority_class: Obj) -> Errors:
    name, value = priority_class.get("metadata", {}).get("name", ""), priority_class.get("value", 0)
    found: Errors = []
    if name.startswith("system-"):
        if problem := _system_problem(name, priority_class):
            text = f"priority class names with 'system-' prefix are reserved for system use only. error: {problem}"
            found.append(errors.forbidden("metadata.name", text))
    elif value > HIGHEST_USER_PRIORITY:
        text = f"maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}"
        found.append(errors.forbidden("value", text))
    policy = priority_class.get("preemptionPolicy")
    if policy == "":
        found.append(errors.required("preemptionPolicy"))
    elif policy not in (None, *_POLICIES):
        found.append(errors.not_supported("preemptionPolicy", policy, _POLICIES))
    return found


def _prepare_create(obj: Obj) -> None:
    """The first generation, which nothing changes: of what could count everything is immutable."""
    obj["metadata"]["generation"] = 1


def _validate_update(new: Obj, old: Obj) -> Errors:
    found: Errors = []
    if new.get("value", 0) != old.get("value", 0):
        found.append(errors.forbidden("value", "may not be changed in an update."))
    return found + common.immutable(new.get("preemptionPolicy"), old.get("preemptionPolicy"), "preemptionPolicy")


def _row(priority_class: Obj, now: datetime) -> Sequence[Any]:
    return (
        printing.name(priority_class),
        priority_class.get("value", 0),
        bool(priority_class.get("globalDefault")),
        printing.age(priority_class, now),
        priority_class.get("preemptionPolicy", ""),
    )


KINDS = (
    Kind(
        group="scheduling.k8s.io",
        version="v1",
        kind="PriorityClass",
        plural="priorityclasses",
        singular="priorityclass",
        namespaced=False,
        schema="io.k8s.api.scheduling.v1.PriorityClass",
        short_names=("pc",),
        default=_default,
        prepare_create=_prepare_create,
        validate=_validate,
        validate_update=_validate_update,
        ratchets=True,
        columns=(
            printing.NAME,
            printing.number("Value"),
            Column("Global-Default", type="boolean"),
            printing.AGE,
            Column("PreemptionPolicy"),
        ),
        row=_row,
    ),
)
