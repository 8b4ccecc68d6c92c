"""Keeps whose memory comes from which NUMA nodes, with its state on disk.

Asked by ``topology.aligning`` when a pod comes, by ``starting`` for each container, and by the pod-resources API. A
node without the policy has ``NoMemoryManager``. One event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Protocol

from sampan.api.types import Obj
from sampan.client import tasks
from sampan.node.admission import allocation_failed
from sampan.node.config import NodeConfig
from sampan.node.host import Host
from sampan.node.memorymanager import checkpoint, reserved
from sampan.node.memorymanager.policy import Block, NoRoom, StaticPolicy
from sampan.node.node_status import reservations
from sampan.node.numa import Cell
from sampan.node.processors import show
from sampan.node.statefiles import take_up
from sampan.node.thresholds import hard_amount
from sampan.node.topology.aligning import GivesNothing, Provider, Refused
from sampan.node.topology.giving import Giver
from sampan.node.topology.hints import Mask, mask_of


def static_policy(config: NodeConfig, cells: Sequence[Cell], memory_bytes: int) -> StaticPolicy:
    """Raises ValueError: what is reserved by NUMA node is not what is reserved, or not there."""
    given = reserved.read(config.reserved_memory)
    free = hard_amount(config.eviction_thresholds, "memory.available", memory_bytes)
    reserved.check(given, cells, reservations(config).get("memory", 0) + free)
    return StaticPolicy(cells, given)


def restore(policy: StaticPolicy, data: bytes, file: Path) -> None:
    """What an agent before has given holds. ``data``: of ``file``, b"" when it is not there. Raises StateMisfit."""
    known = take_up("memory manager", file, data, checkpoint.decode, lambda state: checkpoint.misfit(state, policy))
    if known is not None:
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
        await tasks.forever()


class StaticMemoryManager(Giver):
    """A container whose agent was killed before the file was written runs on where it is, and is given what the next
    agent finds free."""

    kind = "memory"

    def __init__(
        self, policy: StaticPolicy, host: Host, directory: Path, *, active: Callable[[], Collection[str]]
    ) -> None:
        """``active``: uids of pods that have a claim on the node. Raises StateMisfit."""
        file = directory / checkpoint.FILE
        super().__init__(policy, host, file, active)
        self._policy = policy
        restore(policy, host.read(file, checkpoint.LIMIT_BYTES), file)

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

    def _concerns(self, pod: Obj, container: Obj) -> bool:
        return self._policy.concerns(pod, container)

    def _give(self, pod: Obj, container: Obj, affinity: Mask | None) -> bool:
        try:
            return self._policy.allocate(pod, container, affinity)
        except NoRoom as error:
            raise Refused(allocation_failed(str(error))) from error

    def _encode(self) -> bytes:
        return checkpoint.encode(self._policy)

    async def _follow(self) -> None:
        """What runs keeps its nodes: the kernel moves no memory that is in use."""


def make_memory_manager(config: NodeConfig, host: Host, *, active: Callable[[], Collection[str]]) -> MemoryManager:
    """Raises ValueError: what is reserved cannot be, or what is left of an agent before does not fit."""
    if config.memory_manager_policy != "Static":
        return NoMemoryManager()
    policy = static_policy(config, host.cells(), host.machine().memory_bytes)
    return StaticMemoryManager(policy, host, config.root_dir, active=active)
