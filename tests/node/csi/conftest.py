"""A node's CSI side over the real API server in this process, and drivers on real sockets."""

from __future__ import annotations

import asyncio
import base64
import os
import random
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from csi_faults import DRIVER, FaultyDriver, Registrar, serve_driver

from sampan.api.clock import SystemClock
from sampan.api.resources import (
    CSI_DRIVERS,
    NAMESPACES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    SECRETS,
    SERVICE_ACCOUNTS,
    VOLUME_ATTACHMENTS,
)  # fmt: skip
from sampan.api.storage.attachments import attachment_name, unique_name
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.csi.server import serve
from sampan.node.env.objects import ClientObjects
from sampan.node.plugins.registry import PluginRegistry
from sampan.node.volumes.csi.node import CsiNode
from sampan.node.volumes.manager import VolumeManager
from sampan.node.volumes.mount import LinuxMounter
from sampan.node.volumes.plugins import BUILT_IN
from sampan.node.volumes.tokens import ClientTokens
from sampan.testing.api import Api

NODE = "n1"
_THREADS_SECONDS = 30


class Reports:
    """The Node's status, reported whenever somebody asks."""

    def __init__(self) -> None:
        self.node: Obj = {}
        self.names: Any = list

    def look(self) -> None:
        self.node = {"status": {"volumesInUse": self.names()}}


class Events:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str, str]] = []

    def event(self, about: Obj, kind: str, reason: str, message: str) -> None:
        self.seen.append((about["metadata"]["name"], kind, reason, message))


class Bench:
    def __init__(self, api: Api, root: Path) -> None:
        self.api, self.admin, self.root = api, api.client, root
        self.reports, self.events = Reports(), Events()
        self._tasks: list[asyncio.Task[Any]] = []
        self._servers: list[Any] = []
        self._threads = set(threading.enumerate())
        self.start()

    def start(self, *, registering: bool = True) -> None:
        """An agent that knows what is on disk, and nothing else."""
        client = self.api.client_for_node(NODE)
        chance, clock = random.Random(1), SystemClock()
        self.csi = CsiNode(self.root, NODE, client, clock, chance, self.events, self.reports)
        self.reports.names = self.csi.in_use.names
        self.objects = ClientObjects(client, chance)
        plugins = {**BUILT_IN, "csi": self.csi.plugin}
        self.volumes = VolumeManager(
            self.root, self.objects, ClientTokens(client, clock), clock, mounter=LinuxMounter(), plugins=plugins
        )
        registry = PluginRegistry(self.root / "plugins_registry", {"CSIPlugin": self.csi.handler})
        for work in (self.csi.run(), self.objects.run(), self.volumes.run()):
            self._tasks.append(tasks.detach(work, "part of the node"))
        self._registry = registry
        if registering:
            self.begin_registering()

    def begin_registering(self) -> None:
        """From here on drivers are found by their sockets."""
        self._tasks.append(tasks.detach(self._registry.run(), "part of the node"))

    async def stop(self) -> None:
        await tasks.cancel_and_wait(*self._tasks)
        self._tasks.clear()

    async def restart(self, *, registering: bool = True) -> None:
        await self.stop()
        self.start(registering=registering)

    async def close(self) -> None:
        await self.stop()
        for server in self._servers:
            await server.stop(None)
        # What a thread has begun goes on when its agent has ended, and may make a folder below ``root``.
        for thread in set(threading.enumerate()) - self._threads:
            if not thread.name.startswith("volumes "):
                continue
            await asyncio.to_thread(thread.join, _THREADS_SECONDS)
            assert not thread.is_alive(), f"{thread.name} does not end"

    async def serve(self, driver: FaultyDriver) -> None:
        """The driver, and no registrar."""
        self._servers.append(await serve_driver(driver, self.root / "plugins" / driver.name / "csi.sock"))

    async def announce(self, registrar: Any, name: str = "reg.sock") -> Any:
        """The registrar's server."""
        folder = self.root / "plugins_registry"
        folder.mkdir(exist_ok=True, parents=True)
        server = await serve(str(folder / name), registrar)
        self._servers.append(server)
        return server

    async def register(self, driver: FaultyDriver) -> Registrar:
        await self.serve(driver)
        registrar = Registrar(f"/var/lib/kubelet/plugins/{driver.name}/csi.sock", driver.name)
        await self.announce(registrar, f"{driver.name}-reg.sock")
        status = await registrar.told.get()
        assert status.plugin_registered, status.error
        return registrar

    async def add_csi_driver(self, name: str = DRIVER, **spec: Any) -> None:
        body = {"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": name}, "spec": spec}
        await self.admin.create(CSI_DRIVERS, body)

    async def add_secret(self, name: str, **data: str) -> None:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": encoded}
        await self.admin.create(SECRETS, body, "ns")

    async def add_volume(self, name: str, driver: str = DRIVER, modes: Any = ("ReadWriteOnce",), **more: Any) -> None:
        """A PersistentVolume with the handle ``h-<name>``, and the claim ``name`` that is bound to it."""
        source = {"driver": driver, "volumeHandle": f"h-{name}", **more.pop("csi", {})}
        claim: Obj = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name},
            "spec": {
                "accessModes": list(modes),
                "volumeName": f"pv-{name}",
                "storageClassName": "",
                "resources": {"requests": {"storage": "1Gi"}},
                **({"volumeMode": more["volumeMode"]} if "volumeMode" in more else {}),
            },
        }
        made = await self.admin.create(PERSISTENT_VOLUME_CLAIMS, claim, "ns")
        status = {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": list(modes)}
        await self.admin.patch(PERSISTENT_VOLUME_CLAIMS, name, {"status": status}, "ns", subresource="status")
        meta = made["metadata"]
        reference = {"kind": "PersistentVolumeClaim", "namespace": "ns", "name": name, "uid": meta["uid"]}
        spec = {
            "accessModes": list(modes),
            "capacity": {"storage": "1Gi"},
            "csi": source,
            "claimRef": reference,
            **more,
        }
        body = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"pv-{name}"}, "spec": spec}
        await self.admin.create(PERSISTENT_VOLUMES, body)

    async def attach(self, name: str, **metadata: str) -> None:
        attachment = attachment_name(f"h-{name}", DRIVER, NODE)
        source = {"persistentVolumeName": f"pv-{name}"}
        spec = {"attacher": DRIVER, "nodeName": NODE, "source": source}
        body = {
            "apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment", "metadata": {"name": attachment},
            "spec": spec,
        }  # fmt: skip
        await self.admin.create(VOLUME_ATTACHMENTS, body)
        status = {"attached": True, "attachmentMetadata": metadata}
        await self.admin.patch(VOLUME_ATTACHMENTS, attachment, {"status": status}, subresource="status")
        attached = [{"name": unique_name(DRIVER, f"h-{name}"), "devicePath": ""}]
        await self.admin.patch(NODES, NODE, {"status": {"volumesAttached": attached}}, subresource="status")

    async def pod(self, name: str, *volumes: Obj, **spec: Any) -> Obj:
        """As the scheduler left it: on this node."""
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {
                "nodeName": NODE,
                "serviceAccountName": "builder",
                "automountServiceAccountToken": False,
                "containers": [{"name": "c", "image": "i"}],
                "volumes": list(volumes),
                **spec,
            },
        }
        return await self.admin.create(PODS, body, "ns")

    async def mount(self, pod: Obj) -> dict[str, Path]:
        return {name: found.host_path for name, found in (await self.volumes.mount_pod(pod)).items()}

    async def unmount(self, pod: Obj) -> None:
        await self.volumes.unmount_pod(pod["metadata"]["uid"])

    def left(self) -> list[Path]:
        """Of volumes, on disk."""
        staged = self.root / "plugins/kubernetes.io/csi"
        shared = [path for path in staged.glob("*/*") if path.parent.name != "volumeDevices"]
        return [*(self.root / "pods").glob("*"), *shared, *staged.glob("volumeDevices/*/*/*")]


def claim(name: str, **more: Any) -> Obj:
    return {"name": "data", "persistentVolumeClaim": {"claimName": name, **more}}


@pytest.fixture
async def bench(api: Api) -> AsyncIterator[Bench]:
    root = Path(tempfile.mkdtemp(prefix="csi-"))  # a socket's path is short
    (root / "pods").mkdir()
    await api.client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ns"}})
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "builder"}}
    await api.client.create(SERVICE_ACCOUNTS, account, "ns")
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": {"zone": "z1"}}}
    await api.client.create(NODES, node)
    made = Bench(api, root)
    yield made
    await made.close()
    if os.geteuid() == 0:
        for point in LinuxMounter().mounts_below(root):
            LinuxMounter().unmount(point)
    shutil.rmtree(root)
