"""Attempts on gangs: all pods of a PodGroup that wait are taken together, decided on together and bound, or wait on.

The decision is ``groupcycle.py``'s; here is what comes of it for the group. What is done about each pod then (its
binding, its condition, its record) is as for a pod that stands alone (``outcomes.py``). A pod of a group without a gang
policy is such a pod.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from sampan.api.clock import Random
from sampan.scheduler.binding import Bindings
from sampan.scheduler.cache import Cluster
from sampan.scheduler.framework import Code, Status
from sampan.scheduler.groupcycle import GroupDecision, Member, place, still_there, take_back
from sampan.scheduler.outcomes import Outcomes, Waiting
from sampan.scheduler.podgroups import GANG, GANG_ALONE, Group, GroupKey, PodGroups, fault_of, key_of, may_preempt
from sampan.scheduler.podinfo import PodInfo
from sampan.scheduler.preempting import Outcome
from sampan.scheduler.profile import Profile
from sampan.scheduler.queue import Place, QueuedPod, SchedulingQueue
from sampan.scheduler.reporter import Reporter

#: victims for a pod
Search: TypeAlias = Callable[[PodInfo, Profile], Awaitable[Outcome]]

#: Members that are told in a row.
_TOLD: Final = 16
ASKS_OTHERS: Final = "pods of a gang are not scheduled where an extender is to be asked about them"


class Gangs:
    """``asks_others``: whether an extender would have to be asked about a pod."""

    def __init__(
        self,
        groups: PodGroups,
        cluster: Cluster,
        queue: SchedulingQueue,
        bindings: Bindings,
        random: Random,
        outcomes: Outcomes,
        reporter: Reporter,
        search: Search,
        asks_others: Callable[[PodInfo], bool],
    ) -> None:
        self._groups, self._cluster, self._queue, self._bindings = groups, cluster, queue, bindings
        self._random, self._outcomes, self._reporter, self._search = random, outcomes, reporter, search
        self._asks_others = asks_others

    def group_of(self, pod: PodInfo) -> tuple[GroupKey, Group | None] | None:
        """None: it is tried alone. A group that is not there any more lets nobody be tried."""
        key = key_of(pod)
        if key is None:
            return None
        group = self._groups.find(key)
        return None if group is not None and not group.gang else (key, group)

    async def attempt(self, item: QueuedPod, key: GroupKey, group: Group, profile: Profile) -> bool:
        """Decides on all pods of the gang that wait; True when bindings were started, the first in the place that the
        caller took."""
        items = self._waiting(item, key)
        fault = fault_of(group, (each.pod for each in items))
        if fault or any(self._asks_others(each.pod) for each in items):
            fault = fault or ASKS_OTHERS
            self._all_wait(items, profile, group, Status(Code.UNRESOLVABLE, (fault,), GANG))
            return False
        members = self._groups.members(key)
        scheduled = sum(bool(self._cluster.node_of(pod.uid)) for pod in members)
        search = (lambda pod: self._search(pod, profile)) if may_preempt(members) else None
        try:
            found = await place(items, group, scheduled, profile, self._cluster, self._random, search)
        except Exception as error:
            self._keep_nothing_for_gone(items)
            for each in filter(self._is_tried, items):
                self._outcomes.raised(each, each.pod, profile, error)
            return False
        acts = found.makes_room or found.status.code is Code.SUCCESS
        if acts and found.paused and not still_there(found, self._cluster, self._is_tried):
            found.makes_room = False  # what it needs is another thing now: nobody has to go for this
            take_back(found, profile, self._cluster)
            self._keep_nothing_for_gone(items)
            for each in filter(self._is_tried, items):
                self._queue.retry(each)
            return False
        if found.status.code is not Code.SUCCESS:
            take_back(found, profile, self._cluster)
            self._keep_nothing_for_gone(items)
            await self._nobody_placed(found, group, profile)
            return False
        self._reporter.group(group.obj, found.status)
        await self._bind(found, profile)
        return True

    def _waiting(self, item: QueuedPod, key: GroupKey) -> list[QueuedPod]:
        """The pod and all others of its group that could be tried now, in the order in which they came."""
        items = [item]
        for pod in self._groups.members(key):
            other = self._queue.find(pod.uid)
            if other is not None and other is not item and self._queue.take(other):
                items.append(other)
        return sorted(items, key=lambda each: (each.enqueued, each.pod.name))

    def _is_tried(self, item: QueuedPod) -> bool:
        return self._queue.find(item.pod.uid) is item and item.place is Place.TAKEN

    def _keep_nothing_for_gone(self, items: Sequence[QueuedPod]) -> None:
        """Those that went while they were tried, or may not be tried any more: what was promised to them before the
        try must not be so again, for nobody would take it back."""
        for each in items:
            if self._queue.find(each.pod.uid) is not each or each.place is Place.GATED:
                self._cluster.nominate(each.pod, "")

    async def _bind(self, found: GroupDecision, profile: Profile) -> None:
        """All have left the queue before others have their turn: they are decided on, whatever happens then."""
        for member in found.placed:
            self._queue.done(member.pod.uid)
        for number, member in enumerate(found.placed):
            if number:
                await self._turn(number)
                await self._bindings.room()
            if member.decision is not None:
                self._outcomes.keep(member.decision, member.pod, profile)
            self._outcomes.bind(member.pod, profile, member.node)
        for number, member in enumerate(found.members):
            await self._turn(number)
            if not member.held and self._is_tried(member.item):
                self._wait(member, profile, found)

    async def _nobody_placed(self, found: GroupDecision, group: Group, profile: Profile) -> None:
        self._reporter.group(group.obj, found.status)
        if found.makes_room:
            self._evict(found)
        for number, member in enumerate(found.members):
            await self._turn(number)
            if self._is_tried(member.item):
                self._wait(member, profile, found)

    def _evict(self, found: GroupDecision) -> None:
        leaving: set[str] = set()
        for member in found.members:
            plan = member.preemption
            if plan is not None and plan.victims and self._is_tried(member.item):
                victims = tuple(victim for victim in plan.victims if victim.uid not in leaving)
                leaving.update(victim.uid for victim in victims)
                self._outcomes.evict(member.pod, replace(plan, victims=victims))

    @staticmethod
    async def _turn(number: int) -> None:
        """What is written of each member takes a part of a millisecond: others have their turn now and then."""
        if number % _TOLD == _TOLD - 1:
            await asyncio.sleep(0)

    def _wait(self, member: Member, profile: Profile, found: GroupDecision) -> None:
        decision, plan, status = member.decision, member.preemption, found.status
        if decision is not None and found.table is not self._cluster.verdicts:
            decision = replace(decision, verdicts=None)  # its numbers mean nothing any more
        nominated: str | None = None
        if found.makes_room:
            nominated = member.node or member.promised or None
        else:  # no node is kept for a part of what the group needs
            nominated = ""
            self._cluster.nominate(member.pod, "")
        member.item.again = member.item.again or member.outdated
        if member.refused is not None:
            plugins, message = frozenset((member.refused.plugin,)), member.refused.message
        elif decision is not None and not decision.node:
            if plan is not None:
                decision = replace(decision, post_filter=plan.message)
            plugins, message = decision.plugins(), decision.message
        else:
            plugins, message = GANG_ALONE, status.message
        self._outcomes.wait(member.item, profile, Waiting(plugins, message, decision, plan, nominated))

    def _all_wait(self, items: Sequence[QueuedPod], profile: Profile, group: Group, status: Status) -> None:
        self._reporter.group(group.obj, status)
        for each in items:
            self._cluster.nominate(each.pod, "")
            self._outcomes.wait(each, profile, Waiting(GANG_ALONE, status.message, nominated=""))
