"""Which NUMA nodes a container's memory comes from. Pure.

A container of a Guaranteed pod has its memory and huge pages from one NUMA node, or from a group of them that no other
group shares a node with: so what a group has left is what its nodes have, less what containers have of it. As the
kubelet's ``memorymanager/policy_static.go``, which keeps the same by node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sampan.api.pods import containers
from sampan.api.pods.qos import compute_qos_class
from sampan.api.pods.requests import Amounts, container_requests, has_pod_level
from sampan.api.types import Obj
from sampan.node.memorymanager.reserved import MEMORY, Reserved, is_memory
from sampan.node.numa import Cell
from sampan.node.topology.giving import Given
from sampan.node.topology.hints import Hint, Hints, Mask, mask_of, masks, narrowest, nodes_of
from sampan.records import dataclass


class NoRoom(Exception):
    """The text is the kubelet's."""


@dataclass(frozen=True, slots=True)
class Block:
    """So many bytes of ``resource`` from these NUMA nodes together."""

    nodes: Mask
    resource: str
    size: int


#: By uid of the pod and name of the container.
Blocks = Mapping[str, Mapping[str, Sequence[Block]]]


class StaticPolicy(Given[list[Block]]):
    """Invariants: two groups of nodes that containers have memory of are the same, or share no node; of no group more
    is given than it has. What an init container had, and a later container of its pod uses again, is counted once: at
    the later one."""

    def __init__(self, cells: Sequence[Cell], reserved: Reserved) -> None:
        self.cells, self.reserved = cells, reserved
        #: what pods may have, by node and resource
        self.allocatable = {cell.id: _allocatable(cell, reserved.get(cell.id, {})) for cell in cells}
        self.assigned = {}

    def nodes_of(self, uid: str, name: str) -> tuple[int, ...]:
        """None: from wherever its pod's memory comes."""
        return nodes_of(mask_of(node for block in self.blocks(uid, name) for node in nodes_of(block.nodes)))

    def blocks(self, uid: str, name: str) -> Sequence[Block]:
        return self.assigned.get(uid, {}).get(name, ())

    @staticmethod
    def concerns(pod: Obj, container: Obj) -> bool:
        return bool(_wanted(pod, container))

    # Where it can be.

    def hints(self, pod: Obj, container: Obj) -> Hints:
        wanted = _wanted(pod, container)
        held = self.blocks(pod["metadata"]["uid"], container["name"])
        if held:
            return {block.resource: (Hint(block.nodes, True),) for block in held}
        return self._for_each(wanted, self._hints(wanted, self._reusable(pod, container["name"])))

    def pod_hints(self, pod: Obj) -> Hints:
        given = self.assigned.get(pod["metadata"]["uid"], {})
        for held in given.values():
            return {block.resource: (Hint(block.nodes, True),) for block in held}
        wanted = _most_at_once(pod)
        return self._for_each(wanted, self._hints(wanted, {}))

    @staticmethod
    def _for_each(wanted: Amounts, found: Sequence[Hint]) -> Hints:
        return dict.fromkeys(wanted, found)

    def _hints(self, wanted: Amounts, reusable: Mapping[tuple[Mask, str], int]) -> list[Hint]:
        """The same for every resource: all of it comes from the same nodes."""
        least, found = len(self.cells), []
        for mask in masks([cell.id for cell in self.cells]):
            if not all(self._has(mask, resource) >= amount for resource, amount in wanted.items()):
                continue
            least = min(least, mask.bit_count())
            if self._clashes(mask):
                continue
            if all(
                self._free(mask, resource) + reusable.get((mask, resource), 0) >= amount
                for resource, amount in wanted.items()
            ):
                found.append(mask)
        return [Hint(mask, mask.bit_count() == least) for mask in found]

    def _has(self, mask: Mask, resource: str) -> int:
        return sum(self.allocatable[node].get(resource, 0) for node in nodes_of(mask))

    def _free(self, mask: Mask, resource: str) -> int:
        used = sum(block.size for block in self._given() if block.nodes == mask and block.resource == resource)
        return self._has(mask, resource) - used

    def _clashes(self, mask: Mask) -> bool:
        return any(block.nodes & mask and block.nodes != mask for block in self._given())

    def _given(self) -> Iterator[Block]:
        for of_pod in self.assigned.values():
            for blocks in of_pod.values():
                yield from blocks

    # Giving and taking back.

    def allocate(self, pod: Obj, container: Obj, affinity: Mask | None) -> bool:
        """From these nodes, or from others that they are among where they have too little; None: any. True when
        something changed. Raises NoRoom."""
        uid, name, wanted = pod["metadata"]["uid"], container["name"], _wanted(pod, container)
        if not wanted or self.blocks(uid, name):
            return False
        reusable = self._reusable(pod, name)
        found = self._hints(wanted, reusable)
        if affinity is not None and self._clashes(affinity):
            raise NoRoom("[memorymanager] preferred hint violates NUMA node allocation")
        mask = self._choose(found, affinity)
        self._use_again(pod, name, mask, wanted)
        self.assigned.setdefault(uid, {})[name] = [Block(mask, resource, size) for resource, size in wanted.items()]
        return True

    @staticmethod
    def _choose(found: Sequence[Hint], affinity: Mask | None) -> Mask:
        if not found:
            raise NoRoom(
                "[memorymanager] failed to get the default NUMA affinity, no NUMA nodes with enough memory is available"
            )
        around = [hint for hint in found if affinity is None or hint.affinity is None or not affinity & ~hint.affinity]
        if not around:
            raise NoRoom("[memorymanager] failed to find NUMA nodes to extend the current topology hint")
        best = min(around, key=lambda hint: (not hint.preferred, narrowest(hint.affinity or 0)))
        return best.affinity or 0

    def _lending(self, pod: Obj, name: str) -> Iterator[str]:
        """Init containers that have ended when this one runs."""
        for sort, container in containers.walk(pod):
            if container["name"] == name:
                return
            if sort == "init" and not containers.is_sidecar(sort, container):
                yield container["name"]

    def _reusable(self, pod: Obj, name: str) -> dict[tuple[Mask, str], int]:
        found: dict[tuple[Mask, str], int] = {}
        for lender in self._lending(pod, name):
            for block in self.blocks(pod["metadata"]["uid"], lender):
                key = block.nodes, block.resource
                found[key] = found.get(key, 0) + block.size
        return found

    def _use_again(self, pod: Obj, name: str, mask: Mask, wanted: Amounts) -> None:
        """What the container has in place of init containers is theirs no more."""
        uid, left = pod["metadata"]["uid"], dict(wanted)
        for lender in self._lending(pod, name):
            for index, block in enumerate(self.blocks(uid, lender)):
                if block.nodes == mask and (less := min(left.get(block.resource, 0), block.size)):
                    left[block.resource] -= less
                    self.assigned[uid][lender][index] = Block(mask, block.resource, block.size - less)

    def misfit(self, assigned: Blocks) -> str:
        """Why the policy cannot go on from there, as the kubelet says it; "": it can."""
        used: dict[tuple[Mask, str], int] = {}
        for uid, of_pod in assigned.items():
            for name, blocks in of_pod.items():
                for block in blocks:
                    where = f"[memorymanager] (pod: {uid}, container: {name}) the memory assignment uses"
                    if not block.nodes or not set(nodes_of(block.nodes)) <= self.allocatable.keys():
                        return f"{where} the NUMA that does not exist"
                    if any(block.resource not in self.allocatable[node] for node in nodes_of(block.nodes)):
                        return f"{where} memory resource that does not exist"
                    key = block.nodes, block.resource
                    used[key] = used.get(key, 0) + block.size
        groups = {mask for mask, _ in used}
        apart = all(one == other or not one & other for one in groups for other in groups)
        if not apart or any(self._has(mask, resource) < size for (mask, resource), size in used.items()):
            return "[memorymanager] the expected machine state is different from the real one"
        return ""


def _allocatable(cell: Cell, reserved: Mapping[str, int]) -> dict[str, int]:
    found = {name: max(size - reserved.get(name, 0), 0) for name, size in cell.hugepages.items()}
    memory = cell.memory_bytes - reserved.get(MEMORY, 0) - sum(cell.hugepages.values())
    return {**found, MEMORY: max(memory, 0)}


def _is_pinned(pod: Obj) -> bool:
    return compute_qos_class(pod) == "Guaranteed" and not has_pod_level(pod)


def _wanted(pod: Obj, container: Obj) -> Amounts:
    if not _is_pinned(pod):
        return {}
    return {name: amount for name, amount in container_requests(container).items() if is_memory(name) and amount}


def _most_at_once(pod: Obj) -> Amounts:
    beside: Amounts = {}
    most: Amounts = {}
    for sort, container in containers.walk(pod):
        if sort == "ephemeral":
            continue
        lends = sort == "init" and not containers.is_sidecar(sort, container)
        for name, amount in _wanted(pod, container).items():
            here = beside.get(name, 0) + amount
            most[name] = max(most.get(name, 0), here)
            if not lends:
                beside[name] = here
    return most
