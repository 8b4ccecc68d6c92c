"""resource.k8s.io/v1beta1 and v1: a request for exactly these devices, and a device itself, had one level less or more.

Upstream: ``pkg/apis/resource/v1beta1/conversion.go``.
"""

from __future__ import annotations

from typing import Final

from sampan.api.types import Obj
from sampan.api.versions.convert.parts import part, parts

#: of a request, what v1 has below ``exactly``
_EXACT: Final = (
    "deviceClassName",
    "selectors",
    "allocationMode",
    "count",
    "adminAccess",
    "tolerations",
    "capacity",
    "derivedAttributes",
)


def to_resourceclaim(claim: Obj) -> Obj:
    _to_requests(part(claim, "spec"))
    return claim


def from_resourceclaim(claim: Obj) -> Obj:
    _from_requests(part(claim, "spec"))
    return claim


def to_resourceclaimtemplate(template: Obj) -> Obj:
    _to_requests(part(part(template, "spec"), "spec"))
    return template


def from_resourceclaimtemplate(template: Obj) -> Obj:
    _from_requests(part(part(template, "spec"), "spec"))
    return template


def _to_requests(spec: Obj) -> None:
    for request in parts(part(spec, "devices"), "requests"):
        exact = {key: request.pop(key) for key in _EXACT if key in request}
        if any(value not in ("", None) for value in exact.values()):
            request["exactly"] = exact


def _from_requests(spec: Obj) -> None:
    for request in parts(part(spec, "devices"), "requests"):
        exact = request.pop("exactly", None)
        if isinstance(exact, dict):
            request.update(exact)
        elif "name" in request:
            request.setdefault("deviceClassName", "")


def to_resourceslice(slice_: Obj) -> Obj:
    for device in parts(part(slice_, "spec"), "devices"):
        basic = device.pop("basic", None)
        if isinstance(basic, dict):
            device.update(basic)
    return slice_


def from_resourceslice(slice_: Obj) -> Obj:
    for device in parts(part(slice_, "spec"), "devices"):
        basic = {key: device.pop(key) for key in list(device) if key != "name"}
        device["basic"] = basic
    return slice_
