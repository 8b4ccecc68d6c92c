"""Asks the PostFilter plug-ins what may be done for a pod that no node can take, one after the other as upstream: the
first that finds something decides, else all that they said is told.

DefaultPreemption looks at hundreds of nodes. Others on the event loop get their turns between them, so the cluster may
change meanwhile: what was found is looked at once more before it is told. Called by the scheduler's shell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from sampan.api.clock import Random
from sampan.api.types import Obj
from sampan.records import dataclass
from sampan.scheduler.cache import Cluster
from sampan.scheduler.framework import PostFilterPlugin
from sampan.scheduler.plugins.defaultpreemption import (
    Budgets,
    Candidate,
    DefaultPreemption,
    Preemption,
    Surroundings,
    choose,
    look_at,
)
from sampan.scheduler.podinfo import PodInfo
from sampan.scheduler.profile import Profile

#: what extenders leave of the candidates
Narrow: TypeAlias = Callable[[list[Candidate]], Awaitable[Preemption | list[Candidate]]]

#: of the best candidates, for each costs as much as when it was found
_LOOKED_AT = 8
_GONE = "preemption: the nodes that could have been freed changed meanwhile"


@dataclass(frozen=True, slots=True)
class Outcome:
    """``found`` None: no plug-in has anything to say. ``paused``: others ran meanwhile."""

    found: Preemption | None
    paused: bool = False

    @property
    def outdated(self) -> bool:
        """What was found holds no more: a new try finds something else."""
        return self.found is not None and self.found.message == _GONE


async def preempt(
    pod: PodInfo,
    profile: Profile,
    cluster: Cluster,
    budgets: Sequence[Obj],
    random: Random,
    narrow: Narrow | None = None,
) -> Outcome:
    """Raises what a plug-in or ``narrow`` raises."""
    said: list[str] = []
    paused = keep = False
    for plugin in profile.having(PostFilterPlugin):
        if isinstance(plugin, DefaultPreemption):
            found, stopped = await _default(plugin, pod, profile, cluster, Budgets(budgets), random, narrow)
            paused = paused or stopped
        else:
            found = plugin.post_filter(pod, profile, cluster, budgets, random)
        if found is None:
            continue
        if found.node:
            return Outcome(found, paused)
        keep = keep or found.keep
        said.append(found.message)
    return Outcome(Preemption(message=", ".join(filter(None, said)), keep=keep) if said else None, paused)


async def _default(
    plugin: DefaultPreemption,
    pod: PodInfo,
    profile: Profile,
    cluster: Cluster,
    budgets: Budgets,
    random: Random,
    narrow: Narrow | None,
) -> tuple[Preemption, bool]:
    search = plugin.search(pod, profile, cluster, budgets, random)
    paused = False
    while True:
        try:
            next(search)
        except StopIteration as end:
            found: Preemption | list[Candidate] = end.value
            break
        paused = True
        await asyncio.sleep(0)
    if isinstance(found, Preemption):
        return found, paused
    if narrow is not None:
        left = await narrow(found)
        return (left if isinstance(left, Preemption) else choose(left)), True
    return (choose(found) if not paused else _confirmed(found, pod, profile, cluster, budgets)), paused


def _confirmed(
    candidates: list[Candidate], pod: PodInfo, profile: Profile, cluster: Cluster, budgets: Budgets
) -> Preemption:
    """The best candidate that is one still, with today's victims. Few are looked at: most stay what they were."""
    around = Surroundings.of(pod, profile, cluster)
    for best in sorted(candidates, key=Candidate.cost)[:_LOOKED_AT]:
        now = look_at(pod, profile, cluster, best.node, budgets, around)
        if isinstance(now, Candidate):
            return choose([now])
    return Preemption(message=_GONE)
