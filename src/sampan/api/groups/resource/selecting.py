"""What is asked of devices: classes, selectors, constraints, configuration. Spec: resource/validation (v1.37)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from sampan.api import errors
from sampan.api.groups.resource import naming, taints
from sampan.api.types import Obj
from sampan.api.validation.common import Errors

_MOST, _MOST_ALTERNATIVES = 32, 8
_LONGEST_EXPRESSION = 10 * 1024
_LONGEST_PARAMETERS = 10 * 1024
_MODES = ("All", "ExactCount")
_NAMED = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
#: of each request, the names of its alternatives
Requests = Mapping[str, frozenset[str]]


def requests_of(devices: Obj) -> Requests:
    return {
        request.get("name") or "": frozenset(each.get("name") or "" for each in request.get("firstAvailable") or ())
        for request in devices.get("requests") or ()
    }


def validate_claim(spec: Obj, path: str) -> Errors:
    """The spec of a claim, or of a template's."""
    devices, where = spec.get("devices") or {}, f"{path}.devices"
    known = requests_of(devices)
    found = naming.each(devices.get("requests") or (), _MOST, f"{where}.requests", _request, _name)
    found += naming.each(
        devices.get("constraints") or (), _MOST, f"{where}.constraints", lambda each, at: _constraint(each, at, known)
    )
    return found + naming.each(
        devices.get("config") or (), _MOST, f"{where}.config", lambda each, at: claim_config(each, at, known)
    )


def _name(item: Obj) -> str:
    return item.get("name") or ""


def _request(request: Obj, path: str) -> Errors:
    found = naming.label(request.get("name") or "", f"{path}.name")
    exactly, alternatives = request.get("exactly"), request.get("firstAvailable") or ()
    needed = "exactly one of `exactly` or `firstAvailable` is required"
    if exactly is None and not alternatives:
        return [*found, errors.required(path, needed)]
    if exactly is not None and alternatives:
        return [*found, errors.invalid(path, None, f"{needed}, but multiple fields are set")]
    if exactly is not None:
        return found + _asked(exactly, f"{path}.exactly")
    return found + naming.each(alternatives, _MOST_ALTERNATIVES, f"{path}.firstAvailable", _alternative, _name)


def _alternative(request: Obj, path: str) -> Errors:
    return naming.label(request.get("name") or "", f"{path}.name") + _asked(request, path)


def _asked(asked: Obj, path: str) -> Errors:
    found = naming.device_class(asked.get("deviceClassName") or "", f"{path}.deviceClassName")
    found += selectors(asked.get("selectors") or (), f"{path}.selectors")
    mode, count = asked.get("allocationMode") or "", asked.get("count") or 0
    if mode == "All" and count:
        text = f"must not be specified when allocationMode is '{mode}'"
        found.append(errors.invalid(f"{path}.count", count, text))
    elif mode == "ExactCount" and count <= 0:
        found.append(errors.invalid(f"{path}.count", count, "must be greater than zero"))
    elif mode not in _MODES:
        found.append(errors.not_supported(f"{path}.allocationMode", mode, _MODES))
    return found + naming.each(asked.get("tolerations") or (), None, f"{path}.tolerations", taints.toleration)


def selectors(listed: Sequence[Obj], path: str) -> Errors:
    return naming.each(listed, _MOST, path, _selector)


def _selector(selector: Obj, path: str) -> Errors:
    cel = selector.get("cel")
    if cel is None:
        return [errors.required(f"{path}.cel")]
    expression, where = cel.get("expression") or "", f"{path}.cel.expression"
    if len(expression.encode()) > _LONGEST_EXPRESSION:
        return [errors.too_long(where, _LONGEST_EXPRESSION)]
    # late: few clusters have devices
    from sampan.api.expressions import devices

    fault = devices.fault(expression)
    if fault == devices.TOO_COSTLY:
        return [errors.forbidden(where, fault)]
    return [errors.invalid(where, expression, fault)] if fault else []


def _constraint(constraint: Obj, path: str, known: Requests) -> Errors:
    found = _references(constraint, path, known)
    for key in ("matchAttribute", "distinctAttribute"):
        if constraint.get(key) is not None:
            return found + naming.fully_qualified(constraint[key], f"{path}.{key}")
    # upstream says so of none, too
    text = 'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set'
    return [*found, errors.required(path, text)]


def _references(holder: Obj, path: str, known: Requests) -> Errors:
    return naming.each(
        holder.get("requests") or (), _MOST, f"{path}.requests", lambda name, at: reference(name, at, known), str
    )


def reference(name: str, path: str, known: Requests) -> Errors:
    """To a request, or to one of its alternatives."""
    parts = name.split("/")
    if len(parts) > 2:
        return [errors.invalid(path, name, _NAMED)]
    found: Errors = []
    for part in parts:
        found += naming.label(part, path)
    if parts[0] not in known or (len(parts) == 2 and parts[1] not in known[parts[0]]):
        found.append(errors.invalid(path, name, _NAMED))
    return found


def claim_config(config: Obj, path: str, known: Requests) -> Errors:
    return _references(config, path, known) + configuration(config, path)


def configuration(config: Obj, path: str) -> Errors:
    opaque, where = config.get("opaque"), f"{path}.opaque"
    if opaque is None:
        return [errors.required(where)]
    found = naming.driver(opaque.get("driver") or "", f"{where}.driver")
    return found + raw(opaque.get("parameters"), f"{where}.parameters", _LONGEST_PARAMETERS)


def raw(value: Any, path: str, longest: int) -> Errors:
    """An object of a driver's own form."""
    if value is None:
        return [errors.required(path)]
    if len(orjson.dumps(value)) > longest:
        return [errors.too_long(path, longest)]
    return [] if isinstance(value, dict) else [errors.invalid(path, "<value omitted>", "must be a valid JSON object")]
