"""IPAddress (networking.k8s.io/v1): an address that a Service holds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import names
from sampan.api.groups import printing
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors


def _validate(obj: Obj) -> Errors:
    return common.needed(obj.get("spec") or {}, "spec", "parentRef")


def _validate_update(new: Obj, old: Obj) -> Errors:
    return common.immutable(new.get("spec"), old.get("spec"), "spec")


def _row(obj: Obj, now: datetime) -> Sequence[Any]:
    reference = (obj.get("spec") or {}).get("parentRef") or {}
    parts = [reference.get(key, "") for key in ("resource", "group", "namespace", "name")]
    where = "/".join(part for part in (parts[2], parts[3]) if part)
    resource = f"{parts[0]}.{parts[1]}" if parts[1] else parts[0]
    return (printing.name(obj), f"{resource}/{where}")


KINDS = (
    Kind(
        group="networking.k8s.io",
        version="v1",
        kind="IPAddress",
        plural="ipaddresses",
        singular="ipaddress",
        namespaced=False,
        schema="io.k8s.api.networking.v1.IPAddress",
        name_check=names.ip_address,
        short_names=("ip",),
        validate=_validate,
        validate_update=_validate_update,
        columns=(
            printing.NAME,
            Column("ParentRef"),
        ),
        row=_row,
    ),
)
