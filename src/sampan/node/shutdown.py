"""Ends the node's pods in order before the machine goes off: the less important first, each group within its time.

Whoever sees the shutdown coming sets ``Request.asked``; the agent's ``run`` does the rest and sets ``done``. Meanwhile
the node is not Ready and takes no pods. The machine's own signs of a shutdown are not read here: the supervisor's stop
is one (``sampan.cluster.node_process``). Periods, groups and words are the kubelet's (KEP-2000, KEP-2712).
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import TypeVar

from sampan.api.pods import origin
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.signal import Signal
from sampan.node.config import NodeConfig, ShutdownGrace
from sampan.node.eviction.manager import Evictable, Tell
from sampan.records import dataclass

log = logging.getLogger(__name__)

REASON = "Terminated"
MESSAGE = "Pod was terminated in response to imminent node shutdown."
REFUSED_REASON = "NodeShutdown"
REFUSED_MESSAGE = "Pod was rejected as the node is shutting down."
NOT_READY = "node is shutting down"
#: How long the API is waited for when all pods have ended.
TOLD_SECONDS = 5.0
_STEP_SECONDS = 0.1

P = TypeVar("P")


@dataclass(slots=True)
class Request:
    asked: Signal = field(default_factory=Signal)
    done: Signal = field(default_factory=Signal)


def periods(config: NodeConfig) -> tuple[ShutdownGrace, ...]:
    """By priority, the lowest first; (): pods are not ended by the node. Pure."""
    if config.shutdown_by_priority:
        return tuple(sorted(config.shutdown_by_priority, key=lambda each: each.priority))
    whole, critical = config.shutdown_grace_seconds, config.shutdown_critical_seconds
    if whole <= 0:
        return ()
    return ShutdownGrace(0, int(whole - critical)), ShutdownGrace(origin.SYSTEM_CRITICAL, int(critical))


def total_seconds(config: NodeConfig) -> int:
    return sum(each.seconds for each in periods(config))


def groups(pods: Sequence[P], rules: Sequence[ShutdownGrace], priority: Callable[[P], int]) -> list[list[P]]:
    """One for each rule: pods of its priority and above, up to the next. What is below all is with the lowest. Pure."""
    found: list[list[P]] = [[] for _ in rules]
    borders = [rule.priority for rule in rules]
    for pod in pods:
        found[max(bisect_right(borders, priority(pod)) - 1, 0)].append(pod)
    return found


class ShutdownManager:
    def __init__(
        self,
        config: NodeConfig,
        request: Request,
        pods: Callable[[], Sequence[Evictable]],
        tell: Tell,
        changed: Callable[[], None],
    ) -> None:
        """``pods``: those that have not ended; ``changed`` is told that the node is not Ready any more."""
        self._rules, self._request = periods(config), request
        self._pods, self._tell, self._changed = pods, tell, changed
        self.is_under_way = False

    async def run(self) -> None:
        await self._request.asked.wait()
        if not self.is_under_way:
            await self._shut_down()
        self._request.done.set()
        await tasks.forever()  # the machine goes off

    async def _shut_down(self) -> None:
        self.is_under_way = True
        self._tell("Normal", "NodeShutdown", "Shutdown manager detected shutdown event")
        self._changed()
        found = groups(self._pods(), self._rules, lambda each: origin.priority(each.pod))
        for rule, members in zip(self._rules, found, strict=True):
            if members:
                log.info("shutdown: %d pods of priority %d and above have %d s", len(members), *_plain(rule))
                await self._end(members, rule.seconds)
        # Who was killed at the very end of his time has still to be told of.
        await _until(lambda: all(each.has_been_told for group in found for each in group), TOLD_SECONDS)

    async def _end(self, members: Sequence[Evictable], seconds: int) -> None:
        for each in members:
            each.evict(REASON, MESSAGE, grace_seconds=seconds, disruption=True)
        await _until(lambda: all(each.is_cleaned_up for each in members), seconds)
        left = [_name(each.pod) for each in members if not each.is_cleaned_up]
        if left:
            log.warning("shutdown: not waited for any longer: %s", ", ".join(left[:10]))


async def _until(condition: Callable[[], bool], seconds: float) -> None:
    """Or until so much time has passed."""
    for _ in range(round(seconds / _STEP_SECONDS)):
        if condition():
            return
        await asyncio.sleep(_STEP_SECONDS)


def _plain(rule: ShutdownGrace) -> tuple[int, int]:
    return rule.priority, rule.seconds


def _name(pod: Obj) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
