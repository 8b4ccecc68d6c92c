"""Ingress (networking.k8s.io/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, names
from sampan.api.groups import printing
from sampan.api.kind import Column, Kind
from sampan.api.types import Obj
from sampan.api.validation import addresses, common
from sampan.api.validation.common import Errors

_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_CLASS_ANNOTATION = "kubernetes.io/ingress.class"


def _prepare_create(ingress: Obj) -> None:
    ingress["status"] = {"loadBalancer": {}}


def _host(host: str, path: str) -> Errors:
    check = names.wildcard_subdomain if "*" in host else names.dns1123_subdomain
    return common.named(check, host, path)


def _backend(backend: Obj, path: str) -> Errors:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        return [errors.invalid(path, "", "cannot set both resource and service backends")]
    if resource is not None:
        return reference(resource, f"{path}.resource")
    if service is None:
        return [errors.invalid(path, "", "resource or service backend is required")]
    name, where = service.get("name", ""), f"{path}.service"
    found = common.named(names.dns1123_label, name, f"{where}.name") if name else [errors.required(f"{where}.name")]
    port = service.get("port") or {}
    if port.get("name") and port.get("number"):
        found.append(errors.invalid(path, "", "cannot set both port name & port number"))
    elif port.get("name"):
        found += common.named(names.port_name, port["name"], f"{where}.port.name")
    elif port.get("number"):
        found += common.port(port["number"], f"{where}.port.number")
    else:
        found.append(errors.required(path, "port name or number is required"))
    return found


def reference(value: Obj, path: str) -> Errors:
    """Group, kind and name of an object of any kind; parameters of an IngressClass are such a reference too."""
    found: Errors = []
    if value.get("apiGroup") is not None:
        found += common.named(names.dns1123_subdomain, value["apiGroup"], f"{path}.apiGroup")
    for key in ("kind", "name"):
        if value.get(key):
            found += common.named(names.path_segment, value[key], f"{path}.{key}")
        else:
            found.append(errors.required(f"{path}.{key}"))
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
        for bad in ("/..", "/."):
            if text.endswith(bad):
                found.append(errors.invalid(f"{path}.path", text, f"cannot end with '{bad}'"))
    elif kind == "ImplementationSpecific":
        if text and not text.startswith("/"):
            found.append(errors.invalid(f"{path}.path", text, "must be an absolute path"))
    else:
        found.append(errors.not_supported(f"{path}.pathType", kind, _PATH_TYPES))
    return found + _backend(value.get("backend") or {}, f"{path}.backend")


def _rule_value(rule: Obj, path: str) -> Errors:
    if (http := rule.get("http")) is None:
        return []
    if not http.get("paths"):
        return [errors.required(f"{path}.http.paths")]
    return [fault for i, value in enumerate(http["paths"]) for fault in _path(value, f"{path}.http.paths[{i}]")]


def _is_wildcard(rule: Obj) -> bool:
    return "*" in rule.get("host", "")


def _rules(rules: list[Obj], *, lenient: bool) -> Errors:
    """``lenient``: what wildcard hosts lead to is not looked at, for it was wrong before."""
    found: Errors = []
    for index, rule in enumerate(rules):
        path, host = f"spec.rules[{index}]", rule.get("host", "")
        if host:
            found += addresses.host_name(host, f"{path}.host") + _host(host, f"{path}.host")
        if not (lenient and _is_wildcard(rule)):
            found += _rule_value(rule, path)
    return found


def _secret_name(tls: Obj) -> list[str]:
    return names.dns1123_subdomain(tls["secretName"]) if tls.get("secretName") else []


def _spec(ingress: Obj, old: Obj) -> Errors:
    spec, before = ingress.get("spec") or {}, old.get("spec") or {}
    rules, default = spec.get("rules") or [], spec.get("defaultBackend")
    found: Errors = []
    if not rules and default is None:
        found.append(errors.invalid("spec", errors.NIL, "either `defaultBackend` or `rules` must be specified"))
    if default is not None:
        found += _backend(default, "spec.defaultBackend")
    if rules:
        lenient = any(_is_wildcard(rule) and _rule_value(rule, "") for rule in before.get("rules") or ())
        found += _rules(rules, lenient=lenient)
    if spec.get("tls"):
        named = not any(map(_secret_name, before.get("tls") or ()))
        for index, tls in enumerate(spec["tls"]):
            path = f"spec.tls[{index}]"
            for position, host in enumerate(tls.get("hosts") or ()):
                found += _host(host, f"{path}.hosts[{position}]")
            if named:
                found += [errors.invalid(f"{path}.secretName", tls["secretName"], text) for text in _secret_name(tls)]
    if spec.get("ingressClassName") is not None:
        found += common.named(names.dns1123_subdomain, spec["ingressClassName"], "spec.ingressClassName")
    return found


def _annotated_class(ingress: Obj) -> str | None:
    annotations: Obj = ingress.get("metadata", {}).get("annotations") or {}
    return annotations.get(_CLASS_ANNOTATION)


def _validate(ingress: Obj) -> Errors:
    found = _spec(ingress, {})
    annotated, named = _annotated_class(ingress), (ingress.get("spec") or {}).get("ingressClassName")
    if annotated is not None and named is not None and annotated != named:
        text = "must match `ingressClassName` when both are specified"
        found.append(errors.invalid(f"annotations.{_CLASS_ANNOTATION}", annotated, text))
    return found


def _validate_status(new: Obj, old: Obj) -> Errors:
    points, before = (
        ((ingress.get("status") or {}).get("loadBalancer") or {}).get("ingress") or () for ingress in (new, old)
    )
    known = {point["ip"] for point in before if point.get("ip")}
    found: Errors = []
    for index, point in enumerate(points):
        path, host = f"status.loadBalancer.ingress[{index}]", point.get("hostname", "")
        if point.get("ip"):
            found += addresses.ip(point["ip"], f"{path}.ip", known)
        if host:
            found += common.named(names.dns1123_subdomain, host, f"{path}.hostname")
            found += addresses.host_name(host, f"{path}.hostname")
    return found


def _warnings(new: Obj, old: Obj | None) -> Sequence[str]:
    if old is not None or _annotated_class(new) is None or (new.get("spec") or {}).get("ingressClassName") is not None:
        return ()
    return (f"annotation {errors.quoted(_CLASS_ANNOTATION)} is deprecated, please use 'spec.ingressClassName' instead",)


def _hosts(rules: Sequence[Obj]) -> str:
    """The first three, and how many rules there are beyond the third, with hosts or without."""
    shown: list[str] = []
    more = False
    for rule in rules:
        more = more or len(shown) == _SHOWN_HOSTS
        if not more and rule.get("host"):
            shown.append(rule["host"])
    if not shown:
        return "*"
    return ",".join(shown) + (f" + {len(rules) - _SHOWN_HOSTS} more..." if more else "")


_SHOWN_HOSTS = 3


def _row(ingress: Obj, now: datetime) -> Sequence[Any]:
    spec, status = ingress.get("spec") or {}, ingress.get("status") or {}
    points = (status.get("loadBalancer") or {}).get("ingress") or ()
    return (
        printing.name(ingress),
        spec.get("ingressClassName", printing.NONE),
        _hosts(spec.get("rules") or ()),
        ",".join(sorted({point.get("ip") or point.get("hostname", "") for point in points} - {""})),
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
        validate_update=_spec,
        ratchets=True,
        validate_status=_validate_status,
        warnings=_warnings,
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
