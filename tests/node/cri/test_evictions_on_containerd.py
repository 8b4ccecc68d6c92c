"""Pods that take too much of a real node, each in its own way: the right one goes, the others and the node go on.

The node's file system is a small tmpfs, so that a pod can fill it; that memory is short is said for as long as the
pod is there that uses most of it, so that nobody has to use it up. The node looks when the test lets it: what it does
while somebody takes too much can be seen before it acts on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sampan.api.clock import SystemClock, SystemRandom
from sampan.api.errors import AlreadyExists
from sampan.api.resources import EVENTS, LEASES, NODES, PODS, SERVICE_ACCOUNTS
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.node import runtime
from sampan.node.agent import NodeAgent
from sampan.node.cgroups.manager import remove_all
from sampan.node.config import NodeConfig
from sampan.node.eviction.meter import Meter, PodDisk, Readings
from sampan.node.host import Load
from sampan.node.host_linux import LinuxHost
from sampan.node.thresholds import parse_thresholds
from sampan.node.volumes import layout
from sampan.server.app import Server
from sampan.server.config import ServerConfig

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(240),
    pytest.mark.parametrize("bench", ["containerd"], indirect=True),
]

ROOT = f"sampan-evictions-{os.getpid()}"
MIB = 1 << 20
DISK_MIB, INODES = 64, 8192
FILLERS = {
    "filler": "head -c 40m /dev/zero >/scratch/file",
    "files": "i=0; while [ $i -lt 5000 ]; do : >/scratch/$i; i=$((i+1)); done",
}
PROCESSES = 20
#: ends whenever it cannot begin another, and is begun again: at its limit for ever
BOMB = "while true; do (while true; do sleep 1000 & done) 2>/dev/null; done"
THRESHOLDS = parse_thresholds({"memory.available": "100Mi", "nodefs.available": "50%", "nodefs.inodesFree": "50%"})


class Waiting:
    """Measures as another meter does; the machine only when it may."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.may = asyncio.Event()
        self.may.set()

    async def read(self, image_mount: str) -> Readings:
        await self.may.wait()
        return await self._meter.read(image_mount)

    async def pod(self, pod: Obj, *, files: bool = True) -> PodDisk:
        return await self._meter.pod(pod, files=files)


class Pressed(LinuxHost):
    """The real machine, but for how much of its memory is left."""

    is_short: Callable[[], bool] = staticmethod(lambda: False)

    def __init__(self, config: NodeConfig) -> None:
        super().__init__(config)
        self.waiting = Waiting(self.meter)
        self.meter = self.waiting  # type: ignore[assignment]

    def load(self) -> Load:
        found = super().load()
        return replace(found, memory_available_bytes=MIB) if self.is_short() else found


class Place:
    def __init__(self, bench: Any, admin: Client, host: Pressed, root: Path) -> None:
        self.bench, self.admin, self.host, self.root = bench, admin, host, root

    async def create(
        self, name: str, script: str, *, resources: Obj | None = None, size_limit: str = "", **more: Any
    ) -> None:
        scratch: Obj = {"name": "scratch", "emptyDir": {"sizeLimit": size_limit} if size_limit else {}}
        container = {
            "name": "main", "image": self.bench.image, "command": ["sh", "-c", f"{script}; sleep 1000"],
            "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}], "resources": resources or {}, **more,
        }  # fmt: skip
        spec = {
            "nodeName": "n1", "automountServiceAccountToken": False, "containers": [container], "volumes": [scratch],
            "restartPolicy": "Never",
        }  # fmt: skip
        meta = {"name": name, "namespace": "default"}
        await self.admin.create(PODS, {"kind": "Pod", "apiVersion": "v1", "metadata": meta, "spec": spec})

    async def pod(self, name: str) -> Obj:
        found: Obj = await self.admin.get(PODS, name, "default")
        return found

    async def scratch(self, name: str) -> Path:
        uid = (await self.pod(name))["metadata"]["uid"]
        return layout.volume_directory(self.root, uid, "kubernetes.io~empty-dir", "scratch")

    async def let_go(self, name: str) -> None:
        await asyncio.to_thread(((await self.scratch(name)) / "go").touch)

    @contextlib.asynccontextmanager
    async def unseen(self) -> AsyncIterator[None]:
        """The node acts on nothing meanwhile, which it would do at once."""
        self.host.waiting.may.clear()
        try:
            yield
        finally:
            self.host.waiting.may.set()

    async def answers(self) -> None:
        """The node asks a container of another pod how it is, tells that it is alive itself, and runs a command for
        whoever asks it to: each begins after this, and ends before the test's patience does."""
        probes = (await self.scratch("modest")) / "probes"

        async def signs() -> tuple[int, str]:
            lease = await self.admin.get(LEASES, "n1", "kube-node-lease")
            return await asyncio.to_thread(size, probes), lease["spec"]["renewTime"]

        asked, renewed = await signs()
        async with asyncio.timeout(90):
            # Of two more probes at least one began after the first look.
            while (now := await signs())[0] < asked + 2 or now[1] == renewed:  # noqa: ASYNC110 (a file, and a field)
                await asyncio.sleep(0.02)
            [container] = await self.bench.runtime.list_containers({runtime.POD_NAME_LABEL: "modest"})
            ran = await self.bench.runtime.exec_sync(container.id, ["echo", "here"], 60)
        assert ran.stdout == b"here\n"
        status = await self.status("modest")
        assert status["phase"] == "Running" and status["containerStatuses"][0]["restartCount"] == 0

    async def status(self, name: str) -> Obj:
        found: Obj = (await self.admin.get(PODS, name, "default")).get("status") or {}
        return found

    async def until(self, name: str, condition: Callable[[Obj], bool]) -> Obj:
        async with asyncio.timeout(90):
            while not condition(found := await self.status(name)):  # noqa: ASYNC110 (the API's watch is not the subject)
                await asyncio.sleep(0.02)
        return found

    async def running(self, name: str) -> Obj:
        return await self.until(name, lambda status: status.get("phase") == "Running")

    async def evicted(self, name: str) -> str:
        found = await self.until(name, lambda status: status.get("phase") == "Failed")
        assert found["reason"] == "Evicted", found
        return str(found["message"])

    async def node_says(self, kind: str, status: str) -> None:
        async with asyncio.timeout(90):
            while True:
                conditions = (await self.admin.get(NODES, "n1"))["status"]["conditions"]
                if any((each["type"], each["status"]) == (kind, status) for each in conditions):
                    return
                await asyncio.sleep(0.02)

    async def reasons(self) -> set[str]:
        return {each["reason"] for each in (await self.admin.list(EVENTS))["items"]}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    options = f"size={DISK_MIB}m,nr_inodes={INODES}"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", place], check=False).returncode != 0:
        pytest.skip("needs the right to mount")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
async def place(bench: Any, small_disk: Path) -> AsyncIterator[Place]:
    config = NodeConfig(
        node_name="n1", addresses=("192.0.2.1",), root_dir=small_disk / "node", log_dir=small_disk / "podlogs",
        cgroup_root=f"/{ROOT}", eviction_thresholds=THRESHOLDS, eviction_period_seconds=0.5,
        eviction_pressure_transition_seconds=1.0, pod_pids_limit=PROCESSES, lease_renew_seconds=0.5,
    )  # fmt: skip
    async with Server(ServerConfig(store="memory", listen=False)) as server:
        admin = Client(server.local_transport())
        account = {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": "default"}}
        with contextlib.suppress(AlreadyExists):
            await admin.create(SERVICE_ACCOUNTS, account, "default")
        node = Client(server.local_transport("system:node:n1", ("system:nodes",)))
        host = Pressed(config)
        agent = NodeAgent(config, node, bench.runtime, SystemClock(), SystemRandom(), host=host)
        started = asyncio.Event()
        task = asyncio.create_task(agent.run(started))
        async with asyncio.timeout(60):
            await started.wait()
        yield Place(bench, admin, host, config.root_dir)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(60):
            while not remove_all(config.cgroup_root):
                for sandbox in await bench.runtime.list_sandboxes():
                    with contextlib.suppress(runtime.RuntimeCallError):  # one is still under way
                        await bench.runtime.remove_sandbox(sandbox.id)
                await asyncio.sleep(0.02)


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def is_half_full(path: Path, resource: str) -> bool:
    found = os.statvfs(path)
    if resource == "inodes":
        return found.f_ffree * 2 < found.f_files
    return found.f_bavail * 2 < found.f_blocks


async def test_whoever_takes_too_much_goes_and_nobody_else(place: Place) -> None:
    """[sig-node] LocalStorageEviction, InodeEviction, MemoryAllocatableEviction, PIDs: each in its own limits."""
    probe = {"exec": {"command": ["sh", "-c", "printf . >>/scratch/probes"]}, "periodSeconds": 1, "timeoutSeconds": 60}
    await place.create(
        "modest", "true", resources={"requests": {"memory": "64Mi", "ephemeral-storage": "1Mi"}}, livenessProbe=probe
    )
    await place.create("scratch", "head -c 3m /dev/zero >/scratch/file", size_limit="1Mi")
    await place.create("layer", "head -c 3m /dev/zero >/file", resources={"limits": {"ephemeral-storage": "1Mi"}})
    await place.create("bomb", BOMB, resources={"limits": {"cpu": "100m"}})
    await place.create("hog", "head -c 24m /dev/zero | (tail -c 24m | sleep 1000)")
    for name, script in FILLERS.items():
        await place.create(name, f"until [ -e /scratch/go ]; do sleep 1; done; {script}")
    for name in ("modest", "hog", "bomb", *FILLERS):
        await place.running(name)

    # Limits of single pods: the node is well all the while.
    assert await place.evicted("scratch") == 'Usage of EmptyDir volume "scratch" exceeds the limit "1Mi". '
    assert await place.evicted("layer") == (
        "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. "
    )
    bomb = await place.pod("bomb")
    async with asyncio.timeout(90):
        while (await place.host.meter.pod(bomb, files=False)).processes < PROCESSES - 1:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await place.answers()
    assert (await place.host.meter.pod(bomb, files=False)).processes <= PROCESSES
    assert (await place.status("bomb"))["phase"] == "Running"
    await place.admin.delete(PODS, "bomb", "default", grace_period_seconds=0)
    # The disk is full of one pod's data, then of one pod's files.
    for name, resource in (("filler", "ephemeral-storage"), ("files", "inodes")):
        async with place.unseen():
            await place.let_go(name)
            async with asyncio.timeout(90):
                while not await asyncio.to_thread(is_half_full, place.root, resource):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            await place.answers()
            assert (await place.status(name))["phase"] == "Running"
        assert f"The node was low on resource: {resource}. Threshold quantity: " in await place.evicted(name)
    assert (await place.status("modest"))["phase"] == "Running"

    # Memory.
    hog = (await place.pod("hog"))["metadata"]["uid"]
    folder, mounts = f"{ROOT}/besteffort/pod{hog}", Path("/sys/fs/cgroup")
    async with place.unseen():
        place.host.is_short = lambda: any((mount / folder).is_dir() for mount in (mounts, mounts / "memory"))
        assert place.host.is_short()
        await place.answers()
    message = await place.evicted("hog")
    assert message.startswith("The node was low on resource: memory. Threshold quantity: 100Mi, available: 1Mi. ")
    for kind in ("MemoryPressure", "DiskPressure"):
        await place.node_says(kind, "False")
    await place.answers()
    assert {"Evicted", "EvictionThresholdMet", "NodeAllocatableEnforced"} <= (await place.reasons())
