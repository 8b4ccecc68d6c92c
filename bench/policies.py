"""What policy of a namespace costs a create: quotas, Pod Security, neither.

    python bench/policies.py [--pods 1500] [--writers 32]

One process: an API server on SQLite (every write durable), the quota controller, and writers that call it without
sockets, so that what is compared is not drowned in TLS. Pods go in turns to a namespace without policy, to one with two
quotas (pods; cpu and memory) and to one whose labels enforce and warn of the level "restricted". "CPU" is the
process's, writers and controller in it; the ratio to the namespace without policy is what travels.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import uvloop

from sampan.api.resources import NAMESPACES, PODS, RESOURCE_QUOTAS
from sampan.client.client import Client
from sampan.client.informer import InformerFactory
from sampan.controllers.context import Context, ControllersConfig
from sampan.controllers.resourcequota.controller import ResourceQuotaController
from sampan.server.app import Server
from sampan.server.config import ServerConfig

ROUNDS = 5
HARDENED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
LABELS = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
QUOTAS = {"pods": {"pods": "1000000"}, "compute": {"requests.cpu": "100000", "requests.memory": "1000Ti"}}


def pod(name: str) -> dict[str, Any]:
    resources = {"requests": {"cpu": "10m", "memory": "16Mi"}}
    container = {"name": "c", "image": "i", "resources": resources, "securityContext": HARDENED}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container]}}


async def measure(client: Client, namespace: str, first: int, count: int, writers: int) -> tuple[float, float]:
    """Seconds of wall and of processor time for one create."""
    numbers = iter(range(first, first + count))

    async def write() -> None:
        for number in numbers:
            await client.create(PODS, pod(f"p{number}"), namespace)

    wall, cpu = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(writers):
            group.create_task(write())
    return (time.perf_counter() - wall) / count, (time.process_time() - cpu) / count


async def prepare(client: Client) -> None:
    for name in ("plain", "quotas", "security"):
        meta = {"name": name, "labels": LABELS if name == "security" else {}}
        await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
    for name, hard in QUOTAS.items():
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": {"hard": hard}}
        await client.create(RESOURCE_QUOTAS, quota, "quotas")
    for name in QUOTAS:
        while not (await client.get(RESOURCE_QUOTAS, name, "quotas")).get("status", {}).get("used"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def run(pods: int, writers: int, folder: Path) -> None:
    config = ServerConfig(
        listen=False, store="sqlite", data_dir=folder, openapi=False, disable_admission_plugins=("ServiceAccount",)
    )
    async with Server(config) as server:
        client = Client(server.local_transport())
        informers = InformerFactory(client, random=Random(1))
        context = Context(informers, lambda name: client, config.clock, Random(1), ControllersConfig())
        work = [asyncio.ensure_future(informers.run()), asyncio.ensure_future(ResourceQuotaController(context).run())]
        await prepare(client)
        rows: dict[str, list[tuple[float, float]]] = {"plain": [], "quotas": [], "security": []}
        for turn in range(ROUNDS):
            for name, found in rows.items():
                found.append(await measure(client, name, turn * pods, pods // ROUNDS, writers))
        for name, found in rows.items():
            wall, cpu = (min(each) * 1e6 for each in zip(*found, strict=True))
            base = min(each[1] for each in rows["plain"]) * 1e6
            print(f"{name:<10}{wall:>8.0f} us wall {cpu:>8.0f} us CPU   x{cpu / base:.2f}")
        used = (await client.get(RESOURCE_QUOTAS, "pods", "quotas"))["status"]["used"]
        print(f"charged: {used}")
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pods", type=int, default=1500, help="in each namespace (1500)")
    parser.add_argument("--writers", type=int, default=32, help="at once (32)")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        uvloop.run(run(options.pods, options.writers, Path(folder)))


if __name__ == "__main__":
    main()
