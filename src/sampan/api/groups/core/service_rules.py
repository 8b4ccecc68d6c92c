"""What a Service may be, and become; in upstream's order (core/validation ``ValidateService``), with its warnings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sampan.api import errors, names
from sampan.api import metadata as object_metadata
from sampan.api.groups.core import service_addresses
from sampan.api.groups.core.service_strategy import WITH_CLUSTER_IP, is_exposed, wants_health_port
from sampan.api.types import Obj
from sampan.api.validation import addresses, common
from sampan.api.validation.common import Errors

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_TRAFFIC = ("Cluster", "Local")
_DISTRIBUTIONS = ("PreferClose", "PreferSameNode", "PreferSameZone")
_LONGEST_AFFINITY_SECONDS = 86400
_ONLY_LOAD_BALANCER = "may only be used when `type` is 'LoadBalancer'"
_HINTS = "service.kubernetes.io/topology-aware-hints"
_MODE = "service.kubernetes.io/topology-mode"
_SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"


def validate(service: Obj) -> Errors:
    return _validate(service, {})


def validate_update(new: Obj, old: Obj) -> Errors:
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    found: Errors = []
    if spec != before:
        found = service_addresses.changes(spec, before)
        if spec.get("type") == before.get("type") == "LoadBalancer":
            given = spec.get("loadBalancerClass")
            if given != before.get("loadBalancerClass"):
                found.append(errors.invalid("spec.loadBalancerClass", given, "may not change once set"))
            found += _balancer_class(spec)
        elif spec.get("loadBalancerClass") is not None:
            found += _balancer_class(spec)
        if wants_health_port(spec) and wants_health_port(before):
            port, port_before = spec.get("healthCheckNodePort", 0), before.get("healthCheckNodePort", 0)
            if port_before and port != port_before:
                found.append(errors.forbidden("spec.healthCheckNodePort", common.IMMUTABLE))
    return found + _validate(new, old)


def _validate(service: Obj, old: Obj) -> Errors:
    spec, before = service.get("spec") or {}, old.get("spec") or {}
    annotations = service.get("metadata", {}).get("annotations") or {}
    found: Errors = []
    if _MODE in annotations and annotations.get(_HINTS, annotations[_MODE]) != annotations[_MODE]:
        text = f"must match annotations[{_HINTS}] when both are specified"
        found.append(errors.invalid(f"metadata.annotations[{_MODE}]", annotations[_MODE], text))
    headless = service_addresses.is_headless(spec)
    if not spec.get("ports") and not headless and spec.get("type") != "ExternalName":
        found.append(errors.required("spec.ports"))
    found += _by_type(spec, headless=headless)
    found += _ports(spec)
    found += object_metadata.validate_labels(spec.get("selector"), "spec.selector")
    found += _affinity(spec)
    found += service_addresses.check(spec, frozenset(before.get("clusterIPs") or ()))
    if spec.get("externalIPs"):
        found += service_addresses.external(spec["externalIPs"], frozenset(before.get("externalIPs") or ()))
    found += common.one_of(spec.get("type"), _TYPES, "spec.type", must=True)
    found += _numbers(spec)
    found += _source_ranges(spec, before, annotations, old)
    found += _load_balancer(spec)
    found += _traffic(spec)
    return found


def _by_type(spec: Obj, *, headless: bool) -> Errors:
    kind = spec.get("type")
    if headless and kind in ("LoadBalancer", "NodePort"):
        return [errors.invalid("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services")]
    if kind != "ExternalName":
        return []
    found = [
        errors.forbidden(f"spec.{key}", "may not be set for ExternalName services")
        for key in ("clusterIPs", "ipFamilies", "ipFamilyPolicy")
        if spec.get(key)
    ]
    name = spec.get("externalName", "").removesuffix(".")
    if not name:
        return [*found, errors.required("spec.externalName")]
    return found + common.named(names.dns1123_subdomain, name, "spec.externalName")


def _ports(spec: Obj) -> Errors:
    ports = spec.get("ports") or ()
    found: Errors = []
    seen: set[str] = set()
    for index, port in enumerate(ports):
        path, name = f"spec.ports[{index}]", port.get("name", "")
        if name:
            found += common.named(names.dns1123_label, name, f"{path}.name")
            if name in seen:
                found.append(errors.duplicate(f"{path}.name", name))
            seen.add(name)
        elif len(ports) > 1:
            found.append(errors.required(f"{path}.name"))
        found += common.port(port.get("port", 0), f"{path}.port")
        found += common.one_of(port.get("protocol"), _PROTOCOLS, f"{path}.protocol", must=True)
        found += common.port_or_name(port.get("targetPort", 0), f"{path}.targetPort")
        if port.get("appProtocol") is not None:
            found += common.named(names.qualified_name, port["appProtocol"], f"{path}.appProtocol")
    return found


def _affinity(spec: Obj) -> Errors:
    affinity, config = spec.get("sessionAffinity"), spec.get("sessionAffinityConfig")
    path = "spec.sessionAffinityConfig"
    if affinity == "None":
        if config is None:
            return []
        return [errors.forbidden(path, "must not be set when session affinity is None")]
    if affinity != "ClientIP":
        return common.one_of(affinity, ("ClientIP", "None"), "spec.sessionAffinity", must=True)
    seconds = ((config or {}).get("clientIP") or {}).get("timeoutSeconds", 0)
    if 0 < seconds <= _LONGEST_AFFINITY_SECONDS:
        return []
    text = f"must be greater than 0 and less than {_LONGEST_AFFINITY_SECONDS}"
    return [errors.invalid(f"{path}.clientIP.timeoutSeconds", seconds, text)]


def _numbers(spec: Obj) -> Errors:
    """No node port where there can be none; no number of a node port or a port twice with the same protocol."""
    ports = spec.get("ports") or ()
    found: Errors = []
    if spec.get("type") == "ClusterIP":
        text = "may not be used when `type` is 'ClusterIP'"
        found += [
            errors.forbidden(f"spec.ports[{i}].nodePort", text) for i, port in enumerate(ports) if port.get("nodePort")
        ]
    seen: set[tuple[str, str, int]] = set()
    for index, port in enumerate(ports):
        if number := port.get("nodePort"):
            key = ("node", port.get("protocol", ""), number)
            if key in seen:
                found.append(errors.duplicate(f"spec.ports[{index}].nodePort", number))
            seen.add(key)
    for index, port in enumerate(ports):
        key = ("", port.get("protocol", ""), port.get("port", 0))
        if key in seen:
            found.append(errors.duplicate(f"spec.ports[{index}]", _go_port(port)))
        seen.add(key)
    return found


def _go_port(port: Obj) -> Obj:
    """What upstream shows of a port that is there twice: its own struct, with the two fields that count."""
    return {
        "Name": "", "Protocol": port.get("protocol", ""), "AppProtocol": None, "Port": port.get("port", 0),
        "TargetPort": 0, "NodePort": 0,
    }  # fmt: skip


def _source_ranges(spec: Obj, before: Obj, annotations: Obj, old: Obj) -> Errors:
    ranges, path = spec.get("loadBalancerSourceRanges"), "spec.LoadBalancerSourceRanges"
    found: Errors = []
    if ranges:
        if spec.get("type") != "LoadBalancer":
            found.append(errors.forbidden(path, _ONLY_LOAD_BALANCER))
        known = {text.strip() for text in before.get("loadBalancerSourceRanges") or ()}
        for index, text in enumerate(ranges):
            # They may be padded: they came from an annotation once.
            found += addresses.cidr(text.strip(), f"{path}[{index}]", known)
    elif _SOURCE_RANGES in annotations:
        path = f"metadata.annotations[{_SOURCE_RANGES}]"
        if spec.get("type") != "LoadBalancer":
            found.append(errors.forbidden(path, _ONLY_LOAD_BALANCER))
        written = annotations[_SOURCE_RANGES]
        if written.strip() and (old.get("metadata", {}).get("annotations") or {}).get(_SOURCE_RANGES) != written:
            for text in written.strip().split(","):
                found += addresses.cidr(text.strip(), path)
    return found


def _balancer_class(spec: Obj) -> Errors:
    name, path = spec.get("loadBalancerClass"), "spec.loadBalancerClass"
    if name is None:
        return []
    if spec.get("type") != "LoadBalancer":
        return [errors.forbidden(path, _ONLY_LOAD_BALANCER)]
    return common.named(names.qualified_name, name, path)


def _load_balancer(spec: Obj) -> Errors:
    found: Errors = []
    allocate = spec.get("allocateLoadBalancerNodePorts")
    if spec.get("type") == "LoadBalancer":
        if allocate is None:
            found.append(errors.required("allocateLoadBalancerNodePorts"))
    elif allocate is not None:
        found.append(errors.forbidden("spec.allocateLoadBalancerNodePorts", _ONLY_LOAD_BALANCER))
    return found + _balancer_class(spec)


def _traffic(spec: Obj) -> Errors:
    found: Errors = []
    outside, inside = spec.get("externalTrafficPolicy"), spec.get("internalTrafficPolicy")
    if is_exposed(spec):
        found += common.one_of(outside, _TRAFFIC, "spec.externalTrafficPolicy", must=True)
    elif outside:
        text = "may only be set for externally-accessible services"
        found.append(errors.invalid("spec.externalTrafficPolicy", outside, text))
    # Where it is needed and absent it is allocated: that comes after this.
    if number := spec.get("healthCheckNodePort"):
        if wants_health_port(spec):
            found += common.port(number, "spec.healthCheckNodePort")
        else:
            text = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
            found.append(errors.invalid("spec.healthCheckNodePort", number, text))
    if inside is None:
        if spec.get("type") in WITH_CLUSTER_IP:
            found.append(errors.required("spec.internalTrafficPolicy"))
    elif inside not in _TRAFFIC:
        found.append(errors.not_supported("spec.internalTrafficPolicy", inside, _TRAFFIC))
    distribution = spec.get("trafficDistribution")
    if distribution is not None and distribution not in _DISTRIBUTIONS:
        found.append(errors.not_supported("spec.trafficDistribution", distribution, _DISTRIBUTIONS))
    return found


def validate_status(new: Obj, old: Obj) -> Errors:
    points: list[Obj] = ((new.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    path = "status.loadBalancer.ingress"
    if points and (new.get("spec") or {}).get("type") != "LoadBalancer":
        return [errors.forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'")]
    before = ((old.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    known = {point["ip"] for point in before if point.get("ip")}
    return [fault for i, point in enumerate(points) for fault in _point(point, f"{path}[{i}]", known)]


def _point(point: Obj, path: str, known: set[str]) -> Errors:
    ip, mode, host = point.get("ip", ""), point.get("ipMode"), point.get("hostname", "")
    found = addresses.ip(ip, f"{path}.ip", known) if ip else []
    if ip and mode is None:
        found.append(errors.required(f"{path}.ipMode", "must be specified when `ip` is set"))
    elif mode is not None and not ip:
        found.append(errors.forbidden(f"{path}.ipMode", "may not be specified when `ip` is not set"))
    elif mode is not None and mode not in ("Proxy", "VIP"):
        found.append(errors.not_supported(f"{path}.ipMode", mode, ("Proxy", "VIP")))
    if host:
        found += common.named(names.dns1123_subdomain, host, f"{path}.hostname")
        found += addresses.host_name(host, f"{path}.hostname")
    return found


def warnings(new: Obj, old: Obj | None) -> Sequence[str]:
    spec: dict[str, Any] = new.get("spec") or {}
    found: list[str] = []
    if _HINTS in (new.get("metadata", {}).get("annotations") or {}):
        found.append(f"annotation {_HINTS} is deprecated, please use {_MODE} instead")
    return [*found, *service_addresses.warnings(spec), *_unused(spec)]


def _unused(spec: Obj) -> list[str]:
    found: list[str] = []
    if spec.get("type") == "ExternalName":
        if spec.get("externalIPs"):
            found.append('spec.externalIPs is ignored when spec.type is "ExternalName"')
    elif spec.get("externalName"):
        found.append('spec.externalName is ignored when spec.type is not "ExternalName"')
    if spec.get("trafficDistribution") == "PreferClose":
        found.append('spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"')
    return found
