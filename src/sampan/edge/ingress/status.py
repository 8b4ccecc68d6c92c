"""The addresses at which an Ingress is served. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sampan.api.reading import text
from sampan.api.types import Obj

_USUAL = (80, 443)


def with_address(points: Sequence[Obj], address: str, ports: tuple[int, int], nodes: Collection[str]) -> list[Obj]:
    """What ``status.loadBalancer.ingress`` is to be: this node, and those other nodes that are there already and still
    are of the cluster. Ports are told where they are not the usual ones."""
    mine: Obj = {"ip": address}
    if ports != _USUAL:
        mine["ports"] = [{"port": port, "protocol": "TCP"} for port in ports]
    others = [point for point in points if text(point, "ip") != address and text(point, "ip") in nodes]
    return sorted([*others, mine], key=lambda point: text(point, "ip"))
