"""Cells and columns that many kinds' tables share (upstream: ``pkg/printers/internalversion``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from sampan.api import humanize, labels
from sampan.api.kind import Column
from sampan.api.types import Obj

Row = Callable[[Obj, datetime], Sequence[Any]]

NAME = Column("Name", format="name")
AGE = Column("Age")
CREATED_AT = Column("Created At", type="date")
CONTAINERS = Column("Containers", priority=1)
IMAGES = Column("Images", priority=1)
SELECTOR = Column("Selector", priority=1)

NONE = "<none>"
UNSET = "<unset>"
UNKNOWN = "<unknown>"


def number(name: str, priority: int = 0) -> Column:
    return Column(name, type="integer", priority=priority)


def wide(name: str) -> Column:
    return Column(name, priority=1)


def name(obj: Obj) -> str:
    text: str = obj.get("metadata", {}).get("name", "")
    return text


def age(obj: Obj, now: datetime) -> str:
    return humanize.since(obj.get("metadata", {}).get("creationTimestamp"), now)


def created_at_row(obj: Obj, now: datetime) -> Sequence[Any]:
    """The row of kinds without a printer of their own."""
    return (name(obj), obj.get("metadata", {}).get("creationTimestamp"))


CREATED_AT_COLUMNS = (NAME, CREATED_AT)


def containers(pod_spec: Obj) -> tuple[str, str]:
    """Names and images, each joined by commas."""
    listed = pod_spec.get("containers") or ()
    return ",".join(c.get("name", "") for c in listed), ",".join(c.get("image", "") for c in listed)


def template_spec(obj: Obj) -> Obj:
    spec: Obj = ((obj.get("spec") or {}).get("template") or {}).get("spec") or {}
    return spec


def selector(value: Obj | None) -> str:
    try:
        return str(labels.from_label_selector(value))
    except labels.SelectorError:
        return "<invalid>"


def label_selector(value: Obj | None) -> str:
    """As most printers have it (metav1.FormatLabelSelector); Deployment has ``selector``, which says less."""
    try:
        return str(labels.from_label_selector(value)) or NONE
    except labels.SelectorError:
        return "<error>"


def some(items: Iterable[str], limit: int = 3, empty: str = NONE) -> str:
    """The first few, and how many more there are."""
    listed = list(items)
    if not listed:
        return empty
    shown = ",".join(listed[:limit])
    return shown if len(listed) <= limit else f"{shown} + {len(listed) - limit} more..."


def has_condition(obj: Obj, kind: str) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == kind and c.get("status") == "True" for c in conditions)


def boolean(value: bool | None) -> bool:
    return bool(value)
