"""Watches over the node and ends pods before the node itself is in danger: the kubelet's eviction manager.

Run by the agent. Every ten seconds (``look``): what is short is observed, and the Node's conditions follow. Short of
memory or processes, one pod is evicted. Else pods that use more disk than they said go, and where that is not the
cause, unused containers and images are removed, and if that did not help, one pod is evicted. Counting files takes
time that pods decide on: it has a bound a look, and memory never waits for it. What is decided is ``pressure``'s,
``limits``' and ``ranking``'s; this module measures and acts. Critical pods stay, whatever they use. One event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol

from sampan.api.pods import origin
from sampan.api.types import Obj
from sampan.node import runtime
from sampan.node.config import NodeConfig
from sampan.node.eviction import limits, pressure, words
from sampan.node.eviction.meter import Measured, Meter, PodDisk, Readings, observations
from sampan.node.eviction.ranking import rank
from sampan.node.eviction.usage import ContainerUsage, DiskUsage, PodUsage
from sampan.node.thresholds import RESOURCES, Threshold, with_container_file_system
from sampan.records import dataclass

log = logging.getLogger(__name__)

#: How often, and how far apart, it is looked whether evicted pods have ended.
CLEANUP_LOOKS, CLEANUP_STEP_SECONDS = 30, 1.0
_HARD_GRACE_SECONDS = 1
_REMEMBERED = 100
#: of one look, for counting pods' files: whose were counted the longest ago come first
COUNT_SECONDS = 20.0
#: what is not on the disk: its pods are told by a call each to the runtime and to the kernel
_QUICK = ("memory", "pids")

Tell = Callable[[Any, str, str], None]


class Evictable(Protocol):
    """A pod of this node, and whoever works on it."""

    @property
    def pod(self) -> Obj: ...

    @property
    def is_cleaned_up(self) -> bool:
        """Nothing of it runs, and what it had of the node is free."""
        ...

    @property
    def has_been_told(self) -> bool:
        """The API knows how it ended."""
        ...

    def evict(self, reason: str, message: str, *, grace_seconds: int | None = None, disruption: bool = False) -> None:
        """``grace_seconds``: the most that it gets. ``disruption``: its status says that it was ended by the node."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    config: NodeConfig
    meter: Meter
    runtime: runtime.Runtime
    #: pods that run or are being started, or ended
    pods: Callable[[], Sequence[Evictable]]
    #: Events of the node
    tell: Tell
    #: the Node's conditions are others now
    changed: Callable[[], None]
    #: remove containers that have ended, and unused images
    reclaim: Callable[[], Awaitable[None]]
    #: what all pods together may use of the memory
    pods_limit_bytes: int


class EvictionManager:
    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._pressure = pressure.Pressure()
        self._image_mount: str | None = None
        #: by uid, whether a pod has anything to exceed
        self._limited: dict[str, bool] = {}
        #: by uid, when a pod's files were counted last
        self._counted: dict[str, float] = {}
        #: what was measured last
        self.measured = Measured()
        #: what the machine showed when nothing was short, nor had been for a while
        self._calm: Readings | None = None
        self._thresholds: dict[bool, tuple[Threshold, ...]] = {
            dedicated: with_container_file_system(around.config.eviction_thresholds, dedicated_image_fs=dedicated)
            for dedicated in (False, True)
        }
        #: conditions that hold; None: nobody has looked yet
        self.conditions: tuple[str, ...] | None = None
        #: evictions by signal since the start
        self.evictions: dict[str, int] = {}

    async def run(self) -> None:
        while True:
            evicted = await self.look()
            if evicted:
                await self._wait_for(evicted)
            else:
                await asyncio.sleep(self._around.config.eviction_period_seconds)

    async def look(self) -> list[Evictable]:
        """Returns the pods that were evicted."""
        try:
            readings = await self._read()
        except OSError as error:
            log.warning("eviction: the machine cannot be measured: %s", error)
            return []
        self.measured = Measured(readings, self.measured.pods)
        dedicated = readings.image_fs is not None
        thresholds, seen = self._thresholds[dedicated], self._observe(readings)
        if readings != self._calm:
            self._judge(readings, thresholds, seen)
        due = self._pressure.due
        if due and RESOURCES[due[0].signal] in _QUICK:
            return await self._relieve(due, thresholds, seen, dedicated)
        if self._around.config.local_storage_isolation and (gone := await self._hold_to_limits(dedicated)):
            return gone
        return await self._relieve(due, thresholds, seen, dedicated) if due else []

    def _judge(self, readings: Readings, thresholds: Sequence[Threshold], seen: pressure.Observations) -> None:
        self._pressure = pressure.look(
            self._pressure,
            thresholds,
            seen,
            asyncio.get_running_loop().time(),
            transition_seconds=self._around.config.eviction_pressure_transition_seconds,
        )
        self._calm = readings if self._pressure == pressure.Pressure() else None
        before, self.conditions = self.conditions or (), self._pressure.conditions
        if self.conditions != before:
            self._around.changed()

    async def _read(self) -> Readings:
        if self._image_mount is None:
            try:
                self._image_mount, _ = await self._around.runtime.image_filesystem()
            except runtime.RuntimeCallError as error:
                log.info("eviction: where images lie is not known yet: %s", error)
        return await self._around.meter.read(self._image_mount or "")

    def _observe(self, readings: Readings) -> pressure.Observations:
        return observations(readings, self._around.pods_limit_bytes)

    # Limits of single pods.

    async def _hold_to_limits(self, dedicated: bool) -> list[Evictable]:
        pods = self._around.pods()
        bound = [each for each in pods if self._has_limits(each.pod) and not each.is_cleaned_up]
        if len(self._limited) > 2 * len(pods) + _REMEMBERED:
            self._limited.clear()
        if not bound:
            return []
        gone = []
        try:
            measured = await self._measure(bound)
        except runtime.RuntimeCallError as error:
            log.warning("eviction: %s", error)
            return []
        for each, used in measured:
            why = limits.exceeded(each.pod, used, dedicated_image_fs=dedicated) if used is not None else None
            if why is not None and self._evict(each, why, _HARD_GRACE_SECONDS, disruption=False):
                gone.append(each)
                self._count(_LIMIT_SIGNALS[why.partition(" ")[0]])
        return gone

    def _has_limits(self, pod: Obj) -> bool:
        """Of one pod the answer is always the same: neither volumes nor these limits can be changed."""
        uid: str = pod["metadata"]["uid"]
        if (known := self._limited.get(uid)) is None:
            known = self._limited[uid] = limits.has_limits(pod)
        return known

    # Pressure.

    async def _relieve(
        self,
        due: Sequence[Threshold],
        thresholds: Sequence[Threshold],
        seen: pressure.Observations,
        dedicated: bool,
    ) -> list[Evictable]:
        worst = due[0]
        resource = RESOURCES[worst.signal]
        self._around.tell("Warning", "EvictionThresholdMet", f"Attempting to reclaim {resource}")
        if await self._reclaimed(worst, thresholds, dedicated):
            return []
        found = {each.pod["metadata"]["uid"]: each for each in self._around.pods() if not each.is_cleaned_up}
        if not found:
            log.warning("eviction: %s is short, and there is no pod to evict", resource)
            return []
        try:
            measured = await self._measure(found.values(), files=resource not in _QUICK)
        except runtime.RuntimeCallError as error:
            log.warning("eviction: %s is short, and what pods use is not known: %s", resource, error)
            return []
        usage = {each.pod["metadata"]["uid"]: used for each, used in measured}
        known = {uid: used for uid, used in usage.items() if used is not None}
        for pod in rank(worst.signal, [each.pod for each in found.values()], known, dedicated_image_fs=dedicated):
            uid = pod["metadata"]["uid"]
            why = words.node_was_low(resource, pod, known.get(uid), due, seen)
            if self._evict(found[uid], why, self._grace_seconds(worst), disruption=True):
                self._count(worst.signal)
                return [found[uid]]
        log.warning("eviction: %s is short, and every pod of the node is critical", resource)
        return []

    def _grace_seconds(self, threshold: Threshold) -> int | None:
        """None: the pod's own."""
        if threshold.is_hard:
            return _HARD_GRACE_SECONDS
        longest = self._around.config.eviction_max_pod_grace_seconds
        return None if longest < 0 else longest

    async def _reclaimed(self, worst: Threshold, thresholds: Sequence[Threshold], dedicated: bool) -> bool:
        """Whether nothing is short any more once what nobody needs is gone."""
        on_disk = RESOURCES[worst.signal] in ("ephemeral-storage", "inodes")
        if not on_disk or (dedicated and worst.signal.startswith("nodefs.")):
            return False
        await self._around.reclaim()
        try:
            seen = self._observe(await self._read())
        except OSError as error:
            log.warning("eviction: the machine cannot be measured: %s", error)
            return False
        return not pressure.met_thresholds(thresholds, seen, with_reclaim=True)

    def _evict(self, each: Evictable, why: str, grace_seconds: int | None, *, disruption: bool) -> bool:
        pod = each.pod
        name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        if origin.is_critical(pod):
            log.warning("eviction: pod %s is critical and stays: %s", name, why)
            return False
        log.warning("eviction of pod %s: %s", name, why)
        each.evict(words.REASON, why, grace_seconds=grace_seconds, disruption=disruption)
        return True

    def _count(self, signal: str) -> None:
        self.evictions[signal] = self.evictions.get(signal, 0) + 1

    async def _wait_for(self, evicted: Sequence[Evictable]) -> None:
        """What they used is counted again only when it is free, or cannot be for long."""
        for _ in range(CLEANUP_LOOKS):
            await asyncio.sleep(CLEANUP_STEP_SECONDS)
            if all(each.is_cleaned_up for each in evicted):
                return
        log.info("eviction: evicted pods take long to end")

    # Measuring.

    async def _measure(
        self, pods: Iterable[Evictable], *, files: bool = True
    ) -> list[tuple[Evictable, PodUsage | None]]:
        """None: nothing of the pod runs that could be measured. Files of pods that there was no time for are taken for
        those that were counted last. Raises RuntimeCallError: nothing is known of any pod."""
        stats = await self._around.runtime.list_stats()
        by_pod: dict[str, list[runtime.ContainerStats]] = {}
        for item in stats:
            by_pod.setdefault(item.labels.get(runtime.POD_UID_LABEL, ""), []).append(item)
        clock = asyncio.get_running_loop().time
        end = clock() + COUNT_SECONDS
        measured: list[tuple[Evictable, PodUsage | None]] = []
        for each in sorted(pods, key=lambda each: self._counted.get(each.pod["metadata"]["uid"], 0.0)):
            uid = each.pod["metadata"]["uid"]
            used: PodUsage | None = None
            if found := by_pod.get(uid):
                counts = files and clock() < end
                disk = await self._around.meter.pod(each.pod, files=counts)
                if counts:
                    self._counted[uid] = clock()
                else:
                    disk = _as_counted_before(disk, self.measured.pods.get(uid))
                used = pod_usage(disk, found)
            measured.append((each, used))
        present = {each.pod["metadata"]["uid"] for each in self._around.pods()}
        self._counted = {uid: moment for uid, moment in self._counted.items() if uid in present}
        fresh = {each.pod["metadata"]["uid"]: used for each, used in measured if used is not None}
        kept = {uid: used for uid, used in {**self.measured.pods, **fresh}.items() if uid in present}
        self.measured = Measured(self.measured.readings, kept)
        return measured


def _as_counted_before(disk: PodDisk, before: PodUsage | None) -> PodDisk:
    if before is None:
        return disk
    logs = {name: each.logs for name, each in before.containers.items()}
    return PodDisk(logs, before.volumes, before.other, disk.processes)


_LIMIT_SIGNALS = {"Usage": "emptydirfs.limit", "Pod": "ephemeralpodfs.limit", "Container": "ephemeralcontainerfs.limit"}


def pod_usage(disk: PodDisk, stats: Iterable[runtime.ContainerStats]) -> PodUsage:
    containers: dict[str, ContainerUsage] = {}
    for item in stats:
        name = item.labels.get(runtime.CONTAINER_NAME_LABEL, "")
        containers[name] = ContainerUsage(
            item.memory_working_set_bytes,
            DiskUsage(item.writable_layer_bytes, item.writable_layer_inodes),
            disk.logs.get(name, DiskUsage()),
        )
    return PodUsage(containers, disk.volumes, disk.other, disk.processes)
