"""Workloads on hollow nodes: how long controllers, scheduler and nodes take for a thousand pods, and for ten thousand.

    python bench/controllers.py [--only NAME ...] [--part 1.0] [--json FILE] [--profile FILE]

API server (in memory, no socket), all controllers, the scheduler and all node agents share one process, one event loop
and so one core; each scenario has a process of its own. Wall is what a user waits, CPU what a busy machine does not
change. The peer is the bare API server: the same writes (those that the scenario is known to need at least) by a client
that does nothing else, in the same process before; the ratio is what everything beside them costs.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import gc
import json
import logging
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import uvloop
from hollow import Progress, Stopwatch, bare_writes, many, resident_mib

from sampan.api.resources import (
    CRON_JOBS,
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    NODES,
    PODS,
    SERVICE_ACCOUNTS,
    STATEFUL_SETS,
    Resource,
)
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.informer import ChangeType, Informer
from sampan.client.timeline import VirtualTimeline
from sampan.cluster import footprint
from sampan.node.simulated import Behaviour
from sampan.testing import virtual
from sampan.testing.cluster import Cluster

PEER_PODS = 500
SHORT = "short:1"  # an image whose container ends at once


@dataclass(frozen=True)
class Figure:
    what: str
    wall_seconds: float
    cpu_seconds: float
    #: seconds of wall, or MiB of ``resident_mib``, that were asked for
    goal: float | None = None
    pods: int = 0
    #: processor time of a pod as a multiple of the peer's
    ratio: float | None = None
    resident_mib: float | None = None


def template(image: str = "any:1", *, restart: str = "Always", version: str = "1") -> dict[str, Any]:
    container = {"name": "c", "image": image, "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}}
    return {
        "metadata": {"labels": {"app": "x"}, "annotations": {"version": version}},
        "spec": {
            "containers": [container], "restartPolicy": restart, "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
        },
    }  # fmt: skip


def deployment(name: str, replicas: int) -> dict[str, Any]:
    pods = template()
    pods["metadata"]["labels"] = {"app": name}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "default"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": pods},
    }  # fmt: skip


def job(name: str, pods: int, parallelism: int) -> dict[str, Any]:
    spec = {"completions": pods, "parallelism": parallelism, "template": template(SHORT, restart="Never")}
    return {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "default"}, "spec": spec,
    }  # fmt: skip


def is_true(obj: dict[str, Any], condition: str) -> bool:
    found = obj.get("status", {}).get("conditions") or ()
    return any(each["type"] == condition and each["status"] == "True" for each in found)


class Seen:
    """What a client that watches one resource sees, and how many of it satisfy a condition."""

    def __init__(self, client: Client, resource: Resource, namespace: str, good: Callable[[Any], bool]) -> None:
        self._good = good
        self.good: set[str] = set()
        self.there: set[str] = set()
        #: since the first that went
        self.since_first_gone: Stopwatch | None = None
        within = f"metadata.namespace={namespace}" if namespace else ""
        self._informer = Informer(client, resource, field_selector=within)
        self._informer.add_handler(self._changed)
        self._task = asyncio.create_task(self._informer.run())

    def _changed(self, kind: ChangeType, obj: dict[str, Any], previous: dict[str, Any] | None) -> None:
        uid = obj["metadata"]["uid"]
        if kind == "DELETED" and self.since_first_gone is None:
            self.since_first_gone = Stopwatch()
        change = set.discard if kind == "DELETED" else set.add
        change(self.there, uid)
        (change if self._good(obj) else set.discard)(self.good, uid)

    async def until(self, condition: Callable[[Seen], bool]) -> None:
        await self._informer.wait_until(lambda: condition(self))

    async def close(self) -> None:
        await tasks.cancel_and_wait(self._task)


class Bench:
    """One scenario's cluster, and what was measured."""

    def __init__(self, cluster: Cluster, peer_ms: float, part: float) -> None:
        self.cluster, self.client, self.peer_ms, self.part = cluster, cluster.client, peer_ms, part
        self.figures: list[Figure] = []

    def some(self, whole: int) -> int:
        return max(1, round(whole * self.part))

    def note(
        self, what: str, watch: Stopwatch, *, goal: float | None = None, pods: int = 0, peer: bool = False
    ) -> None:
        watch.stop()
        goal = goal if self.part == 1 else None
        ratio = watch.cpu() * 1000 / pods / self.peer_ms if peer and self.peer_ms else None
        self.figures.append(Figure(what, watch.wall(), watch.cpu(), goal, pods, ratio))

    async def pods_of_each_node(self, each: int, namespace: str = "default") -> list[str]:
        """Pods that somebody bound to nodes by hand, ``each`` on every node; the nodes."""
        nodes = [node["metadata"]["name"] for node in (await self.client.list(NODES))["items"]]
        seen = Seen(self.client, PODS, namespace, lambda pod: is_true(pod, "Ready"))

        async def create(number: int) -> None:
            spec = {**template()["spec"], "nodeName": nodes[number % len(nodes)]}
            meta = {"name": f"p{number}", "namespace": namespace, "labels": {"app": "x"}}
            await self.client.create(PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})

        async with Progress("pods Ready", each * len(nodes), lambda: len(seen.good)):
            await many(each * len(nodes), create)
            await seen.until(lambda seen: len(seen.good) == each * len(nodes))
        await seen.close()
        return nodes


async def scale(client: Client, name: str, replicas: int) -> None:
    await client.patch(DEPLOYMENTS, name, {"spec": {"replicas": replicas}}, "default")


async def of_deployment(bench: Bench) -> None:
    """A Deployment of 1,000 replicas to all Ready, and to none."""
    seen = Seen(bench.client, PODS, "default", lambda pod: is_true(pod, "Ready"))
    watch = Stopwatch()
    await bench.client.create(DEPLOYMENTS, deployment("web", bench.some(1000)))
    async with Progress("pods Ready", bench.some(1000), lambda: len(seen.good)):
        await seen.until(lambda seen: len(seen.good) == bench.some(1000))
    bench.note(
        f"a Deployment of {bench.some(1000):,} replicas, all Ready", watch, goal=5, pods=bench.some(1000), peer=True
    )
    watch = Stopwatch()
    await scale(bench.client, "web", 0)
    await seen.until(lambda seen: not seen.there)
    bench.note("... to none", watch, goal=3, pods=bench.some(1000))
    await seen.close()


async def of_job(bench: Bench) -> None:
    """A Job of 1,000 pods, 100 at a time, to Complete."""
    seen = Seen(bench.client, JOBS, "default", lambda job: is_true(job, "Complete"))
    watch = Stopwatch()
    await bench.client.create(JOBS, job("work", bench.some(1000), bench.some(100)))
    await seen.until(lambda seen: bool(seen.good))
    bench.note(
        f"a Job of {bench.some(1000):,} pods, {bench.some(100)} at a time", watch, pods=bench.some(1000), peer=True
    )
    await seen.close()


async def of_rollout(bench: Bench) -> None:
    """200 Deployments of 5 replicas, rolled at once."""

    def rolled(version: str) -> Callable[[Any], bool]:
        def done(obj: dict[str, Any]) -> bool:
            status = obj.get("status", {})
            counts = [status.get(each, 0) for each in ("replicas", "updatedReplicas", "availableReplicas")]
            given = obj["spec"]["template"]["metadata"]["annotations"]["version"]
            return given == version and counts == [5, 5, 5] and status["observedGeneration"] == _generation(obj)

        return done

    seen = Seen(bench.client, DEPLOYMENTS, "default", rolled("1"))
    watch = Stopwatch()
    await many(bench.some(200), lambda number: bench.client.create(DEPLOYMENTS, deployment(f"web-{number}", 5)))
    await seen.until(lambda seen: len(seen.good) == bench.some(200))
    bench.note(f"{bench.some(200)} Deployments of 5, all available", watch, pods=bench.some(1000), peer=True)
    await seen.close()
    seen = Seen(bench.client, DEPLOYMENTS, "default", rolled("2"))
    watch = Stopwatch()
    patch = {"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}}
    await many(bench.some(200), lambda number: bench.client.patch(DEPLOYMENTS, f"web-{number}", patch, "default"))
    await seen.until(lambda seen: len(seen.good) == bench.some(200))
    bench.note("... all rolled at once", watch, pods=bench.some(1000), peer=True)
    await seen.close()


def _generation(obj: dict[str, Any]) -> int:
    return int(obj["metadata"]["generation"])


async def of_stateful_set(bench: Bench) -> None:
    """A parallel StatefulSet of 1,000 replicas to all Ready."""
    pods, count = template(), bench.some(1000)
    body = {
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "default"},
        "spec": {
            "replicas": count, "podManagementPolicy": "Parallel", "serviceName": "db",
            "selector": {"matchLabels": {"app": "x"}}, "template": pods,
        },
    }  # fmt: skip
    seen = Seen(bench.client, STATEFUL_SETS, "default", lambda obj: obj["status"].get("readyReplicas") == count)
    watch = Stopwatch()
    await bench.client.create(STATEFUL_SETS, body)
    await seen.until(lambda seen: bool(seen.good))
    bench.note(f"a parallel StatefulSet of {count:,}, all Ready", watch, pods=count, peer=True)
    await seen.close()


async def of_namespace(bench: Bench) -> None:
    """A namespace with 10,000 running pods is deleted."""
    name = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}
    await bench.client.create(NAMESPACES, name)
    accounts = Seen(bench.client, SERVICE_ACCOUNTS, "team", bool)
    await accounts.until(lambda seen: bool(seen.there))
    await accounts.close()
    count = 100 * len(await bench.pods_of_each_node(100, "team"))
    seen = Seen(bench.client, NAMESPACES, "", lambda obj: obj["metadata"]["name"] == "team")
    await seen.until(lambda seen: bool(seen.good))
    watch = Stopwatch()
    await bench.client.delete(NAMESPACES, "team")
    await seen.until(lambda seen: not seen.good)
    bench.note(f"a namespace with {count:,} pods is deleted", watch, goal=20, pods=count)
    await seen.close()


async def of_vanished(bench: Bench) -> None:
    """Nodes whose machines and Node objects are gone: their 5,000 pods go."""
    nodes = await bench.pods_of_each_node(50)
    count = 50 * len(nodes)
    for node in nodes:
        await bench.cluster.stop_node(node)
    seen = Seen(bench.client, PODS, "default", lambda pod: "deletionTimestamp" not in pod["metadata"])
    await seen.until(lambda seen: len(seen.there) == count)
    await many(len(nodes), lambda number: bench.client.delete(NODES, nodes[number]))
    await seen.until(lambda seen: not seen.there)
    watch = seen.since_first_gone or Stopwatch()  # the quarantine of 40 s is no work
    bench.note(f"{count:,} pods of vanished nodes, from the first to the last", watch, goal=10, pods=count)
    await seen.close()


async def of_memory(bench: Bench) -> None:
    """1,000 hollow nodes and 10,000 pods."""
    watch = Stopwatch()
    nodes = len(await bench.pods_of_each_node(10))
    bench.note(f"{10 * nodes:,} pods on {nodes:,} nodes, all Ready", watch, pods=10 * nodes)
    await asyncio.sleep(15)
    footprint.settle()
    figure = Figure("... resident, whole process", 0, 0, 600, 10 * nodes, None, resident_mib())
    bench.figures.append(figure)


YEAR_BEGINS = datetime(2026, 1, 1, tzinfo=UTC)
HOURS = 365 * 24


async def of_cron_job(directory: Path, hours: int) -> Figure:
    """An hourly CronJob for a year of virtual time, or a part of it. Its 8,760 Jobs want no pod, and there is no node:
    what CronJobs and Jobs themselves take (a node alone renews its Lease three million times a year)."""
    clock = VirtualTimeline(YEAR_BEGINS)
    async with Cluster(directory, nodes=0, clock=clock, seed=1, listen=False) as cluster:
        wanted = {"completions": 0, "template": template(restart="Never")}
        body = {
            "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "hourly", "namespace": "default"},
            "spec": {"schedule": "0 * * * *", "jobTemplate": {"spec": wanted}},
        }  # fmt: skip
        done: set[str] = set()

        def changed(kind: ChangeType, obj: dict[str, Any], previous: dict[str, Any] | None) -> None:
            if is_true(obj, "Complete"):
                done.add(obj["metadata"]["uid"])

        informer = Informer(cluster.client, JOBS)
        informer.add_handler(changed)
        task = asyncio.create_task(informer.run())
        watch = Stopwatch()
        await cluster.client.create(CRON_JOBS, body)
        await asyncio.sleep(timedelta(hours=hours).total_seconds())
        watch.stop()
        await tasks.cancel_and_wait(task)
        if len(done) < hours - 1:
            raise RuntimeError(f"only {len(done)} of {hours} Jobs were complete")
    what = f"{hours:,} hours of an hourly CronJob, in virtual time"
    return Figure(what, watch.wall(), watch.cpu(), 5 if hours == HOURS else None, len(done))


@dataclass(frozen=True)
class Scenario:
    run: Callable[[Bench], Awaitable[None]]
    nodes: int = 100
    peer: bool = False


SCENARIOS = {
    "deployment": Scenario(of_deployment, peer=True),
    "job": Scenario(of_job, peer=True),
    "rollout": Scenario(of_rollout, peer=True),
    "statefulset": Scenario(of_stateful_set, peer=True),
    "namespace": Scenario(of_namespace),
    "vanished": Scenario(of_vanished),
    "memory": Scenario(of_memory, nodes=1000),
}
CRON_JOB = "cronjob"


async def measure(scenario: Scenario, directory: Path, part: float, profiler: cProfile.Profile | None) -> list[Figure]:
    peer_ms = 0.0
    if scenario.peer:
        await bare_writes(PEER_PODS // 5)  # to warm up
        peer_ms = (await bare_writes(PEER_PODS)).cpu() * 1000 / PEER_PODS
    gc.collect()
    async with Cluster(directory, nodes=max(1, round(scenario.nodes * part)), seed=1, listen=False) as cluster:
        for runtime in cluster.runtimes.values():
            runtime.behaviours[f"docker.io/library/{SHORT}"] = Behaviour(run_seconds=0.0)
        bench = Bench(cluster, peer_ms, part)
        footprint.settle()  # as the server process does
        with profiler or nullcontext():
            await scenario.run(bench)
    return bench.figures


def run_here(name: str, profile: Path | None, part: float = 1) -> list[Figure]:
    logging.basicConfig(level=logging.ERROR)
    footprint.start_quickly()  # as the server process does
    profiler = cProfile.Profile(time.thread_time) if profile else None
    with tempfile.TemporaryDirectory() as home:
        if name == CRON_JOB:
            with profiler or nullcontext():
                figures = [virtual.run(of_cron_job(Path(home), max(2, round(HOURS * part))))]
        else:
            figures = uvloop.run(measure(SCENARIOS[name], Path(home), part, profiler))
    if profiler and profile:
        profiler.dump_stats(profile)
    return figures


def run_apart(name: str, part: float) -> list[Figure]:
    """In a process of its own, so that neither memory nor warmth of one scenario is the next one's."""
    command = [sys.executable, __file__, "--here", name, "--part", str(part)]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return [Figure(**each) for each in json.loads(answer.stdout)]


def row(figure: Figure) -> str:
    if figure.resident_mib is not None:
        return f"{figure.what:<58}{figure.resident_mib:9.0f} MiB   goal {figure.goal:.0f} MiB"
    text = f"{figure.what:<58}{figure.wall_seconds:9.2f} s, CPU {figure.cpu_seconds:.2f} s"
    if figure.pods and figure.wall_seconds:
        text += f", {figure.pods / figure.cpu_seconds:.0f} a second of CPU"
    if figure.ratio is not None:
        text += f", x{figure.ratio:.2f} of the peer"
    return text + (f"   goal {figure.goal:.0f} s" if figure.goal else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*SCENARIOS, CRON_JOB]
    parser.add_argument("--only", action="append", choices=names, help="may be repeated; default: all")
    parser.add_argument("--part", type=float, default=1.0, help="of pods, nodes and hours: 0.2 for a fifth of each")
    parser.add_argument("--json", type=Path, help="all figures, to a file")
    parser.add_argument("--profile", type=Path, help="cProfile of one scenario (--only), to a file")
    parser.add_argument("--here", choices=names, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        print(json.dumps([asdict(figure) for figure in run_here(given.here, None, given.part)]))
        return
    chosen = given.only or names
    if given.profile and len(chosen) != 1:
        parser.error("--profile takes one scenario: --only NAME")
    print(f"workloads on hollow nodes, {date.today().isoformat()}, Python {platform.python_version()}")
    figures = []
    for name in chosen:
        found = run_here(name, given.profile, given.part) if given.profile else run_apart(name, given.part)
        figures += found
        print("\n".join(map(row, found)), flush=True)
    if given.json:
        given.json.write_text(json.dumps([asdict(figure) for figure in figures], indent=1) + "\n")


if __name__ == "__main__":
    main()
