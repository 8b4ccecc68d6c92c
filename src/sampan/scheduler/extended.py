"""Attempts on pods that extenders are asked about. They take their time beside the decisions on all other pods.

An attempt reads the cluster, asks, and looks at the cluster again before it answers: other pods have been placed
meanwhile. An extender that fails or answers nonsense ends the attempt; one that may be ignored is left out.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import replace
from typing import Final, TypeVar

import numpy as np

from sampan.api.clock import Random
from sampan.api.types import Obj
from sampan.scheduler import preempting
from sampan.scheduler.cache import Cluster
from sampan.scheduler.choosing import TOP
from sampan.scheduler.decision import Decision
from sampan.scheduler.extending.client import Extender, ExtenderFailed
from sampan.scheduler.extending.messages import MAX_PRIORITY, Filtered, Victims
from sampan.scheduler.extending.settings import ExtenderConfig
from sampan.scheduler.framework import MAX_NODE_SCORE, SKIP, SUCCESS, Code, Status, Verdict, Verdicts
from sampan.scheduler.plugins.defaultpreemption import Candidate, Preemption
from sampan.scheduler.podinfo import PodInfo
from sampan.scheduler.profile import Profile

log = logging.getLogger(__name__)

T = TypeVar("T")

#: as the plug-in that turned a node down
NAME: Final = "Extender"
#: attempts that are under way at one time
_AT_ONCE: Final = 16


class Extenders:
    """All of a configuration, in order."""

    def __init__(self, configs: Iterable[ExtenderConfig]) -> None:
        self._all = [Extender(config) for config in configs]
        self.room = asyncio.Semaphore(_AT_ONCE)

    def interested(self, pod: PodInfo) -> list[Extender]:
        """Those to be asked before there is a node."""
        return [e for e in self._all if (e.config.filter_verb or e.config.prioritize_verb) and e.is_interested(pod)]

    def preempting(self, pod: PodInfo) -> list[Extender]:
        return [each for each in self._all if each.config.preempt_verb and each.is_interested(pod)]

    def binder(self, pod: PodInfo) -> Extender | None:
        return next((each for each in self._all if each.config.bind_verb and each.is_interested(pod)), None)

    async def close(self) -> None:
        for each in self._all:
            await each.close()


class ExtenderBinder:
    """In front of the Bind plug-ins: what an extender binds is not theirs."""

    name = "ExtenderBinder"

    def __init__(self, extenders: Extenders) -> None:
        self._extenders = extenders

    async def bind(self, pod: PodInfo, node: str) -> Status:
        extender = self._extenders.binder(pod)
        if extender is None:
            return SKIP
        try:
            await extender.bind(pod, node)
        except ExtenderFailed as error:
            return Status(Code.ERROR, (str(error),), self.name)
        return SUCCESS


async def decide(
    pod: PodInfo, profile: Profile, cluster: Cluster, random: Random, extenders: Sequence[Extender]
) -> Decision:
    """Raises ExtenderFailed. The node is one that can take the pod now."""
    survey = profile.survey(pod, cluster)
    names = _feasible(survey, cluster)
    if not names:
        return survey
    failed: dict[str, tuple[Code, str]] = {}
    for extender in extenders:
        if extender.config.filter_verb and names:
            asking = extender.filter(pod.obj, names, _objects(names, cluster))
            answer = await _unless_ignorable(extender, asking)
            if answer is not None:
                failed.update(_ruled_out(answer, names))
                names = list(answer.names)
    decision = _with(survey, failed)
    if not names:
        return decision
    added = await _priorities(pod, names, cluster, extenders)
    return _choose(decision, pod, profile, cluster, random, names, added)


async def preempt(
    pod: PodInfo, profile: Profile, cluster: Cluster, budgets: Sequence[Obj], random: Random,
    extenders: Sequence[Extender],
) -> preempting.Outcome:  # fmt: skip
    """Raises ExtenderFailed."""

    async def narrow(candidates: list[Candidate]) -> Preemption | list[Candidate]:
        for extender in extenders:
            asked = {c.node: ([victim.obj for victim in c.victims], c.violations) for c in candidates}
            answer = await _unless_ignorable(extender, extender.preempt(pod.obj, asked))
            if answer is not None:
                candidates = _agreed(extender, answer, cluster)
            if not candidates:
                return Preemption(message="preemption: no candidate node is left by the extenders")
        return candidates

    return await preempting.preempt(pod, profile, cluster, budgets, random, narrow if extenders else None)


def _agreed(extender: Extender, answer: dict[str, Victims], cluster: Cluster) -> list[Candidate]:
    found: list[Candidate] = []
    for node, wanted in answer.items():
        here = cluster.pods_on.get(node, {})
        for uid in wanted.uids:
            if uid not in here:
                raise ExtenderFailed(
                    f"extender: {extender.config.url} claims to preempt pod (UID: {uid}) on node: {node}, "
                    "but the pod is not found on that node"
                )
        if wanted.uids:
            found.append(Candidate(node, tuple(here[uid] for uid in wanted.uids), wanted.violations))
    return found


async def _unless_ignorable(extender: Extender, asking: Awaitable[T]) -> T | None:
    """None: it failed, and may be ignored. Raises ExtenderFailed."""
    try:
        return await asking
    except ExtenderFailed as error:
        if not extender.config.ignorable:
            raise
        log.warning("an extender is left out, as its configuration allows: %s", error)
        return None


def _feasible(survey: Decision, cluster: Cluster) -> list[str]:
    if survey.verdicts is None:
        return []
    return [cluster.nodes.names[slot] for slot in np.flatnonzero(survey.verdicts == Verdicts.PASS).tolist()]


def _objects(names: Sequence[str], cluster: Cluster) -> list[Obj]:
    """A node that went meanwhile is left out."""
    slots = (cluster.nodes.slot_of.get(name) for name in names)
    return [cluster.nodes.objects[slot] for slot in slots if slot is not None]


def _ruled_out(answer: Filtered, names: Sequence[str]) -> dict[str, tuple[Code, str]]:
    kept = set(answer.names)
    unsaid = (Code.UNSCHEDULABLE, "node(s) were filtered out by the extender")
    return {name: answer.failed.get(name, unsaid) for name in names if name not in kept}


def _with(survey: Decision, failed: dict[str, tuple[Code, str]]) -> Decision:
    """The survey with what extenders ruled out; the verdicts on single nodes know nothing of that."""
    counts = Counter(Verdict(NAME, code, (message,)) for code, message in failed.values())
    ruled_out = {**survey.ruled_out, **counts}
    return replace(survey, feasible=survey.feasible - len(failed), ruled_out=ruled_out, verdicts=None)


async def _priorities(
    pod: PodInfo, names: Sequence[str], cluster: Cluster, extenders: Sequence[Extender]
) -> dict[str, int]:
    """What extenders add to scores. One that fails adds nothing, as upstream has it."""
    asked = [extender for extender in extenders if extender.config.prioritize_verb]
    nodes = _objects(names, cluster)
    answers = await asyncio.gather(*(each.prioritize(pod.obj, names, nodes) for each in asked), return_exceptions=True)
    added: Counter[str] = Counter()
    for extender, answer in zip(asked, answers, strict=True):
        if isinstance(answer, ExtenderFailed):
            log.warning("priorities of an extender are left out: %s", answer)
        elif isinstance(answer, BaseException):
            raise answer
        else:
            weight = extender.config.weight * (MAX_NODE_SCORE // MAX_PRIORITY)
            added.update({name: score * weight for name, score in answer.items()})
    return added


def _choose(
    decision: Decision,
    pod: PodInfo,
    profile: Profile,
    cluster: Cluster,
    random: Random,
    names: Sequence[str],
    added: dict[str, int],
) -> Decision:
    """The best node that can still take the pod. Raises ExtenderFailed when others took them all meanwhile."""
    now = set(_feasible(profile.survey(pod, cluster), cluster))
    left = [name for name in names if name in now]
    if not left:
        raise ExtenderFailed("the nodes that extenders allow were taken by other pods meanwhile")
    slots = np.array([cluster.nodes.slot_of[name] for name in left])
    scores = profile.scores_on(pod, cluster, slots) + np.array([added.get(name, 0) for name in left])
    ties = np.flatnonzero(scores == scores.max())
    chosen = left[int(ties[random.randrange(len(ties))])]
    best = sorted(zip(left, scores.tolist(), strict=True), key=lambda item: -item[1])[:TOP]
    return replace(decision, node=chosen, top=tuple(best))
