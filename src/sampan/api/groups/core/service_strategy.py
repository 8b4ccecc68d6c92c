"""What a write of a Service keeps and drops besides what the client says (upstream: registry/core/service).

A client that leaves out what the server allocated keeps it; what the server filled in for one type goes with the type,
if the client did not change it too.
"""

from __future__ import annotations

from typing import Any

from sampan.api.types import Obj

WITH_CLUSTER_IP = ("ClusterIP", "NodePort", "LoadBalancer")
_DUAL = ("PreferDualStack", "RequireDualStack")
WITH_NODE_PORTS = ("NodePort", "LoadBalancer")


def is_headless(spec: Obj) -> bool:
    addresses: list[str] = spec.get("clusterIPs") or []
    return spec.get("clusterIP") == "None" or (len(addresses) == 1 and addresses[0] == "None")


def is_exposed(spec: Obj) -> bool:
    """Reached from outside the cluster (upstream: ExternallyAccessible)."""
    kind = spec.get("type")
    return kind in WITH_NODE_PORTS or (kind == "ClusterIP" and bool(spec.get("externalIPs")))


def wants_health_port(spec: Obj) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def _has_cluster_ip(spec: Obj) -> bool:
    return spec.get("type") != "ExternalName"


def _same(spec: Obj, before: Obj, *keys: str) -> bool:
    return all((spec.get(key) or None) == (before.get(key) or None) for key in keys)


def prepare_create(service: Obj) -> None:
    service["status"] = {"loadBalancer": {}}
    spec = service.setdefault("spec", {})
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]


def prepare_update(new: Obj, old: Obj) -> None:
    spec, before = new.setdefault("spec", {}), old.get("spec") or {}
    _keep_allocated(spec, before)
    _match_cluster_ips(spec, before)
    _release_second(spec, before)
    _drop_unused(spec, before)
    if spec.get("type") != "LoadBalancer" and ((new.get("status") or {}).get("loadBalancer") or {}):
        new["status"]["loadBalancer"] = {}


def _keep_allocated(spec: Obj, before: Obj) -> None:
    if _has_cluster_ip(spec) and _has_cluster_ip(before):
        for key in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if not spec.get(key) and before.get(key):
                spec[key] = before[key]
    if spec.get("type") in WITH_NODE_PORTS and before.get("type") in WITH_NODE_PORTS:
        _keep_node_ports(spec, before)
    kept = before.get("healthCheckNodePort")
    if kept and not spec.get("healthCheckNodePort") and wants_health_port(spec) and wants_health_port(before):
        spec["healthCheckNodePort"] = kept


def _node_ports(spec: Obj) -> set[Any]:
    return {port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")}


def _keep_node_ports(spec: Obj, before: Obj) -> None:
    """By the ports' names: all else of a port may have changed."""
    used = _node_ports(spec) & _node_ports(before)
    known = {port.get("name", ""): port.get("nodePort", 0) for port in before.get("ports") or ()}
    for port in spec.get("ports") or ():
        kept = known.get(port.get("name", ""), 0)
        if not port.get("nodePort") and kept and kept not in used:
            port["nodePort"] = kept


def _match_cluster_ips(spec: Obj, before: Obj) -> None:
    """The plural field follows the singular one for clients that know only that."""
    one, one_before, many = spec.get("clusterIP"), before.get("clusterIP"), spec.get("clusterIPs")
    if (one or "") == (one_before or "") or (many or []) != (before.get("clusterIPs") or []):
        return
    if one:
        spec["clusterIPs"] = [one]
    else:
        spec.pop("clusterIPs", None)


def _release_second(spec: Obj, before: Obj) -> None:
    """Whoever sets the policy to one family, and changes nothing else, means that the second one goes."""
    if spec.get("ipFamilyPolicy") == "SingleStack" and before.get("ipFamilyPolicy") in _DUAL:
        for key in ("clusterIPs", "ipFamilies"):
            if len(spec.get(key) or ()) > 1 and spec[key] == before.get(key):
                spec[key] = spec[key][:1]


def _drop_unused(spec: Obj, before: Obj) -> None:
    if _has_cluster_ip(before) and not _has_cluster_ip(spec):
        for keys in (("clusterIP", "clusterIPs"), ("ipFamilies",), ("ipFamilyPolicy",)):
            if _same(spec, before, *keys):
                _drop(spec, *keys)
    needed = before.get("type") in WITH_NODE_PORTS
    if needed and spec.get("type") not in WITH_NODE_PORTS and _node_ports(before) >= _node_ports(spec):
        for port in spec.get("ports") or ():
            port.pop("nodePort", None)
    if wants_health_port(before) and not wants_health_port(spec) and _same(spec, before, "healthCheckNodePort"):
        _drop(spec, "healthCheckNodePort")
    if before.get("type") == "LoadBalancer" and spec.get("type") != "LoadBalancer":
        for key in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
            if spec.get(key) == before.get(key):
                _drop(spec, key)
    if is_exposed(before) and not is_exposed(spec) and _same(spec, before, "externalTrafficPolicy"):
        _drop(spec, "externalTrafficPolicy")


def _drop(spec: Obj, *keys: str) -> None:
    for key in keys:
        spec.pop(key, None)
