"""What a ResourceSlice offers: devices, with what tells them apart and what they share. Spec: resource/validation."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from sampan.api import errors, names
from sampan.api.groups.resource import capacities, naming, taints
from sampan.api.groups.resource.allocation import binding
from sampan.api.types import Obj
from sampan.api.validation import common, go_values, scheduling
from sampan.api.validation.common import Errors

_MOST_DEVICES, _MOST_SHARING_DEVICES = 128, 64
_MOST_SETS, _MOST_COUNTERS = 8, 32
_MOST_CONSUMPTIONS, _MOST_TAINTS = 2, 16
_MOST_TRAITS = 32
_LONGEST_KEY, _LONGEST_VALUE = 63 + 1 + 32, 64
_NUMBER, _BUILD = r"(0|[1-9]\d*)", r"[0-9a-zA-Z-]+"
_PRE = r"(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)"
_VERSION = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-{_PRE}(\.{_PRE})*)?(\+{_BUILD}(\.{_BUILD})*)?", re.ASCII
)  # fmt: skip
_WHERE = ("nodeName", "nodeSelector", "allNodes")
#: kinds of values that an attribute may have
_VALUES = ("bool", "int", "string", "version")


def validate(spec: Obj, old: Obj | None, path: str) -> Errors:
    found = naming.driver(spec.get("driver") or "", f"{path}.driver") + _pool(spec.get("pool") or {}, f"{path}.pool")
    if old is not None:
        found += common.immutable(_pool_name(spec), _pool_name(old), f"{path}.pool.name")
        found += common.immutable(spec.get("driver"), old.get("driver"), f"{path}.driver")
        found += common.immutable(spec.get("nodeName"), old.get("nodeName"), f"{path}.nodeName")
    found += _nodes(spec, path)
    devices, counters = spec.get("devices"), spec.get("sharedCounters")
    if devices is not None and counters is not None:
        found.append(errors.invalid(path, "", "only one of `sharedCounters` or `devices` is allowed"))
    devices = devices or []
    sharing = any(device.get("taints") or device.get("consumesCounters") for device in devices)
    before = {device.get("name"): device for device in (old or {}).get("devices") or ()}
    apart = bool(spec.get("perDeviceNodeSelection"))
    found += naming.each(
        devices,
        _MOST_SHARING_DEVICES if sharing else _MOST_DEVICES,
        f"{path}.devices",
        lambda device, at: _device(device, before.get(device.get("name")), at, apart=apart),
        _name,
    )
    return found + naming.each(counters or (), _MOST_SETS, f"{path}.sharedCounters", _counter_set, _name)


def _name(item: Obj) -> str:
    return item.get("name") or ""


def _pool_name(spec: Obj) -> str:
    return (spec.get("pool") or {}).get("name") or ""


def _pool(pool: Obj, path: str) -> Errors:
    found = naming.pool(pool.get("name") or "", f"{path}.name")
    count, generation = pool.get("resourceSliceCount") or 0, pool.get("generation") or 0
    if count <= 0:
        found.append(errors.invalid(f"{path}.resourceSliceCount", count, "must be greater than zero"))
    if generation < 0:
        found.append(errors.invalid(f"{path}.generation", generation, "must be greater than or equal to zero"))
    return found


def _nodes(spec: Obj, path: str) -> Errors:
    """Which nodes have the devices: one way to say so."""
    found: Errors = []
    told: list[str] = []
    name, selector = spec.get("nodeName"), spec.get("nodeSelector")
    if name:
        told.append("`nodeName`")
        found += common.named(names.dns1123_subdomain, name, f"{path}.nodeName")
    elif name is not None:
        text = "must be either unset or set to a non-empty string"
        found.append(errors.invalid(f"{path}.nodeName", name, text))
    if selector is not None:
        told.append("`nodeSelector`")
        found += scheduling.node_selector(selector, f"{path}.nodeSelector")
        terms = selector.get("nodeSelectorTerms") or []
        if len(terms) != 1:
            where = f"{path}.nodeSelector.nodeSelectorTerms"
            found.append(errors.invalid(where, _terms(terms), "must have exactly one node selector term"))
    for key in ("allNodes", "perDeviceNodeSelection"):
        if spec.get(key):
            told.append(f"`{key}`")
        elif spec.get(key) is not None:
            found.append(errors.invalid(f"{path}.{key}", False, "must be either unset or set to true"))
    needed = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
    return found + _one(told, needed, f"{needed}, but multiple fields are set", path)


def _terms(terms: list[Obj]) -> list[Any]:
    return [go_values.struct(term, go_values.NODE_SELECTOR_TERM) for term in terms]


def _one(told: list[str], needed: str, too_many: str, path: str) -> Errors:
    if not told:
        return [errors.required(path, needed)]
    return [] if len(told) == 1 else [errors.invalid(path, f"{{{', '.join(told)}}}", too_many)]


def _device(device: Obj, old: Obj | None, path: str, *, apart: bool) -> Errors:
    found = naming.label(_name(device), f"{path}.name")
    attributes, capacity = device.get("attributes") or {}, device.get("capacity") or {}
    traits = len(attributes) + len(capacity)
    if traits > _MOST_TRAITS:
        text = f"the total number of attributes and capacities must not exceed {_MOST_TRAITS}"
        found.append(errors.invalid(path, traits, text))
    found += _mapped(attributes, None, f"{path}.attributes", naming.qualified, _attribute)
    shared = bool(device.get("allowMultipleAllocations"))
    of_one = capacities.shared if shared else capacities.exclusive
    found += _mapped(capacity, None, f"{path}.capacity", naming.qualified, of_one)
    listed = device.get("taints") or []
    if old is None or listed != (old.get("taints") or []):
        found += naming.each(listed, _MOST_TAINTS, f"{path}.taints", taints.taint)
    consumed = device.get("consumesCounters") or ()
    found += naming.each(consumed, _MOST_CONSUMPTIONS, f"{path}.consumesCounters", _consumption, _set_name)
    return found + _own_nodes(device, path, apart=apart) + binding(device, path)


def _own_nodes(device: Obj, path: str, *, apart: bool) -> Errors:
    if not apart:
        if all(device.get(key) is None for key in _WHERE):
            return []
        text = (
            "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in "
            "the ResourceSlice spec"
        )
        return [errors.invalid(path, None, text)]
    found: Errors = []
    told: list[str] = []
    name = device.get("nodeName")
    if name:
        told.append("`nodeName`")
        found += common.named(names.dns1123_subdomain, name, f"{path}.nodeName")
    elif name is not None:
        found.append(errors.invalid(f"{path}.nodeName", name, "must not be empty"))
    if device.get("nodeSelector") is not None:
        told.append("`nodeSelector`")
        found += scheduling.node_selector(device["nodeSelector"], f"{path}.nodeSelector")
    if device.get("allNodes"):
        told.append("`allNodes`")
    elif device.get("allNodes") is not None:
        found.append(errors.invalid(f"{path}.allNodes", False, "must be either unset or set to true"))
    text = (
        "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to "
        "true in the ResourceSlice spec"
    )
    return found + _one(told, text, text, path)


def _attribute(attribute: Obj, path: str) -> Errors:
    found: Errors = []
    text, version = attribute.get("string"), attribute.get("version")
    if text is not None and len(text.encode()) > _LONGEST_VALUE:
        found.append(errors.too_long(f"{path}.string", _LONGEST_VALUE))
    if version is not None:
        if not _VERSION.fullmatch(version):
            fault = "must be a string compatible with semver.org spec 2.0.0"
            found.append(errors.invalid(f"{path}.version", version, fault))
        if len(version.encode()) > _LONGEST_VALUE:
            found.append(errors.too_long(f"{path}.version", _LONGEST_VALUE))
    told = [key for key in _VALUES if attribute.get(key) is not None]
    if len(told) != 1:
        shown = {f"{key.capitalize()}Value": attribute.get(key) for key in ("int", "bool", "string", "version")}
        found.append(errors.invalid(path, shown if told else "", "exactly one value must be specified"))
    return found


def _counter_set(counters: Obj, path: str) -> Errors:
    return _counters(counters, "name", path)


def _consumption(consumption: Obj, path: str) -> Errors:
    return _counters(consumption, "counterSet", path)


def _set_name(consumption: Obj) -> str:
    return consumption.get("counterSet") or ""


def _counters(holder: Obj, key: str, path: str) -> Errors:
    name, counters = holder.get(key) or "", holder.get("counters") or {}
    found = naming.label(name, f"{path}.{key}") if name else [errors.required(f"{path}.{key}")]
    if not counters:
        return [*found, errors.required(f"{path}.counters")]
    return found + _mapped(counters, _MOST_COUNTERS, f"{path}.counters", naming.label, lambda value, at: [])


def _mapped(
    values: Mapping[str, Any],
    most: int | None,
    path: str,
    check_key: Callable[[str, str], Errors],
    check: Callable[[Any, str], Errors],
) -> Errors:
    """A map whose keys are told in full only if they are not too long."""
    if most is not None and len(values) > most:
        return [errors.too_many(path, len(values), most)]
    found: Errors = []
    for key, value in values.items():
        at = f"{path}[{_shortened(key)}]"
        found += check_key(key, at) + check(value, at)
    return found


def _shortened(key: str) -> str:
    if len(key) <= _LONGEST_KEY:
        return key
    left = _LONGEST_KEY - len("...")
    return f"{key[: (left + 1) // 2]}...{key[len(key) - left // 2 :]}"
