"""The status of a claim: what was allocated, to whom, and what drivers say of it. Spec: resource/validation (v1.37)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from sampan.api import errors, names
from sampan.api.groups.resource import naming, selecting
from sampan.api.types import Obj
from sampan.api.validation import common, scheduling
from sampan.api.validation.common import Errors
from sampan.api.validation.conditions import conditions

_MOST_CONSUMERS = 256
_MOST_RESULTS, _MOST_CONFIGS = 32, 64
_MOST_CONDITIONS, _LONGEST_DATA = 8, 10 * 1024
_MOST_ADDRESSES, _LONGEST_INTERFACE, _LONGEST_HARDWARE = 16, 256, 128
_MOST_BINDING = 4
_SOURCES = ("FromClaim", "FromClass")


def validate_status(new: Obj, old: Obj) -> Errors:
    status, before = new.get("status") or {}, old.get("status") or {}
    allocated, consumers = status.get("allocation"), status.get("reservedFor") or []
    path = "status.reservedFor"
    found = naming.each(consumers, _MOST_CONSUMERS, path, _consumer, lambda each: each.get("uid") or "")
    results = ((allocated or {}).get("devices") or {}).get("results") or ()
    known = {_device(result) for result in results}
    found += naming.each(
        status.get("devices") or (), None, "status.devices", lambda each, at: _status(each, at, known), _device
    )
    if consumers and allocated is None:
        found.append(errors.forbidden(path, "may not be specified when `allocated` is not set"))
    elif new["metadata"].get("deletionTimestamp") and any(
        each not in (before.get("reservedFor") or ()) for each in consumers
    ):
        text = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"
        found.append(errors.forbidden(path, text))
    if allocated is None:
        return found
    if before.get("allocation") is not None:
        same = allocated == before["allocation"]
        return found if same else [*found, errors.invalid("status.allocation", allocated, common.IMMUTABLE)]
    return found + _allocation(allocated, selecting.requests_of((new.get("spec") or {}).get("devices") or {}))


def _device(of: Obj) -> str:
    share = of.get("shareID")
    device = "/".join(of.get(key) or "" for key in ("driver", "pool", "device"))
    return f"{device}/{share}" if share else device


def _consumer(consumer: Obj, path: str) -> Errors:
    return [errors.required(f"{path}.{key}") for key in ("resource", "name", "uid") if not consumer.get(key)]


def _allocation(allocation: Obj, known: selecting.Requests) -> Errors:
    devices, path = allocation.get("devices") or {}, "status.allocation.devices"
    found = naming.each(
        devices.get("results") or (), _MOST_RESULTS, f"{path}.results", lambda each, at: _result(each, at, known)
    )
    found += naming.each(
        devices.get("config") or (), _MOST_CONFIGS, f"{path}.config", lambda each, at: _config(each, at, known)
    )
    if allocation.get("nodeSelector") is not None:
        found += scheduling.node_selector(allocation["nodeSelector"], "status.allocation.nodeSelector")
    return found


def _result(result: Obj, path: str, known: selecting.Requests) -> Errors:
    found = selecting.reference(result.get("request") or "", f"{path}.request", known)
    found += _identity(result, path)
    found += binding(result, path)
    return found + (naming.share(result["shareID"], f"{path}.shareID") if result.get("shareID") is not None else [])


def _identity(of: Obj, path: str) -> Errors:
    found = naming.driver(of.get("driver") or "", f"{path}.driver")
    found += naming.pool(of.get("pool") or "", f"{path}.pool")
    return found + naming.label(of.get("device") or "", f"{path}.device")


def _config(config: Obj, path: str, known: selecting.Requests) -> Errors:
    source = config.get("source") or ""
    found: Errors = [] if source else [errors.required(f"{path}.source")]
    found += common.in_list(source or None, _SOURCES, f"{path}.source")
    return found + selecting.claim_config(config, path, known)


def _status(device: Obj, path: str, known: set[str]) -> Errors:
    found = _identity(device, path)
    if device.get("shareID") is not None:
        found += naming.share(device["shareID"], f"{path}.shareID")
    if _device(device) not in known:
        found.append(errors.invalid(path, _device(device), "must be an allocated device in the claim"))
    listed = device.get("conditions") or ()
    if len(listed) > _MOST_CONDITIONS:
        found.append(errors.too_many(f"{path}.conditions", len(listed), _MOST_CONDITIONS))
    found += conditions(listed, f"{path}.conditions")
    if device.get("data") is not None:
        found += selecting.raw(device["data"], f"{path}.data", _LONGEST_DATA)
    return found + _network(device.get("networkData") or {}, f"{path}.networkData")


def _network(data: Obj, path: str) -> Errors:
    found: Errors = []
    for key, longest in (("interfaceName", _LONGEST_INTERFACE), ("hardwareAddress", _LONGEST_HARDWARE)):
        if len((data.get(key) or "").encode()) > longest:
            found.append(errors.too_long(f"{path}.{key}", longest))
    return found + naming.each(data.get("ips") or (), _MOST_ADDRESSES, f"{path}.ips", _address, str)


def _address(text: str, path: str) -> Errors:
    """An address of an interface: with the length of its network, in canonical form."""
    try:
        address = ipaddress.ip_interface(text) if "/" in text else None
    except ValueError:
        address = None
    if address is None:
        fault = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)"
        return [errors.invalid(path, text, fault)]
    canonical = str(address)
    return [] if canonical == text else [errors.invalid(path, text, f'must be in canonical form ("{canonical}")')]


def binding(of: Obj, path: str) -> Errors:
    """Conditions that a device needs, or fails by, before it is bound: of both or of none, each once."""
    wanted, failing = of.get("bindingConditions") or [], of.get("bindingFailureConditions") or []
    if not wanted and not failing:
        return []
    at, at_failing = f"{path}.bindingConditions", f"{path}.bindingFailureConditions"
    found = naming.each(wanted, _MOST_BINDING, at, _condition) + naming.each(
        failing, _MOST_BINDING, at_failing, _condition
    )
    found += _again(wanted, at)
    needed, seen = set(wanted), set[str]()
    for index, condition in enumerate(failing):
        if condition in seen:
            found.append(errors.duplicate(f"{at_failing}[{index}]", condition))
        seen.add(condition)
        if condition in needed:
            text = "bindingFailureConditions must not overlap with bindingConditions"
            found.append(errors.invalid(f"{at_failing}[{index}]", condition, text))
    if not wanted:
        found.append(errors.invalid(at, None, "bindingConditions are required to use bindingFailureConditions"))
    if not failing:
        text = "bindingFailureConditions are required to use bindingConditions"
        found.append(errors.invalid(at_failing, None, text))
    return found


def _condition(name: Any, path: str) -> Errors:
    return common.named(names.qualified_name, name, path)


def _again(listed: Sequence[str], path: str) -> Errors:
    found: Errors = []
    seen: set[str] = set()
    for index, each in enumerate(listed):
        if each in seen:
            found.append(errors.duplicate(f"{path}[{index}]", each))
        seen.add(each)
    return found
