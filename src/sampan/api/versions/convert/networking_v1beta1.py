"""Ingress of networking.k8s.io/v1beta1 (and extensions/v1beta1) and networking.k8s.io/v1.

A back end was a Service's name and port, the default one was called ``backend``, and paths had no type of their own.
Upstream: ``pkg/apis/networking/v1beta1/{conversion,defaults}.go``, last served by 1.21.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sampan.api.types import Obj
from sampan.api.versions.convert.parts import part, parts, rename


def default_ingress(ingress: Obj) -> None:
    for path in _paths(ingress):
        if path.get("pathType") is None:
            path["pathType"] = "ImplementationSpecific"


def to_ingress(ingress: Obj) -> Obj:
    spec = part(ingress, "spec")
    rename(spec, "backend", "defaultBackend")
    _each_backend(ingress, "defaultBackend", _to_backend)
    return ingress


def from_ingress(ingress: Obj) -> Obj:
    spec = part(ingress, "spec")
    rename(spec, "defaultBackend", "backend")
    _each_backend(ingress, "backend", _from_backend)
    return ingress


def _paths(ingress: Obj) -> list[Obj]:
    rules = parts(part(ingress, "spec"), "rules")
    return [path for rule in rules for path in parts(part(rule, "http"), "paths")]


def _each_backend(ingress: Obj, default: str, change: Callable[[Obj], None]) -> None:
    holders = [(part(ingress, "spec"), default), *((path, "backend") for path in _paths(ingress))]
    for holder, key in holders:
        backend = holder.get(key)
        if isinstance(backend, dict):
            change(backend)


def _to_backend(backend: Obj) -> None:
    name, port = backend.pop("serviceName", ""), backend.pop("servicePort", None)
    if not name and port in (None, 0):
        return
    service: Obj = {"name": name} if name else {"name": ""}
    if isinstance(port, str):
        service["port"] = {"name": port}
    elif port:
        service["port"] = {"number": port}
    backend["service"] = service


def _from_backend(backend: Obj) -> None:
    service: Any = backend.pop("service", None)
    if not isinstance(service, dict):
        backend.setdefault("servicePort", 0)
        return
    if service.get("name"):
        backend["serviceName"] = service["name"]
    port = part(service, "port")
    backend["servicePort"] = port.get("name") or port.get("number") or 0
