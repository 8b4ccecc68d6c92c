"""The pod cgroups of one node: made before a sandbox, removed after it, and nothing left behind.

Pod workers call ``create`` and ``remove``, the agent ``sweep`` with the pods it knows. The kernel keeps a cgroup while
a process of it has not quite gone, so removal is tried for two seconds, and what is left then (or was left by an agent
that was killed) goes with the next sweep. Writing to cgroups may block: it is done in threads.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from sampan.api.pods.qos import qos_class
from sampan.api.types import Obj
from sampan.node.cgroups import settings
from sampan.node.cgroups.held import Held
from sampan.node.cgroups.tree import CgroupTree

log = logging.getLogger(__name__)

#: How long a worker waits between tries to remove a pod's cgroup: under two seconds in all.
RETRY_SECONDS = (0.01, 0.03, 0.1, 0.3, 0.5, 1.0)
_PREFIX = "pod"
_NAMED = 5


class CgroupManager:
    """Invariant: ``_burstable`` has the CPU requests of the Burstable pods that have a cgroup, by uid."""

    def __init__(
        self,
        root: str,
        mount: Path = Path("/sys/fs/cgroup"),
        *,
        pids_limit: int = -1,
        page_sizes: Sequence[str] = (),
    ) -> None:
        """``pids_limit``: of a pod's processes and threads; less than 0: none. ``page_sizes``: resources of huge pages
        that the kernel can have."""
        self._root = root
        self._pids_limit = pids_limit
        self._tree = CgroupTree(mount)
        #: a pod that asks for none gets none, where the kernel bounds them
        self._page_sizes = tuple(page_sizes) if self._tree.bounds_hugepages else ()
        self._burstable: dict[str, int] = {}
        self._written: dict[settings.Tier, settings.Settings] = {}
        #: what could not be removed when its pod ended
        self._left: set[str] = set()
        self._lock = asyncio.Lock()

    @property
    def bounds_hugepages(self) -> bool:
        return self._tree.bounds_hugepages

    @property
    def unified(self) -> bool:
        return self._tree.unified

    def path(self, pod: Obj) -> str:
        return settings.pod_path(self._root, pod)

    def pods_memory(self) -> int | None:
        """What all pods together have in use, in bytes: their working set. None: nobody counts it. Blocking."""
        return self._tree.memory_working_set(self._root) if self._root else None

    def pod_processes(self, pod: Obj) -> int:
        """Processes and threads of a pod; 0 when nobody counts them. Blocking."""
        return self._tree.tasks(path) if (path := self.path(pod)) else 0

    async def hold_together(self, millicores: int, memory_bytes: int) -> bool:
        """All pods are held to so much. False: cgroups are left to the runtime. Raises OSError."""
        if not self._root:
            return False
        values = settings.node_settings(millicores, memory_bytes, unified=self.unified)
        await asyncio.to_thread(self._tree.make, self._root, {})
        await asyncio.to_thread(self._tree.rewrite, self._root, values)
        return True

    async def create(self, pod: Obj) -> str:
        """The pod's cgroup with its limits; returns the parent for its sandbox. Idempotent."""
        path = self.path(pod)
        if path:
            async with self._lock:
                self._left.discard(path)
                self._count(pod)
                own = settings.pod_settings(
                    pod, unified=self.unified, pids_limit=self._pids_limit, page_sizes=self._page_sizes
                )
                tiers = self._changed_tiers()
                await asyncio.to_thread(self._write, tiers, path, own)
        return path

    async def rewrite(self, pod: Obj, part: settings.Part) -> None:
        """One part of the limits of a cgroup that is there; its tier follows. Raises OSError."""
        path = self.path(pod)
        if path:
            wanted = settings.only(settings.pod_settings(pod, unified=self.unified), part)
            async with self._lock:
                self._count(pod)
                await asyncio.to_thread(self._tree.rewrite, path, wanted)
                await self._weigh()

    def held(self, pod: Obj, container_id: str = "") -> Held | None:
        """What the kernel holds the pod, or one of its containers, to; None where it cannot be told."""
        path = self.path(pod)
        return self._tree.held(f"{path}/{container_id}".rstrip("/")) if path else None

    async def remove(self, pod: Obj) -> None:
        """After the sandbox is gone: no process of the pod has a right to live. ``sweep`` gets what stays."""
        path = self.path(pod)
        if not path:
            return
        self._burstable.pop(pod["metadata"]["uid"], None)
        for seconds in (*RETRY_SECONDS, None):
            if await asyncio.to_thread(self._tree.remove, path, kill=True):
                break
            if seconds is None:
                log.warning("cgroup %s is still in use: it is removed later", path)
                self._left.add(path)
            else:
                await asyncio.sleep(seconds)
        async with self._lock:
            await self._weigh()

    async def sweep(self, pods: Collection[Obj], known_uids: Callable[[], Collection[str]]) -> None:
        """``pods`` have their cgroups; one of a pod that ``known_uids`` does not name goes, with its processes."""
        if not self._root:
            return
        async with self._lock:
            for pod in pods:
                self._count(pod)
            await self._weigh()
            present = await asyncio.to_thread(self._pod_paths)
            # Asked after the look: the pod of what was seen then was known before its cgroup was made.
            kept = {f"{_PREFIX}{uid}" for uid in known_uids()}
            orphans = {path for path in present if path.rpartition("/")[2] not in kept} | self._left
            self._left = {path for path in orphans if not await asyncio.to_thread(self._tree.remove, path, kill=True)}
        if self._left:
            some = ", ".join(sorted(self._left)[:_NAMED])
            log.warning("%d cgroups of pods that are gone are still in use: %s", len(self._left), some)

    def _pod_paths(self) -> list[str]:
        parents = [self._root.rstrip("/"), *(settings.tier_path(self._root, tier) for tier in settings.TIERS)]
        return [
            f"{parent}/{name}"
            for parent in parents
            for name in sorted(self._tree.children(parent))
            if name.startswith(_PREFIX)
        ]

    def _count(self, pod: Obj) -> None:
        if qos_class(pod) == "Burstable":
            self._burstable[pod["metadata"]["uid"]] = settings.burstable_millicores((pod,))

    def _changed_tiers(self) -> dict[settings.Tier, settings.Settings]:
        """The tiers' weights follow their pods: one that asks for nothing never gets as much as those that do."""
        millicores = sum(self._burstable.values())
        wanted = {tier: settings.tier_settings(tier, millicores, unified=self.unified) for tier in settings.TIERS}
        return {tier: values for tier, values in wanted.items() if self._written.get(tier) != values}

    async def _weigh(self) -> None:
        if tiers := self._changed_tiers():
            await asyncio.to_thread(self._write, tiers)

    def _write(
        self, tiers: Mapping[settings.Tier, settings.Settings], path: str = "", own: settings.Settings | None = None
    ) -> None:
        for tier, values in tiers.items():
            step = self._tree.write if tier in self._written else self._tree.make
            step(settings.tier_path(self._root, tier), values)
            self._written[tier] = values
        if path:
            self._tree.make(path, own or {})


def remove_all(root: str, mount: Path = Path("/sys/fs/cgroup")) -> bool:
    """Everything below the node's root and the root itself: when an instance is taken down. Kills nothing."""
    return not root.strip("/") or CgroupTree(mount).remove(root)
