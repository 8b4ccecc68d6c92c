"""LimitRange (v1): defaults and bounds of resources in a namespace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, names, quantity
from sampan.api.groups import printing
from sampan.api.groups.core.pod_defaults import default_resource_list
from sampan.api.kind import Kind
from sampan.api.types import Obj
from sampan.api.validation import common, resources
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


_TYPES = ("Pod", "Container", "PersistentVolumeClaim")


def _validate(limit_range: Obj) -> Errors:
    found: Errors = []
    seen: set[str] = set()
    for index, item in enumerate((limit_range.get("spec") or {}).get("limits") or ()):
        path, kind = f"spec.limits[{index}]", item.get("type", "")
        found += _type(kind, f"{path}.type")
        if kind in seen:
            found.append(errors.duplicate(f"{path}.type", kind))
        seen.add(kind)
        found += _item(item, kind, path)
    return found


def _type(kind: str, path: str) -> Errors:
    found = common.named(names.qualified_name, kind, path)
    if not found and "/" not in kind and kind not in _TYPES:
        found.append(errors.invalid(path, kind, "must be a standard limit type or fully qualified"))
    return found


def _item(item: Obj, kind: str, path: str) -> Errors:
    of_pods = kind in ("Pod", "Container")
    check = resources.container_resource_name if of_pods else resources.resource_name
    amounts: dict[str, Obj] = {}
    found: Errors = []
    for key in ("max", "min", "default", "defaultRequest"):
        given = item.get(key) or {}
        if kind == "Pod" and key.startswith("default"):
            if given:
                found.append(errors.forbidden(f"{path}.{key}", "may not be specified when `type` is 'Pod'"))
            continue
        amounts[key] = given
        found += [fault for name in given for fault in check(name, f"{path}.{key}[{name}]")]
    if kind == "PersistentVolumeClaim" and not any("storage" in amounts[key] for key in ("min", "max")):
        text = "either minimum or maximum storage value is required, but neither was provided"
        found.append(errors.required(f"{path}.limits", text))
    ratios = amounts["maxLimitRequestRatio"] = item.get("maxLimitRequestRatio") or {}
    found += [fault for name in ratios for fault in check(name, f"{path}.maxLimitRequestRatio[{name}]")]
    for name in dict.fromkeys(name for given in amounts.values() for name in given):
        found += _ordered(name, amounts, path) + _ratio(name, amounts, path) + _exact(name, amounts, path)
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


def _ordered(name: str, amounts: Mapping[str, Obj], path: str) -> Errors:
    found: Errors = []
    of = {key: given[name] for key, given in amounts.items() if name in given}
    for lower, upper, shown, field in _ORDERS:
        if lower in of and upper in of and quantity.compare(of[lower], of[upper]) > 0:
            above = "default limit" if (lower, upper) == ("defaultRequest", "default") else _NAMES[upper]
            text = f"{_NAMES[lower]} value {of[lower]} is greater than {above} value {of[upper]}"
            found.append(errors.invalid(f"{path}.{field}[{name}]", of[shown], text))
    return found


def _ratio(name: str, amounts: Mapping[str, Obj], path: str) -> Errors:
    ratio, low, high = (amounts[key].get(name) for key in ("maxLimitRequestRatio", "min", "max"))
    if ratio is None:
        return []
    where, found = f"{path}.maxLimitRequestRatio[{name}]", []
    if quantity.compare(ratio, "1") < 0:
        found.append(errors.invalid(where, ratio, f"ratio {ratio} is less than 1"))
    if low is not None and high is not None and (least := quantity.parse(low)):
        most = quantity.parse(high) / least
        if quantity.parse(ratio) > most:
            text = f"ratio {ratio} is greater than max/min = {float(most):f}"
            found.append(errors.invalid(where, ratio, text))
    return found


def _exact(name: str, amounts: Mapping[str, Obj], path: str) -> Errors:
    """What cannot be overcommitted is requested as it is limited."""
    limit, request = (amounts.get(key, {}).get(name) for key in ("default", "defaultRequest"))
    if limit is None or request is None or quantity.compare(limit, request) == 0:
        return []
    if resources.is_native(name) and not resources.is_huge_page(name):
        return []
    text = f"default value {limit} must equal to defaultRequest value {request} in {name}"
    return [errors.invalid(f"{path}.defaultRequest[{name}]", request, text)]


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
