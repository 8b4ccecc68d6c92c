"""Statistics of the node, its pods and containers as ``/stats/summary`` and as Prometheus text. Pure rendering.

``Sampler`` keeps the last sample, since a rate (``usageNanoCores``) needs two. Formats: upstream's Summary v1alpha1,
``/metrics/resource`` (KEP-727) and the few cAdvisor series that dashboards need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from datetime import datetime
from types import MappingProxyType

from sampan.api.clock import format_time, parse_time
from sampan.api.types import Obj
from sampan.node.api.machine import MachineUsage
from sampan.node.eviction.meter import FileSystem, Measured, Readings
from sampan.node.eviction.usage import DiskUsage, PodUsage
from sampan.node.runtime import (
    CONTAINER_NAME_LABEL,
    POD_NAME_LABEL,
    POD_NAMESPACE_LABEL,
    POD_UID_LABEL,
    ContainerStats,
)
from sampan.node.volumes.usage import Measurement, Measurements, VolumeUsage
from sampan.records import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """Everything known at one moment. ``nano_cores``: rate by container id, "" is the machine. ``started``: when a
    container started, by its id, where that is known."""

    time: datetime
    machine: MachineUsage
    containers: tuple[ContainerStats, ...]
    nano_cores: Mapping[str, int]
    started: Mapping[str, datetime] = field(default_factory=dict)


class Sampler:
    """Computes rates between samples. Those closer than a second apart keep the older rate: they would be noise."""

    def __init__(self) -> None:
        self._base: Sample | None = None

    def sample(
        self,
        time: datetime,
        machine: MachineUsage,
        containers: Iterable[ContainerStats],
        started: Mapping[str, datetime] = MappingProxyType({}),
    ) -> Sample:
        containers = tuple(containers)
        base = self._base
        seconds = (time - base.time).total_seconds() if base is not None else 0.0
        if base is not None and seconds < 1.0:
            return Sample(time, machine, containers, base.nano_cores, started)
        rates: dict[str, int] = {}
        if base is not None:
            before = {each.container_id: each.cpu_nanoseconds for each in base.containers}
            before[""] = base.machine.cpu_nanoseconds
            now = {each.container_id: each.cpu_nanoseconds for each in containers} | {"": machine.cpu_nanoseconds}
            rates = {
                key: int((value - before[key]) / seconds)
                for key, value in now.items()
                if key in before and value >= before[key]
            }
        self._base = Sample(time, machine, containers, rates, started)
        return self._base


def running_since(pods: Iterable[Obj]) -> dict[str, datetime]:
    """When each running container started, by its id, as the statuses of pods say."""
    found: dict[str, datetime] = {}
    for pod in pods:
        status = pod.get("status") or {}
        for key in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
            for each in status.get(key) or ():
                at = ((each.get("state") or {}).get("running") or {}).get("startedAt")
                if at:
                    found[str(each.get("containerID") or "").rpartition("//")[2]] = parse_time(at)
    return found


def _by_pod(containers: Iterable[ContainerStats]) -> dict[str, list[ContainerStats]]:
    pods: dict[str, list[ContainerStats]] = {}
    for each in containers:
        if uid := each.labels.get(POD_UID_LABEL):
            pods.setdefault(uid, []).append(each)
    return pods


def _cpu(time: str, total: int, rate: int | None) -> Obj:
    cpu: Obj = {"time": time, "usageCoreNanoSeconds": total}
    if rate is not None:
        cpu["usageNanoCores"] = rate
    return cpu


def render_summary(
    sample: Sample,
    node_name: str,
    start_times: Mapping[str, str],
    measured: Measured | None = None,
    claimed: Measurements = MappingProxyType({}),
) -> Obj:
    """``start_times``: pod uid to its ``status.startTime``. ``measured``: disks, and what pods have on them.
    ``claimed``: volumes of claims."""
    measured = measured or Measured()
    time = format_time(sample.time)
    machine = sample.machine
    node: Obj = {
        "nodeName": node_name,
        "cpu": _cpu(time, machine.cpu_nanoseconds, sample.nano_cores.get("")),
        "memory": {
            "time": time,
            "availableBytes": machine.memory_available_bytes,
            "usageBytes": machine.memory_total_bytes - machine.memory_available_bytes,
            "workingSetBytes": machine.memory_working_set_bytes,
        },
        **_node_disks(time, measured.readings),
    }
    pods = [
        _pod_summary(uid, each, sample, start_times.get(uid), measured.pods.get(uid), measured.readings.node_fs)
        | _volumes(time, measured.pods.get(uid), claimed.get(uid), measured.readings.node_fs)
        for uid, each in sorted(_by_pod(sample.containers).items())
    ]
    return {"node": node, "pods": pods}


def _node_disks(time: str, readings: Readings) -> Obj:
    found: Obj = {}
    if readings.node_fs.capacity_bytes:
        images = _file_system(time, readings.image_fs or readings.node_fs)
        found["fs"] = _file_system(time, readings.node_fs)
        found["runtime"] = {"imageFs": images, "containerFs": images}
    if readings.task_limit:
        found["rlimit"] = {"time": time, "maxpid": readings.task_limit, "curproc": readings.tasks}
    return found


def _file_system(time: str, system: FileSystem) -> Obj:
    shown: Obj = {
        "time": time,
        "availableBytes": system.available_bytes,
        "capacityBytes": system.capacity_bytes,
        "usedBytes": system.capacity_bytes - system.available_bytes,
    }
    if system.inodes:
        free = system.inodes_free
        shown |= {"inodesFree": free, "inodes": system.inodes, "inodesUsed": system.inodes - free}
    return shown


def _used(time: str, usage: DiskUsage, on: FileSystem) -> Obj:
    """What is used of the file system that it is on, of which others take their part."""
    shown = {"time": time, "usedBytes": usage.used_bytes, "inodesUsed": usage.inodes}
    if on.capacity_bytes:
        shown |= {"availableBytes": on.available_bytes, "capacityBytes": on.capacity_bytes}
    if on.inodes:
        shown |= {"inodes": on.inodes, "inodesFree": on.inodes_free}
    return shown


def _volumes(time: str, disk: PodUsage | None, claimed: Mapping[str, Measurement] | None, on: FileSystem) -> Obj:
    """All of the pod's volumes, where some of them are of claims."""
    if not claimed:
        return {}
    shown = [] if disk is None else [{**_used(time, used, on), "name": name} for name, used in disk.volumes.items()]
    for name, each in claimed.items():
        usage = each.usage
        entry: Obj = {
            "time": time,
            "availableBytes": usage.available_bytes,
            "capacityBytes": usage.capacity_bytes,
            "usedBytes": usage.used_bytes,
            "inodesFree": usage.inodes_free,
            "inodes": usage.inodes,
            "inodesUsed": usage.inodes_used,
            "name": name,
            "pvcRef": {"name": each.claim, "namespace": each.namespace},
        }
        if usage.abnormal is not None:
            entry["volumeHealthStats"] = {"abnormal": usage.abnormal}
        shown.append(entry)
    return {"volume": sorted(shown, key=lambda entry: str(entry["name"]))}


def _pod_summary(
    uid: str,
    containers: list[ContainerStats],
    sample: Sample,
    start_time: str | None,
    disk: PodUsage | None,
    on: FileSystem,
) -> Obj:
    labels = containers[0].labels
    time = format_time(sample.time)
    rates = [sample.nano_cores[each.container_id] for each in containers if each.container_id in sample.nano_cores]
    pod: Obj = {
        "podRef": {
            "name": labels.get(POD_NAME_LABEL, ""),
            "namespace": labels.get(POD_NAMESPACE_LABEL, ""),
            "uid": uid,
        },
        "startTime": start_time or time,
        "containers": [_container_summary(each, sample) for each in containers],
        "cpu": _cpu(time, sum(each.cpu_nanoseconds for each in containers), sum(rates) if rates else None),
        "memory": {
            "time": time,
            "usageBytes": sum(each.memory_usage_bytes for each in containers),
            "workingSetBytes": sum(each.memory_working_set_bytes for each in containers),
            "rssBytes": sum(each.memory_rss_bytes for each in containers),
        },
        "ephemeral-storage": {"time": time, "usedBytes": sum(each.writable_layer_bytes for each in containers)},
    }
    if disk is not None:
        pod["ephemeral-storage"] = _used(time, disk.disk() + disk.other, on)
        pod["volume"] = [{**_used(time, used, on), "name": name} for name, used in sorted(disk.volumes.items())]
        if disk.processes:
            pod["process_stats"] = {"process_count": disk.processes}
        for each in pod["containers"]:
            if (container := disk.containers.get(each["name"])) is not None:
                each["logs"] = _used(time, container.logs, on)
    return pod


def _container_summary(stats: ContainerStats, sample: Sample) -> Obj:
    time = format_time(stats.timestamp)
    return {
        "name": stats.labels.get(CONTAINER_NAME_LABEL, ""),
        "startTime": format_time(sample.started.get(stats.container_id, stats.timestamp)),
        "cpu": _cpu(time, stats.cpu_nanoseconds, sample.nano_cores.get(stats.container_id)),
        "memory": {
            "time": time,
            "usageBytes": stats.memory_usage_bytes,
            "workingSetBytes": stats.memory_working_set_bytes,
            "rssBytes": stats.memory_rss_bytes,
        },
        "rootfs": {"time": time, "usedBytes": stats.writable_layer_bytes},
    }


class _Text:
    """Prometheus text format 0.0.4, with timestamps."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def family(self, name: str, kind: str, text: str) -> None:
        self._lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]

    def add(self, name: str, value: float, time: datetime | None, labels: Mapping[str, str] | None = None) -> None:
        escaped = ",".join(f'{key}="{_escape(text)}"' for key, text in sorted((labels or {}).items()))
        stamp = f" {int(time.timestamp() * 1000)}" if time is not None else ""
        self._lines.append(f"{name}{{{escaped}}} {value!r}{stamp}" if labels else f"{name} {value!r}{stamp}")

    def text(self) -> str:
        return "\n".join(self._lines) + "\n"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _names(stats: ContainerStats) -> dict[str, str]:
    labels = stats.labels
    return {
        "container": labels.get(CONTAINER_NAME_LABEL, ""),
        "namespace": labels.get(POD_NAMESPACE_LABEL, ""),
        "pod": labels.get(POD_NAME_LABEL, ""),
    }


def render_resource_metrics(sample: Sample) -> str:
    """``/metrics/resource``: what the metrics server reads."""
    out = _Text()
    time, machine = sample.time, sample.machine
    pods = _by_pod(sample.containers)
    cpu, memory = "cpu_usage_seconds_total", "memory_working_set_bytes"
    out.family(f"container_{cpu}", "counter", "[STABLE] Cumulative cpu time consumed by the container in core-seconds")
    for each in sample.containers:
        out.add(f"container_{cpu}", each.cpu_nanoseconds / 1e9, each.timestamp, _names(each))
    out.family(f"container_{memory}", "gauge", "[STABLE] Current working set of the container in bytes")
    for each in sample.containers:
        out.add(f"container_{memory}", each.memory_working_set_bytes, each.timestamp, _names(each))
    start = "container_start_time_seconds"
    out.family(start, "gauge", "[STABLE] Start time of the container since unix epoch in seconds")
    for each in sample.containers:
        if (started := sample.started.get(each.container_id)) is not None:
            out.add(start, started.timestamp(), None, _names(each))
    out.family(f"node_{cpu}", "counter", "[STABLE] Cumulative cpu time consumed by the node in core-seconds")
    out.add(f"node_{cpu}", machine.cpu_nanoseconds / 1e9, time)
    out.family(f"node_{memory}", "gauge", "[STABLE] Current working set of the node in bytes")
    out.add(f"node_{memory}", machine.memory_working_set_bytes, time)
    out.family(f"pod_{cpu}", "counter", "[STABLE] Cumulative cpu time consumed by the pod in core-seconds")
    for each_pod in pods.values():
        names = {key: value for key, value in _names(each_pod[0]).items() if key != "container"}
        out.add(f"pod_{cpu}", sum(each.cpu_nanoseconds for each in each_pod) / 1e9, time, names)
    out.family(f"pod_{memory}", "gauge", "[STABLE] Current working set of the pod in bytes")
    for each_pod in pods.values():
        names = {key: value for key, value in _names(each_pod[0]).items() if key != "container"}
        out.add(f"pod_{memory}", sum(each.memory_working_set_bytes for each in each_pod), time, names)
    out.family("resource_scrape_error", "gauge", "[STABLE] 1 if there was an error while getting metrics, 0 otherwise")
    out.add("resource_scrape_error", 0, None)
    return out.text()


_VOLUME_SERIES: tuple[tuple[str, str, Callable[[VolumeUsage], float | None]], ...] = (
    ("capacity_bytes", "Capacity in bytes of the volume", lambda each: each.capacity_bytes),
    ("available_bytes", "Number of available bytes in the volume", lambda each: each.available_bytes),
    ("used_bytes", "Number of used bytes in the volume", lambda each: each.used_bytes),
    ("inodes", "Maximum number of inodes in the volume", lambda each: each.inodes),
    ("inodes_free", "Number of free inodes in the volume", lambda each: each.inodes_free),
    ("inodes_used", "Number of used inodes in the volume", lambda each: each.inodes_used),
    (
        "health_status_abnormal",
        "Abnormal volume health status. The count is either 1 or 0. 1 indicates the volume is unhealthy, 0 indicates "
        "volume is healthy",
        lambda each: None if each.abnormal is None else int(each.abnormal),
    ),
)


def render_volume_metrics(claimed: Measurements) -> str:
    """``kubelet_volume_stats_*``, once a claim, whichever of its pods is looked at; "": there are none."""
    once = {(each.namespace, each.claim): each.usage for pod in claimed.values() for each in pod.values()}
    out = _Text()
    for name, text, value in _VOLUME_SERIES if once else ():
        shown = [(key, found) for key, usage in sorted(once.items()) if (found := value(usage)) is not None]
        if shown:
            out.family(f"kubelet_volume_stats_{name}", "gauge", f"[ALPHA] {text}")
        for (namespace, claim), found in shown:
            labels = {"namespace": namespace, "persistentvolumeclaim": claim}
            out.add(f"kubelet_volume_stats_{name}", found, None, labels)
    return out.text() if once else ""


_CADVISOR_SERIES: tuple[tuple[str, str, Callable[[ContainerStats], float]], ...] = (
    ("container_cpu_usage_seconds_total", "counter", lambda each: each.cpu_nanoseconds / 1e9),
    ("container_memory_working_set_bytes", "gauge", lambda each: each.memory_working_set_bytes),
    ("container_memory_usage_bytes", "gauge", lambda each: each.memory_usage_bytes),
    ("container_memory_rss", "gauge", lambda each: each.memory_rss_bytes),
    ("container_fs_usage_bytes", "gauge", lambda each: each.writable_layer_bytes),
)


def render_cadvisor_metrics(sample: Sample, cores: int) -> str:
    """``/metrics/cadvisor``: the series that common dashboards draw, with cAdvisor's names."""
    out = _Text()
    for name, kind, value in _CADVISOR_SERIES:
        out.family(name, kind, f"{name.replace('_', ' ')} of the container")
        for each in sample.containers:
            labels = {**_names(each), "id": each.container_id, "name": each.container_id}
            if kind == "counter":
                labels["cpu"] = "total"
            out.add(name, value(each), each.timestamp, labels)
    out.family("machine_cpu_cores", "gauge", "Number of logical CPU cores.")
    out.add("machine_cpu_cores", cores, None)
    out.family("machine_memory_bytes", "gauge", "Amount of memory installed on the machine.")
    out.add("machine_memory_bytes", sample.machine.memory_total_bytes, None)
    return out.text()
