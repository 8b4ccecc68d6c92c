"""The containers of a pod, by sort and by name, and their ports. Pure; never raises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from sampan.api.reading import flag, part, parts, text, whole
from sampan.api.types import Obj

Sort = Literal["init", "main", "ephemeral"]
FIELDS: dict[Sort, str] = {"init": "initContainers", "main": "containers", "ephemeral": "ephemeralContainers"}
STATUS_FIELDS: dict[Sort, str] = {
    "init": "initContainerStatuses",
    "main": "containerStatuses",
    "ephemeral": "ephemeralContainerStatuses",
}


class HostPort(NamedTuple):
    """``ip`` is 0.0.0.0 for every address of the node."""

    ip: str
    protocol: str
    port: int


def of_sort(pod: Obj, sort: Sort) -> list[Obj]:
    return list(parts(part(pod, "spec"), FIELDS[sort]))


def walk(pod: Obj) -> Iterator[tuple[Sort, Obj]]:
    """Every container, in the order in which they are declared: init, main, ephemeral."""
    spec = part(pod, "spec")
    for sort, field in FIELDS.items():
        for container in parts(spec, field):
            yield sort, container


def find(pod: Obj, name: str) -> tuple[Sort, Obj] | None:
    for sort, container in walk(pod):
        if container.get("name") == name:
            return sort, container
    return None


def find_status(pod: Obj, sort: Sort, name: str) -> Obj | None:
    for status in parts(part(pod, "status"), STATUS_FIELDS[sort]):
        if status.get("name") == name:
            return status
    return None


def is_sidecar(sort: Sort, container: Obj) -> bool:
    """An init container that keeps running beside the main ones (KEP-753)."""
    return sort == "init" and container.get("restartPolicy") == "Always"


def sidecars(pod: Obj) -> list[Obj]:
    return [container for container in parts(part(pod, "spec"), "initContainers") if is_sidecar("init", container)]


def long_running(pod: Obj) -> list[Obj]:
    """Main containers, then sidecars: those whose ports are open while the pod runs."""
    return [*parts(part(pod, "spec"), "containers"), *sidecars(pod)]


def is_host_network(pod: Obj) -> bool:
    return flag(part(pod, "spec"), "hostNetwork")


def host_ports(pod: Obj) -> Iterator[HostPort]:
    """Ports of the node that the pod takes."""
    for container in long_running(pod):
        for port in parts(container, "ports"):
            number = whole(port, "hostPort")
            if number:
                yield HostPort(text(port, "hostIP") or "0.0.0.0", text(port, "protocol") or "TCP", number)


def find_port(pod: Obj, target: int | str, protocol: str) -> int | None:
    """The number of a port that a Service or a probe names; None when no container declares it."""
    if type(target) is int:
        return target
    for container in long_running(pod):
        for port in parts(container, "ports"):
            if port.get("name") == target and (text(port, "protocol") or "TCP") == protocol:
                return whole(port, "containerPort")
    return None
