"""How fast real pods start: API server in this process, containerd below, no scheduler in between.

    python bench/pods.py [--pods 20] [--parallel 10] [--oci runc] [--store memory|sqlite]

Needs root, containerd, runc and the CNI plugins. Uses directories, a bridge and cgroups of its own, and removes them.
Prints create-to-Ready times (through the API's watch, as a user sees them), deletions, and the memory of this process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import uvloop

from sampan.api.clock import SystemClock, SystemRandom
from sampan.api.resources import PODS, SERVICE_ACCOUNTS
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.node.agent import NodeAgent
from sampan.node.cgroups.manager import remove_all
from sampan.node.config import NodeConfig
from sampan.node.images.local import DEMO_IMAGE
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.testing.containerd import private_containerd

BRIDGE = "sbench0"
CGROUP = "/sampan-bench"
NODE = "bench-node"


def pod(name: str) -> Obj:
    return {
        "kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "nodeName": NODE, "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False,
            "containers": [{
                "name": "main", "image": DEMO_IMAGE, "imagePullPolicy": "IfNotPresent",
                "command": ["httpd", "-f", "-p", "8080", "-h", "/www"],
                "readinessProbe": {"httpGet": {"path": "/", "port": 8080}},
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
            }],
        },
    }  # fmt: skip


class Follower:
    """When each pod became ready, and when it was gone, by the watch."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.ready: dict[str, asyncio.Future[float]] = {}
        self.gone: dict[str, asyncio.Future[float]] = {}

    def expect(self, name: str) -> None:
        loop = asyncio.get_running_loop()
        self.ready[name], self.gone[name] = loop.create_future(), loop.create_future()

    async def run(self) -> None:
        async with self.client.watch(PODS, "default") as events:
            async for event in events:
                name = event.object["metadata"].get("name", "")
                conditions = (event.object.get("status") or {}).get("conditions") or ()
                done = any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)
                if done and name in self.ready and not self.ready[name].done():
                    self.ready[name].set_result(time.perf_counter())
                if event.type == "DELETED" and name in self.gone and not self.gone[name].done():
                    self.gone[name].set_result(time.perf_counter())


async def start_one(client: Client, follower: Follower, name: str) -> float:
    follower.expect(name)
    began = time.perf_counter()
    await client.create(PODS, pod(name))
    async with asyncio.timeout(60):
        return await follower.ready[name] - began


async def measure(client: Client, follower: Follower, count: int, parallel: int) -> None:
    single = [await start_one(client, follower, f"one-{number}") for number in range(8)]
    print(f"one by one: p50 {statistics.median(single) * 1000:.0f} ms, max {max(single) * 1000:.0f} ms")
    gate = asyncio.Semaphore(parallel)

    async def gated(name: str) -> float:
        async with gate:
            return await start_one(client, follower, name)

    began = time.perf_counter()
    times = await asyncio.gather(*(gated(f"many-{number}") for number in range(count)))
    took = time.perf_counter() - began
    print(
        f"{count} pods, {parallel} at a time: {count / took:.1f} pods/s, "
        f"p50 {statistics.median(times) * 1000:.0f} ms, max {max(times) * 1000:.0f} ms"
    )
    began = time.perf_counter()
    await asyncio.gather(*(client.delete(PODS, name, "default") for name in follower.ready))
    async with asyncio.timeout(60):
        await asyncio.gather(*follower.gone.values())
    print(f"deleted {len(follower.gone)} pods in {time.perf_counter() - began:.2f} s")


def resident_mebibytes() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


async def main(options: argparse.Namespace) -> None:
    base = Path(tempfile.mkdtemp(prefix="sampan-bench-"))
    async with private_containerd(base, "bench", "10.99.8.0/24", bridge=BRIDGE, oci_runtime=options.oci) as containerd:
        runtime = containerd.client
        settings = ServerConfig(store=options.store, data_dir=base / "data", listen=False)
        async with Server(settings) as server:
            admin = Client(server.local_transport())
            account = {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": "default"}}
            with contextlib.suppress(Exception):
                await admin.create(SERVICE_ACCOUNTS, account, "default")
            node = Client(server.local_transport(f"system:node:{NODE}", ("system:nodes",)))
            node_config = NodeConfig(
                node_name=NODE, addresses=("192.0.2.1",), root_dir=base / "node", log_dir=base / "logs",
                cgroup_root=CGROUP, runtime_socket=str(containerd.config.socket),
            )  # fmt: skip
            agent = NodeAgent(node_config, node, runtime, SystemClock(), SystemRandom())
            started = asyncio.Event()
            running = asyncio.create_task(agent.run(started))
            follower = Follower(admin)
            following = asyncio.create_task(follower.run())
            async with asyncio.timeout(20):
                await started.wait()
            print(f"memory (server and node in one): {resident_mebibytes():.0f} MiB")
            await measure(admin, follower, options.pods, options.parallel)
            print(f"memory after: {resident_mebibytes():.0f} MiB")
            for task in (following, running):
                task.cancel()
            await asyncio.gather(following, running, return_exceptions=True)
    remove_all(CGROUP)
    shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--pods", type=int, default=20)
    parser.add_argument("--parallel", type=int, default=10)
    parser.add_argument("--oci", default="runc")
    parser.add_argument("--store", default="memory")
    uvloop.run(main(parser.parse_args()))
