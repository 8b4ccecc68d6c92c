"""Decides on the pods of one group together: places for as many as the group needs, or for none.

``place`` tries one member after the other, each as if those before it were there already (they are assumed in the
cluster and their plug-ins hold what they reserve). Where too few find a place, victims are searched for the others, one
after the other too: those before are nominated, so that each counts with them. What is not enough in the end is taken
back (``take_back``): then nobody has to go. A large group lets others on the event loop have their turn; no other
decision is made meanwhile, but pods and nodes may go, so ``still_there`` is asked before anything is bound. Writes
nothing; called by ``gangs.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import field
from typing import Final, TypeAlias

from sampan.api.clock import Random
from sampan.records import dataclass
from sampan.scheduler import binding
from sampan.scheduler.cache import Cluster
from sampan.scheduler.decision import Decision
from sampan.scheduler.framework import Code, ReservePlugin, Status, Verdicts
from sampan.scheduler.plugins.defaultpreemption import Preemption
from sampan.scheduler.plugins.gangscheduling import feasible
from sampan.scheduler.podgroups import Group
from sampan.scheduler.podinfo import PodInfo
from sampan.scheduler.preempting import Outcome
from sampan.scheduler.profile import Profile
from sampan.scheduler.queue import QueuedPod

#: asks the PostFilter plug-ins about a pod
Search: TypeAlias = Callable[[PodInfo], Awaitable[Outcome]]

NONE_PLACED: Final = "no pods were schedulable"
#: Members that are decided on in a row.
_STRETCH: Final = 4


@dataclass(slots=True)
class Member:
    """``decision`` None: it was not tried. ``refused``: what a Reserve plug-in said of the node. ``held``: is assumed
    there. ``nominated``: the node that was promised to it before. ``preemption``: what may be done for it.
    ``outdated``: that was found, and does not hold any more."""

    item: QueuedPod
    pod: PodInfo
    decision: Decision | None = None
    refused: Status | None = None
    held: bool = False
    nominated: str = ""
    preemption: Preemption | None = None
    outdated: bool = False

    @property
    def promised(self) -> str:
        """Where it will have its place once others have gone."""
        if self.preemption is None:
            return ""
        return self.preemption.node or (self.nominated if self.preemption.keep else "")

    @property
    def node(self) -> str:
        return self.decision.node if self.decision is not None and self.refused is None else ""


@dataclass(slots=True)
class GroupDecision:
    """``status``: SUCCESS, or why the group has to wait. ``paused``: others ran meanwhile. ``makes_room``: it has what
    it needs once the victims of its members have gone. ``table``: what the decisions' verdicts are numbers of."""

    members: list[Member]
    table: Verdicts
    status: Status = field(default_factory=Status)
    paused: bool = False
    makes_room: bool = False

    @property
    def placed(self) -> list[Member]:
        return [member for member in self.members if member.held]


async def place(
    items: Sequence[QueuedPod],
    group: Group,
    scheduled: int,
    profile: Profile,
    cluster: Cluster,
    random: Random,
    search: Search | None = None,
) -> GroupDecision:
    """``scheduled``: members that have a node. ``search`` None: nobody has to go for this group. Raises what a plug-in
    raises; then nothing is held and nothing promised anew."""
    found = GroupDecision([Member(item, item.pod) for item in items], cluster.verdicts)
    try:
        found.status = feasible(group.least, scheduled, len(items))
        if found.status.code is Code.UNSCHEDULABLE:
            return found
        for number, member in enumerate(found.members):
            if number and number % _STRETCH == 0:
                found.paused = True
                await asyncio.sleep(0)
            _try(member, profile, cluster, random)
            scheduled += member.held
            found.status = feasible(group.least, scheduled, len(items) - number - 1)
            if found.status.code is Code.UNSCHEDULABLE and search is None:
                break
        if found.status.code is Code.UNSCHEDULABLE and search is not None:
            await _make_room(found, group.least - scheduled, cluster, search)
    except BaseException:
        take_back(found, profile, cluster)
        raise
    if found.status.code is Code.SUCCESS and not found.placed:
        found.status = Status(Code.UNSCHEDULABLE, (NONE_PLACED,))
    return found


async def _make_room(found: GroupDecision, lacking: int, cluster: Cluster, search: Search) -> None:
    """Searches victims for as many members as the group lacks."""
    without = [member for member in found.members if not member.held]
    for number, member in enumerate(without):
        if lacking > len(without) - number:
            return
        if member.decision is None or not member.decision.nodes or member.refused is not None:
            continue
        member.nominated = cluster.nominated.get(member.pod.uid, (member.pod, ""))[1]
        outcome = await search(member.pod)
        found.paused = found.paused or outcome.paused
        member.preemption, member.outdated = outcome.found, outcome.outdated
        if member.promised:
            cluster.nominate(member.pod, member.promised)
            lacking -= 1
        if not lacking:
            found.makes_room = True
            return


def _try(member: Member, profile: Profile, cluster: Cluster, random: Random) -> None:
    pod = member.pod
    decision = member.decision = profile.decide(pod, cluster, random)
    if not decision.node:
        return
    reserved = binding.reserve(profile, pod, decision.node)
    if reserved.code is not Code.SUCCESS:
        member.refused = reserved
        return
    member.nominated = cluster.nominated.get(pod.uid, (pod, ""))[1]
    cluster.assume(pod, decision.node)
    member.held = True


def still_there(found: GroupDecision, cluster: Cluster, is_tried: Callable[[QueuedPod], bool]) -> bool:
    """Whether every pod that has a place or is to get one, and its node, are there still, and no pod wants something
    else now."""
    return all(
        is_tried(member.item)
        and not (member.item.again and member.item.pod is not member.pod)
        and (not member.held or cluster.is_assumed(member.pod.uid))
        and (member.node or member.promised) in cluster.nodes.slot_of
        for member in found.members
        if member.held or member.promised
    )


def take_back(found: GroupDecision, profile: Profile, cluster: Cluster) -> None:
    """As if nothing had been tried; but where the group makes room, its members keep the nodes that were found for
    them, for nobody else to take."""
    for member in reversed(found.members):
        nominated = member.node if found.makes_room and member.held else member.nominated
        if member.held:
            member.held = False
            binding.unreserve(profile.having(ReservePlugin), member.pod, member.node)
            if cluster.forget(member.pod) and nominated:
                cluster.nominate(member.pod, nominated)
        elif member.promised and not found.makes_room:
            cluster.nominate(member.pod, nominated)
