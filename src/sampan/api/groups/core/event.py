"""Event (v1), the stored form that events.k8s.io/v1 is converted to and from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, humanize, names
from sampan.api.groups import printing
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

_OBJECT_FIELDS = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
#: as names of selectors: one text for all Events
_INVOLVED = tuple((f"involvedObject.{key}", key) for key in _OBJECT_FIELDS)
_SELECTABLE = (
    *(field for field, _ in _INVOLVED),
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


_LONGEST = {"reportingInstance": 128, "action": 128, "reason": 128}
_LONGEST_MESSAGE = 1024


def _validate(event: Obj) -> Errors:
    return validate(event, "reportingComponent")


def validate(event: Obj, controller: str) -> Errors:
    """What is asked of every event, however it is written (upstream: legacyValidateEvent). ``controller``: what the
    version calls ``reportingComponent``."""
    namespace = event.get("metadata", {}).get("namespace", "")
    regarding = (event.get("involvedObject") or {}).get("namespace", "")
    found: Errors = []
    timed = event.get("eventTime") is not None
    homes = ("default", "kube-system") if timed else ("", "default")
    if (namespace not in homes) if not regarding else (not timed and regarding != namespace):
        found.append(errors.invalid("involvedObject.namespace", regarding, "does not match event.namespace"))
    if timed:
        found += _timed(event, controller)
    return found + common.named(names.dns1123_subdomain, namespace, "namespace")


def _timed(event: Obj, controller: str) -> Errors:
    """Of events of the new form, which have a time."""
    reporter = event.get("reportingComponent", "")
    found: Errors = [] if reporter else [errors.required(controller)]
    found += common.named(names.qualified_name, reporter, controller)
    for key, longest in _LONGEST.items():
        value = event.get(key, "")
        if not value:
            found.append(errors.required(key))
        elif len(value.encode()) > longest:
            found.append(errors.invalid(key, "", f"can have at most {longest} characters"))
    if len(event.get("message", "").encode()) > _LONGEST_MESSAGE:
        found.append(errors.invalid("message", "", f"can have at most {_LONGEST_MESSAGE} characters"))
    return found


def selectable(event: Obj) -> Mapping[str, str]:
    involved = event.get("involvedObject") or {}
    source = (event.get("source") or {}).get("component") or event.get("reportingComponent", "")
    return {
        **{field: involved.get(key, "") for field, key in _INVOLVED},
        "reason": event.get("reason", ""),
        "reportingComponent": event.get("reportingComponent", ""),
        "source": source,
        "type": event.get("type", ""),
    }


def row(event: Obj, now: datetime) -> Sequence[Any]:
    first = event.get("firstTimestamp") or event.get("eventTime")
    last = event.get("lastTimestamp") or first
    count = event.get("count") or 1
    if (series := event.get("series")) is not None:
        last, count = series.get("lastObservedTime"), series.get("count", 0)
    involved = event.get("involvedObject") or {}
    target = involved.get("kind", "").lower()
    if involved.get("name"):
        target = f"{target}/{involved['name']}"
    source = event.get("source") or {}
    component = source.get("component") or event.get("reportingComponent", "")
    host = source.get("host") or event.get("reportingInstance", "")
    return (
        humanize.since(last, now),
        event.get("type", ""),
        event.get("reason", ""),
        target,
        involved.get("fieldPath", ""),
        f"{component}, {host}" if host else component,
        event.get("message", "").strip(),
        humanize.since(first, now),
        count,
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
