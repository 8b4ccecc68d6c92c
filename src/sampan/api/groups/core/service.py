"""Service (v1): its defaults, columns and selectable fields. Its rules and strategy have modules of their own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sampan.api import labels, names
from sampan.api.groups import printing, selectable
from sampan.api.groups.core import service_rules, service_strategy
from sampan.api.kind import Column, Kind, Subresource
from sampan.api.types import Obj

_AFFINITY_SECONDS = 10800


def _default(service: Obj) -> None:
    spec = service.setdefault("spec", {})
    if not spec.get("sessionAffinity"):
        spec["sessionAffinity"] = "None"
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP":
        client = spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {})
        if client.get("timeoutSeconds") is None:
            client["timeoutSeconds"] = _AFFINITY_SECONDS
    if not spec.get("type"):
        spec["type"] = "ClusterIP"
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        if not port.get("targetPort"):
            port["targetPort"] = port.get("port", 0)
    if service_strategy.is_exposed(spec) and not spec.get("externalTrafficPolicy"):
        spec["externalTrafficPolicy"] = "Cluster"
    if spec["type"] in service_strategy.WITH_CLUSTER_IP and spec.get("internalTrafficPolicy") is None:
        spec["internalTrafficPolicy"] = "Cluster"
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
        for point in ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ():
            if point.get("ip"):
                point.setdefault("ipMode", "VIP")


def _external(spec: Obj, status: Obj) -> str:
    own = list(spec.get("externalIPs") or ())
    match spec.get("type"):
        case "ExternalName":
            return str(spec.get("externalName", ""))
        case "LoadBalancer":
            ingress = (status.get("loadBalancer") or {}).get("ingress") or ()
            given = sorted({i.get("ip") or i.get("hostname", "") for i in ingress} - {""})
            return ",".join([*given, *own]) or "<pending>"
        case "ClusterIP" | "NodePort":
            return ",".join(own) or printing.NONE
        case _:
            return printing.UNKNOWN


def _port_text(port: Obj) -> str:
    if port.get("nodePort", 0) > 0:
        return f"{port.get('port')}:{port['nodePort']}/{port.get('protocol', 'TCP')}"
    return f"{port.get('port')}/{port.get('protocol', 'TCP')}"


def _row(service: Obj, now: datetime) -> Sequence[Any]:
    spec = service.get("spec") or {}
    return (
        printing.name(service),
        spec.get("type", ""),
        next(iter(spec.get("clusterIPs") or ()), printing.NONE),
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
        validate=service_rules.validate,
        validate_update=service_rules.validate_update,
        ratchets=True,
        validate_status=service_rules.validate_status,
        warnings=service_rules.warnings,
        prepare_create=service_strategy.prepare_create,
        prepare_update=service_strategy.prepare_update,
        create_on_update=True,
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
