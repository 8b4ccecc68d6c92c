"""ServiceCIDR (networking.k8s.io/v1): a range that cluster IPs come from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api.groups import printing
from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors


def _validate(obj: Obj) -> Errors:
    return common.needed(obj.get("spec") or {}, "spec", "cidrs")


def _validate_update(new: Obj, old: Obj) -> Errors:
    return common.immutable(new.get("spec"), old.get("spec"), "spec")


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    cidrs = (obj.get("spec") or {}).get("cidrs") or ()
    return (printing.name(obj), ",".join(cidrs), printing.age(obj, now))


KINDS = (
    Kind(
        group="networking.k8s.io",
        version="v1",
        kind="ServiceCIDR",
        plural="servicecidrs",
        singular="servicecidr",
        namespaced=False,
        schema="io.k8s.api.networking.v1.ServiceCIDR",
        status=True,
        prepare_create=drop_status,
        validate=_validate,
        validate_update=_validate_update,
        columns=(
            printing.NAME,
            Column("CIDRs"),
            printing.AGE,
        ),
        row=_row,
    ),
)
