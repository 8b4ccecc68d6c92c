"""Ingress (networking.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, names
from sampan.api.groups import printing
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_CLASS_ANNOTATION = "kubernetes.io/ingress.class"


def _prepare_create(ingress: Obj) -> None:
    ingress["status"] = {"loadBalancer": {}}


def _host(host: str, path: str) -> Errors:
    if not names.ip_address(host):
        return [errors.invalid(path, host, "must be a DNS name, not an IP address")]
    check = names.wildcard_subdomain if "*" in host else names.dns1123_subdomain
    return common.named(check, host, path)


def _backend(backend: Obj | None, path: str) -> Errors:
    service, resource = (backend or {}).get("service"), (backend or {}).get("resource")
    if service is None and resource is None:
        return [errors.required(path, "resource or service backend is required")]
    if service is not None and resource is not None:
        return [errors.invalid(path, "", "cannot set both resource and service backends")]
    if service is None:
        return common.needed(resource or {}, f"{path}.resource", "kind", "name")
    found: Errors = []
    if not service.get("name"):
        found.append(errors.required(f"{path}.service.name"))
    else:
        found += common.named(names.dns1035_label, service["name"], f"{path}.service.name")
    port = service.get("port") or {}
    if port.get("name") and port.get("number"):
        text = "cannot set both port name & port number"
        found.append(errors.invalid(path, "", text))
    elif port.get("name"):
        found += common.named(names.port_name, port["name"], f"{path}.service.port.name")
    elif port.get("number"):
        found += common.port(port["number"], f"{path}.service.port.number")
    else:
        found.append(errors.required(path, "port name or number is required"))
    return found


def _path(value: Obj, path: str) -> Errors:
    text, kind = value.get("path", ""), value.get("pathType")
    found: Errors = []
    if kind is None:
        return [errors.required(f"{path}.pathType", "pathType must be specified")]
    if kind in ("Exact", "Prefix"):
        if not text.startswith("/"):
            found.append(errors.invalid(f"{path}.path", text, "must be an absolute path"))
        for bad in ("//", "/./", "/../", "%2f", "%2F"):
            if bad in text:
                found.append(errors.invalid(f"{path}.path", text, f"must not contain '{bad}'"))
    elif kind == "ImplementationSpecific":
        if text and not text.startswith("/"):
            found.append(errors.invalid(f"{path}.path", text, "must be an absolute path"))
    else:
        found.append(errors.not_supported(f"{path}.pathType", kind, _PATH_TYPES))
    return found + _backend(value.get("backend"), f"{path}.backend")


def _validate(ingress: Obj) -> Errors:
    spec = ingress.get("spec") or {}
    rules, default = spec.get("rules") or [], spec.get("defaultBackend")
    found: Errors = []
    if not rules and default is None:
        found.append(errors.invalid("spec", spec, "either `defaultBackend` or `rules` must be specified"))
    if default is not None:
        found += _backend(default, "spec.defaultBackend")
    for index, rule in enumerate(rules):
        path = f"spec.rules[{index}]"
        if rule.get("host"):
            found += _host(rule["host"], f"{path}.host")
        if (http := rule.get("http")) is None:
            continue
        if not http.get("paths"):
            found.append(errors.required(f"{path}.http.paths"))
        for position, value in enumerate(http.get("paths") or ()):
            found += _path(value, f"{path}.http.paths[{position}]")
    for index, tls in enumerate(spec.get("tls") or ()):
        for position, host in enumerate(tls.get("hosts") or ()):
            found += _host(host, f"spec.tls[{index}].hosts[{position}]")
    if spec.get("ingressClassName") is not None:
        found += common.named(names.dns1123_subdomain, spec["ingressClassName"], "spec.ingressClassName")
    return found


def _row(ingress: Obj, now: datetime) -> Sequence[Any]:
    spec, status = ingress.get("spec") or {}, ingress.get("status") or {}
    annotations = ingress.get("metadata", {}).get("annotations") or {}
    hosts = [rule["host"] for rule in spec.get("rules") or () if rule.get("host")]
    points = (status.get("loadBalancer") or {}).get("ingress") or ()
    return (
        printing.name(ingress),
        spec.get("ingressClassName") or annotations.get(_CLASS_ANNOTATION) or printing.NONE,
        printing.some(hosts, empty="*"),
        ",".join(point.get("ip") or point.get("hostname", "") for point in points),
        "80, 443" if spec.get("tls") else "80",
        printing.age(ingress, now),
    )


KINDS = (
    Kind(
        group="networking.k8s.io",
        version="v1",
        kind="Ingress",
        plural="ingresses",
        singular="ingress",
        namespaced=True,
        schema="io.k8s.api.networking.v1.Ingress",
        short_names=("ing",),
        status=True,
        generation=True,
        validate=_validate,
        prepare_create=_prepare_create,
        columns=(
            printing.NAME,
            Column("Class"),
            Column("Hosts"),
            Column("Address"),
            Column("Ports"),
            printing.AGE,
        ),
        row=_row,
    ),
)
