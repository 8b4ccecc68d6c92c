"""The node's own objects: its Node (labels, addresses, capacity, conditions) and its Lease.

Used by ``sampan.node.agent``. Rendering is pure; ``NodeRegistration`` registers, renews the Lease every 10 s, and
reports status on change, at the latest every 5 minutes. It never deletes the Node and leaves taints to controllers.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import shutil
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sampan.api import quantity
from sampan.api.clock import Clock, format_micro_time, format_time
from sampan.api.errors import AlreadyExists, ApiError, Conflict, NotFound
from sampan.api.resources import LEASES, NODES
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.node import runtime
from sampan.node.config import NodeConfig
from sampan.node.images.build import go_architecture

log = logging.getLogger(__name__)

LEASE_NAMESPACE = "kube-node-lease"
KUBELET_VERSION = "v1.37.0"
_IMAGES_LIMIT = 50
_CHECK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Machine:
    cpus: int
    memory_bytes: int
    disk_bytes: int
    machine_id: str
    system_uuid: str
    boot_id: str
    kernel_version: str
    os_image: str
    architecture: str


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def read_machine(root_dir: Path) -> Machine:
    memory = 0
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            memory = int(line.split()[1]) * 1024
    release = dict(line.split("=", 1) for line in _read("/etc/os-release").splitlines() if "=" in line)
    machine_id = _read("/etc/machine-id") or _read("/var/lib/dbus/machine-id")
    return Machine(
        cpus=os.cpu_count() or 1,
        memory_bytes=memory,
        disk_bytes=shutil.disk_usage(root_dir).total,
        machine_id=machine_id,
        system_uuid=_read("/sys/class/dmi/id/product_uuid") or machine_id,
        boot_id=_read("/proc/sys/kernel/random/boot_id"),
        kernel_version=platform.release(),
        os_image=release.get("PRETTY_NAME", "Linux").strip('"'),
        architecture=go_architecture(),
    )


def render_capacity(machine: Machine, config: NodeConfig) -> Obj:
    return {
        "cpu": str(machine.cpus),
        "ephemeral-storage": f"{machine.disk_bytes // 1024}Ki",
        "hugepages-2Mi": "0",
        "memory": f"{machine.memory_bytes // 1024}Ki",
        "pods": str(config.max_pods),
    }


def render_allocatable(machine: Machine, config: NodeConfig) -> Obj:
    """Capacity less what is reserved, and less what eviction keeps free."""
    allocatable = render_capacity(machine, config)
    millis = machine.cpus * 1000 - config.reserved_millicores
    memory = machine.memory_bytes - config.reserved_memory_bytes - config.eviction_memory_available_bytes
    allocatable["cpu"] = quantity.canonical(f"{max(millis, 0)}m")
    allocatable["memory"] = f"{max(memory, 0) // 1024}Ki"
    disk = machine.disk_bytes * (100 - config.eviction_disk_available_percent) // 100
    allocatable["ephemeral-storage"] = str(disk)
    return allocatable


def render_labels(machine: Machine, config: NodeConfig) -> dict[str, str]:
    return {
        "beta.kubernetes.io/arch": machine.architecture,
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": machine.architecture,
        "kubernetes.io/hostname": config.node_name,
        "kubernetes.io/os": "linux",
        **config.labels,
    }


@dataclass(frozen=True, slots=True)
class Health:
    """What the conditions are made of."""

    not_ready: str = ""
    memory_pressure: bool = False
    disk_pressure: bool = False
    pid_pressure: bool = False


def read_health(config: NodeConfig, conditions: Sequence[runtime.RuntimeCondition]) -> Health:
    available = 0
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            available = int(line.split()[1]) * 1024
    disk = shutil.disk_usage(config.root_dir)
    words = _read("/proc/loadavg").split()
    tasks = int(words[3].partition("/")[2]) if len(words) > 3 else 0
    limit = int(_read("/proc/sys/kernel/pid_max") or 0)
    return Health(
        not_ready=describe_conditions(conditions),
        memory_pressure=0 < available < config.eviction_memory_available_bytes,
        disk_pressure=disk.free * 100 < disk.total * config.eviction_disk_available_percent,
        pid_pressure=limit > 0 and tasks > limit * 9 // 10,
    )


def describe_conditions(conditions: Sequence[runtime.RuntimeCondition]) -> str:
    """Why the runtime is not ready, in the kubelet's words; "" when it is."""
    reasons = []
    for condition in conditions:
        if condition.status:
            continue
        detail = f"{condition.type}=false reason:{condition.reason} message:{condition.message}"
        if condition.type == "NetworkReady":
            reasons.append(f"container runtime network not ready: {detail}")
        elif condition.type == "RuntimeReady":
            reasons.append(f"container runtime not ready: {detail}")
    return ", ".join(reasons)


def render_conditions(health: Health, previous: Sequence[Obj], now: datetime) -> list[Obj]:
    ready = not health.not_ready
    wanted = [
        (
            "MemoryPressure", health.memory_pressure,
            ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
            ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ),
        (
            "DiskPressure", health.disk_pressure,
            ("KubeletHasDiskPressure", "kubelet has disk pressure"),
            ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ),
        (
            "PIDPressure", health.pid_pressure,
            ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
            ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ),
        (
            "Ready", ready,
            ("KubeletReady", "kubelet is posting ready status"),
            ("KubeletNotReady", f"[{health.not_ready}]"),
        ),
    ]  # fmt: skip
    known = {item["type"]: item for item in previous}
    stamp = format_time(now)
    conditions = []
    for kind, holds, if_true, if_false in wanted:
        status = "True" if holds else "False"
        before = known.get(kind)
        same = before is not None and before.get("status") == status
        reason, message = if_true if holds else if_false
        conditions.append(
            {
                "type": kind,
                "status": status,
                "lastHeartbeatTime": stamp,
                "lastTransitionTime": before["lastTransitionTime"] if same and before is not None else stamp,
                "reason": reason,
                "message": message,
            }
        )
    return conditions


def render_status(
    machine: Machine, config: NodeConfig, version: runtime.Version, images: Sequence[runtime.Image]
) -> Obj:
    """The status without its conditions."""
    largest = sorted(images, key=lambda image: -image.size_bytes)[:_IMAGES_LIMIT]
    return {
        "addresses": [
            *({"type": "InternalIP", "address": address} for address in config.addresses),
            {"type": "Hostname", "address": config.node_name},
        ],
        "capacity": render_capacity(machine, config),
        "allocatable": render_allocatable(machine, config),
        "daemonEndpoints": {"kubeletEndpoint": {"Port": config.node_api_port}},
        "nodeInfo": {
            "architecture": machine.architecture,
            "bootID": machine.boot_id,
            "containerRuntimeVersion": f"{version.name}://{version.version}",
            "kernelVersion": machine.kernel_version,
            "kubeProxyVersion": "",
            "kubeletVersion": KUBELET_VERSION,
            "machineID": machine.machine_id,
            "operatingSystem": "linux",
            "osImage": machine.os_image,
            "systemUUID": machine.system_uuid,
        },
        "images": [
            {"names": [*image.digests, *image.tags][:5], "sizeBytes": image.size_bytes}
            for image in largest
            if image.digests or image.tags
        ],
    }


class NodeRegistration:
    def __init__(
        self,
        config: NodeConfig,
        client: Client,
        source: runtime.Runtime,
        clock: Clock,
        *,
        health: Callable[[NodeConfig, Sequence[runtime.RuntimeCondition]], Health] = read_health,
    ) -> None:
        self._config = config
        self._client = client
        self._runtime = source
        self._clock = clock
        self._health = health
        config.root_dir.mkdir(parents=True, exist_ok=True)
        self.machine = read_machine(config.root_dir)
        self.node: Obj = {}
        self._reported_at = float("-inf")

    @property
    def uid(self) -> str:
        return str(self.node.get("metadata", {}).get("uid", ""))

    async def register(self) -> None:
        """Creates or adopts the Node and reports its status. Raises ApiError, RuntimeCallError."""
        labels = render_labels(self.machine, self._config)
        node: Obj = {
            "kind": "Node",
            "apiVersion": "v1",
            "metadata": {
                "name": self._config.node_name,
                "labels": labels,
                "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
            },
            "spec": {"taints": [dict(taint) for taint in self._config.taints]} if self._config.taints else {},
            "status": await self._render(()),
        }
        try:
            self.node = await self._client.create(NODES, node)
        except AlreadyExists:
            self.node = await self._client.get(NODES, self._config.node_name)
            present = self.node["metadata"].get("labels") or {}
            if any(present.get(name) != value for name, value in labels.items()):
                patch = {"metadata": {"labels": labels}}
                self.node = await self._client.patch(NODES, self._config.node_name, patch)
        await self.report()
        await self.renew_lease()

    async def _render(self, previous: Sequence[Obj]) -> Obj:
        now = self._clock.now()
        try:
            version, images = await self._runtime.version(), await self._runtime.list_images()
            health = self._health(self._config, await self._runtime.conditions())
        except runtime.RuntimeCallError as error:
            version, images = runtime.Version("containerd", "unknown"), []
            health = Health(not_ready=f"container runtime is down: {error}")
        status = render_status(self.machine, self._config, version, images)
        status["conditions"] = render_conditions(health, previous, now)
        return status

    async def report(self) -> None:
        """Patches /status with what changed, or with a heartbeat when one is due."""
        present = self.node.get("status") or {}
        status = await self._render(present.get("conditions") or ())
        loop_time = asyncio.get_running_loop().time()
        due = loop_time - self._reported_at >= self._config.status_report_seconds
        if not due and _essence(status) == _essence(present):
            return
        known = {item["type"] for item in status["conditions"]}
        status["conditions"] += [item for item in present.get("conditions") or () if item["type"] not in known]
        self.node = await self._client.patch(
            NODES, self._config.node_name, {"status": status}, patch_type="merge", subresource="status"
        )
        self._reported_at = loop_time

    async def renew_lease(self) -> None:
        config = self._config
        spec = {
            "holderIdentity": config.node_name,
            "leaseDurationSeconds": config.lease_duration_seconds,
            "renewTime": format_micro_time(self._clock.now()),
        }
        owner = {"apiVersion": "v1", "kind": "Node", "name": config.node_name, "uid": self.uid}
        try:
            await self._client.patch(LEASES, config.node_name, {"spec": spec}, LEASE_NAMESPACE)
        except NotFound:
            lease = {
                "kind": "Lease",
                "apiVersion": "coordination.k8s.io/v1",
                "metadata": {"name": config.node_name, "namespace": LEASE_NAMESPACE, "ownerReferences": [owner]},
                "spec": spec,
            }
            await self._client.create(LEASES, lease)

    async def run(self) -> None:
        """Lease and status, until cancelled. The Node is made again should somebody delete it."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repeat(self.renew_lease, self._config.lease_renew_seconds), name="lease")
            group.create_task(self._repeat(self._report_or_register, _CHECK_SECONDS), name="node-status")

    async def _report_or_register(self) -> None:
        try:
            await self.report()
        except NotFound:
            await self.register()

    async def _repeat(self, step: Callable[[], Awaitable[None]], seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await step()
            except (ApiError, Conflict, OSError, TimeoutError) as error:
                log.warning("node %s: %s", self._config.node_name, error)


def _essence(status: Obj) -> Obj:
    """The status without its heartbeat stamps, in what this agent owns."""
    owned = ("addresses", "capacity", "allocatable", "daemonEndpoints", "nodeInfo", "images")
    kinds = ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
    essence: Obj = {key: status.get(key) or [] for key in owned}
    essence["conditions"] = {
        item["type"]: (item["status"], item.get("message"))
        for item in status.get("conditions") or ()
        if item["type"] in kinds
    }
    return essence
