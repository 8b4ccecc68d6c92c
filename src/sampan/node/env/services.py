"""The variables that tell a container of the Services around it (Docker-links style; upstream pkg/kubelet/envvars).

Pure. Headless Services and those without a cluster IP have no variables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address, ip_address

from sampan.api.types import Obj

#: the Service of the API server, which every pod is told of, links or no links
MASTER_SERVICE = ("default", "kubernetes")


def visible_services(pod: Obj, services: Iterable[Obj]) -> dict[str, Obj]:
    """By name: those of the pod's namespace (unless ``enableServiceLinks`` is false) and ``default/kubernetes``.

    A Service of the pod's own namespace wins over the master service of the same name.
    """
    namespace = pod["metadata"]["namespace"]
    links = pod["spec"].get("enableServiceLinks", True)
    chosen: dict[str, Obj] = {}
    for service in services:
        meta = service["metadata"]
        if not _has_cluster_ip(service):
            continue
        own = meta["namespace"] == namespace and links
        master = (meta["namespace"], meta["name"]) == MASTER_SERVICE
        if own or (master and meta["name"] not in chosen):
            chosen[meta["name"]] = service
    return chosen


def service_variables(services: Mapping[str, Obj]) -> dict[str, str]:
    variables: dict[str, str] = {}
    for name in sorted(services):
        variables.update(_of_one(name, services[name]["spec"]))
    return variables


def _of_one(name: str, spec: Obj) -> dict[str, str]:
    prefix = name.upper().replace("-", "_")
    address = spec["clusterIP"]
    ports = spec.get("ports") or []
    if not ports:
        return {}
    out = {f"{prefix}_SERVICE_HOST": address, f"{prefix}_SERVICE_PORT": str(ports[0]["port"])}
    for port in ports:
        if port.get("name"):
            out[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
    bracketed = f"[{address}]" if isinstance(ip_address(address), IPv6Address) else address
    for index, port in enumerate(ports):
        protocol = port.get("protocol") or "TCP"
        url = f"{protocol.lower()}://{bracketed}:{port['port']}"
        if index == 0:
            out[f"{prefix}_PORT"] = url
        base = f"{prefix}_PORT_{port['port']}_{protocol.upper()}"
        out[base] = url
        out[f"{base}_PROTO"] = protocol.lower()
        out[f"{base}_PORT"] = str(port["port"])
        out[f"{base}_ADDR"] = address
    return out


def _has_cluster_ip(service: Obj) -> bool:
    return (service.get("spec") or {}).get("clusterIP", "") not in ("", "None")
