"""What the runtime has, against what the pods' workers believe: its events, and lists now and then.

Made by the agent, which keeps ``follow`` and ``relist_forever`` running. Whose worker a container or sandbox belongs to
it is told; what belongs to nobody is ended and removed. One event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from sampan.api.types import Obj
from sampan.client import tasks
from sampan.node import runtime
from sampan.node.config import NodeConfig
from sampan.node.host import Host
from sampan.node.pods.context import Volumes
from sampan.node.pods.worker import PodWorker

log = logging.getLogger(__name__)


class RuntimeWatch:
    """Invariant: ``cleaning`` has the uids of pods that nobody knows and that are being ended."""

    def __init__(
        self,
        config: NodeConfig,
        source: runtime.Runtime,
        host: Host,
        volumes: Volumes,
        workers: Mapping[str, PodWorker],
        *,
        claims: Callable[[], Collection[Obj]],
        judged: Callable[[], Collection[str]],
        ended: Callable[[str], None],
        cleanup: Callable[[Callable[[], Collection[str]]], Coroutine[Any, Any, None]],
    ) -> None:
        """``claims``: pods that have a part of the node; ``judged``: uids of those that are still looked at. ``ended``
        is told of every container that ended; ``cleanup`` takes back what pods had besides volumes, but for those whose
        uids it asks for, and may take its time."""
        self._config, self._runtime, self._host, self._volumes = config, source, host, volumes
        self._workers, self._claims, self._judged, self._ended = workers, claims, judged, ended
        self._cleanup = cleanup
        self._taking_back: asyncio.Task[None] | None = None
        #: whose a sandbox or container is, by its id
        self.owners: dict[str, PodWorker] = {}
        self.cleaning: set[str] = set()
        #: While all pods of before are known: what belongs to nobody is ended. None: nothing is.
        self.group: asyncio.TaskGroup | None = None

    def forget(self, worker: PodWorker) -> None:
        """Nothing of its pod is left."""
        self.owners = {key: owner for key, owner in self.owners.items() if owner is not worker}

    async def follow(self) -> None:
        async with aclosing(self._runtime.events()) as events:  # type: ignore[type-var]  # generators in practice
            async for event in events:
                if event.type == "lost":
                    await self._relist()
                    continue
                if event.type != "oom":
                    self._ended(event.container_id)
                worker = self.owners.get(event.container_id)
                if worker is None:
                    continue
                if event.type == "oom":
                    worker.out_of_memory(event.container_id)
                else:
                    worker.ended(event.container_id)

    async def relist_forever(self) -> None:
        while True:
            await asyncio.sleep(self._config.relist_seconds)
            if await self._relist():
                await self._volumes.cleanup_orphans(self._known())
                self._take_back()
            await self.sweep_cgroups()

    def _known(self) -> set[str]:
        """Of what is left to others: pods that have a worker, may have one soon, or still run though they are gone."""
        return {*self._workers, *self.cleaning, *self._judged()}

    def _take_back(self) -> None:
        """Beside the lists: a driver that hangs holds up nothing else."""
        if self.group is not None and (self._taking_back is None or self._taking_back.done()):
            self._taking_back = tasks.spawn_apart(self.group, self._cleanup(self._known), "what pods had that are gone")

    async def _relist(self) -> bool:
        """Compares the runtime with what workers believe; wakes who is wrong; clears what belongs to nobody. False: the
        runtime does not say what it has."""
        try:
            sandboxes = await self._runtime.list_sandboxes()
            containers = await self._runtime.list_containers()
        except runtime.RuntimeCallError as error:
            log.warning("runtime: %s", error)
            return False
        seen: dict[str, dict[str, str]] = {}
        for sandbox in sandboxes:
            uid = sandbox.labels.get(runtime.POD_UID_LABEL, sandbox.uid)
            seen.setdefault(uid, {})[sandbox.id] = "running" if sandbox.ready else "exited"
        for container in containers:
            seen.setdefault(container.labels.get(runtime.POD_UID_LABEL, ""), {})[container.id] = container.state
        for uid, worker in self._workers.items():
            state = worker.state
            believed: dict[str, str] = {item.id: item.state for item in state.containers.values()}
            believed |= {item.id: "running" if item.ready else "exited" for item in state.sandboxes.values()}
            if believed != seen.get(uid, {}):
                worker.refresh()
        for sandbox in sandboxes:
            uid = sandbox.labels.get(runtime.POD_UID_LABEL, sandbox.uid)
            if uid not in self._workers and uid not in self.cleaning and self.group is not None:
                self.cleaning.add(uid)
                tasks.spawn_apart(self.group, self._clean_orphan(replace(sandbox, ips=())), f"orphan {uid}")
        return True

    async def sweep_cgroups(self) -> None:
        """What was in use when its pod ended goes, and so does what an agent that was killed left behind."""
        try:
            ours = {
                sandbox.labels.get(runtime.POD_UID_LABEL, sandbox.uid)
                for sandbox in await self._runtime.list_sandboxes()
            }
        except runtime.RuntimeCallError as error:
            log.warning("runtime: %s", error)
            return
        known = self._workers, self.cleaning, self._judged()
        await self._host.sweep_cgroups(self._claims(), lambda: ours.union(*known))

    async def _clean_orphan(self, sandbox: runtime.Sandbox) -> None:
        """A pod that was deleted while no agent was running."""
        uid = sandbox.labels.get(runtime.POD_UID_LABEL, sandbox.uid)
        log.info("removing orphaned pod %s/%s", sandbox.namespace, sandbox.name)
        try:
            for container in await self._runtime.list_containers({runtime.POD_UID_LABEL: uid}):
                grace = container.annotations.get("io.kubernetes.pod.terminationGracePeriod", "")
                await self._runtime.stop_container(container.id, int(grace) if grace.isdigit() else 30)
            for item in await self._runtime.list_sandboxes({runtime.POD_UID_LABEL: uid}):
                await self._runtime.stop_sandbox(item.id)
                await self._runtime.remove_sandbox(item.id)
        except runtime.RuntimeCallError as error:
            log.warning("orphaned pod %s: %s", uid, error)  # the next relist tries again
        finally:
            self.cleaning.discard(uid)
