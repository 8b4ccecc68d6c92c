"""DeviceClass (resource.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api.groups import printing
from sampan.api.kind import Kind
from sampan.api.types import Obj


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    return (printing.name(obj), printing.age(obj, now))


KINDS = (
    Kind(
        group="resource.k8s.io",
        version="v1",
        kind="DeviceClass",
        plural="deviceclasses",
        singular="deviceclass",
        namespaced=False,
        schema="io.k8s.api.resource.v1.DeviceClass",
        generation=True,
        columns=(
            printing.NAME,
            printing.AGE,
        ),
        row=_row,
    ),
)
