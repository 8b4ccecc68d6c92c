"""What volumes cost: from a claim to the pod that has it mounted, many claims, and a pod with many volumes.

    python bench/volumes.py [--count 11]      # as root, on an otherwise quiet machine; takes about two minutes

Makes a cluster of its own beside any other and purges it. The peer, in the same run and on the same containerd, is the
bare runtime (RunPodSandbox, CreateContainer and StartContainer by CRI) with as many bind mounts of directories that
are there already.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import date
from pathlib import Path
from typing import Any

from sampan.api.resources import CONFIG_MAPS, PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, SECRETS
from sampan.client.client import Client
from sampan.client.http import HttpTransport
from sampan.client.kubeconfig import KubeConfig
from sampan.cluster import instance as instances
from sampan.node import runtime
from sampan.node.cri.client import CriRuntime
from sampan.testing import free

NAME = "benchvol"
SAMPAN = Path(sys.executable).parent / "sampan"
IMAGE = "docker.io/sampan/bench:1"
Obj = dict[str, Any]
MANY, PODS_OF_MANY = 20, 5


def sampan(*arguments: str) -> None:
    subprocess.run([SAMPAN, *arguments], check=True, stdout=subprocess.DEVNULL)


def pod(name: str, volumes: list[Obj]) -> Obj:
    mounts = [{"name": each["name"], "mountPath": f"/v/{each['name']}"} for each in volumes]
    container = {
        "name": "c", "image": IMAGE, "command": ["sleep", "3600"], "imagePullPolicy": "IfNotPresent",
        "volumeMounts": mounts,
    }  # fmt: skip
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "containers": [container], "terminationGracePeriodSeconds": 0, "volumes": volumes,
            "automountServiceAccountToken": False,
        },
    }  # fmt: skip


def of_claims(names: list[str]) -> list[Obj]:
    return [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in names]


def of_files() -> list[Obj]:
    half = MANY // 2
    return [
        *({"name": f"c{number}", "configMap": {"name": "files"}} for number in range(half)),
        *({"name": f"s{number}", "secret": {"secretName": "files"}} for number in range(MANY - half)),
    ]


async def claim(client: Client, name: str) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    made = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}
    await client.create(PERSISTENT_VOLUME_CLAIMS, made, "default")


def is_ready(obj: Obj) -> bool:
    conditions = obj.get("status", {}).get("conditions", ())
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


async def until_ready(client: Client, name: str) -> None:
    async with client.watch(PODS, "default", field_selector=f"metadata.name={name}") as events:
        async for event in events:
            if is_ready(event.object):
                return


async def start(client: Client, name: str, volumes: list[Obj]) -> None:
    await client.create(PODS, pod(name, volumes))
    await until_ready(client, name)


async def remove(client: Client, name: str, claims: list[str]) -> None:
    """Until nothing is left of it."""
    await client.delete(PODS, name, "default", grace_period_seconds=0)
    for each in claims:
        await client.delete(PERSISTENT_VOLUME_CLAIMS, each, "default")
    await until_none(lambda: client.list(PERSISTENT_VOLUMES))
    await until_none(lambda: client.list(PODS, "default", field_selector=f"metadata.name={name}"))


async def until_none(ask: Callable[[], Awaitable[Obj]]) -> None:
    while (await ask())["items"]:  # noqa: ASYNC110 - asked as a user's script would
        await asyncio.sleep(0.02)


async def with_claims(client: Client, name: str, count: int) -> tuple[float, float]:
    """Milliseconds until the pod is ready, and until everything is gone."""
    claims = [f"{name}-{number}" for number in range(count)]
    began = time.perf_counter()
    await asyncio.gather(*(claim(client, each) for each in claims))
    await start(client, name, of_claims(claims))
    ready = time.perf_counter()
    await remove(client, name, claims)
    return (ready - began) * 1000, (time.perf_counter() - ready) * 1000


async def without(client: Client, name: str, volumes: list[Obj]) -> float:
    began = time.perf_counter()
    await start(client, name, volumes)
    took = (time.perf_counter() - began) * 1000
    await remove(client, name, [])
    return took


async def hundred(client: Client) -> tuple[float, float]:
    """Seconds until all pods with all claims are ready, and until nothing is left."""
    sets = [[f"many-{number}-{each}" for each in range(MANY)] for number in range(PODS_OF_MANY)]
    began = time.perf_counter()
    await asyncio.gather(*(claim(client, name) for names in sets for name in names))
    await asyncio.gather(*(start(client, f"many-{n}", of_claims(names)) for n, names in enumerate(sets)))
    ready = time.perf_counter()
    await asyncio.gather(*(remove(client, f"many-{n}", names) for n, names in enumerate(sets)))
    return ready - began, time.perf_counter() - ready


class Bare:
    def __init__(self, source: CriRuntime, made: instances.Instance) -> None:
        self._source, self._made, self._count = source, made, 0

    async def start(self, mounts: int) -> float:
        """Milliseconds for a sandbox and a container by CRI alone."""
        self._count += 1
        uid, directory = f"bare-{self._count}", self._made.state / "bare"
        for number in range(mounts):
            (directory / str(number)).mkdir(parents=True, exist_ok=True)
        began = time.perf_counter()
        config = runtime.SandboxConfig(
            name=uid, namespace="default", uid=uid, attempt=0, log_directory=str(directory / "logs"),
            cgroup_parent=self._made.cgroup,
        )  # fmt: skip
        sandbox = await self._source.run_sandbox(config)
        container = runtime.ContainerConfig(
            name="c", attempt=0, image=IMAGE, command=("sleep", "3600"), log_path="c.log",
            mounts=tuple(runtime.Mount(str(directory / str(number)), f"/v/{number}") for number in range(mounts)),
        )  # fmt: skip
        identity = await self._source.create_container(sandbox, container, config)
        await self._source.start_container(identity)
        took = (time.perf_counter() - began) * 1000
        await self._source.stop_container(identity, 0)
        await self._source.stop_sandbox(sandbox)
        await self._source.remove_sandbox(sandbox)
        return took


def line(what: str, times: list[float], peer: str = "", alone: list[float] | None = None) -> None:
    p50 = statistics.median(times)
    ratio = f"{peer} {statistics.median(alone):.0f} ms: ×{p50 / statistics.median(alone):.2f}" if alone else peer
    print(f"| {what} | {p50:.0f} ms | {max(times):.0f} ms | {ratio} |", flush=True)


async def measure(count: int) -> None:
    made = instances.load(NAME)
    client = Client(HttpTransport(KubeConfig.load(made.admin_kubeconfig).connection()))
    source = CriRuntime(str(made.containerd_socket))
    try:
        bare, taken = Bare(source, made), dict[str, list[float]]()
        await client.create(CONFIG_MAPS, {"metadata": {"name": "files"}, "data": {"a": "1", "b": "2"}}, "default")
        await client.create(SECRETS, {"metadata": {"name": "files"}, "stringData": {"a": "1", "b": "2"}}, "default")
        await with_claims(client, "warm", 1)
        for number in range(count):  # one of each in turn: what else the machine does concerns all alike
            kinds: dict[str, Callable[[], Awaitable[float]]] = {
                "bare 0": lambda: bare.start(0),
                "none": lambda: without(client, f"none-{number}", []),  # noqa: B023 - awaited in this turn
                "bare 1": lambda: bare.start(1),
                "bare many": lambda: bare.start(MANY),
                "files": lambda: without(client, f"files-{number}", of_files()),  # noqa: B023
            }
            for kind, take in kinds.items():
                taken.setdefault(kind, []).append(await take())
            for kind, claims in (("claim", 1), ("claims", MANY)):
                ready, gone = await with_claims(client, f"{kind}-{number}", claims)
                taken.setdefault(kind, []).append(ready)
                taken.setdefault(f"{kind} gone", []).append(gone)
        line("pod without volumes, create → Ready", taken["none"], "bare CRI", taken["bare 0"])
        line("claim and its pod, create → Ready with the volume", taken["claim"], "bare CRI, 1 mount", taken["bare 1"])
        many = f"bare CRI, {MANY} mounts"
        line(f"pod with {MANY} volumes of files", taken["files"], many, taken["bare many"])
        line(f"{MANY} claims and their pod", taken["claims"], many, taken["bare many"])
        line("pod and claim deleted → nothing left, on the disk either", taken["claim gone"])
        line(f"... pod and {MANY} claims", taken["claims gone"])
        ready_seconds, gone_seconds = await hundred(client)
        total = MANY * PODS_OF_MANY
        print(f"| {total} claims in {PODS_OF_MANY} pods, create → all Ready | {ready_seconds:.1f} s | | |")
        print(f"| ... deleted → nothing left | {gone_seconds:.1f} s | | |")
    finally:
        await client.close()
        await source.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=11)
    options = parser.parse_args()
    print(f"{date.today()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}\n")
    print("| what | p50 | slowest | peer |\n|---|---|---|---|")
    sampan("down", "--name", NAME, "--purge")
    try:
        sampan("up", *free.arguments(free.instance(NAME)))
        busybox = f"{shutil.which('busybox')}:/bin/busybox"
        sampan("image", "build", "-n", NAME, "-t", IMAGE, "--binary", busybox, "--link", "/bin/sleep:busybox")
        asyncio.run(measure(options.count))
    finally:
        sampan("down", "--name", NAME, "--purge")


if __name__ == "__main__":
    main()
