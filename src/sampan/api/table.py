"""The ``Table`` form of objects (meta.k8s.io/v1), which kubectl and other clients print.

Columns and cells come from the kind's declaration; used by the server for lists, single objects and watch events.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

from sampan.api import humanize
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj

IncludeObject = Literal["None", "Metadata", "Object"]
INCLUDE_OBJECT_POLICIES: tuple[IncludeObject, ...] = ("None", "Metadata", "Object")

_DEFAULT_COLUMNS = (Column("Name", format="name"), Column("Age"))


def columns(kind: Kind) -> tuple[Column, ...]:
    return kind.columns or _DEFAULT_COLUMNS


def column_definitions(kind: Kind) -> list[Obj]:
    return [
        {
            "name": column.name,
            "type": column.type,
            "format": column.format,
            "description": column.description,
            "priority": column.priority,
        }
        for column in columns(kind)
    ]


def cells(kind: Kind, obj: Obj, now: datetime) -> Sequence[Any]:
    if kind.row is not None:
        return kind.row(obj, now)
    metadata = obj.get("metadata", {})
    return (metadata.get("name", ""), humanize.since(metadata.get("creationTimestamp"), now))


def partial_object_metadata(obj: Obj) -> Obj:
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": obj.get("metadata", {}),
    }


def row(kind: Kind, obj: Obj, now: datetime, include: IncludeObject = "Metadata") -> Obj:
    """One row. ``include`` "Object" carries the object itself, which must have kind and apiVersion in place."""
    result: Obj = {"cells": list(cells(kind, obj, now))}
    if include == "Metadata":
        result["object"] = partial_object_metadata(obj)
    elif include == "Object":
        result["object"] = obj
    return result


def build_table(
    kind: Kind,
    objects: Iterable[Obj],
    now: datetime,
    include: IncludeObject = "Metadata",
    metadata: Obj | None = None,
    *,
    with_columns: bool = True,
) -> Obj:
    """``metadata`` is the list's (resourceVersion, continue ...) or, of a single object, its resourceVersion.

    ``with_columns`` False leaves the definitions out: only the first event of a watch carries them.
    """
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": dict(metadata or {}),
        "columnDefinitions": column_definitions(kind) if with_columns else [],
        "rows": [row(kind, obj, now, include) for obj in objects],
    }
