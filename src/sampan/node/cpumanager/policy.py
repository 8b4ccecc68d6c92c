"""The static policy: who has which processors to itself, and what the others share. Pure.

Reserved processors are shared by all and given to nobody alone. Containers of one pod that run one after the other (its
init containers, then the main ones) may have the same processors; sidecars keep theirs. As the kubelet's
``policy_static.go`` and ``topology_hints.go``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sampan.api.pods import containers
from sampan.api.pods.qos import compute_qos_class
from sampan.api.pods.requests import container_requests
from sampan.api.types import Obj
from sampan.node.cpumanager import allocator, spreading
from sampan.node.cpumanager.options import Options
from sampan.node.processors import Cpus, Topology, show
from sampan.node.topology.giving import Given
from sampan.node.topology.hints import Hint, Hints, Mask, mask_of, masks, nodes_of, with_smallest_preferred

Assignments = Mapping[str, Mapping[str, Cpus]]
_DEFAULTS = Options()


def exclusive_cpus(pod: Obj, container: Obj) -> int:
    """How many processors the container is to have to itself; 0: it shares."""
    millicores = container_requests(container).get("cpu", 0)
    if millicores % 1000 or compute_qos_class(pod) != "Guaranteed":
        return 0
    return millicores // 1000


class Misaligned(Exception):
    """A container cannot have cores of its own, all of their threads included. The text is the kubelet's."""


class StaticPolicy(Given[Cpus]):
    """Invariants: no processor is given to two pods, nor to two containers of a pod that may run at once; none that is
    reserved is given to anybody; ``shared`` is all that nobody has to itself, but what is strictly reserved."""

    def __init__(
        self,
        topology: Topology,
        reserved: Cpus,
        assigned: Assignments | None = None,
        options: Options = _DEFAULTS,
    ) -> None:
        self.topology, self.reserved, self._options = topology, reserved, options
        #: those whose core is reserved in part
        touched = topology.by_core(reserved).keys()
        self._reserved_cores = frozenset(cpu for cpu, place in topology.places.items() if place in touched)
        self.assigned = {uid: dict(each) for uid, each in (assigned or {}).items()}

    @property
    def usable(self) -> Cpus:
        """All that anybody may run on."""
        return self.topology.cpus - (self.reserved if self._options.strict_reservation else frozenset())

    @property
    def shared(self) -> Cpus:
        return self.usable - self._given()

    @property
    def _free(self) -> Cpus:
        """For somebody alone. A core that is reserved in part is nobody's whole one."""
        return self.shared - (self._reserved_cores if self._options.full_cores else self.reserved)

    def _given(self) -> Cpus:
        return frozenset(cpu for each in self.assigned.values() for cpus in each.values() for cpu in cpus)

    def cpus_of(self, uid: str, name: str) -> Cpus:
        return self.assigned.get(uid, {}).get(name) or self.shared

    def admit(self, pod: Obj) -> bool:
        """Gives the pod's containers theirs; True when something changed. Nothing is given when not all can have it.

        Raises allocator.TooFew, Misaligned.
        """
        uid = pod["metadata"]["uid"]
        had = dict(self.assigned.get(uid, {}))
        try:
            changed = [self.allocate(pod, container) for container, _, _ in _wishes(pod)]
        except (allocator.TooFew, Misaligned):
            self.release(uid)
            if had:
                self.assigned[uid] = had
            raise
        return any(changed)

    def allocate(self, pod: Obj, container: Obj, affinity: Mask | None = None) -> bool:
        """Gives one container its processors, of these NUMA nodes as far as may be; True when something changed.

        Raises allocator.TooFew, Misaligned.
        """
        uid, name, count = pod["metadata"]["uid"], container["name"], exclusive_cpus(pod, container)
        if not count or name in self.assigned.get(uid, {}):
            return False
        free, reusable = self._free, self._reusable(pod, name)
        if self._options.full_cores:
            self._check_alignment(count, len(free | reusable))
        if count > len(free | reusable):
            raise allocator.TooFew(
                f"not enough cpus available to satisfy request: requested={count}, available={len(free | reusable)}"
            )
        near = self._near(affinity)
        # What the pod has already comes first, so that it never holds more than it asks for; unless parts are to be
        # equal, which cannot be worked out piece by piece.
        pools = [free | reusable] if self._options.across_nodes else [reusable, free]
        taken: Cpus = frozenset()
        for place in (near, self.topology.cpus - near):
            for pool in pools:
                there = (pool & place) - taken
                taken |= self._take(there, min(len(there), count - len(taken)))
        self.assigned.setdefault(uid, {})[name] = taken
        return True

    def _take(self, free: Cpus, count: int) -> Cpus:
        def pack(some: Cpus, number: int) -> Cpus:
            return allocator.take(
                self.topology, some, number, apart=self._options.across_cores, by_cache=self._options.by_cache
            )

        if not self._options.across_nodes:
            return pack(free, count)
        group = self.topology.threads if self._options.full_cores else 1
        return spreading.take_evenly(self.topology, free, count, group, pack)

    def _near(self, affinity: Mask | None) -> Cpus:
        if affinity is None:
            return self.topology.cpus
        near: Cpus = frozenset()
        by_node = self.topology.by_node(self.topology.cpus)
        for node in nodes_of(affinity):
            near |= by_node.get(node, frozenset())
        if self._options.by_socket:
            sockets = self.topology.by_socket(self.topology.cpus)
            near = near.union(*(sockets[socket] for socket in self.topology.by_socket(near)))
        return near

    def _reusable(self, pod: Obj, name: str) -> Cpus:
        """What init containers had that have ended when this one runs, and none has that runs beside it."""
        given, found = self.assigned.get(pod["metadata"]["uid"], {}), frozenset[int]()
        for container, lends, _ in _wishes(pod):
            if container["name"] == name:
                break
            cpus = given.get(container["name"], frozenset())
            found = found | cpus if lends else found - cpus
        return found

    def _check_alignment(self, count: int, available: int) -> None:
        """Raises Misaligned."""
        threads = self.topology.threads
        if count % threads:
            raise Misaligned(f"SMT Alignment Error: requested {count} cpus not multiple cpus per core = {threads}")
        if count > available:
            raise Misaligned(
                f"SMT Alignment Error: not enough free physical CPUs: available physical CPUs = {available}, "
                f"requested CPUs = {count}, CPUs per core = {threads}"
            )

    # Where it can be.

    def hints(self, pod: Obj, container: Obj) -> Hints:
        count = exclusive_cpus(pod, container)
        if not count:
            return {}
        held = self.assigned.get(pod["metadata"]["uid"], {}).get(container["name"])
        if held is not None:
            return {"cpu": self._hints(held, frozenset(), count) if len(held) == count else ()}
        return {"cpu": self._hints(self._free, self._reusable(pod, container["name"]), count)}

    def pod_hints(self, pod: Obj) -> Hints:
        count = _most_at_once(pod)
        if not count:
            return {}
        given, held = self.assigned.get(pod["metadata"]["uid"], {}), frozenset[int]()
        for container, _, wanted in _wishes(pod):
            has = given.get(container["name"])
            if has is not None and len(has) != wanted:
                return {"cpu": ()}
            held |= has or frozenset()
        if len(held) == count:
            return {"cpu": self._hints(held, frozenset(), count)}
        return {"cpu": self._hints(self._free, held, count)}

    def _hints(self, free: Cpus, kept: Cpus, count: int) -> list[Hint]:
        """Every set of NUMA nodes with so many: all that are ``kept``, and of those that are ``free``."""
        all_, there = self.topology.by_node(self.topology.cpus), self.topology.by_node(free | kept)
        kept_on = mask_of(self.topology.by_node(kept))
        least, found = len(all_), []
        for mask in masks(list(all_)):
            nodes = nodes_of(mask)
            if sum(len(all_[node]) for node in nodes) >= count:
                least = min(least, len(nodes))
            if kept_on & ~mask == 0 and sum(len(there.get(node, ())) for node in nodes) >= count:
                found.append(mask)
        if not self._options.by_socket:
            return with_smallest_preferred(found, least)
        # Of no more sockets than such a request needs: sockets are what counts.
        on = {node: set(self.topology.by_socket(cpus)) for node, cpus in all_.items()}
        nodes_each = len(all_) // max(len(set().union(*on.values())), 1)
        sockets = -(-least // nodes_each) if nodes_each else 0
        return [
            Hint(mask, mask.bit_count() == least or len(set().union(*(on[node] for node in nodes_of(mask)))) == sockets)
            for mask in found
        ]


def _wishes(pod: Obj) -> Iterator[tuple[Obj, bool, int]]:
    """Containers that are to have processors to themselves, whether they lend them to those after them, and how
    many."""
    for sort, container in containers.walk(pod):
        if sort != "ephemeral" and (count := exclusive_cpus(pod, container)):
            yield container, sort == "init" and not containers.is_sidecar(sort, container), count


def _most_at_once(pod: Obj) -> int:
    beside = most = 0
    for _, lends, count in _wishes(pod):
        if lends:
            most = max(most, beside + count)
        else:
            beside += count
    return max(most, beside)


def reserve(topology: Topology, millicores: int, named: Cpus) -> Cpus:
    """Processors that nobody gets alone: those that are named, or as many as what is kept back for the machine needs.
    Raises ValueError with the kubelet's words."""
    if named:
        if not named <= topology.cpus:
            raise ValueError(
                f"reservedSystemCPUs names processors that this machine does not have: {show(named - topology.cpus)}"
            )
        return named
    if millicores <= 0:
        raise ValueError("the static policy requires systemreserved.cpu + kubereserved.cpu to be greater than zero")
    count = -(-millicores // 1000)
    if count > len(topology.cpus):
        raise ValueError(f"unable to reserve the required amount of CPUs (size of  did not equal {count})")
    return allocator.take(topology, topology.cpus, count)
