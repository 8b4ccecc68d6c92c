"""What the scheduler tells the world: Events, the PodScheduled condition, nominated nodes, evictions of victims.

Everything here may fail without consequence for decisions: a pod stays pending and a later attempt says it again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from sampan.api.clock import Clock
from sampan.api.errors import ApiError, Conflict, Forbidden, NotFound
from sampan.api.resources import POD_GROUPS, PODS
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.events import EventKind, EventRecorder
from sampan.scheduler import status
from sampan.scheduler.framework import Status
from sampan.scheduler.podinfo import PodInfo

log = logging.getLogger(__name__)

Spawn = Callable[[Coroutine[Any, Any, None], str], None]


class Reporter:
    def __init__(self, client: Client, clock: Clock, schedulers: Iterable[str], spawn: Spawn) -> None:
        self._client, self._clock, self._spawn = client, clock, spawn
        self.recorders: Mapping[str, EventRecorder] = {
            name: EventRecorder(client, name, "", clock) for name in schedulers
        }

    def scheduled(self, pod: PodInfo, node: str) -> None:
        self._event(pod, pod, "Normal", "Scheduled", f"Successfully assigned {pod.key} to {node}")

    def unschedulable(self, pod: PodInfo, message: str, nominated: str | None = None) -> None:
        """``nominated`` None: leave it as it is."""
        self._failed(pod, status.UNSCHEDULABLE, message, nominated)

    def error(self, pod: PodInfo, message: str) -> None:
        self._failed(pod, status.SCHEDULER_ERROR, message, None)

    def group(self, group: Obj, outcome: Status) -> None:
        """Whether a group of pods has its places; said once that it has, and not taken back."""
        patch = status.plan_group_patch(group, outcome, self._clock.now())
        if patch is not None:
            self._spawn(self._patch_group(group, patch), f"status of pod group {group['metadata']['name']}")

    async def _patch_group(self, group: Obj, patch: Obj) -> None:
        meta = group["metadata"]
        try:
            await self._client.patch(
                POD_GROUPS, meta["name"], patch, meta["namespace"], patch_type="strategic", subresource="status"
            )
        except (NotFound, Conflict) as error:
            log.debug("status of pod group %s not written: %s", meta["name"], error.message)
        except ApiError as error:
            log.warning("status of pod group %s not written: %s", meta["name"], error.message)

    def _failed(self, pod: PodInfo, reason: str, message: str, nominated: str | None) -> None:
        self._event(pod, pod, "Warning", "FailedScheduling", message)
        patch = status.plan_failure_patch(pod.obj, reason, message, self._clock.now(), nominated)
        if patch is not None:
            self._spawn(self._patch_status(pod, patch), f"status of {pod.key}")

    def _event(self, scheduled: PodInfo, about: PodInfo, kind: EventKind, reason: str, message: str) -> None:
        self.recorders[scheduled.scheduler_name].event(about.obj, kind, reason, message)

    async def _patch_status(self, pod: PodInfo, patch: Obj) -> None:
        try:
            await self._write_status(pod, patch)
        except (NotFound, Conflict, Forbidden) as error:
            log.debug("status of %s not written: %s", pod.key, error.message)
        except ApiError as error:
            log.warning("status of %s not written: %s", pod.key, error.message)

    async def _write_status(self, pod: PodInfo, patch: Obj) -> None:
        await self._client.patch(PODS, pod.name, patch, pod.namespace, patch_type="strategic", subresource="status")

    async def evict(self, victim: PodInfo, pod: PodInfo, node: str) -> None:
        """Removes one victim for the pod. A failure leaves the pod pending: a later attempt plans anew."""
        try:
            patch = status.plan_preempted_patch(victim.obj, pod.scheduler_name, self._clock.now())
            await self._write_status(victim, patch)
            await self._client.delete(PODS, victim.name, victim.namespace, uid=victim.uid)
        except (NotFound, Conflict):
            return  # gone already, or another pod of that name
        except ApiError as error:
            log.warning("preempting %s for %s failed: %s", victim.key, pod.key, error.message)
            return
        self._event(pod, victim, "Normal", "Preempted", f"Preempted by pod {pod.uid} on node {node}")
