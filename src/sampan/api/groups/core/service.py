"""Service (v1): defaults, validation, what an update may leave out, columns.

Cluster IPs and node ports are given out by the server's allocators, not here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import errors, labels, names
from sampan.api import metadata as object_metadata
from sampan.api.groups import printing, selectable
from sampan.api.kind import Column, Kind, Subresource
from sampan.api.types import Obj
from sampan.api.validation import common
from sampan.api.validation.common import Errors

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_WITH_NODE_PORTS = ("NodePort", "LoadBalancer")
_AFFINITY_SECONDS = 10800


def _default(service: Obj) -> None:
    spec = service.setdefault("spec", {})
    if not spec.get("sessionAffinity"):
        spec["sessionAffinity"] = "None"
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP":
        client = spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {})
        if not client.get("timeoutSeconds"):
            client["timeoutSeconds"] = _AFFINITY_SECONDS
    if not spec.get("type"):
        spec["type"] = "ClusterIP"
    kind = spec["type"]
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        if not port.get("targetPort"):
            port["targetPort"] = port.get("port", 0)
    exposed = kind in _WITH_NODE_PORTS or (kind == "ClusterIP" and spec.get("externalIPs"))
    if exposed and not spec.get("externalTrafficPolicy"):
        spec["externalTrafficPolicy"] = "Cluster"
    if kind != "ExternalName" and not spec.get("internalTrafficPolicy"):
        spec["internalTrafficPolicy"] = "Cluster"
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)


def is_headless(spec: Obj) -> bool:
    addresses: list[str] = spec.get("clusterIPs") or []
    return spec.get("clusterIP") == "None" or (len(addresses) == 1 and addresses[0] == "None")


def _prepare_create(service: Obj) -> None:
    service["status"] = {"loadBalancer": {}}
    _complete_cluster_ips(service.setdefault("spec", {}), {})


def _prepare_update(new: Obj, old: Obj) -> None:
    """A client that leaves out what the server allocated keeps it; what the new type has no use for is dropped."""
    spec, before = new.setdefault("spec", {}), old.get("spec") or {}
    needs_ip, needed_ip = spec.get("type") != "ExternalName", before.get("type") != "ExternalName"
    if needs_ip and needed_ip:
        if not spec.get("clusterIP") and before.get("clusterIP"):
            spec["clusterIP"] = before["clusterIP"]
        if not spec.get("clusterIPs") and before.get("clusterIPs") and spec.get("clusterIP") == before.get("clusterIP"):
            spec["clusterIPs"] = before["clusterIPs"]
        for key in ("ipFamilies", "ipFamilyPolicy"):
            if not spec.get(key) and before.get(key):
                spec[key] = before[key]
    _complete_cluster_ips(spec, before)
    if spec.get("type") in _WITH_NODE_PORTS and before.get("type") in _WITH_NODE_PORTS:
        _keep_node_ports(spec, before)
        if not spec.get("healthCheckNodePort") and before.get("healthCheckNodePort") and wants_health_port(spec):
            spec["healthCheckNodePort"] = before["healthCheckNodePort"]
    _drop_unused(spec, before, needs_ip=needs_ip, needed_ip=needed_ip)


def _complete_cluster_ips(spec: Obj, before: Obj) -> None:
    """The plural field follows the singular one for clients that know only that."""
    one, many = spec.get("clusterIP"), spec.get("clusterIPs")
    if one and (not many or (many == before.get("clusterIPs") and one != before.get("clusterIP"))):
        spec["clusterIPs"] = [one]


def wants_health_port(spec: Obj) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def _keep_node_ports(spec: Obj, before: Obj) -> None:
    def identity(port: Obj) -> tuple[Any, ...]:
        return (port.get("protocol", "TCP"), port.get("port"))

    present = {identity(port): port.get("nodePort", 0) for port in before.get("ports") or ()}
    used = {port.get("nodePort") for port in spec.get("ports") or () if port.get("nodePort")}
    for port in spec.get("ports") or ():
        kept = present.get(identity(port))
        if not port.get("nodePort") and kept and kept not in used:
            port["nodePort"] = kept


def _drop_unused(spec: Obj, before: Obj, *, needs_ip: bool, needed_ip: bool) -> None:
    if not needs_ip and needed_ip:
        for key in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if spec.get(key) == before.get(key):
                spec.pop(key, None)
    if spec.get("type") not in _WITH_NODE_PORTS and before.get("type") in _WITH_NODE_PORTS:
        old_ports = {port.get("nodePort") for port in before.get("ports") or ()}
        for port in spec.get("ports") or ():
            if port.get("nodePort") in old_ports:
                port.pop("nodePort", None)
        if not spec.get("externalIPs"):
            spec.pop("externalTrafficPolicy", None)
    if not wants_health_port(spec) and spec.get("healthCheckNodePort") == before.get("healthCheckNodePort"):
        spec.pop("healthCheckNodePort", None)
    if spec.get("type") != "LoadBalancer" and before.get("type") == "LoadBalancer":
        for key in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
            if spec.get(key) == before.get(key):
                spec.pop(key, None)


def _ports(spec: Obj) -> Errors:
    ports = spec.get("ports") or []
    found: Errors = []
    if not ports and not is_headless(spec) and spec.get("type") != "ExternalName":
        found.append(errors.required("spec.ports"))
    seen_names: set[str] = set()
    seen: set[tuple[Any, ...]] = set()
    seen_node_ports: set[tuple[Any, ...]] = set()
    for index, port in enumerate(ports):
        path, name = f"spec.ports[{index}]", port.get("name", "")
        found += _port(port, path, spec, named=len(ports) > 1)
        if name and name in seen_names:
            found.append(errors.duplicate(f"{path}.name", name))
        seen_names.add(name)
        identity = (port.get("protocol"), port.get("port"))
        if identity in seen:
            found.append(errors.duplicate(path, {"protocol": port.get("protocol"), "port": port.get("port")}))
        seen.add(identity)
        if port.get("nodePort"):
            node_identity = (port.get("protocol"), port["nodePort"])
            if node_identity in seen_node_ports:
                found.append(errors.duplicate(f"{path}.nodePort", port["nodePort"]))
            seen_node_ports.add(node_identity)
    return found


def _port(port: Obj, path: str, spec: Obj, *, named: bool) -> Errors:
    found: Errors = []
    if not port.get("name"):
        if named:
            found.append(errors.required(f"{path}.name"))
    else:
        found += common.named(names.dns1123_label, port["name"], f"{path}.name")
    found += common.port(port.get("port", 0), f"{path}.port")
    found += common.one_of(port.get("protocol"), _PROTOCOLS, f"{path}.protocol", must=True)
    found += common.port_or_name(port.get("targetPort"), f"{path}.targetPort")
    if port.get("appProtocol"):
        found += common.named(names.qualified_name, port["appProtocol"], f"{path}.appProtocol")
    target = port.get("targetPort")
    if is_headless(spec) and isinstance(target, int) and target != port.get("port") and not spec.get("selector"):
        text = "must be equal to the value of 'port' when clusterIP = None"
        found.append(errors.invalid(f"{path}.port", target, text))
    if port.get("nodePort") and spec.get("type") in ("ClusterIP", "ExternalName"):
        text = f"may not be used when `type` is '{spec['type']}'"
        found.append(errors.forbidden(f"{path}.nodePort", text))
    return found


def _by_type(spec: Obj) -> Errors:
    found: Errors = []
    match spec.get("type"):
        case "ExternalName":
            for key in ("clusterIP", "clusterIPs"):
                if spec.get(key):
                    found.append(errors.forbidden(f"spec.{key}", "may not be set for ExternalName services"))
            name = spec.get("externalName", "").removesuffix(".")
            if name:
                found += common.named(names.dns1123_subdomain, name, "spec.externalName")
            else:
                found.append(errors.required("spec.externalName"))
        case "LoadBalancer" | "NodePort":
            if is_headless(spec):
                text = f"may not be set to 'None' for {spec['type']} services"
                found.append(errors.invalid("spec.clusterIPs[0]", "None", text))
    return found


def _cluster_ips(spec: Obj) -> Errors:
    path, one, many = "spec.clusterIPs", spec.get("clusterIP"), spec.get("clusterIPs") or []
    if not many:
        return []
    if not one:
        return [errors.invalid(path, many, "must be empty when `clusterIP` is not specified")]
    if many[0] != one:
        return [errors.invalid(path, many, "first value must match `clusterIP`")]
    if len(many) > 2:
        return [errors.invalid(path, many, "may only hold up to 2 values")]
    if len(many) == 2 and (":" in many[0]) == (":" in many[1]):
        return [errors.invalid(path, many, "may specify no more than one IP for each IP family")]
    return []


def _addresses(spec: Obj) -> Errors:
    found = _cluster_ips(spec)
    for index, address in enumerate(spec.get("clusterIPs") or ()):
        if address == "None":
            if index:
                text = "'None' must be the first and only value"
                found.append(errors.invalid(f"spec.clusterIPs[{index}]", address, text))
        else:
            found += common.named(names.ip_address, address, f"spec.clusterIPs[{index}]")
    for index, address in enumerate(spec.get("externalIPs") or ()):
        found += common.named(names.ip_address, address, f"spec.externalIPs[{index}]")
    if spec.get("loadBalancerSourceRanges"):
        if spec.get("type") != "LoadBalancer":
            text = "may only be used when `type` is 'LoadBalancer'"
            found.append(errors.forbidden("spec.LoadBalancerSourceRanges", text))
        for index, cidr in enumerate(spec["loadBalancerSourceRanges"]):
            found += common.named(names.cidr, cidr.strip(), f"spec.LoadBalancerSourceRanges[{index}]")
    return found


def _validate(service: Obj) -> Errors:
    spec = service.get("spec") or {}
    found = _ports(spec) + _by_type(spec)
    found += object_metadata.validate_labels(spec.get("selector"), "spec.selector")
    affinity = spec.get("sessionAffinity")
    found += common.one_of(affinity, ("ClientIP", "None"), "spec.sessionAffinity", must=True)
    if affinity == "ClientIP":
        seconds = ((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds", 0)
        if not 0 < seconds <= 86400:
            path = "spec.sessionAffinityConfig.clientIP.timeoutSeconds"
            found.append(errors.invalid(path, seconds, "must be greater than 0 and less than 86400"))
    found += common.one_of(spec.get("type"), _TYPES, "spec.type", must=True)
    found += _addresses(spec)
    for key in ("internalTrafficPolicy", "externalTrafficPolicy"):
        found += common.one_of(spec.get(key), ("Cluster", "Local"), f"spec.{key}")
    exposed = spec.get("type") in _WITH_NODE_PORTS or spec.get("externalIPs")
    if spec.get("externalTrafficPolicy") and not exposed:
        text = "may only be set for externally-accessible services"
        found.append(errors.invalid("spec.externalTrafficPolicy", spec["externalTrafficPolicy"], text))
    if spec.get("healthCheckNodePort") and not wants_health_port(spec):
        text = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        found.append(errors.invalid("spec.healthCheckNodePort", spec["healthCheckNodePort"], text))
    policies = ("SingleStack", "PreferDualStack", "RequireDualStack")
    found += common.one_of(spec.get("ipFamilyPolicy"), policies, "spec.ipFamilyPolicy")
    return found


def _validate_update(new: Obj, old: Obj) -> Errors:
    spec, before = new.get("spec", {}), old.get("spec", {})
    if "ExternalName" in (spec.get("type"), before.get("type")):
        return []
    primary, old_primary = spec.get("clusterIP"), before.get("clusterIP")
    if old_primary and primary != old_primary:
        text = "may not change once set" if primary else "primary clusterIP can not be unset"
        return [errors.invalid("spec.clusterIPs[0]", spec.get("clusterIPs") or [primary or ""], text)]
    return []


def _external(spec: Obj, status: Obj) -> str:
    own = list(spec.get("externalIPs") or ())
    match spec.get("type"):
        case "ExternalName":
            return str(spec.get("externalName", ""))
        case "LoadBalancer":
            ingress = (status.get("loadBalancer") or {}).get("ingress") or ()
            given = sorted({i.get("ip") or i.get("hostname", "") for i in ingress} - {""})
            return ",".join([*given, *own]) or "<pending>"
        case _:
            return ",".join(own) or printing.NONE


def _port_text(port: Obj) -> str:
    if port.get("nodePort"):
        return f"{port.get('port')}:{port['nodePort']}/{port.get('protocol', 'TCP')}"
    return f"{port.get('port')}/{port.get('protocol', 'TCP')}"


def _row(service: Obj, now: datetime) -> Sequence[Any]:
    spec = service.get("spec") or {}
    return (
        printing.name(service),
        spec.get("type", ""),
        spec.get("clusterIP") or printing.NONE,
        _external(spec, service.get("status") or {}),
        ",".join(_port_text(port) for port in spec.get("ports") or ()) or printing.NONE,
        printing.age(service, now),
        labels.format_map(spec.get("selector")),
    )


KINDS = (
    Kind(
        group="",
        version="v1",
        kind="Service",
        plural="services",
        singular="service",
        namespaced=True,
        schema="io.k8s.api.core.v1.Service",
        returns_deleted=True,
        name_check=names.dns1123_label,
        short_names=("svc",),
        categories=("all",),
        status=True,
        subresources=(
            Subresource("proxy", "ServiceProxyOptions", "", "v1", ("create", "delete", "get", "patch", "update")),
        ),
        default=_default,
        validate=_validate,
        validate_update=_validate_update,
        prepare_create=_prepare_create,
        prepare_update=_prepare_update,
        unconditional_update=False,
        columns=(
            printing.NAME,
            Column("Type"),
            Column("Cluster-IP"),
            Column("External-IP"),
            Column("Port(s)"),
            printing.AGE,
            printing.SELECTOR,
        ),
        row=_row,
        selectable_fields=selectable.fields_at("spec.clusterIP", "spec.type"),
        selectable_names=("spec.clusterIP", "spec.type"),
    ),
)
