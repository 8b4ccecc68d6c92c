"""The scheduler's shell: informers feed cache and queue, each pod is decided on at once, bindings run beside.

``run_scheduler`` is called by ``sampan.cluster`` and ``sampan.testing``. The decision itself is synchronous and pure
(``profile.py``): between a decision and assuming the pod on its node nothing else runs, so the cache is the snapshot.
A search for victims (``preempting.py``) stops between nodes; no other pod's turn comes before it ends.
What informers say is taken in by ``changes.py``, binding cycles are in ``binding.py``, what is told in ``reporter.py``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Coroutine, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sampan.api.clock import Clock, Random
from sampan.api.resources import (
    CSI_DRIVERS,
    CSI_NODES,
    CSI_STORAGE_CAPACITIES,
    DEVICE_CLASSES,
    NAMESPACES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    POD_DISRUPTION_BUDGETS,
    POD_GROUPS,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    RESOURCE_CLAIMS,
    RESOURCE_SLICES,
    SERVICES,
    STATEFUL_SETS,
    STORAGE_CLASSES,
)
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.informer import InformerFactory
from sampan.client.timeline import Timeline
from sampan.scheduler.binding import Bindings
from sampan.scheduler.cache import Cluster
from sampan.scheduler.changes import Changes
from sampan.scheduler.config import ProfileConfig, SchedulerConfig, build_profile
from sampan.scheduler.decision import Decision
from sampan.scheduler.devices.changes import DeviceChanges
from sampan.scheduler.devices.store import Devices
from sampan.scheduler.framework import (
    BindPlugin,
    PreEnqueuePlugin,
    QueueSortPlugin,
    Verdicts,
)
from sampan.scheduler.outcomes import Outcomes
from sampan.scheduler.plugins.gangscheduling import GangScheduling
from sampan.scheduler.podgroups import PodGroups
from sampan.scheduler.podinfo import PodInfo
from sampan.scheduler.preempting import Outcome, preempt
from sampan.scheduler.profile import Profile
from sampan.scheduler.queue import Place, QueuedPod, SchedulingQueue, guarded
from sampan.scheduler.records import Attempts
from sampan.scheduler.reporter import Reporter
from sampan.scheduler.selectors import DefaultSelectors
from sampan.scheduler.storage import Storage
from sampan.scheduler.storagechanges import StorageChanges

if TYPE_CHECKING:
    from sampan.scheduler.extended import Extenders
    from sampan.scheduler.gangs import Gangs

log = logging.getLogger(__name__)

#: Decisions in a row before others on the event loop get a turn.
_STRETCH = 4


async def run_scheduler(
    client: Client,
    *,
    clock: Clock,
    random: Random,
    config: SchedulerConfig | None = None,
    started: asyncio.Event | None = None,
    attempts: Attempts | None = None,
    informers: InformerFactory | None = None,
    plugin_files: Sequence[Path] = (),
) -> None:
    """Schedules until cancelled. Raises BadPlugin, WrongPlugins.

    ``started`` is set when pods and nodes are known; ``attempts`` receives the records; ``informers`` shares a factory
    that the caller runs; ``plugin_files`` are read again when they change.
    """
    if config is None and not plugin_files:
        await Scheduler(client, clock, random, SchedulerConfig(), attempts, informers).run(started)
        return
    from sampan.scheduler import reloading  # late: few have plug-ins of their own

    config = config or SchedulerConfig()
    prepared = await reloading.prepare(config, plugin_files)
    scheduler = Scheduler(client, clock, random, prepared, attempts, informers)
    if plugin_files:
        installed = await reloading.prepare(config, ())
        await reloading.run_following(scheduler, installed, plugin_files, Timeline.of(clock), started)
    else:
        await scheduler.run(started)


class Scheduler:
    """State: the cluster, the queue, bindings in flight. ``attempts`` may be read by anybody."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        random: Random,
        config: SchedulerConfig,
        attempts: Attempts | None = None,
        informers: InformerFactory | None = None,
    ) -> None:
        self._random = random
        timeline = Timeline.of(clock)
        self.attempts = attempts if attempts is not None else Attempts(kept_bytes=config.attempts_kept_bytes)
        self._factory = informers or InformerFactory(client, random=random)
        self._claims = self._factory.informer(PERSISTENT_VOLUME_CLAIMS)
        self._volumes = self._factory.informer(PERSISTENT_VOLUMES)
        self._classes = self._factory.informer(STORAGE_CLASSES)
        self._csi_nodes = self._factory.informer(CSI_NODES)
        self._drivers = self._factory.informer(CSI_DRIVERS)
        self._capacities = self._factory.informer(CSI_STORAGE_CAPACITIES)
        self._resource_claims = self._factory.informer(RESOURCE_CLAIMS)
        self._device_classes = self._factory.informer(DEVICE_CLASSES)
        self._slices = self._factory.informer(RESOURCE_SLICES)
        # Nobody waits for these: a cluster may serve no devices.
        devices = (self._resource_claims, self._device_classes, self._slices)
        self.cluster = Cluster(
            Storage(self._claims, self._volumes, self._classes, self._drivers),
            Devices(self._resource_claims, self._device_classes, lambda: all(each.has_synced for each in devices)),
        )
        self._clock = timeline
        self._owns_informers = informers is None
        self._pods = self._factory.informer(PODS)
        self._nodes = self._factory.informer(NODES)
        self._namespaces = self._factory.informer(NAMESPACES)
        self._services = self._factory.informer(SERVICES)
        self._budgets = self._factory.informer(POD_DISRUPTION_BUDGETS)
        owners = {
            resource.kind: self._factory.informer(resource)
            for resource in (REPLICA_SETS, REPLICATION_CONTROLLERS, STATEFUL_SETS)
        }
        self._informers = (
            self._nodes,
            self._namespaces,
            self._services,
            self._claims,
            self._volumes,
            self._classes,
            self._csi_nodes,
            self._drivers,
            self._capacities,
            self._pods,
            self._budgets,
            *owners.values(),
        )
        self._selectors = DefaultSelectors(owners)
        self.cluster.default_selector = self._selectors
        self._client, self._config = client, config
        self._extenders: Extenders | None = None
        if config.extenders:
            # Imported late: its HTTP client is for the few that have extenders.
            from sampan.scheduler.extended import Extenders

            self._extenders = Extenders(config.extenders)
        self._pod_groups = self._factory.informer(POD_GROUPS) if config.groups else None
        self._groups = PodGroups() if config.groups else None
        self.profiles = {p.scheduler_name: self._build(p) for p in config.profiles}
        self._reporter = Reporter(client, timeline, self.profiles, self._spawn)
        sorter = next(p for profile in self.profiles.values() for p in profile.having(QueueSortPlugin))
        self.queue = SchedulingQueue(
            guarded(sorter.sort_key),
            initial_seconds=config.initial_backoff_seconds,
            max_seconds=config.max_backoff_seconds,
            timeline=timeline,
        )
        self._bindings = Bindings(config.max_bindings, config.permit_seconds)
        self._changes = Changes(
            self.cluster, self.queue, self._bindings, self.profiles, self._reporter.error, self._groups
        )
        self._outcomes = Outcomes(
            self.cluster,
            self.queue,
            self._bindings,
            self._changes,
            self._reporter,
            self.attempts,
            timeline,
            self._pods.get,
            self._spawn,
        )
        self._gangs: Gangs | None = None
        if self._groups is not None:
            # Imported late, as it is off by default.
            from sampan.scheduler.gangs import Gangs

            self._gangs = Gangs(
                self._groups,
                self.cluster,
                self.queue,
                self._bindings,
                random,
                self._outcomes,
                self._reporter,
                self._search,
                lambda pod: self._extenders is not None and bool(self._extenders.interested(pod)),
            )
        self._storage_changes = StorageChanges(
            self.cluster.storage, self.queue, self._pods, self._claims, self._classes
        )
        self._device_changes = DeviceChanges(self.cluster.devices, self.queue, self._pods, self._changes.look_again)
        self._group: asyncio.TaskGroup | None = None

    async def run(self, started: asyncio.Event | None = None) -> None:
        removers = [
            self._nodes.add_handler(self._changes.node_changed),
            self._namespaces.add_handler(self._changes.namespace_changed),
            self._services.add_handler(self._selectors.service_changed),
            self._claims.add_handler(self._storage_changes.claim_changed),
            self._volumes.add_handler(self._storage_changes.volume_changed),
            self._classes.add_handler(self._storage_changes.class_changed),
            self._csi_nodes.add_handler(self._storage_changes.csi_node_changed),
            self._drivers.add_handler(self._storage_changes.driver_changed),
            self._capacities.add_handler(self._storage_changes.capacity_changed),
            self._resource_claims.add_handler(self._device_changes.claim_changed),
            self._device_classes.add_handler(self._device_changes.class_changed),
            self._slices.add_handler(self._device_changes.slice_changed),
            self._pods.add_handler(self._changes.pod_changed),
        ]
        if self._pod_groups is not None:
            removers.append(self._pod_groups.add_handler(self._changes.pod_group_changed))
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                if self._owns_informers:
                    tasks.spawn_eternal(group, self._factory.run(), "informers of the scheduler")
                for name, recorder in self._reporter.recorders.items():
                    tasks.spawn_eternal(group, recorder.run(), f"events of {name}")
                for informer in self._informers:
                    await informer.synced()
                if started is not None:
                    started.set()
                tasks.spawn_eternal(group, self._loop(), "scheduling")
        finally:
            # The informers may live on: another scheduler may follow this one.
            for remove in removers:
                remove()
            self._group = None
            self.queue.close()
            if self._extenders is not None:
                await self._extenders.close()

    async def _loop(self) -> None:
        stretch = 0
        while True:
            item = self.queue.pop_nowait()
            if item is None:
                stretch = 0
                item = await self.queue.pop()
            await self._bindings.room()
            if not await self._attempt(item):
                self._bindings.give_back()
            stretch += 1
            if stretch % _STRETCH == 0:
                await asyncio.sleep(0)

    # Profiles

    def _build(self, config: ProfileConfig, known: Mapping[str, Any] | None = None) -> Profile:
        """Raises WrongPlugins."""
        ignored = {name for extender in self._config.extenders for name in extender.ignored_resources}
        if ignored:
            config = replace(config, ignored_resources=(*config.ignored_resources, *sorted(ignored)))
        profile = build_profile(config, self._client, known)
        if self._extenders is not None:
            from sampan.scheduler.extended import ExtenderBinder

            binders = (ExtenderBinder(self._extenders), *profile.having(BindPlugin))
            profile.points = {**profile.points, BindPlugin: binders}
        if self._groups is not None:
            gang = GangScheduling(self._groups)
            profile.points = {**profile.points, PreEnqueuePlugin: (*profile.having(PreEnqueuePlugin), gang)}
        return profile

    def replace_plugins(self, config: SchedulerConfig, changed: Collection[str]) -> None:
        """Profiles anew, with other plug-ins of these names; all others stay as they are, with what they know. Pods
        that found no node are tried again. Raises WrongPlugins and what plug-ins raise; then all is as it was."""
        made = {}
        for each in config.profiles:
            before = self.profiles.get(each.scheduler_name)
            known = {p.name: p for p in before.plugins if p.name not in changed} if before is not None else {}
            made[each.scheduler_name] = self._build(each, known)
        self._config = config
        self.profiles.update(made)
        for group in self.queue.unschedulable():
            for item in group:
                self.queue.requeue(item)
        for item in self.queue.taken():
            self.queue.requeue(item)

    # One pod

    async def _attempt(self, item: QueuedPod) -> bool:
        """Decides on a pod; True when a binding was started. A plug-in that raises, wherever it does, costs this pod
        its turn: it backs off alone, its owner is told that it was, and the log holds the error."""
        pod = item.pod
        if self.queue.find(pod.uid) is not item:
            return False  # gone, or somebody else bound it, while this one waited for its turn to bind
        if pod.terminating or self.cluster.is_assumed(pod.uid):
            self.queue.done(pod.uid)
            return False
        profile = self.profiles[pod.scheduler_name]
        item.missed, item.again = [], False  # it is tried on what is known now
        if self._gangs is not None and (named := self._gangs.group_of(pod)) is not None:
            key, group = named
            if group is None:
                self._changes.look_again(pod.obj)  # its group has gone: it waits for another of that name
                return False
            return await self._gangs.attempt(item, key, group, profile)
        if self._extenders is not None and (self._extenders.interested(pod) or self._extenders.preempting(pod)):
            self._spawn(self._attempt_extended(item, pod, profile, self._extenders), f"extended attempt on {pod.key}")
            return False
        try:
            decision = profile.decide(pod, self.cluster, self._random)
            if decision.node:
                return self._outcomes.take(item, pod, profile, decision)
            outcome = Outcome(None)
            if decision.nodes:
                outcome = await self._search(pod, profile)
            if outcome.paused:
                if not self._is_tried(item, pod):
                    return False
                # Somebody else may have made room meanwhile: then nobody has to go.
                decision = profile.decide(pod, self.cluster, self._random)
                if decision.node:
                    return self._outcomes.take(item, pod, profile, decision)
            self._outcomes.no_node(item, profile, decision, outcome)
        except Exception as error:
            if self.queue.find(pod.uid) is item:
                self._outcomes.raised(item, pod, profile, error)
        return False

    async def _search(self, pod: PodInfo, profile: Profile) -> Outcome:
        """Who would have to go for this pod."""
        return await preempt(pod, profile, self.cluster, self._budgets.list(), self._random)

    def _is_tried(self, item: QueuedPod, pod: PodInfo) -> bool:
        """Whether an attempt that took its time is still about this pod; one that has changed is tried as it is now."""
        if self.queue.find(pod.uid) is not item or item.place is not Place.TAKEN:
            return False
        if item.again and item.pod is not pod:
            self.queue.retry(item)
            return False
        return True

    async def _attempt_extended(self, item: QueuedPod, pod: PodInfo, profile: Profile, extenders: Extenders) -> None:
        """The same for a pod that extenders are asked about; others are decided on meanwhile."""
        from sampan.scheduler import extended
        from sampan.scheduler.extending.client import ExtenderFailed

        async with extenders.room:
            try:
                decision = await extended.decide(pod, profile, self.cluster, self._random, extenders.interested(pod))
                table, outcome = self.cluster.verdicts, Outcome(None)
                if decision.nodes and not decision.node:
                    outcome = await extended.preempt(
                        pod, profile, self.cluster, self._budgets.list(), self._random, extenders.preempting(pod)
                    )
                if not self._is_tried(item, pod):
                    return
                if not decision.node:
                    if table is not self.cluster.verdicts:
                        decision = replace(decision, verdicts=None)  # its numbers mean nothing any more
                    self._outcomes.no_node(item, profile, decision, outcome)
                    return
                waited = not self._bindings.has_room
                await self._bindings.room()
                taken = (not waited or self._still_fits(item, profile, decision)) and self._outcomes.take(
                    item, pod, profile, decision
                )
                if not taken:
                    self._bindings.give_back()
                    self.queue.errored(item)
            except ExtenderFailed as error:
                if self.queue.find(pod.uid) is item:
                    self._outcomes.errored(item, pod, profile, str(error))
            except Exception as error:
                if self.queue.find(pod.uid) is item:
                    self._outcomes.raised(item, pod, profile, error)

    def _still_fits(self, item: QueuedPod, profile: Profile, decision: Decision) -> bool:
        """Whether a decision still holds after a time in which others were made."""
        slot = self.cluster.nodes.slot_of.get(decision.node)
        if slot is None or self.queue.find(item.pod.uid) is not item:
            return False
        return profile.verdict_at(item.pod, self.cluster, slot) == Verdicts.PASS

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        assert self._group is not None, "the scheduler is not running"
        task = tasks.spawn(self._group, _alone(work, name), name)
        task.add_done_callback(lambda _: work.close())  # one that is cancelled before it began would never be awaited


async def _alone(work: Coroutine[Any, Any, None], name: str) -> None:
    """What is done for one pod ends with its own error: no other pod learns of it."""
    try:
        await work
    except Exception:
        log.exception("%s failed", name)
