"""Upstream's scheduler_perf workloads, rebuilt from their published parameters, through the API server.

    python bench/scheduler_perf.py [--nodes 500,1000,5000] [--workloads basic,...] [--scale 1.0] [--json FILE]
    python bench/scheduler_perf.py --all              every workload and size at a quarter of upstream's pods, memory,
                                                      then table and picture in docs (some 6 minutes when quiet, 12 at
                                                      most: what there is no time for is told)
    python bench/scheduler_perf.py --apart [...]      API server and scheduler as processes of their own
    python bench/scheduler_perf.py --render FILE      the table and the picture of what was measured before
    python bench/scheduler_perf.py --memory           what 30,000 pods on 5,000 nodes take

API server (in memory), scheduler and load generator in one process, as ``sampan server`` has the first two: pods are
created, decided on, bound and told of by Events as anybody's are. Measured is from the first measured pod's creation to
the last binding; creating them is part of it. Throughput is sampled every second, as upstream does. Each run is a
process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import scheduler_report as report
import uvloop
from scheduler_processes import DISABLED, Processes, processes
from scheduler_report import Result

from sampan.api.clock import SystemClock
from sampan.api.resources import NAMESPACES, NODES, PODS
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.informer import Informer
from sampan.cluster import footprint
from sampan.scheduler.scheduler import run_scheduler
from sampan.server.app import Server
from sampan.server.config import ServerConfig

ZONES = ("zone1", "zone2", "zone3")
ZONE, HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"
WRITERS = 32
LONGEST_SECONDS = 60.0
#: A run, with its start and what is there before it is measured: beside others, and alone.
ONE_SECONDS, LONE_SECONDS = 90.0, 600.0
#: --all ends within this; of it is kept back for --memory; what has less than the last is not begun.
ALL_SECONDS, MEMORY_SECONDS, SHORTEST_SECONDS = 660.0, 150.0, 5.0
#: of --memory
MEMORY_NODES, MEMORY_PODS = 5000, 30_000
#: of upstream's pods, with --all
ALL_SCALE = 0.25


def node_body(number: int, **more: Any) -> dict[str, Any]:
    """As upstream's node-default.yaml: 4 cores, 32 GiB, 110 pods, a zone by strategy."""
    name = f"node-{number:05}"
    amounts = {"cpu": "4", "memory": "32Gi", "pods": "110"}
    labels = {HOST: name, ZONE: ZONES[number % len(ZONES)], **more.get("labels", {})}
    status = {"capacity": amounts, "allocatable": amounts, "conditions": [{"type": "Ready", "status": "True"}]}
    metadata = {"name": name, "labels": labels}
    return {"kind": "Node", "apiVersion": "v1", "metadata": metadata, "spec": {}, "status": status}


def pod_body(name: str, *, namespace: str = "default", labels: dict[str, str] | None = None, cpu: str = "100m",
             memory: str = "500Mi", **spec: Any) -> dict[str, Any]:  # fmt: skip
    """As upstream's pod-default.yaml."""
    requests = {"cpu": cpu, "memory": memory}
    container = {"name": "pause", "image": "registry.k8s.io/pause:3.10.1", "ports": [{"containerPort": 80}],
                 "resources": {"requests": requests, "limits": requests}}  # fmt: skip
    metadata = {"name": name, "namespace": namespace, "labels": labels or {}}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": {"containers": [container], **spec}}


def term(key: str, labels: dict[str, str], **more: Any) -> dict[str, Any]:
    return {"topologyKey": key, "labelSelector": {"matchLabels": labels}, **more}


def required(kind: str, key: str, labels: dict[str, str], **more: Any) -> dict[str, Any]:
    return {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term(key, labels, **more)]}}}


def preferred(kind: str, key: str, labels: dict[str, str]) -> dict[str, Any]:
    wish = {"weight": 1, "podAffinityTerm": term(key, labels)}
    return {"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution": [wish]}}}


def spread(action: str, labels: dict[str, str], skew: int = 5) -> dict[str, Any]:
    rule = {"maxSkew": skew, "topologyKey": ZONE, "whenUnsatisfiable": action, "labelSelector": {"matchLabels": labels}}
    return {"topologySpreadConstraints": [rule]}


T = TypeVar("T")
Make = Callable[[int], dict[str, Any]]


@dataclass(frozen=True)
class Workload:
    """Pods there are before, and pods that are measured. Counts are for ``nodes`` nodes, by a factor of them."""

    measured: Make
    before: Make | None = None
    before_per_node: float = 0.2
    measured_per_node: float = 0.2
    #: most measured pods: what upstream measures at 5,000 nodes
    namespaces: int = 1
    #: pods without a place that stay while others are measured
    stuck: Make | None = None
    stuck_per_node: float = 0.0
    churn: bool = False
    node_labels: Callable[[int], dict[str, str]] | None = None


def _plain(prefix: str, **more: Any) -> Make:
    return lambda number: pod_body(f"{prefix}-{number}", **more)


def _mixed(number: int) -> dict[str, Any]:
    kinds: tuple[dict[str, Any], ...] = (
        {}, {"labels": {"color": "blue"}, **required("podAffinity", ZONE, {"color": "blue"})},
        {"labels": {"color": "green"}, **required("podAntiAffinity", HOST, {"color": "green"})},
        {"labels": {"color": "red"}, **preferred("podAffinity", HOST, {"color": "red"})},
        {"labels": {"color": "yellow"}, **preferred("podAntiAffinity", HOST, {"color": "yellow"})},
    )  # fmt: skip
    return pod_body(f"mixed-{number}", **kinds[number % len(kinds)])


BLUE, GREEN, RED, YELLOW = ({"color": color} for color in ("blue", "green", "red", "yellow"))
_NS_SELECTOR = {"namespaceSelector": {"matchLabels": {"team": "devops"}}}
_IN_ZONES = {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
    {"matchExpressions": [{"key": ZONE, "operator": "In", "values": list(ZONES[:2])}]}]}}}}  # fmt: skip
_OWN_NODE = "metadata.name"


def _of_daemonset(number: int) -> dict[str, Any]:
    term_ = {"matchFields": [{"key": _OWN_NODE, "operator": "In", "values": [f"node-{number:05}"]}]}
    wanted = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term_]}}
    return pod_body(f"daemon-{number}", affinity={"nodeAffinity": wanted})


WORKLOADS: dict[str, Workload] = {
    "basic": Workload(_plain("basic"), _plain("init"), 0.2, 2.0),
    "affinity": Workload(
        _plain("aff", labels=BLUE, **required("podAffinity", ZONE, BLUE)),
        _plain("init", labels=BLUE, **required("podAffinity", ZONE, BLUE)), 0.2, 0.4),
    "anti-affinity": Workload(
        _plain("anti", labels=GREEN, **required("podAntiAffinity", HOST, GREEN)),
        _plain("init", labels=GREEN, **required("podAntiAffinity", HOST, GREEN)), 0.1, 0.4),
    "preferred affinity": Workload(
        _plain("paff", labels=RED, **preferred("podAffinity", HOST, RED)),
        _plain("init", labels=RED, **preferred("podAffinity", HOST, RED)), 0.2, 0.4),
    "preferred anti-affinity": Workload(
        _plain("panti", labels=YELLOW, **preferred("podAntiAffinity", HOST, YELLOW)),
        _plain("init", labels=YELLOW, **preferred("podAntiAffinity", HOST, YELLOW)), 0.2, 0.4),
    "affinity, namespace selector": Workload(
        lambda n: pod_body(f"nsaff-{n}", namespace=f"ns-{n % 20}", labels=BLUE,
                           **required("podAffinity", ZONE, BLUE, **_NS_SELECTOR)),
        lambda n: pod_body(f"init-{n}", namespace=f"ns-{n % 20}", labels=BLUE,
                           **required("podAffinity", ZONE, BLUE, **_NS_SELECTOR)), 0.2, 0.4, 20),
    "anti-affinity, namespace selector": Workload(
        lambda n: pod_body(f"nsanti-{n}", namespace=f"ns-{n % 20}", labels=GREEN,
                           **required("podAntiAffinity", HOST, GREEN, **_NS_SELECTOR)),
        lambda n: pod_body(f"init-{n}", namespace=f"ns-{n % 20}", labels=GREEN,
                           **required("podAntiAffinity", HOST, GREEN, **_NS_SELECTOR)), 0.1, 0.4, 20),
    "node affinity": Workload(_plain("naff", **_IN_ZONES), _plain("init", **_IN_ZONES), 0.2, 0.4),
    "spreading": Workload(_plain("spread", labels=BLUE, **spread("DoNotSchedule", BLUE)), _plain("init"), 0.4, 0.4),
    "preferred spreading": Workload(
        _plain("pspread", labels=BLUE, **spread("ScheduleAnyway", BLUE)), _plain("init"), 0.4, 0.4),
    "preemption": Workload(
        _plain("high", cpu="3", memory="500Mi", priorityClassName="system-cluster-critical", namespace="kube-system"),
        _plain("low", cpu="900m", memory="500Mi", terminationGracePeriodSeconds=0), 4.0, 0.2),
    "unschedulable": Workload(_plain("basic"), None, 0.0, 1.0, stuck=_plain("large", cpu="9"), stuck_per_node=0.2),
    "gated": Workload(
        _plain("basic"), None, 0.0, 1.0, stuck=_plain("gated", schedulingGates=[{"name": "example.com/hold"}]),
        stuck_per_node=1.0),
    "churn": Workload(_plain("basic"), _plain("init"), 0.2, 0.6, churn=True),
    "daemonset": Workload(_of_daemonset, None, 0.0, 1.0),
    "mixed": Workload(_mixed, _plain("init"), 0.2, 0.4),
}  # fmt: skip


class Bench:
    def __init__(self, client: Client, nodes: int, beside: Processes | None = None) -> None:
        self.client, self.nodes, self.beside = client, nodes, beside
        self.pods = Informer(client, PODS)
        self.bound_at: dict[str, float] = {}
        self.made_at: dict[str, float] = {}
        self.pods.add_handler(self._changed)
        self._wanted, self._all = 0, asyncio.Event()

    def _changed(self, kind: str, obj: dict[str, Any], previous: Any) -> None:
        name = obj["metadata"]["name"]
        if obj["spec"].get("nodeName") and name in self.made_at and name not in self.bound_at:
            self.bound_at[name] = time.perf_counter()
            if len(self.bound_at) >= self._wanted:
                self._all.set()

    async def make(self, count: int, make: Make, resource: Any = PODS) -> None:
        numbers = iter(range(count))

        async def writer() -> None:
            for number in numbers:
                body = make(number)
                self.made_at[body["metadata"]["name"]] = time.perf_counter()
                await self.client.create(resource, body, body["metadata"].get("namespace"))

        async with asyncio.TaskGroup() as group:
            for _ in range(min(WRITERS, count)):
                group.create_task(writer())

    async def add_nodes(self, workload: Workload) -> None:
        labels = workload.node_labels

        async def add(number: int) -> None:
            await self.client.create(NODES, node_body(number, labels=labels(number) if labels else {}))

        numbers = iter(range(self.nodes))

        async def writer() -> None:
            for number in numbers:
                await add(number)

        async with asyncio.TaskGroup() as group:
            for _ in range(WRITERS):
                group.create_task(writer())

    async def bound(self, count: int, seconds: float = LONGEST_SECONDS) -> None:
        self._wanted = count
        if len(self.bound_at) >= count:
            return
        self._all.clear()
        async with asyncio.timeout(seconds):
            await self._all.wait()

    async def run(self, name: str, workload: Workload, scale: float) -> Result:
        for number in range(workload.namespaces if workload.namespaces > 1 else 0):
            body = {"metadata": {"name": f"ns-{number}", "labels": {"team": "devops"}}}
            await self.client.create(NAMESPACES, body)
        await self.add_nodes(workload)
        before = int(self.nodes * workload.before_per_node)
        if workload.before is not None and before:
            await self.make(before, workload.before)
            await self.bound(before)
        if workload.stuck is not None:
            await self.make(int(self.nodes * workload.stuck_per_node), workload.stuck)
        self.made_at.clear()
        self.bound_at.clear()
        gc.collect()
        count = max(int(self.nodes * workload.measured_per_node * scale), 10)
        result = Result(name, self.nodes, count)
        churning = asyncio.create_task(self._churn()) if workload.churn else None
        sampling = asyncio.create_task(self._sample(result))
        began, processor = time.perf_counter(), time.process_time()
        others = self.beside.seconds() if self.beside is not None else {}
        try:
            await self.make(count, workload.measured)
            await self.bound(count)
        except TimeoutError:
            pass
        result.seconds = time.perf_counter() - began
        result.cpu_seconds = time.process_time() - processor
        if self.beside is not None:
            result.cpu_of = {name: now - others[name] for name, now in self.beside.seconds().items()}
        for task in (sampling, churning):
            if task is not None:
                await tasks.cancel_and_wait(task)
        result.bound = len(self.bound_at)
        result.latencies_ms = [(at - self.made_at[n]) * 1000 for n, at in self.bound_at.items()]
        result.resident_mib = resident_mib() if self.beside is None else self.beside.mib()
        return result

    async def _sample(self, result: Result) -> None:
        last = 0
        while True:
            await asyncio.sleep(1.0)
            result.per_second.append(float(len(self.bound_at) - last))
            last = len(self.bound_at)

    async def _churn(self) -> None:
        """A node, a Service and a large pod come and go, as in upstream's SchedulingWithMixedChurn."""
        for number in range(1_000_000):
            node = node_body(90_000 + number)
            await self.client.create(NODES, node)
            pod = pod_body(f"churn-{number}", cpu="9")
            await self.client.create(PODS, pod, "default")
            await asyncio.sleep(0.1)
            await self.client.delete(NODES, node["metadata"]["name"])
            await self.client.delete(PODS, pod["metadata"]["name"], "default")
            await asyncio.sleep(0.1)


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


async def measure_memory(nodes: int, pods: int) -> str:
    """Resident MiB of server, scheduler and load generator together: with nothing, nodes alone, and all pods bound."""
    found: dict[str, float] = {}

    async def work(bench: Bench) -> None:
        found["empty"] = resident_mib()
        await bench.add_nodes(WORKLOADS["basic"])
        gc.collect()
        found["nodes"] = resident_mib()
        await bench.make(pods, WORKLOADS["basic"].measured)
        await bench.bound(pods, 10 * LONGEST_SECONDS)
        await asyncio.sleep(1.0)  # the last Events
        gc.collect()
        found["pods"] = resident_mib()

    await in_cluster(nodes, work)
    return (
        f"MiB resident, load generator included: {found['empty']:,.0f} with nothing, {found['nodes']:,.0f} with "
        f"{nodes:,} nodes, {found['pods']:,.0f} with {pods:,} pods bound."
    )


async def measure(name: str, nodes: int, scale: float, apart: bool = False) -> Result:
    run = lambda bench: bench.run(name, WORKLOADS[name], scale)  # noqa: E731
    return await (in_processes(nodes, run) if apart else in_cluster(nodes, run))


async def in_processes(nodes: int, work: Callable[[Bench], Awaitable[T]]) -> T:
    with processes() as beside:
        bench = Bench(beside.client(), nodes, beside)
        running = tasks.detach(bench.pods.run(), "pods")
        try:
            return await work(bench)
        finally:
            await tasks.cancel_and_wait(running)
            await bench.client.close()


async def in_cluster(nodes: int, work: Callable[[Bench], Awaitable[T]]) -> T:
    config = ServerConfig(
        port=0, listen=False, store="memory", openapi=False, disable_admission_plugins=tuple(DISABLED.split(","))
    )
    async with Server(config) as server:
        admin = Client(server.local_transport())
        footprint.settle_later()
        bench, started = Bench(admin, nodes), asyncio.Event()
        running = [
            tasks.detach(bench.pods.run(), "pods"),
            tasks.detach(
                run_scheduler(
                    Client(server.local_transport("system:kube-scheduler")),
                    clock=SystemClock(), random=random.Random(1), started=started,
                ), "scheduler",
            ),
        ]  # fmt: skip
        try:
            await started.wait()
            return await work(bench)
        finally:
            await tasks.cancel_and_wait(*running)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--nodes", default="500,1000,5000")
    options.add_argument("--workloads", default=",".join(WORKLOADS).replace(", ", "; "))
    options.add_argument("--scale", type=float, default=1.0, help="of the measured pods")
    options.add_argument("--json", default="", help="adds each result to this file, one a line")
    options.add_argument("--render", default="", help="the table and the picture of such a file")
    options.add_argument("--write", action="store_true", help="table and picture, as --render, when all is done")
    options.add_argument("--all", action="store_true", help=f"--scale {ALL_SCALE} --write, and --memory")
    options.add_argument("--apart", action="store_true", help="server and scheduler as processes of their own")
    options.add_argument("--memory", action="store_true", help="30,000 pods on 5,000 nodes, and what they take")
    options.add_argument("--memory-nodes", type=int, default=MEMORY_NODES, help=argparse.SUPPRESS)
    options.add_argument("--memory-pods", type=int, default=MEMORY_PODS, help=argparse.SUPPRESS)
    options.add_argument("--seconds", type=float, default=ALL_SECONDS, help="with --all, for all of it")
    options.add_argument("--profile", default="", help="one workload at one size: cProfile to this file")
    options.add_argument("--one", default="", help=argparse.SUPPRESS)
    given = options.parse_args()
    sizes = [int(size) for size in given.nodes.split(",")]
    if given.render:
        report.render(Path(given.render))
    elif given.memory:
        print(uvloop.run(measure_memory(given.memory_nodes, given.memory_pods)))
    elif given.one:
        print(json.dumps(asdict(measured(given.one, sizes[0], given.scale, given.apart, given.profile))))
    else:
        run_all(given, sizes, [name.replace("; ", ", ") for name in given.workloads.split(",")])


def measured(name: str, nodes: int, scale: float, apart: bool, profile: str) -> Result:
    if not profile:
        return uvloop.run(measure(name, nodes, scale, apart))
    import cProfile

    profiler = cProfile.Profile()
    result = profiler.runcall(uvloop.run, measure(name, nodes, scale, apart))
    profiler.dump_stats(profile)
    return result


def run_all(given: argparse.Namespace, sizes: list[int], chosen: list[str]) -> None:
    """Each run in a process of its own, which is ended when its time is over. With ``--all`` the largest size and the
    memory come first: what there is no time for is told as not run, and is in the table."""
    ends = time.perf_counter() + given.seconds if given.all else None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the run of the moment ends, too
    if given.all:
        given.scale, given.write = ALL_SCALE, True
        sizes = sorted(sizes, reverse=True)
    report_ = report.Report()
    print(report.HEAD, flush=True)
    for place, size in enumerate(sizes):
        for name in chosen:
            kept_back = MEMORY_SECONDS if place == 0 else 0.0
            run_one(given, name, size, None if ends is None else ends - time.perf_counter() - kept_back, report_)
        if given.all and place == 0:
            seconds = min(MEMORY_SECONDS, (ends or 0.0) - time.perf_counter())
            sizes_ = ["--memory-nodes", str(given.memory_nodes), "--memory-pods", str(given.memory_pods)]
            output, why = run_child(["--memory", *sizes_], seconds)
            report_.memory = output.strip() if not why else f"30,000 pods' memory: {why}."
            print(report_.memory, flush=True)
        if given.write:  # so far: whoever stops this has the rest
            report_.write()
    if given.write:
        print(f"\ntable: {report.DOCS / 'benchmarks.md'}\npicture: {report.PICTURE}")


def run_one(
    given: argparse.Namespace, name: str, size: int, left_seconds: float | None, report_: report.Report
) -> None:
    command = ["--one", name, "--nodes", str(size), "--scale", str(given.scale)]
    command += ["--profile", given.profile] if given.profile else []
    command += ["--apart"] if given.apart else []
    seconds = ONE_SECONDS if given.all else LONE_SECONDS
    output, why = run_child(command, seconds if left_seconds is None else min(seconds, left_seconds))
    if why:
        print(report_.failed(name, size, why), flush=True)
        return
    result = Result(**json.loads(output.splitlines()[-1]))
    print(report_.add(result), flush=True)
    if given.json:
        with Path(given.json).open("a") as file:
            file.write(json.dumps(asdict(result)) + "\n")


def run_child(arguments: list[str], seconds: float) -> tuple[str, str]:
    """This program again, with all that it starts; its output, and why there is none."""
    if seconds < SHORTEST_SECONDS:
        return "", "not run, the time was over"
    child = subprocess.Popen(
        [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        output, _ = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        return "", f"stopped after {seconds:.0f} s"
    finally:  # Ctrl-C, too: it is in a session of its own
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    return output, "" if not child.returncode and output.strip() else f"failed with exit code {child.returncode}"


if __name__ == "__main__":
    main()
