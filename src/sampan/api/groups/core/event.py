"""Event (v1), the stored form that events.k8s.io/v1 is converted to and from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, humanize
from sampan.api.groups import printing
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation.common import Errors

_OBJECT_FIELDS = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
_SELECTABLE = (
    *(f"involvedObject.{key}" for key in _OBJECT_FIELDS),
    "reason",
    "reportingComponent",
    "source",
    "type",
)
COLUMNS = (
    Column("Last Seen"),
    Column("Type"),
    Column("Reason"),
    Column("Object"),
    printing.wide("Subobject"),
    printing.wide("Source"),
    Column("Message"),
    printing.wide("First Seen"),
    printing.wide("Count"),
    Column("Name", priority=1, format="name"),
)


def _default(event: Obj) -> None:
    event.setdefault("source", {})
    event.setdefault("reportingComponent", "")
    event.setdefault("reportingInstance", "")


def _validate(event: Obj) -> Errors:
    namespace = event.get("metadata", {}).get("namespace", "")
    regarding = (event.get("involvedObject") or {}).get("namespace", "")
    if regarding != namespace and not (not regarding and namespace in ("default", "kube-system")):
        return [errors.invalid("involvedObject.namespace", regarding, "does not match event.namespace")]
    return []


def selectable(event: Obj) -> Mapping[str, str]:
    involved = event.get("involvedObject") or {}
    source = (event.get("source") or {}).get("component") or event.get("reportingComponent", "")
    return {
        **{f"involvedObject.{key}": involved.get(key, "") for key in _OBJECT_FIELDS},
        "reason": event.get("reason", ""),
        "reportingComponent": event.get("reportingComponent", ""),
        "source": source,
        "type": event.get("type", ""),
    }


def row(event: Obj, now: datetime) -> Sequence[Any]:
    first = event.get("firstTimestamp") or event.get("eventTime")
    last = event.get("lastTimestamp") or first
    count = event.get("count") or 1
    if series := event.get("series"):
        last, count = series.get("lastObservedTime") or last, series.get("count", count)
    involved = event.get("involvedObject") or {}
    target = involved.get("kind", "").lower()
    if involved.get("name"):
        target = f"{target}/{involved['name']}"
    source = event.get("source") or {}
    component = source.get("component") or event.get("reportingComponent", "")
    host = source.get("host") or (event.get("reportingInstance", "") if not source.get("component") else "")
    return (
        humanize.since(last, now),
        event.get("type", ""),
        event.get("reason", ""),
        target,
        involved.get("fieldPath", ""),
        ", ".join(part for part in (component, host) if part),
        event.get("message", "").strip(),
        humanize.since(first, now),
        str(count),
        printing.name(event),
    )


KINDS = (
    Kind(
        group="",
        version="v1",
        kind="Event",
        plural="events",
        singular="event",
        namespaced=True,
        schema="io.k8s.api.core.v1.Event",
        short_names=("ev",),
        create_on_update=True,
        ttl_seconds=3600.0,
        default=_default,
        validate=_validate,
        columns=COLUMNS,
        row=row,
        selectable_fields=selectable,
        selectable_names=_SELECTABLE,
    ),
)
