"""LimitRange (v1): defaults and bounds of resources in a namespace."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, quantity
from sampan.api.groups import printing
from sampan.api.groups.core.pod_defaults import default_resource_list
from sampan.api.kind import Kind
from sampan.api.types import Obj
from sampan.api.validation import resources
from sampan.api.validation.common import Errors

_LISTS = ("min", "max", "default", "defaultRequest", "maxLimitRequestRatio")


def _default(limit_range: Obj) -> None:
    for item in (limit_range.get("spec") or {}).get("limits") or ():
        for key in _LISTS:
            default_resource_list(item.get(key))
        if item.get("type") != "Container":
            continue
        # A maximum is the default limit, a default limit the default request, a minimum the least of requests.
        limits = item.setdefault("default", {})
        for name, amount in (item.get("max") or {}).items():
            limits.setdefault(name, amount)
        requests = item.setdefault("defaultRequest", {})
        for name, amount in limits.items():
            requests.setdefault(name, amount)
        for name, amount in (item.get("min") or {}).items():
            requests.setdefault(name, amount)
        for key in ("default", "defaultRequest"):
            if not item[key]:
                del item[key]


def _validate(limit_range: Obj) -> Errors:
    found: Errors = []
    seen: set[str] = set()
    for index, item in enumerate((limit_range.get("spec") or {}).get("limits") or ()):
        path, kind = f"spec.limits[{index}]", item.get("type", "")
        if not kind:
            found.append(errors.required(f"{path}.type"))
        if kind in seen:
            found.append(errors.duplicate(f"{path}.type", kind))
        seen.add(kind)
        for key in _LISTS:
            found += resources.resource_list(item.get(key), f"{path}.{key}")
        if kind == "Pod":
            for key in ("default", "defaultRequest"):
                if item.get(key):
                    text = "may not be specified when `type` is 'Pod'"
                    found.append(errors.forbidden(f"{path}.{key}", text))
        for order in _ORDERS:
            found += _ordered(item, *order, path)
    return found


#: lower amount, upper amount, the one that an error shows, the field that it names; as upstream, in its order
_ORDERS = (
    ("min", "max", "min", "min"),
    ("min", "defaultRequest", "defaultRequest", "defaultRequest"),
    ("defaultRequest", "max", "defaultRequest", "defaultRequest"),
    ("defaultRequest", "default", "defaultRequest", "defaultRequest"),
    ("min", "default", "min", "default"),
    ("default", "max", "max", "default"),
)
_NAMES = {"min": "min", "max": "max", "default": "default", "defaultRequest": "default request"}


def _ordered(item: Obj, lower: str, upper: str, shown: str, field: str, path: str) -> Errors:
    found: Errors = []
    uppers = item.get(upper) or {}
    above = "default limit" if (lower, upper) == ("defaultRequest", "default") else _NAMES[upper]
    for name, amount in (item.get(lower) or {}).items():
        if name in uppers and quantity.compare(amount, uppers[name]) > 0:
            text = f"{_NAMES[lower]} value {amount} is greater than {above} value {uppers[name]}"
            found.append(errors.invalid(f"{path}.{field}[{name}]", item[shown][name], text))
    return found


def _row(limit_range: Obj, now: datetime) -> Sequence[Any]:
    return printing.created_at_row(limit_range, now)


KINDS = (
    Kind(
        group="",
        version="v1",
        kind="LimitRange",
        plural="limitranges",
        singular="limitrange",
        namespaced=True,
        schema="io.k8s.api.core.v1.LimitRange",
        short_names=("limits",),
        create_on_update=True,
        default=_default,
        validate=_validate,
        columns=printing.CREATED_AT_COLUMNS,
        row=_row,
    ),
)
