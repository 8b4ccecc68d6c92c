"""ResourceClaim (resource.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api.groups import printing
from sampan.api.groups.resource.devices import default_claim_spec
from sampan.api.groups.strategy import drop_status
from sampan.api.kind import IDENTITY, Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors


def _default(obj: Obj) -> None:
    default_claim_spec(obj.get("spec"))


def _validate_update(new: Obj, old: Obj) -> Errors:
    return common.immutable(new.get("spec"), old.get("spec"), "spec")


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    status = obj.get("status") or {}
    states = []
    if obj.get("metadata", {}).get("deletionTimestamp"):
        states.append("deleted")
    if status.get("allocation") is None:
        states.append("pending")
    else:
        states.append("allocated")
    if status.get("reservedFor"):
        states.append("reserved")
    return (printing.name(obj), ",".join(states), printing.age(obj, now))


KINDS = (
    Kind(
        group="resource.k8s.io",
        version="v1",
        kind="ResourceClaim",
        plural="resourceclaims",
        singular="resourceclaim",
        namespaced=True,
        schema="io.k8s.api.resource.v1.ResourceClaim",
        status_metadata=IDENTITY,
        status=True,
        prepare_create=drop_status,
        default=_default,
        validate_update=_validate_update,
        columns=(
            printing.NAME,
            Column("State"),
            printing.AGE,
        ),
        row=_row,
    ),
)
