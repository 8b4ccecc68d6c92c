"""The scheduler's shell: informers feed cache and queue, each pod is decided on at once, bindings run beside.

``run_scheduler`` is called by ``sampan.cluster`` and ``sampan.testing``. The decision itself is synchronous and pure
(``profile.py``): between taking a pod and assuming it on a node nothing else runs, so the cache is the snapshot.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from sampan.api.clock import Clock, Random
from sampan.api.errors import ApiError, Conflict, Forbidden, NotFound
from sampan.api.pods.status import is_terminal
from sampan.api.resources import (
    NAMESPACES,
    NODES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    SERVICES,
    STATEFUL_SETS,
)
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.events import EventRecorder
from sampan.client.informer import ChangeType, InformerFactory
from sampan.client.timeline import Timeline
from sampan.keeping import fault_words
from sampan.scheduler import status
from sampan.scheduler.cache import Cluster
from sampan.scheduler.config import SchedulerConfig, build_profile
from sampan.scheduler.decision import Decision, Decisions
from sampan.scheduler.framework import (
    BindPlugin,
    Code,
    Event,
    PermitPlugin,
    PostBindPlugin,
    PreBindPlugin,
    PreEnqueuePlugin,
    QueueSortPlugin,
    ReservePlugin,
    Status,
)
from sampan.scheduler.plugins.defaultpreemption import Preemption
from sampan.scheduler.podinfo import PodInfo
from sampan.scheduler.profile import Profile
from sampan.scheduler.queue import QueuedPod, SchedulingQueue
from sampan.scheduler.selectors import DefaultSelectors

log = logging.getLogger(__name__)

_CROSS_NODE = frozenset(("PodTopologySpread", "InterPodAffinity"))
#: Decisions in a row before others on the event loop get a turn.
_STRETCH = 4


async def run_scheduler(
    client: Client,
    *,
    clock: Clock,
    random: Random,
    config: SchedulerConfig | None = None,
    started: asyncio.Event | None = None,
    decisions: Decisions | None = None,
    informers: InformerFactory | None = None,
) -> None:
    """Schedules until cancelled. ``started`` is set when pods and nodes are known; ``decisions`` receives the records;
    ``informers`` shares a factory that the caller runs.
    """
    scheduler = Scheduler(client, clock, random, config or SchedulerConfig(), decisions, informers)
    await scheduler.run(started)


class Scheduler:
    """State: the cluster, the queue, bindings in flight. ``decisions`` may be read by anybody."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        random: Random,
        config: SchedulerConfig,
        decisions: Decisions | None = None,
        informers: InformerFactory | None = None,
    ) -> None:
        self._client, self._clock, self._random, self._config = client, Timeline.of(clock), random, config
        self.decisions = decisions if decisions is not None else Decisions(config.decisions_kept)
        self.cluster = Cluster()
        self._owns_informers = informers is None
        self._factory = informers or InformerFactory(client, random=random)
        self._pods = self._factory.informer(PODS)
        self._nodes = self._factory.informer(NODES)
        self._namespaces = self._factory.informer(NAMESPACES)
        self._budgets = self._factory.informer(POD_DISRUPTION_BUDGETS)
        owners = {
            resource.kind: self._factory.informer(resource)
            for resource in (REPLICA_SETS, REPLICATION_CONTROLLERS, STATEFUL_SETS)
        }
        self._also = [self._budgets, *owners.values(), self._factory.informer(SERVICES)]
        self.cluster.default_selector = DefaultSelectors(self._also[-1], owners)
        self.profiles = {p.scheduler_name: build_profile(p, client) for p in config.profiles}
        self._recorders = {name: EventRecorder(client, name, "", clock) for name in self.profiles}
        sorter = next(
            p for profile in self.profiles.values() for p in profile.plugins if isinstance(p, QueueSortPlugin)
        )
        self.queue = SchedulingQueue(
            sorter.sort_key,
            initial_seconds=config.initial_backoff_seconds,
            max_seconds=config.max_backoff_seconds,
            timeline=self._clock,
        )
        self._bindings = asyncio.Semaphore(config.max_bindings)
        self._group: asyncio.TaskGroup | None = None

    async def run(self, started: asyncio.Event | None = None) -> None:
        self._nodes.add_handler(self._node_changed)
        self._namespaces.add_handler(self._namespace_changed)
        self._pods.add_handler(self._pod_changed)
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                if self._owns_informers:
                    tasks.spawn_eternal(group, self._factory.run(), "informers of the scheduler")
                for name, recorder in self._recorders.items():
                    tasks.spawn_eternal(group, recorder.run(), f"events of {name}")
                for informer in (self._nodes, self._namespaces, self._pods, *self._also):
                    await informer.synced()
                if started is not None:
                    started.set()
                tasks.spawn_eternal(group, self._loop(), "scheduling")
        finally:
            self._group = None
            self.queue.close()

    async def _loop(self) -> None:
        stretch = 0
        while True:
            item = self.queue.pop_nowait()
            if item is None:
                stretch = 0
                item = await self.queue.pop()
            await self._bindings.acquire()
            if not self._attempt(item):
                self._bindings.release()
            stretch += 1
            if stretch % _STRETCH == 0:
                await asyncio.sleep(0)

    # One pod

    def _attempt(self, item: QueuedPod) -> bool:
        """Decides on a pod; True when a binding was started."""
        pod = item.pod
        profile = self.profiles[pod.scheduler_name]
        if self.queue.find(pod.uid) is not item:
            return False  # gone, or somebody else bound it, while this one waited for its turn to bind
        if pod.terminating or self.cluster.is_assumed(pod.uid):
            self.queue.done(pod.uid)
            return False
        try:
            return self._decide(item, profile)
        except Exception as error:
            # A plugin's bug: it costs this pod its turn, backed off alone.
            log.exception("scheduling %s failed", pod.key)
            self._report_error(item.pod, fault_words(error))
            self.queue.errored(item)
            return False

    def _decide(self, item: QueuedPod, profile: Profile) -> bool:
        """True when a binding was started. Raises what plugins raise, and then nothing is assumed."""
        pod = item.pod
        decision = profile.decide(pod, self.cluster, self._random)
        if not decision.node:
            self._no_node(item, profile, decision)
            return False
        reserved = self._reserve(profile, pod, decision.node)
        if reserved.code is not Code.SUCCESS:
            self.queue.failed(item, frozenset((reserved.plugin,)))
            self._report_unschedulable(pod, reserved.message, None)
            return False
        self._keep(decision)
        self.cluster.assume(pod, decision.node)
        self.queue.done(pod.uid)
        self._spawn(self._bind(profile, pod, decision), f"bind {pod.key}")
        return True

    def _reserve(self, profile: Profile, pod: PodInfo, node: str) -> Status:
        done: list[ReservePlugin] = []
        for plugin in profile.plugins:
            if isinstance(plugin, ReservePlugin):
                done.append(plugin)
                try:
                    outcome = plugin.reserve(pod, node)
                except Exception:
                    _give_back(done, pod, node)
                    raise
                if outcome.code is not Code.SUCCESS:
                    _give_back(done, pod, node)
                    return Status(outcome.code, outcome.reasons, getattr(plugin, "name", ""))
        return Status()

    def _no_node(self, item: QueuedPod, profile: Profile, decision: Decision) -> None:
        pod = item.pod
        nominated: str | None = None
        if decision.nodes and profile.post_filter is not None:
            outcome: Preemption = profile.post_filter.post_filter(
                pod, profile, self.cluster, self._budgets.list(), self._random
            )
            decision = replace(decision, post_filter=outcome.message)
            if not outcome.keep:
                nominated = outcome.node
                self.cluster.nominate(pod, outcome.node)
            if outcome.victims:
                self._spawn(self._preempt(pod, outcome), f"preempt for {pod.key}")
        # Without any node there was nothing to try: the first node that appears is tried at once.
        self.queue.failed(item, decision.plugins(), attempted=bool(decision.nodes))
        self._keep(decision)
        self._report_unschedulable(pod, decision.message, nominated)

    async def _preempt(self, pod: PodInfo, plan: Preemption) -> None:
        """Removes the victims. A failure leaves the pod pending: a later attempt plans anew."""
        for other, node in list(self.cluster.nominated.values()):
            if node == plan.node and other.priority < pod.priority:
                # Room was promised to it that it will not get: let it look elsewhere.
                self.cluster.nominate(other, "")
                if (item := self.queue.find(other.uid)) is not None:
                    self.queue.requeue(item)
        for victim in plan.victims:
            try:
                patch = status.plan_preempted_patch(victim.obj, pod.scheduler_name, self._clock.now())
                await self._client.patch(
                    PODS, victim.name, patch, victim.namespace, patch_type="strategic", subresource="status"
                )
                await self._client.delete(PODS, victim.name, victim.namespace, uid=victim.uid)
            except (NotFound, Conflict):
                continue  # gone already, or another pod of that name
            except ApiError as error:
                log.warning("preempting %s for %s failed: %s", victim.key, pod.key, error.message)
                continue
            message = f"Preempted by pod {pod.uid} on node {plan.node}"
            self._recorders[pod.scheduler_name].event(victim.obj, "Normal", "Preempted", message)

    # Binding

    async def _bind(self, profile: Profile, pod: PodInfo, decision: Decision) -> None:
        node = decision.node
        try:
            await self._run_binding_cycle(profile, pod, node)
        except (ApiError, PluginRefused) as error:
            self._binding_failed(profile, pod, node, error)
        except Exception as error:
            # A plugin's bug: it costs this pod a back-off, and the others nothing.
            log.exception("binding %s failed", pod.key)
            self._binding_failed(profile, pod, node, error)
        else:
            message = f"Successfully assigned {pod.key} to {node}"
            self._recorders[profile.scheduler_name].event(pod.obj, "Normal", "Scheduled", message)
            for plugin in profile.plugins:
                if isinstance(plugin, PostBindPlugin):
                    plugin.post_bind(pod, node)
        finally:
            self._bindings.release()

    @staticmethod
    async def _run_binding_cycle(profile: Profile, pod: PodInfo, node: str) -> None:
        """Permit, PreBind, Bind. Raises ApiError, PluginRefused."""
        for plugin in profile.plugins:
            if isinstance(plugin, PermitPlugin):
                _check(plugin, await plugin.permit(pod, node))
        for plugin in profile.plugins:
            if isinstance(plugin, PreBindPlugin):
                _check(plugin, await plugin.pre_bind(pod, node))
        for plugin in profile.plugins:
            if isinstance(plugin, BindPlugin):
                outcome = await plugin.bind(pod, node)
                if outcome.code is not Code.SKIP:
                    _check(plugin, outcome)
                    return
        raise PluginRefused("no Bind plugin took the pod")

    def _binding_failed(self, profile: Profile, pod: PodInfo, node: str, error: Exception) -> None:
        for plugin in reversed(profile.plugins):
            if isinstance(plugin, ReservePlugin):
                plugin.unreserve(pod, node)
        if not self.cluster.forget(pod):
            return  # the informer has told us more in the meantime
        self._wake(Event.POD_DELETE, self.cluster.nodes.slot_of.get(node), pod)
        current = self._pods.get(pod.namespace, pod.name)
        if current is None or current["metadata"].get("uid") != pod.uid or not self._is_pending(current):
            return
        level = logging.DEBUG if isinstance(error, (Conflict, NotFound)) else logging.WARNING
        log.log(level, "binding %s to %s failed: %s", pod.key, node, error)
        self.queue.put_back(PodInfo(current))
        self._report_error(pod, f"binding rejected: {error}")

    # Reporting

    def _keep(self, decision: Decision) -> None:
        self.decisions.put(replace(decision, at=self._clock.now()))

    def _report_unschedulable(self, pod: PodInfo, message: str, nominated: str | None) -> None:
        self._report(pod, status.UNSCHEDULABLE, message, nominated)

    def _report_error(self, pod: PodInfo, message: str) -> None:
        self._report(pod, status.SCHEDULER_ERROR, message, None)

    def _report(self, pod: PodInfo, reason: str, message: str, nominated: str | None) -> None:
        self._recorders[pod.scheduler_name].event(pod.obj, "Warning", "FailedScheduling", message)
        patch = status.plan_failure_patch(pod.obj, reason, message, self._clock.now(), nominated)
        if patch is not None:
            self._spawn(self._patch_status(pod, patch), f"status of {pod.key}")

    async def _patch_status(self, pod: PodInfo, patch: Obj) -> None:
        try:
            await self._client.patch(PODS, pod.name, patch, pod.namespace, patch_type="strategic", subresource="status")
        except (NotFound, Conflict, Forbidden) as error:
            log.debug("status of %s not written: %s", pod.key, error.message)
        except ApiError as error:
            log.warning("status of %s not written: %s", pod.key, error.message)

    # What informers say

    def _is_pending(self, pod: Obj) -> bool:
        spec = pod.get("spec") or {}
        if spec.get("nodeName") or is_terminal(pod):
            return False
        return (spec.get("schedulerName") or "default-scheduler") in self.profiles

    def _pod_changed(self, kind: ChangeType, obj: Obj, previous: Obj | None) -> None:
        uid = obj["metadata"].get("uid", "")
        finished = is_terminal(obj)
        assigned = bool((obj.get("spec") or {}).get("nodeName"))
        if kind == "DELETED" or finished:
            self._pod_gone(uid, obj)
        elif assigned:
            self._pod_assigned(PodInfo(obj), previous)
        elif self._is_pending(obj):
            self._pod_pending(PodInfo(obj), previous if kind == "MODIFIED" else None)

    def _pod_gone(self, uid: str, obj: Obj) -> None:
        node = self.cluster.node_of(uid)
        self.queue.remove(uid)
        self.cluster.nominated.pop(uid, None)
        self.cluster.drop_pod(uid)
        if node:
            self._wake(Event.POD_DELETE, self.cluster.nodes.slot_of.get(node), PodInfo(obj))

    def _pod_assigned(self, pod: PodInfo, previous: Obj | None) -> None:
        self.queue.remove(pod.uid)
        known = self.cluster.node_of(pod.uid) == pod.node_name
        if known and previous is not None and not self.cluster.is_assumed(pod.uid) and _same_usage(pod.obj, previous):
            return
        # To other pods an assumed pod arrives now: that is when the API shows it.
        fresh = not self.cluster.node_of(pod.uid) or self.cluster.is_assumed(pod.uid)
        self.cluster.put_pod(pod)
        if not self.queue:
            return
        event = Event.POD_ADD if fresh else Event.POD_UPDATE
        self._wake(event, self.cluster.nodes.slot_of.get(pod.node_name), pod)

    def _pod_pending(self, pod: PodInfo, previous: Obj | None) -> None:
        item = self.queue.find(pod.uid)
        if self.cluster.is_assumed(pod.uid):
            return
        if pod.terminating:
            self.queue.remove(pod.uid)
            return
        if pod.nominated_node:
            self.cluster.nominate(pod, pod.nominated_node)
        elif previous is not None and (previous.get("status") or {}).get("nominatedNodeName"):
            self.cluster.nominate(pod, "")
        if item is not None and previous is not None and not _scheduling_changed(pod.obj, previous):
            self.queue.update(pod)
            return
        profile = self.profiles[pod.scheduler_name]
        gated = any(
            plugin.pre_enqueue(pod).code is not Code.SUCCESS
            for plugin in profile.plugins
            if isinstance(plugin, PreEnqueuePlugin)
        )
        self.queue.add(pod, gated=gated)

    def _node_changed(self, kind: ChangeType, obj: Obj, previous: Obj | None) -> None:
        if kind == "DELETED":
            self.cluster.drop_node(obj["metadata"]["name"])
            return
        known = obj["metadata"]["name"] in self.cluster.nodes.slot_of
        if known and previous is not None and not _node_matters(obj, previous):
            return
        slot = self.cluster.put_node(obj)
        self._wake(Event.NODE_UPDATE if known else Event.NODE_ADD, slot)

    def _namespace_changed(self, kind: ChangeType, obj: Obj, previous: Obj | None) -> None:
        name = obj["metadata"]["name"]
        if kind == "DELETED":
            self.cluster.namespace_labels.pop(name, None)
            return
        self.cluster.namespace_labels[name] = obj["metadata"].get("labels") or {}

    def _wake(self, event: Event, slot: int | None, changed: PodInfo | None = None) -> None:
        """Moves the pods that this change may help."""
        answers: dict[tuple[bytes, frozenset[str], int, int], bool] = {}
        for item in self.queue.unschedulable():
            pod = item.pod
            # What cross-node plugins say depends on more than the signature: those pods are asked one by one.
            alone = id(pod) if item.plugins & _CROSS_NODE else 0
            key = (pod.signature, item.plugins, pod.priority, alone)
            answer = answers.get(key)
            if answer is None:
                profile = self.profiles[pod.scheduler_name]
                answer = answers[key] = profile.may_help(pod, item.plugins, event, self.cluster, slot, changed)
            if answer:
                self.queue.requeue(item)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        assert self._group is not None, "the scheduler is not running"
        tasks.spawn_apart(self._group, work, name)


def _give_back(reserved: list[ReservePlugin], pod: PodInfo, node: str) -> None:
    for plugin in reversed(reserved):
        plugin.unreserve(pod, node)


class PluginRefused(Exception):
    """A Permit, PreBind or Bind plugin said no."""


def _check(plugin: object, outcome: Status) -> None:
    if outcome.code is not Code.SUCCESS:
        raise PluginRefused(f"{getattr(plugin, 'name', plugin)}: {outcome.message}")


def _same_usage(pod: Obj, previous: Obj) -> bool:
    """Whether an assigned pod's change leaves counts alone: most changes are of its status."""
    now, before = pod["metadata"], previous["metadata"]
    if now.get("labels") != before.get("labels") or now.get("deletionTimestamp") != before.get("deletionTimestamp"):
        return False
    if pod["spec"] is not previous["spec"] and pod["spec"] != previous["spec"]:
        return False
    return _held(pod) == _held(previous)


def _held(pod: Obj) -> list[object]:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return [(s.get("name"), s.get("allocatedResources"), (s.get("resources") or {}).get("requests")) for s in statuses]


def _scheduling_changed(pod: Obj, previous: Obj) -> bool:
    """Whether a pending pod's change may change its fate (``updatePodInSchedulingQueue``)."""
    now, before = pod["metadata"], previous["metadata"]
    return bool(now.get("labels") != before.get("labels") or pod.get("spec") != previous.get("spec"))


def _node_matters(node: Obj, previous: Obj) -> bool:
    """Heartbeats and conditions do not: what they mean for pods is said by taints."""
    if node.get("spec") != previous.get("spec"):
        return True
    if node["metadata"].get("labels") != previous["metadata"].get("labels"):
        return True
    now, before = node.get("status") or {}, previous.get("status") or {}
    return any(now.get(key) != before.get(key) for key in ("allocatable", "capacity", "images"))
