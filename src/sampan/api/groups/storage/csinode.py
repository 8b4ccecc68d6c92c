"""CSINode (storage.k8s.io/v1): the storage drivers of a node."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api.groups import printing
from sampan.api.kind import Kind
from sampan.api.types import Obj


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    drivers = (obj.get("spec") or {}).get("drivers") or ()
    return (printing.name(obj), len(drivers), printing.age(obj, now))


KINDS = (
    Kind(
        group="storage.k8s.io",
        version="v1",
        kind="CSINode",
        plural="csinodes",
        singular="csinode",
        namespaced=False,
        schema="io.k8s.api.storage.v1.CSINode",
        returns_deleted=True,
        unconditional_update=False,
        columns=(
            printing.NAME,
            printing.number("Drivers"),
            printing.AGE,
        ),
        row=_row,
    ),
)
