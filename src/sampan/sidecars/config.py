"""What a sidecar is told on its command line, and what it has learned from its driver at the start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Final

from sampan.api.types import Obj
from sampan.csi.client import DriverClient
from sampan.records import dataclass

PROVISIONER, RESIZER, SNAPSHOTTER, ATTACHER = "provisioner", "resizer", "snapshotter", "attacher"
MONITOR: Final = "health-monitor"
ROLES: Final = (PROVISIONER, RESIZER, SNAPSHOTTER, ATTACHER, MONITOR)
#: classes and claims have a volume that is made for them named so before their UID
VOLUME_PREFIX: Final = "pvc"
SNAPSHOT_PREFIX: Final = "snapshot"


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarConfig:
    """``node``: this one's name, when each node has its own sidecar and driver (``--node-deployment``); "": one for
    all. ``owner``: what CSIStorageCapacity objects belong to, ``namespace`` where they are."""

    roles: frozenset[str] = frozenset(ROLES)
    timeout_seconds: float = 10.0
    workers: int = 10
    volume_prefix: str = VOLUME_PREFIX
    snapshot_prefix: str = SNAPSHOT_PREFIX
    default_filesystem: str = ""
    extra_metadata: bool = False
    extra_modify_metadata: bool = False
    attributes_classes: bool = True
    topology: bool = True
    strict_topology: bool = False
    capacity: bool = False
    capacity_seconds: float = 60.0
    monitor_seconds: float = 60.0
    list_seconds: float = 300.0
    node: str = ""
    namespace: str = "default"
    owner: Obj = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Driver:
    """``services``: what the plug-in can (``CONTROLLER_SERVICE`` ...), ``controller``: which calls it has."""

    name: str
    client: DriverClient
    services: frozenset[str]
    controller: frozenset[str]

    @property
    def topology(self) -> bool:
        return "VOLUME_ACCESSIBILITY_CONSTRAINTS" in self.services


async def learn(client: DriverClient) -> Driver:
    """Raises DriverError."""
    info = await client.plugin_info()
    services = await client.plugin_capabilities()
    calls = await client.controller_capabilities() if "CONTROLLER_SERVICE" in services else frozenset[str]()
    return Driver(info.name, client, services, calls)


def with_metadata(parameters: Mapping[str, str], extra: Mapping[str, str], *, wanted: bool) -> dict[str, str]:
    return {**parameters, **extra} if wanted else dict(parameters)
