"""What comes of a decision: a pod's binding is started, or it waits and is told why, or others have to make room.

Takes the decision into cache and queue, keeps a record of the attempt, and hands what is to be written to the reporter
and to the bindings. Called by the scheduler's loop (``scheduler.py``) and for gangs (``gangs.py``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from sampan.api.clock import Clock
from sampan.api.errors import ApiError, Conflict, NotFound
from sampan.api.types import Obj
from sampan.keeping import fault_words
from sampan.records import dataclass
from sampan.scheduler import binding, recording
from sampan.scheduler.binding import Bindings, PluginRaised, PluginRefused
from sampan.scheduler.cache import Cluster
from sampan.scheduler.changes import Changes
from sampan.scheduler.decision import Decision
from sampan.scheduler.framework import Code, Event, ReservePlugin
from sampan.scheduler.plugins.defaultpreemption import Preemption
from sampan.scheduler.podgroups import GANG, GANG_ALONE, key_of
from sampan.scheduler.podinfo import PodInfo
from sampan.scheduler.preempting import Outcome
from sampan.scheduler.profile import Profile
from sampan.scheduler.queue import QueuedPod, SchedulingQueue
from sampan.scheduler.records import AttemptRecord, Attempts
from sampan.scheduler.reporter import Reporter, Spawn

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a pod waits on. ``plugins``: those that turned it down; ``GANG`` alone: it waits for its group. ``decision``
    None: it was not tried. ``nominated`` None: that stays as it is."""

    plugins: frozenset[str]
    message: str
    decision: Decision | None = None
    preemption: Preemption | None = None
    nominated: str | None = None


class Outcomes:
    """``find_pod``: a pod as the API last showed it, by namespace and name. ``spawn`` starts what runs beside the
    decisions and ends with its own error."""

    def __init__(
        self,
        cluster: Cluster,
        queue: SchedulingQueue,
        bindings: Bindings,
        changes: Changes,
        reporter: Reporter,
        attempts: Attempts,
        clock: Clock,
        find_pod: Callable[[str, str], Obj | None],
        spawn: Spawn,
    ) -> None:
        self._cluster, self._queue, self._bindings, self._changes = cluster, queue, bindings, changes
        self._reporter, self._attempts, self._clock = reporter, attempts, clock
        self._find_pod, self._spawn = find_pod, spawn

    def raised(self, item: QueuedPod, pod: PodInfo, profile: Profile, error: Exception) -> None:
        log.error("scheduling %s failed", pod.key, exc_info=error)
        self.errored(item, pod, profile, fault_words(error))

    def errored(self, item: QueuedPod, pod: PodInfo, profile: Profile, message: str) -> None:
        self._queue.errored(item)
        self._record(recording.failed(pod, profile, self._clock.now(), message))
        self._reporter.error(pod, message)

    def take(self, item: QueuedPod, pod: PodInfo, profile: Profile, decision: Decision) -> bool:
        """It has a node; True when its binding was started, in a place among the bindings that was taken before."""
        reserved = binding.reserve(profile, pod, decision.node)
        if reserved.code is not Code.SUCCESS:
            self.unschedulable(item, profile, frozenset((reserved.plugin,)))
            self.keep(decision, pod, profile, message=reserved.message)
            self._reporter.unschedulable(pod, reserved.message)
            return False
        self.keep(decision, pod, profile)
        self._cluster.assume(pod, decision.node)
        self._queue.done(pod.uid)
        self.bind(pod, profile, decision.node)
        return True

    def no_node(self, item: QueuedPod, profile: Profile, decision: Decision, found: Outcome) -> None:
        pod, outcome = item.pod, found.found
        nominated: str | None = None
        if outcome is not None:
            decision = replace(decision, post_filter=outcome.message)
            if not outcome.keep:
                nominated = outcome.node
                self._cluster.nominate(pod, outcome.node)
            if outcome.victims:
                self.evict(pod, outcome)
        # Without any node there was nothing to try: the first node that appears is tried at once.
        item.again = item.again or found.outdated
        self.unschedulable(item, profile, decision.plugins(), attempted=bool(decision.nodes))
        self.keep(decision, pod, profile, preemption=outcome)
        self._reporter.unschedulable(pod, decision.message, nominated)

    def unschedulable(
        self, item: QueuedPod, profile: Profile, plugins: frozenset[str], *, attempted: bool = True
    ) -> None:
        alone = plugins == GANG_ALONE
        group = (GANG, key_of(item.pod)) if alone else profile.hint_key(item.pod, plugins)
        self._queue.failed(item, plugins, group=group, attempted=attempted)
        self._changes.catch_up(item)

    def evict(self, pod: PodInfo, plan: Preemption) -> None:
        self._spawn(self._preempt(pod, plan), f"preempt for {pod.key}")

    async def _preempt(self, pod: PodInfo, plan: Preemption) -> None:
        for other, node in list(self._cluster.nominated.values()):
            if node == plan.node and other.priority < pod.priority:
                # Room was promised to it that it will not get: let it look elsewhere.
                self._cluster.nominate(other, "")
                if (item := self._queue.find(other.uid)) is not None:
                    self._queue.requeue(item)
        for victim in plan.victims:
            # One that is not bound yet is told to make room, and stays.
            if not self._bindings.reject(victim.uid, f"preempted by pod {pod.uid} on node {plan.node}"):
                await self._reporter.evict(victim, pod, plan.node)

    def bind(self, pod: PodInfo, profile: Profile, node: str) -> None:
        """It is assumed on its node, and has left the queue."""
        cycle = self._bindings.run(
            profile,
            pod,
            node,
            lambda: self._bound(profile, pod, node),
            lambda error: self._binding_failed(profile, pod, node, error),
        )
        self._spawn(cycle, f"bind {pod.key}")

    def wait(self, item: QueuedPod, profile: Profile, why: Waiting) -> None:
        """Of a pod that was tried together with others."""
        pod, decision = item.pod, why.decision
        self.unschedulable(item, profile, why.plugins, attempted=decision is None or bool(decision.nodes))
        if decision is None or decision.node:
            self._record(recording.waiting(pod, profile, self._clock.now(), why.message))
        else:
            self.keep(decision, pod, profile, preemption=why.preemption)
        self._reporter.unschedulable(pod, why.message, why.nominated)

    # Outcomes of a binding

    def _bound(self, profile: Profile, pod: PodInfo, node: str) -> None:
        self._reporter.scheduled(pod, node)
        binding.post_bind(profile, pod, node)

    def _binding_failed(
        self, profile: Profile, pod: PodInfo, node: str, error: ApiError | PluginRefused | PluginRaised
    ) -> None:
        binding.unreserve(profile.having(ReservePlugin), pod, node)
        if not self._cluster.forget(pod):
            return  # the informer has told us more in the meantime
        self._changes.wake(Event.POD_DELETE, self._cluster.nodes.slot_of.get(node), pod)
        current = self._find_pod(pod.namespace, pod.name)
        if current is None or current["metadata"].get("uid") != pod.uid or not self._changes.is_pending(current):
            return
        self._record(recording.failed(pod, profile, self._clock.now(), f"binding to {node} rejected: {error}"))
        level = logging.DEBUG if isinstance(error, (Conflict, NotFound)) else logging.WARNING
        log.log(level, "binding %s to %s failed: %s", pod.key, node, error)
        self._queue.put_back(PodInfo(current))
        if isinstance(error, PluginRefused) and error.waited:
            self._reporter.unschedulable(pod, f"pod {pod.name} rejected: {error}")
        else:
            self._reporter.error(pod, f"binding rejected: {error}")

    def keep(
        self,
        decision: Decision,
        pod: PodInfo,
        profile: Profile,
        *,
        message: str = "",
        preemption: Preemption | None = None,
    ) -> None:
        now = self._clock.now()
        self._record(
            recording.record(decision, pod, profile, self._cluster, now, message=message, preemption=preemption)
        )

    def _record(self, record: AttemptRecord) -> None:
        self._attempts.put(record)
