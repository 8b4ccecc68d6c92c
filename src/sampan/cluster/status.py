"""What ``sampan status`` shows: one look at processes, API server, node and pods."""

from __future__ import annotations

import resource
from pathlib import Path

from sampan.api.types import Obj
from sampan.cluster import probe, supervisor, up
from sampan.cluster.heartbeat import ComponentSeen, read_health
from sampan.cluster.instance import Instance
from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class ProcessSeen:
    """``pid`` None: not running. ``rss_bytes`` is resident memory (proc(5), statm). ``failed``: parts of it that had to
    be started again, since it runs."""

    name: str
    pid: int | None
    rss_bytes: int
    restarts: int
    last_exit: str
    failed: tuple[ComponentSeen, ...] = ()


@dataclass(frozen=True, slots=True)
class EtcdSeen:
    """One member of the cluster's etcd, where Sampan runs it. ``problem`` "": it answers and has a leader."""

    endpoint: str
    version: str
    leads: bool
    size_bytes: int
    problem: str


@dataclass(frozen=True, slots=True)
class Seen:
    running: bool
    processes: tuple[ProcessSeen, ...]
    api_ready: bool
    node_ready: bool
    node_message: str
    pods: int
    pods_running: int
    #: simulated nodes that are Ready, and how many there are to be
    simulated_ready: int = 0
    simulated: int = 0
    etcd: tuple[EtcdSeen, ...] = ()

    @property
    def healthy(self) -> bool:
        """Everything runs. What failed and runs again is told, and is no fault any more."""
        nodes = self.node_ready and self.simulated_ready >= self.simulated
        members = not any(member.problem for member in self.etcd)
        return self.running and self.api_ready and nodes and members and all(map(_is_healthy, self.processes))


def observe(instance: Instance) -> Seen:
    running = supervisor.is_running(instance)
    processes = []
    for name, child in up.process_status(instance).items():
        pid = child["pid"] if running else None
        rss = _rss_bytes(pid) if pid else 0
        health = read_health(instance, name) if pid else None
        failed = health.failed if health is not None and health.pid == pid else ()
        processes.append(ProcessSeen(name, pid, rss, child["restarts"], child["lastExit"], failed))
    api_ready = running and probe.is_ready(instance)
    node_ready, node_message = False, "unknown"
    if not instance.node.runs_containers:
        node_ready, node_message = True, "simulated ones alone"
    elif api_ready:
        node_ready, node_message = probe.node_condition(instance)
    simulated = instance.node.simulated_count
    pods = _pods(instance) if api_ready else []
    return Seen(
        running=running,
        processes=tuple(processes),
        api_ready=api_ready,
        node_ready=node_ready,
        node_message=node_message,
        pods=len(pods),
        pods_running=sum(pod.get("status", {}).get("phase") == "Running" for pod in pods),
        simulated_ready=probe.simulated_nodes_ready(instance) if api_ready and simulated else 0,
        simulated=simulated,
        etcd=_etcd(instance) if running and instance.node.runs_etcd else (),
    )


def _etcd(instance: Instance) -> tuple[EtcdSeen, ...]:
    import asyncio  # late, as what follows: few clusters have it

    from sampan.cluster.etcd import members

    found = asyncio.run(members.health(members.settings_of(instance)))
    return tuple(EtcdSeen(each.endpoint, each.version, each.leads, each.size_bytes, each.problem) for each in found)


def _is_healthy(process: ProcessSeen) -> bool:
    return process.pid is not None and all(component.running for component in process.failed)


def _pods(instance: Instance) -> list[Obj]:
    # A node may see its own.
    own = "" if instance.node.runs_control_plane else f"?fieldSelector=spec.nodeName%3D{instance.node.name}"
    try:
        items: list[Obj] = probe.get(instance, f"/api/v1/pods{own}")["items"]
    except probe.NotAnswering:  # it was there a moment ago
        return []
    return items


def _rss_bytes(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return pages * resource.getpagesize()
