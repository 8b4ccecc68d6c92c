"""What a user feels of a whole cluster: start-up, time to a running pod, throughput, idle memory and processor.

    python bench/cluster.py            # as root, on an otherwise quiet machine; takes about two minutes

Makes a cluster of its own beside any other and purges it. The peer of the pod figures, in the same run and on the same
containerd, is the bare runtime: RunPodSandbox, CreateContainer and StartContainer by CRI, with no Kubernetes at all.
"""

from __future__ import annotations

import asyncio
import os
import resource
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

from sampan.api.resources import PODS
from sampan.client.client import Client
from sampan.client.http import HttpTransport
from sampan.client.kubeconfig import KubeConfig
from sampan.cluster import instance as instances
from sampan.node import runtime
from sampan.node.cri.client import CriRuntime
from sampan.testing import free

NAME = "bench"
SAMPAN = Path(sys.executable).parent / "sampan"
IMAGE = "docker.io/sampan/bench:1"
IDLE_SECONDS = 30


def sampan(*arguments: str) -> None:
    subprocess.run([SAMPAN, *arguments], check=True, stdout=subprocess.DEVNULL)


def pod(name: str) -> dict[str, Any]:
    container = {"name": "c", "image": IMAGE, "command": ["sleep", "3600"], "imagePullPolicy": "IfNotPresent"}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
    }  # fmt: skip


def is_ready(obj: dict[str, Any]) -> bool:
    conditions = obj.get("status", {}).get("conditions", ())
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


async def until_ready(client: Client, name: str) -> None:
    async with client.watch(PODS, "default", field_selector=f"metadata.name={name}") as events:
        async for event in events:
            if is_ready(event.object):
                return


async def start(client: Client, name: str) -> float:
    began = time.perf_counter()
    await client.create(PODS, pod(name))
    await until_ready(client, name)
    return (time.perf_counter() - began) * 1000


async def delete(client: Client, name: str) -> None:
    await client.delete(PODS, name, "default", grace_period_seconds=0)


async def one_after_another(client: Client, count: int) -> list[float]:
    times = []
    for number in range(count):
        times.append(await start(client, f"one-{number}"))
        await delete(client, f"one-{number}")
        await asyncio.sleep(0.3)
    return times


async def many(client: Client, count: int, at_once: int) -> float:
    """Pods per second."""
    gate = asyncio.Semaphore(at_once)

    async def one(number: int) -> None:
        async with gate:
            await start(client, f"many-{number}")

    began = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(count)))
    took = time.perf_counter() - began
    for number in range(count):
        await delete(client, f"many-{number}")
    return count / took


async def bare(source: CriRuntime, count: int, made: instances.Instance) -> list[float]:
    """Milliseconds for a sandbox and a container by CRI alone."""
    times = []
    for number in range(count):
        uid = f"bare-{number}"
        logs = made.state / "bare-logs"
        began = time.perf_counter()
        config = runtime.SandboxConfig(
            name=uid, namespace="default", uid=uid, attempt=0, log_directory=str(logs), cgroup_parent=made.cgroup
        )
        sandbox = await source.run_sandbox(config)
        container = runtime.ContainerConfig(
            name="c", attempt=0, image=IMAGE, command=("sleep", "3600"), log_path="c.log"
        )
        identity = await source.create_container(sandbox, container, config)
        await source.start_container(identity)
        times.append((time.perf_counter() - began) * 1000)
        await source.stop_container(identity, 0)
        await source.stop_sandbox(sandbox)
        await source.remove_sandbox(sandbox)
    return times


def python_processes() -> list[int]:
    """The pids of every Python process of the instance."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        words = command.split("\0")
        if "python" in words[0] and "sampan.cluster" in command and NAME in words:
            found.append(int(path.parent.name))
    return found


def rss_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def pss_mib(pid: int) -> float:
    """A page that several processes map is counted once among them."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("Pss:"))) / 1024


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def line(what: str, value: str, peer: str = "") -> None:
    print(f"| {what} | {value} | {peer} |", flush=True)


async def measure() -> None:
    made = instances.load(NAME)
    client = Client(HttpTransport(KubeConfig.load(made.admin_kubeconfig).connection()))
    source = CriRuntime(str(made.containerd_socket))
    try:
        await start(client, "warm")
        times = await one_after_another(client, 15)
        alone = await bare(source, 15, made)
        p50, peer = statistics.median(times), statistics.median(alone)
        line(
            "pod create → Ready, one after another, p50", f"{p50:.0f} ms", f"bare CRI {peer:.0f} ms: ×{p50 / peer:.2f}"
        )
        line("... slowest of 15", f"{max(times):.0f} ms", f"bare CRI {max(alone):.0f} ms")
        line("20 pods, 10 at a time", f"{await many(client, 20, 10):.1f} pods/s")
    finally:
        await client.close()
        await source.close()


def main() -> None:
    print(f"{date.today()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}\n")
    print("| what | Sampan | peer |\n|---|---|---|")
    sampan("down", "--name", NAME, "--purge")
    try:
        began = time.perf_counter()
        sampan("up", *free.arguments(free.instance(NAME)))
        line("`sampan up`, first time, to node Ready", f"{time.perf_counter() - began:.2f} s")
        sampan("down", "--name", NAME)
        began = time.perf_counter()
        sampan("up", "--name", NAME)
        line("`sampan up` again, to node Ready", f"{time.perf_counter() - began:.2f} s")
        busybox = "/bin/busybox:/bin/busybox"
        sampan("image", "build", "-n", NAME, "-t", IMAGE, "--binary", busybox, "--link", "/bin/sleep:busybox")
        asyncio.run(measure())
        time.sleep(10)
        pids = python_processes()
        before = {pid: cpu_seconds(pid) for pid in pids}
        # Code that something rare has used leaves again after a while: one moment says too little or too much.
        resident: dict[int, list[float]] = {pid: [] for pid in pids}
        for _ in range(IDLE_SECONDS):
            time.sleep(1)
            for pid in pids:
                resident[pid].append(rss_mib(pid))
        used = sum(cpu_seconds(pid) - before[pid] for pid in pids)
        together = [sum(at_once) for at_once in zip(*resident.values(), strict=True)]
        each = ", ".join(f"{statistics.mean(seen):.0f}" for seen in resident.values())
        line(
            f"resident memory of all Python processes, idle, mean of {IDLE_SECONDS} s",
            f"{statistics.mean(together):.0f} MiB ({each}), {min(together):.0f} to {max(together):.0f}",
        )
        each = ", ".join(f"{pss_mib(pid):.0f}" for pid in pids)
        line("... shared pages counted once (PSS)", f"{sum(map(pss_mib, pids)):.0f} MiB ({each})")
        line("processor, idle", f"{used / IDLE_SECONDS * 100:.1f} % of one core")
    finally:
        sampan("down", "--name", NAME, "--purge")


if __name__ == "__main__":
    main()
