"""Keeps whose memory comes from which NUMA nodes, with its state on disk.

Asked by ``topology.aligning`` when a pod comes, by ``starting`` for each container, and by the pod-resources API. A
node without the policy has ``NoMemoryManager``. One event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Protocol

from sampan.api.types import Obj
from sampan.node.admission import allocation_failed
from sampan.node.config import NodeConfig
from sampan.node.host import Host
from sampan.node.memorymanager import checkpoint, reserved
from sampan.node.memorymanager.policy import Block, NoRoom, StaticPolicy
from sampan.node.node_status import reservations
from sampan.node.numa import Cell
from sampan.node.processors import show
from sampan.node.statefiles import StateMisfit
from sampan.node.thresholds import hard_amount
from sampan.node.topology.aligning import GivesNothing, Provider, Refused
from sampan.node.topology.hints import Hints, Mask, mask_of

log = logging.getLogger(__name__)


def static_policy(config: NodeConfig, cells: Sequence[Cell], memory_bytes: int) -> StaticPolicy:
    """Raises ValueError: what is reserved by NUMA node is not what is reserved, or not there."""
    given = reserved.read(config.reserved_memory)
    free = hard_amount(config.eviction_thresholds, "memory.available", memory_bytes)
    reserved.check(given, cells, reservations(config).get("memory", 0) + free)
    return StaticPolicy(cells, given)


def restore(policy: StaticPolicy, data: bytes, file: Path) -> None:
    """What an agent before has given holds. ``data``: of ``file``, b"" when it is not there. Raises StateMisfit."""
    known = checkpoint.decode(data)
    if known is None:
        if data:
            log.warning("memory manager: %s cannot be read: memory is given anew", file)
        return
    if why := checkpoint.misfit(known, policy):
        raise StateMisfit("memory manager", why, file)
    policy.assigned = {
        uid: {name: list(blocks) for name, blocks in of_pod.items()} for uid, of_pod in known.assigned.items()
    }


class MemoryManager(Provider, Protocol):
    def nodes(self, uid: str, name: str) -> str:
        """Of a container that begins (``0-1``); "": whatever its pod may use."""
        ...

    def blocks(self, uid: str, name: str) -> Sequence[Block]:
        """What a container has."""
        ...

    def allocatable(self) -> Sequence[Block]:
        """What pods may have of each NUMA node."""
        ...

    def freed(self) -> None:
        """A pod has ended, or is gone."""
        ...

    async def run(self) -> None: ...


class NoMemoryManager(GivesNothing):
    def nodes(self, uid: str, name: str) -> str:
        return ""

    def blocks(self, uid: str, name: str) -> Sequence[Block]:
        return ()

    def allocatable(self) -> Sequence[Block]:
        return ()

    def freed(self) -> None: ...

    async def run(self) -> None:
        await asyncio.Event().wait()


class StaticMemoryManager:
    """What the policy has given is written to the file soon after. A container whose agent was killed before that runs
    on where it is, and is given what the next agent finds free."""

    def __init__(
        self, policy: StaticPolicy, host: Host, directory: Path, *, active: Callable[[], Collection[str]]
    ) -> None:
        """``active``: uids of pods that have a claim on the node. Raises StateMisfit."""
        self._policy, self._host, self._file, self._active = policy, host, directory / checkpoint.FILE, active
        self._wake = asyncio.Event()
        self._pinned = self._refused = 0
        restore(policy, host.read(self._file, checkpoint.LIMIT_BYTES), self._file)

    # As a provider of the topology manager.

    def prepare(self, uid: str) -> None:
        if self._policy.keep_only({*self._active(), uid}):
            self._wake.set()

    def hints(self, pod: Obj, container: Obj) -> Hints:
        return self._policy.hints(pod, container)

    def pod_hints(self, pod: Obj) -> Hints:
        return self._policy.pod_hints(pod)

    def allocate(self, pod: Obj, container: Obj, affinity: Mask | None) -> None:
        self._pinned += self._policy.concerns(pod, container)
        try:
            if self._policy.allocate(pod, container, affinity):
                self._wake.set()
        except NoRoom as error:
            self._refused += 1
            raise Refused(allocation_failed(str(error))) from error

    def release(self, uid: str) -> None:
        if self._policy.release(uid):
            self._wake.set()

    def metrics(self) -> dict[str, int]:
        return {
            "kubelet_memory_manager_pinning_requests_total": self._pinned,
            "kubelet_memory_manager_pinning_errors_total": self._refused,
        }

    # As a part of the node.

    def nodes(self, uid: str, name: str) -> str:
        return show(self._policy.nodes_of(uid, name))

    def blocks(self, uid: str, name: str) -> Sequence[Block]:
        return self._policy.blocks(uid, name)

    def allocatable(self) -> Sequence[Block]:
        return [
            Block(mask_of([node]), resource, size)
            for node, sizes in self._policy.allocatable.items()
            for resource, size in sorted(sizes.items())
            if size
        ]

    def freed(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        written = b""
        while True:
            self._wake.clear()
            self._policy.keep_only(self._active())
            state = checkpoint.encode(self._policy)
            if state != written:
                await self._host.write(self._file, state, 0o600)
                written = state
            await self._wake.wait()


def make_memory_manager(config: NodeConfig, host: Host, *, active: Callable[[], Collection[str]]) -> MemoryManager:
    """Raises ValueError: what is reserved cannot be, or what is left of an agent before does not fit."""
    if config.memory_manager_policy != "Static":
        return NoMemoryManager()
    policy = static_policy(config, host.cells(), host.machine().memory_bytes)
    return StaticMemoryManager(policy, host, config.root_dir, active=active)
