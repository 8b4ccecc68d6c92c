"""ComponentStatus (v1): deprecated, read only, computed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api.groups import printing
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj


def _row(component: Obj, now: datetime) -> Sequence[Any]:
    for condition in component.get("conditions") or ():
        if condition.get("type") == "Healthy":
            status = "Healthy" if condition.get("status") == "True" else "Unhealthy"
            return (printing.name(component), status, condition.get("message", ""), condition.get("error", ""))
    return (printing.name(component), "Unknown", "", "")


KINDS = (
    Kind(
        group="",
        version="v1",
        kind="ComponentStatus",
        plural="componentstatuses",
        singular="componentstatus",
        namespaced=False,
        schema="io.k8s.api.core.v1.ComponentStatus",
        short_names=("cs",),
        verbs=("get", "list"),
        columns=(printing.NAME, Column("Status"), Column("Message"), Column("Error")),
        row=_row,
        deprecation_warning="v1 ComponentStatus is deprecated in v1.19+",
    ),
)
