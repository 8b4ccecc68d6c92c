"""Event (events.k8s.io/v1): another face of the core Event, which is what is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sampan.api import errors
from sampan.api.groups.core import event as core_event
from sampan.api.kind import Kind
from sampan.api.types import Obj
from sampan.api.validation import common, go_values
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
#: The core Event writes them even if they are empty.
_OMITTED_HERE = ("reportingController", "reportingInstance")
_OBJECT_FIELDS = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
_UNSET: Final = "needs to be unset"
_OLD_FIELDS: Final = ("firstTimestamp", "lastTimestamp", "count")
_FEWEST_OF_A_SERIES: Final = 2

_REFERENCE: Final[go_values.Layout] = {
    **go_values.plain("kind", "namespace", "name", zero=""),
    "uid": ("UID", "", None),
    "apiVersion": ("APIVersion", "", None),
    **go_values.plain("resourceVersion", "fieldPath", zero=""),
}
_SOURCE: Final[go_values.Layout] = go_values.plain("component", "host", zero="")
#: in the reference's order, which names the reason twice; with what is shown of an absent one, and shapes of structs
_IMMUTABLE: Final[tuple[tuple[str, Any, go_values.Layout | None], ...]] = (
    ("involvedObject", {}, _REFERENCE), ("reason", "", None), ("message", "", None), ("source", {}, _SOURCE),
    ("firstTimestamp", errors.NIL, None), ("lastTimestamp", errors.NIL, None), ("count", 0, None), ("reason", "", None),
    ("type", "", None), ("eventTime", errors.NIL, None), ("action", "", None), ("related", None, _REFERENCE),
    ("reportingComponent", "", None), ("reportingInstance", "", None),
)  # fmt: skip

_SELECTABLE = (*(f"regarding.{key}" for key in _OBJECT_FIELDS), "reason", "reportingController", "type")


def _to_stored(event: Obj) -> Obj:
    stored = {_RENAMED.get(key, key): value for key, value in event.items()}
    stored.update(kind="Event", apiVersion="v1")
    stored.setdefault("involvedObject", {})
    stored.setdefault("source", {})
    for key in _OMITTED_HERE:
        stored.setdefault(_RENAMED.get(key, key), "")
    return stored


def _from_stored(event: Obj) -> Obj:
    served = {_BACK.get(key, key): value for key, value in event.items()}
    for key in _OMITTED_HERE:
        if not served.get(key):
            served.pop(key, None)
    served.update(kind="Event", apiVersion="events.k8s.io/v1")
    return served


def _default(event: Obj) -> None:
    event.setdefault("deprecatedSource", {})


def _judge(stored: Obj, old: Obj | None) -> Errors:
    """Stricter than core/v1, which has to take what old clients send; by the fields' names there."""
    found = core_event.validate(stored, "reportingController")
    if old is not None:
        return found + _changes(stored, old)
    found += _series(stored)
    if stored.get("eventTime") is None:
        found.append(errors.required("eventTime"))
    if (kind := stored.get("type", "")) not in ("Normal", "Warning"):
        found.append(errors.invalid("type", "", f"has invalid value: {kind}"))
    found += [errors.invalid(key, "", _UNSET) for key in _OLD_FIELDS if stored.get(key)]
    source = stored.get("source") or {}
    if source.get("component") or source.get("host"):
        found.append(errors.invalid("source", "", _UNSET))
    return found


def _series(stored: Obj) -> Errors:
    series = stored.get("series")
    if series is None:
        return []
    found: Errors = []
    if (series.get("count") or 0) < _FEWEST_OF_A_SERIES:
        found.append(errors.invalid("series.count", "", f"should be at least {_FEWEST_OF_A_SERIES}"))
    if series.get("lastObservedTime") is None:
        found.append(errors.required("series.lastObservedTime"))
    return found


def _changes(stored: Obj, old: Obj) -> Errors:
    """Only the series of an event goes on."""
    found = _series(stored) if stored.get("series") != old.get("series") else []
    for key, absent, shape in _IMMUTABLE:
        value = stored.get(key) or absent
        if value == (old.get(key) or absent):
            continue
        name = "reportingController" if key == "reportingComponent" else key
        shown = value if shape is None else go_values.struct(value, shape)
        found.append(errors.invalid(name, shown, common.IMMUTABLE))
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
        validate_through=_judge,
        columns=core_event.COLUMNS,
        row=_row,
        selectable_fields=_selectable,
        selectable_names=_SELECTABLE,
        stored_as=("", "v1"),
        to_stored=_to_stored,
        from_stored=_from_stored,
    ),
)
