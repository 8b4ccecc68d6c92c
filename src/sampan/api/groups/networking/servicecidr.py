"""ServiceCIDR (networking.k8s.io/v1): a range that cluster IPs come from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors
from sampan.api.groups import printing
from sampan.api.groups.strategy import drop_status
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import addresses, common
from sampan.api.validation.common import Errors

_PATH = "spec.cidrs"


def _cidrs(obj: Obj) -> list[str]:
    return (obj.get("spec") or {}).get("cidrs") or []


def _validate(obj: Obj) -> Errors:
    cidrs = _cidrs(obj)
    if not cidrs:
        return [errors.required(_PATH, "at least one CIDR required")]
    if len(cidrs) > 2:
        return [errors.invalid(_PATH, {"CIDRs": cidrs}, "may only hold up to 2 values")]
    found = [fault for i, text in enumerate(cidrs) for fault in addresses.strict_cidr(text, f"{_PATH}[{i}]")]
    networks = [addresses.parse_cidr(text) for text in cidrs]
    if len(networks) == 2 and None not in networks and len({n[1].version for n in networks if n}) == 1:
        text = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
        found.append(errors.invalid(_PATH, cidrs, text))
    return found


def _validate_update(new: Obj, old: Obj) -> Errors:
    """A second family may come; nothing else changes."""
    cidrs, before = _cidrs(new), _cidrs(old)
    if len(cidrs) == len(before):
        pairs = enumerate(zip(cidrs, before, strict=True))
        return [errors.invalid(f"{_PATH}[{i}]", now, common.IMMUTABLE) for i, (now, was) in pairs if now != was]
    if (len(before), len(cidrs)) != (1, 2):
        return [errors.invalid(_PATH, cidrs or errors.NIL, common.IMMUTABLE)]
    return common.immutable(cidrs[0], before[0], f"{_PATH}[0]") + _validate(new)


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
        ratchets=True,
        columns=(
            printing.NAME,
            Column("CIDRs"),
            printing.AGE,
        ),
        row=_row,
    ),
)
