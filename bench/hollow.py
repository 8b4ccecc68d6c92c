"""Thousands of hollow nodes in one process: memory, processor, time to all Running, and what one pod's event costs.

    python bench/hollow.py [--nodes 2000] [--pods 20000] [--idle 60] [--profile FILE]

API server (in memory, no socket), controllers, scheduler and all node agents share one process and one event loop. The
peer, in the same process before any node is there, is the bare API server: the same eight writes a pod (the pod, its
binding, its status, five Events) by a client that does nothing else. So the ratio is what scheduling, controllers and
2,000 node agents cost beside the writes themselves. Ratios of processor time hold on a busy machine too.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import logging
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from typing import Any

import uvloop

from sampan.api.resources import EVENTS, NODES, PODS
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.informer import Informer
from sampan.cluster import footprint
from sampan.testing.api import api_server
from sampan.testing.cluster import Cluster

WRITERS = 16
PEER_PODS = 2_000
CHANGES = 300
EVENTS_OF_A_POD = 5
PROGRESS_SECONDS = 10


def pod(name: str) -> dict[str, Any]:
    container = {"name": "c", "image": "any", "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": {"app": "x"}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False},
    }  # fmt: skip


def line(what: str, value: float, unit: str, more: str = "") -> None:
    print(f"{what:<34}{value:10,.1f} {unit}{', ' if more else ''}{more}", flush=True)


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


class Stopwatch:
    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        self._stopped: tuple[float, float] | None = None

    def stop(self) -> None:
        self._stopped = time.perf_counter(), time.process_time()

    def wall(self) -> float:
        return (self._stopped[0] if self._stopped else time.perf_counter()) - self._wall

    def cpu(self) -> float:
        return (self._stopped[1] if self._stopped else time.process_time()) - self._cpu


async def many(count: int, work: Any) -> None:
    """``work(number)`` for each, by so many writers side by side."""
    numbers = iter(range(count))

    async def writer() -> None:
        for number in numbers:
            await work(number)

    await asyncio.gather(*(writer() for _ in range(WRITERS)))


async def bare_writes(count: int) -> Stopwatch:
    """Pods that are created, bound, reported and told of: nothing but the writes."""
    async with api_server() as api:
        client = api.client
        running: dict[str, Any] = {
            "phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}],
            "conditions": [{"type": kind, "status": "True"} for kind in ("Initialized", "Ready", "ContainersReady")],
            "containerStatuses": [{"name": "c", "ready": True, "restartCount": 0, "image": "any", "imageID": "any",
                                   "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}],
        }  # fmt: skip
        target = {"kind": "Node", "apiVersion": "v1", "name": "n"}

        def event(name: str, number: int) -> dict[str, Any]:
            about = {"kind": "Pod", "apiVersion": "v1", "namespace": "default", "name": name, "uid": "u"}
            return {
                "kind": "Event", "apiVersion": "v1", "metadata": {"name": f"{name}.{number}", "namespace": "default"},
                "involvedObject": about, "reason": "Started", "message": "Started container c", "type": "Normal",
                "source": {"component": "kubelet", "host": "n"}, "count": 1, "reportingComponent": "kubelet",
                "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z",
            }  # fmt: skip

        async def one(number: int) -> None:
            name = f"p{number}"
            await client.create(PODS, pod(name))
            binding = {"kind": "Binding", "apiVersion": "v1", "metadata": {"name": name}, "target": target}
            await client.create(PODS, binding, "default", name=name, subresource="binding")
            await client.patch(PODS, name, {"status": running}, "default", patch_type="strategic", subresource="status")
            for number in range(EVENTS_OF_A_POD):
                await client.create(EVENTS, event(name, number))

        watch = Stopwatch()
        await many(count, one)
        watch.stop()
        return watch


class Progress:
    """``async with Progress("pods Running", whole, count)``: how many ``count()`` gives, on stderr."""

    def __init__(self, what: str, whole: int, count: Callable[[], int]) -> None:
        self._what, self._whole, self._count = what, whole, count

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._tell())

    async def __aexit__(self, *raised: object) -> None:
        await tasks.cancel_and_wait(self._task)

    async def _tell(self) -> None:
        began, cpu = time.perf_counter(), time.process_time()
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            passed, used = time.perf_counter() - began, time.process_time() - cpu
            so_far = f"{self._count():,} of {self._whole:,} {self._what}"
            told = f"{so_far}, {passed:.0f} s, {used:.0f} s of processor, {resident_mib():.0f} MiB"
            print(f"  {told}", file=sys.stderr, flush=True)


async def until_running(client: Client, count: int) -> None:
    running: set[str] = set()

    def changed(kind: str, obj: dict[str, Any], previous: dict[str, Any] | None) -> None:
        if obj["status"].get("phase") == "Running":
            running.add(obj["metadata"]["name"])

    informer = Informer(client, PODS)
    informer.add_handler(changed)
    task = asyncio.create_task(informer.run())
    async with Progress("pods Running", count, lambda: len(running)):
        await informer.wait_until(lambda: len(running) == count)
    await tasks.cancel_and_wait(task)


async def event_cost(client: Client, pods: int) -> float:
    """Microseconds of processor for one change of a pod, from the write to every component that hears of it."""
    costs = []
    for turn in range(CHANGES):
        began = time.process_time()
        patch = {"metadata": {"annotations": {"turn": str(turn)}}}
        await client.patch(PODS, f"p{turn * 61 % pods}", patch, "default")
        for _ in range(20):  # whoever was woken has his turn
            await asyncio.sleep(0)
        costs.append((time.process_time() - began) * 1e6)
    return statistics.median(costs)


def is_ready(node: dict[str, Any]) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in node["status"]["conditions"])


async def measure(nodes: int, pods: int, idle_seconds: float, profile: Path | None) -> None:
    print(f"hollow nodes, {date.today().isoformat()}, {nodes} nodes, {pods} pods")
    count = min(PEER_PODS, pods)
    peer = await bare_writes(count)
    gc.collect()
    base = resident_mib()
    bare_ms = peer.cpu() * 1000 / count
    line("peer: the same writes alone", count / peer.wall(), "pods/s", f"{bare_ms:.2f} ms of processor a pod")
    profiler = cProfile.Profile() if profile else None
    with tempfile.TemporaryDirectory() as home:
        watch = Stopwatch()
        async with Cluster(Path(home), nodes=nodes, seed=1, listen=False) as cluster:
            line("all nodes Ready", watch.wall(), "s", f"{watch.cpu():.1f} s of processor")
            await asyncio.sleep(3)
            footprint.settle()
            with_nodes = resident_mib() - base
            line("resident, nodes only", with_nodes, "MiB", f"{with_nodes * 1024 / nodes:.0f} KiB a node")
            client = cluster.client
            watch = Stopwatch()
            with profiler or nullcontext():
                waiting = asyncio.create_task(until_running(client, pods))
                await many(pods, lambda number: client.create(PODS, pod(f"p{number}")))
                line("all pods created", watch.wall(), "s")
                await waiting
            watch.stop()
            a_pod = watch.cpu() * 1000 / pods
            line("all pods Running", watch.wall(), "s", f"{watch.cpu():.1f} s of processor")
            ratio = f"{a_pod:.2f} ms of processor a pod: x{a_pod / bare_ms:.2f} of the peer"
            line("", pods / watch.wall(), "pods/s", ratio)
            await asyncio.sleep(15)
            gc.collect()
            resident = resident_mib()
            of_pods = resident - base - with_nodes
            line("resident, whole process", resident, "MiB", f"{of_pods * 1024 / pods:.1f} KiB a pod")
            line("one pod's event", await event_cost(client, pods), "us of processor", f"at {nodes} nodes")
            watch = Stopwatch()
            await asyncio.sleep(idle_seconds)
            line("idle", watch.cpu() / watch.wall() * 100, "% of one core", f"over {idle_seconds:.0f} s")
            line("nodes that are Ready", sum(map(is_ready, (await client.list(NODES))["items"])), "")
    if profiler and profile:
        profiler.dump_stats(profile)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=2_000)
    parser.add_argument("--pods", type=int, default=20_000)
    parser.add_argument("--idle", type=float, default=60.0)
    parser.add_argument("--profile", type=Path)
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    footprint.start_quickly()  # as the server process does
    uvloop.run(measure(given.nodes, given.pods, given.idle, given.profile))


if __name__ == "__main__":
    main()
