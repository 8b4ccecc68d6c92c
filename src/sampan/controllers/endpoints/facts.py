"""What a Service and a pod have to do with each other. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence

from sampan.api.labels import Selector, from_map
from sampan.api.pods import containers
from sampan.api.pods import status as podstatus
from sampan.api.types import Obj
from sampan.client.informer import ChangeType, Informer
from sampan.client.keys import ObjectKey
from sampan.controllers.workload.selecting import Selectors, index_by_label, selected

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
HEADLESS_LABEL = "service.kubernetes.io/headless"
TRIGGER_TIME = "endpoints.kubernetes.io/last-change-trigger-time"


def has_selector(service: Obj) -> bool:
    """Whether the controllers, and not a person, fill this Service's endpoints."""
    spec = service["spec"]
    return bool(spec.get("selector")) and spec.get("type") != "ExternalName"


def selector_of(service: Obj) -> Selector:
    return from_map(service["spec"]["selector"])


def has_cluster_ip(service: Obj) -> bool:
    return service["spec"].get("clusterIP") not in (None, "", "None")


def pod_ips(pod: Obj, family: str) -> list[str]:
    status = pod.get("status", {})
    listed = [entry.get("ip", "") for entry in status.get("podIPs") or ()] or [status.get("podIP", "")]
    return [ip for ip in listed if ip and family_of(ip) == family]


def family_of(ip: str) -> str:
    """``IPv4`` or ``IPv6``; "" for what is no address."""
    try:
        return f"IPv{ipaddress.ip_address(ip).version}"
    except ValueError:
        return ""


def is_headless(service: Obj) -> bool:
    return bool(service["spec"].get("clusterIP") == "None")


def families(service: Obj) -> list[str]:
    """Of a Service that an older server stored without: its address's, or both."""
    found = [family for family in service["spec"].get("ipFamilies") or () if family in ("IPv4", "IPv6")]
    if found:
        return found
    return [family_of(service["spec"]["clusterIP"])] if has_cluster_ip(service) else ["IPv4", "IPv6"]


def hostname(pod: Obj, service: Obj) -> str:
    """The pod's own DNS name below a headless Service; only pods that name that Service have one."""
    spec = pod.get("spec", {})
    same = spec.get("subdomain") == service["metadata"]["name"]
    return str(spec.get("hostname", "")) if same else ""


def find_port(pod: Obj, port: Obj) -> int | None:
    """The pod's number for a Service port; None when the pod does not have the named port."""
    target = port.get("targetPort") or port["port"]
    return containers.find_port(pod, target, port.get("protocol") or "TCP")


def signature(pod: Obj) -> tuple[object, ...]:
    """Everything of a pod that endpoints depend on: a change of anything else needs no sync."""
    spec, status = pod.get("spec", {}), pod.get("status", {})
    return (
        pod["metadata"].get("labels"),
        podstatus.is_terminating(pod),
        podstatus.is_terminal(pod),
        podstatus.is_ready(pod),
        status.get("podIP"),
        status.get("podIPs"),
        spec.get("nodeName"),
        spec.get("hostname"),
        spec.get("subdomain"),
    )


def services(informer: Informer) -> Selectors:
    """The Services with a selector that these controllers look after, by what they select."""
    return Selectors(informer, lambda service: selector_of(service) if has_selector(service) else None)


def watch_pods(pods: Informer, selecting: Selectors, enqueue: Callable[[ObjectKey], None]) -> None:
    """Enqueues the Services whose endpoints a pod's change touches. Each Service is synced when it is seen first."""
    index_by_label(pods)

    def changed(kind: ChangeType, pod: Obj, previous: Obj | None) -> None:
        if kind == "MODIFIED" and previous is not None and signature(pod) == signature(previous):
            return
        for version in (pod,) if previous is None else (pod, previous):
            for key in selecting.matching(version):
                enqueue(key)

    pods.add_handler(changed)


def pods_of(pods: Informer, service: Obj) -> Sequence[Obj]:
    """The pods that the Service selects."""
    return selected(pods, service["metadata"]["namespace"], selector_of(service))
