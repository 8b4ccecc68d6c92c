"""What every pod worker shares: the node's collaborators in one value, and the error each may raise for a pod."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import field
from typing import Any, Protocol, TypeAlias

from sampan.api.clock import Clock
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.node import runtime
from sampan.node.config import NodeConfig
from sampan.node.devices.interface import Devices, NoDevices
from sampan.node.env.fields import PodFacts
from sampan.node.env.sources import ObjectRef, ObjectSource
from sampan.node.host import Host
from sampan.node.images.manager import ImageManager
from sampan.node.pods.render import HostDns
from sampan.node.pods.resizing import Verdict
from sampan.node.pods.swap import Swap
from sampan.node.runtime import Features
from sampan.records import dataclass


class Recorder(Protocol):
    """The part of ``sampan.client.events.EventRecorder`` that is used."""

    def event(self, about: Obj, kind: Any, reason: str, message: str, *, field_path: str = "") -> None: ...


class NetworkUnready(Exception):
    """A pod's network is not as it has to be before anything runs in it. The message is for its Event."""


NetworkReady: TypeAlias = Callable[[Obj, tuple[str, ...]], Awaitable[None]]


async def open_network(pod: Obj, addresses: tuple[str, ...]) -> None:
    """Nobody restricts it."""


class Volumes(Protocol):
    """The volumes of this node's pods: ``sampan.node.volumes.manager.VolumeManager``, or its twin in memory,
    ``sampan.node.simulated_volumes``. Raises VolumeError."""

    async def mount_pod(self, pod: Obj, facts: PodFacts | None = None) -> Mapping[str, Any]: ...
    async def container_mounts(
        self, pod: Obj, container: Obj, mounted: Any, environment: Mapping[str, str] | None = None
    ) -> list[runtime.Mount]: ...
    async def unmount_pod(self, uid: str) -> None: ...
    async def cleanup_orphans(self, known_uids: Collection[str]) -> list[str]: ...
    def pod_changed(self, pod: Obj) -> None: ...
    def object_changed(self, ref: ObjectRef) -> None: ...
    async def run(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeContext:
    config: NodeConfig
    client: Client
    runtime: runtime.Runtime
    clock: Clock
    images: ImageManager
    volumes: Volumes
    objects: ObjectSource
    recorder: Recorder
    host: Host
    devices: Devices = field(default_factory=NoDevices)
    host_dns: HostDns
    #: The Services whose variables containers get.
    services: Callable[[], Iterable[Obj]] = field(default=lambda: ())
    allocatable: Mapping[str, str] = field(default_factory=dict)
    memory_capacity_bytes: int = 0
    #: The machine has cgroup v2.
    unified_cgroups: bool = False
    #: How the machine swaps; None: its kernel bounds no container's swap.
    swap: Swap | None = None
    #: The processors of a container that begins, by its pod's uid and its name; "": those of its pod.
    cpus: Callable[[str, str], str] = field(default=lambda uid, name: "")
    #: The NUMA nodes that its memory comes from, likewise.
    memory_nodes: Callable[[str, str], str] = field(default=lambda uid, name: "")
    #: Resources of huge pages that containers are held to.
    page_sizes: tuple[str, ...] = ()
    #: What the runtime can do, as it said last.
    features: Callable[[], Features] = field(default=Features)
    #: Asks the node to promise a pod the resources that it wants now; why not.
    weigh_resize: Callable[[Obj], Verdict | None] = field(default=lambda pod: None)
    #: Told when a pod has ended, whose resources others may have.
    room_made: Callable[[], None] = field(default=lambda: None)
    #: Returns when a pod that has these addresses may begin: what policies demand is in force. Raises NetworkUnready.
    network_ready: NetworkReady = field(default=open_network)
    #: Bounds how many pods are being started at the same time.
    starts: asyncio.Semaphore

    def facts(self, pod_ips: tuple[str, ...] = ()) -> PodFacts:
        return PodFacts(pod_ips, self.config.addresses, self.allocatable)
