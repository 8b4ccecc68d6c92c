"""Event (events.k8s.io/v1): another face of the core Event, which is what is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors
from sampan.api.groups.core import event as core_event
from sampan.api.kind import Kind
from sampan.api.types import Obj
from sampan.api.validation.common import Errors

#: Field here, field of the core Event.
_RENAMED = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
_BACK = {core: here for here, core in _RENAMED.items()}
_OBJECT_FIELDS = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
_SELECTABLE = (*(f"regarding.{key}" for key in _OBJECT_FIELDS), "reason", "reportingController", "type")


def _to_stored(event: Obj) -> Obj:
    stored = {_RENAMED.get(key, key): value for key, value in event.items()}
    stored.update(kind="Event", apiVersion="v1")
    stored.setdefault("involvedObject", {})
    stored.setdefault("source", {})
    return stored


def _from_stored(event: Obj) -> Obj:
    served = {_BACK.get(key, key): value for key, value in event.items()}
    served.update(kind="Event", apiVersion="events.k8s.io/v1")
    return served


def _default(event: Obj) -> None:
    event.setdefault("deprecatedSource", {})


def _validate(event: Obj) -> Errors:
    """Stricter than core/v1, which has to take what old clients send."""
    found: Errors = []
    if not event.get("eventTime"):
        found.append(errors.required("eventTime"))
    for key in ("reportingController", "reportingInstance", "action", "reason"):
        if not event.get(key):
            found.append(errors.required(key))
        elif len(event[key].encode()) > 128:
            found.append(errors.invalid(key, event[key], "can have at most 128 characters"))
    if event.get("type") not in ("Normal", "Warning"):
        found.append(errors.invalid("type", event.get("type", ""), "has invalid value: must be Normal or Warning"))
    if len(event.get("note", "").encode()) > 1024:
        found.append(errors.invalid("message", event["note"], "can have at most 1024 characters"))
    return found


def _selectable(event: Obj) -> Mapping[str, str]:
    values = core_event.selectable(_to_stored(event))
    regarding = {f"regarding.{key}": values[f"involvedObject.{key}"] for key in _OBJECT_FIELDS}
    return {
        **regarding,
        "reason": values["reason"],
        "reportingController": values["reportingComponent"],
        "type": values["type"],
    }


def _row(event: Obj, now: datetime) -> Sequence[Any]:
    return core_event.row(_to_stored(event), now)


KINDS = (
    Kind(
        group="events.k8s.io",
        version="v1",
        kind="Event",
        plural="events",
        singular="event",
        namespaced=True,
        schema="io.k8s.api.events.v1.Event",
        short_names=("ev",),
        create_on_update=True,
        default=_default,
        validate=_validate,
        columns=core_event.COLUMNS,
        row=_row,
        selectable_fields=_selectable,
        selectable_names=_SELECTABLE,
        stored_as=("", "v1"),
        to_stored=_to_stored,
        from_stored=_from_stored,
    ),
)
