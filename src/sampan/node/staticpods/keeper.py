"""Keeps a node's static pods as its folder says, and their mirrors as they are. One event loop.

Made by the agent, which runs ``run`` and tells of mirrors and of pods that are gone. The folder is looked at every
second, in a thread; what the API server refuses is tried again after a while.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sampan.api.clock import Clock, format_time
from sampan.api.errors import ApiError, Conflict, NotFound
from sampan.api.resources import PODS
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.signal import Signal
from sampan.node.config import NodeConfig
from sampan.node.staticpods.workplace import Workplace

if TYPE_CHECKING:
    from sampan.node.staticpods.folder import Look
    from sampan.node.staticpods.plan import Plan

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
RETRY_SECONDS = 10.0


class StaticPods:
    """Invariant: what a file gives is begun once a content, and ended when the file is gone or has another."""

    def __init__(self, config: NodeConfig, client: Client, clock: Clock, workplace: Workplace) -> None:
        self._config, self._client, self._clock, self._workplace = config, client, clock, workplace
        self._look: Look | None = None
        self._told: frozenset[str] = frozenset()
        self._retry_at = 0.0
        self._wake = Signal()

    def newest(self, uid: str) -> Obj | None:
        """The static pod of that uid, as its file has it."""
        pods = self._look.pods() if self._look is not None else ()
        return next((pod for pod in pods if pod["metadata"]["uid"] == uid), None)

    @property
    def working(self) -> Mapping[str, Obj]:
        """Static pods of which something is here, by uid."""
        return self._workplace.working

    def mirror_changed(self, mirror: Obj, *, gone: bool) -> None:
        self._workplace.mirror_changed(mirror, gone=gone)
        self._wake.set()

    def mirror_of(self, pod: Obj) -> Obj | None:
        return self._workplace.mirror_of(pod)

    def ended(self, uid: str) -> None:
        """Nothing is left of a pod, which may have been a static one."""
        if self._workplace.working.pop(uid, None) is not None:
            self._wake.set()

    async def load(self) -> None:
        """Before the agent's first look at what runs and belongs to nobody."""
        if (folder := self._config.static_pod_dir) is not None:
            await self._read(folder)
            self._pods(self._plan())

    async def run(self) -> None:
        """Until cancelled; at once for a node that has no folder."""
        folder = self._config.static_pod_dir
        if folder is None:
            await tasks.forever()
            return
        while True:
            self._wake.clear()
            await self._read(folder)
            plan = self._plan()
            self._pods(plan)
            if asyncio.get_running_loop().time() >= self._retry_at:
                await self._mirror(plan)
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _read(self, folder: Path) -> None:
        if self._look is None and not await asyncio.to_thread(_has_files, folder):
            return  # what reads manifests is not loaded for nothing
        from sampan.node.staticpods import folder as reading

        seen = format_time(self._clock.now())
        before = self._look or reading.Look()
        self._look = await asyncio.to_thread(reading.look, folder, before, self._config.node_name, seen)
        faults = {file.fault for file in self._look.files.values() if file.fault} | {self._look.fault} - {""}
        self._tell(faults)

    def _tell(self, faults: set[str]) -> None:
        """Each once, for as long as it lasts."""
        for fault in sorted(faults - self._told):
            log.warning("static pods: %s", fault)
            self._workplace.node.tell("Warning", "FailedStaticPod", f"Could not process manifest file {fault}")
        self._told = frozenset(faults)

    def _plan(self) -> Plan | None:
        mirrors = self._workplace.mirrors()
        if self._look is None and not mirrors:
            return None
        from sampan.node.staticpods import plan

        pods = self._look.pods() if self._look is not None else []
        return plan.make(pods, self._workplace.working, mirrors)

    def _pods(self, plan: Plan | None) -> None:
        if plan is None:
            return
        for uid in plan.end:
            self._workplace.end(uid)
        for pod in plan.begin:
            self._workplace.begin(pod)

    async def _mirror(self, plan: Plan | None) -> None:
        node_uid = self._workplace.node.uid
        if plan is None or not node_uid:
            return
        from sampan.node.staticpods.manifests import mirror_of

        for mirror in plan.hide:
            await self._try(mirror, self._hide)
        for pod in plan.show:
            await self._try(mirror_of(pod, self._config.node_name, node_uid), self._show)

    async def _try(self, pod: Obj, act: Callable[[Obj], Awaitable[None]]) -> None:
        meta = pod["metadata"]
        try:
            await act(pod)
        except (ApiError, OSError, TimeoutError) as error:
            log.warning("mirror pod %s/%s: %s", meta["namespace"], meta["name"], error)
            self._retry_at = asyncio.get_running_loop().time() + RETRY_SECONDS

    async def _hide(self, mirror: Obj) -> None:
        meta = mirror["metadata"]
        try:
            await self._client.delete(PODS, meta["name"], meta["namespace"], uid=meta["uid"], grace_period_seconds=0)
        except (NotFound, Conflict):
            pass  # gone, or another one by now

    async def _show(self, mirror: Obj) -> None:
        await self._client.create(PODS, mirror)


def _has_files(folder: Path) -> bool:
    try:
        return any(not entry.name.startswith(".") for entry in folder.iterdir())
    except OSError:
        return False
