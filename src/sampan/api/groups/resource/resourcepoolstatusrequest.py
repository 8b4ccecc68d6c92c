"""ResourcePoolStatusRequest (resource.k8s.io/v1alpha3)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, humanize
from sampan.api.groups import printing
from sampan.api.groups.resource import naming
from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common, go_values
from sampan.api.validation.common import Errors

_COUNTED = ("total", "available", "allocated", "unavailable")


_SPEC: go_values.Layout = {
    "driver": ("Driver", "", None), "poolName": ("PoolName", None, None), "limit": ("Limit", None, None),
}  # fmt: skip


def _validate(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    found = naming.driver(spec.get("driver") or "", "spec.driver")
    if spec.get("poolName") is not None:
        found += naming.pool(spec["poolName"], "spec.poolName")
    return found + common.in_range(spec.get("limit"), 1, 1000, "spec.limit")


def _default(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    if spec.get("limit") is None:
        spec["limit"] = 100


def _validate_update(new: Obj, old: Obj) -> Errors:
    now = new.get("spec") or {}
    same = now == (old.get("spec") or {})
    return [] if same else [errors.invalid("spec", go_values.struct(now, _SPEC), common.IMMUTABLE)]


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    """Devices are summed over the pools that the answer names."""
    status = obj.get("status") or {}
    pools = status.get("pools") or ()
    sums = [sum(pool.get(f"{each}Devices") or 0 for pool in pools) for each in _COUNTED]
    said = {condition.get("type"): condition for condition in status.get("conditions") or ()}
    done: Obj = next((said[each] for each in ("Complete", "Failed") if said.get(each, {}).get("status") == "True"), {})
    return (
        printing.name(obj),
        (obj.get("spec") or {}).get("driver", ""),
        *(str(each) for each in sums),
        str(sum(1 for pool in pools if pool.get("validationError"))),
        status.get("poolCount") or 0,
        done.get("type", "Pending"),
        humanize.since(done["lastTransitionTime"], now) if done.get("lastTransitionTime") else printing.NONE,
    )


KINDS = (
    Kind(
        group="resource.k8s.io",
        version="v1alpha3",
        kind="ResourcePoolStatusRequest",
        plural="resourcepoolstatusrequests",
        singular="resourcepoolstatusrequest",
        namespaced=False,
        schema="io.k8s.api.resource.v1alpha3.ResourcePoolStatusRequest",
        status=True,
        prepare_create=drop_status,
        default=_default,
        validate=_validate,
        validate_update=_validate_update,
        columns=(
            printing.NAME,
            Column("Driver"),
            Column("Total"),
            Column("Available"),
            Column("Allocated"),
            Column("Unavailable"),
            Column("Errors"),
            printing.number("Pools"),
            Column("Status"),
            Column("Completed"),
        ),
        row=_row,
    ),
)
