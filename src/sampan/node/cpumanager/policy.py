"""The static policy: who has which processors to itself, and what the others share. Pure.

Reserved processors are shared by all and given to nobody alone. Containers of one pod that run one after the other (its
init containers, then the main ones) may have the same processors; sidecars keep theirs. As the kubelet's
``policy_static.go``, with two of its options (``options``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from sampan.api.pods import containers
from sampan.api.pods.qos import compute_qos_class
from sampan.api.pods.requests import container_requests
from sampan.api.types import Obj
from sampan.node.cpumanager import allocator
from sampan.node.cpumanager.options import Options
from sampan.node.processors import Cpus, Topology

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


class StaticPolicy:
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
        #: threads of a core, and those whose core is reserved in part
        self._threads = len(topology.cpus) // max(len(topology.by_core(topology.cpus)), 1)
        touched = topology.by_core(reserved).keys()
        self._reserved_cores = frozenset(cpu for cpu, place in topology.places.items() if place in touched)
        #: by uid and name of the container
        self.assigned: dict[str, dict[str, Cpus]] = {uid: dict(each) for uid, each in (assigned or {}).items()}

    @property
    def shared(self) -> Cpus:
        held = self.reserved if self._options.strict_reservation else frozenset()
        return self.topology.cpus - self._given() - held

    def _given(self) -> Cpus:
        return frozenset(cpu for each in self.assigned.values() for cpus in each.values() for cpu in cpus)

    def cpus_of(self, uid: str, name: str) -> Cpus:
        return self.assigned.get(uid, {}).get(name) or self.shared

    def admit(self, pod: Obj) -> bool:
        """Gives the pod's containers theirs; True when something changed. Nothing is given when not all can have it.

        Raises allocator.TooFew, Misaligned.
        """
        uid = pod["metadata"]["uid"]
        if uid in self.assigned:
            return False
        given: dict[str, Cpus] = {}
        free = self.shared - self.reserved
        reusable: Cpus = frozenset()
        for sort, container, count in self._wishes(pod):
            if self._options.full_cores:
                self._check_alignment(count, len((free | reusable) - self._reserved_cores))
            again = min(len(reusable), count)
            cpus = allocator.take(self.topology, reusable, again)
            cpus |= allocator.take(self.topology, free, count - again)
            free -= cpus
            given[container["name"]] = cpus
            if sort == "init" and not containers.is_sidecar(sort, container):
                reusable |= cpus
            else:
                reusable -= cpus
        if given:
            self.assigned[uid] = given
        return bool(given)

    def _check_alignment(self, count: int, available: int) -> None:
        """Raises Misaligned."""
        if count % self._threads:
            raise Misaligned(
                f"SMT Alignment Error: requested {count} cpus not multiple cpus per core = {self._threads}"
            )
        if count > available:
            raise Misaligned(
                f"SMT Alignment Error: not enough free physical CPUs: available physical CPUs = {available}, "
                f"requested CPUs = {count}, CPUs per core = {self._threads}"
            )

    @staticmethod
    def _wishes(pod: Obj) -> Iterator[tuple[containers.Sort, Obj, int]]:
        for sort, container in containers.walk(pod):
            if sort != "ephemeral" and (count := exclusive_cpus(pod, container)):
                yield sort, container, count

    def keep_only(self, uids: Collection[str]) -> bool:
        """What pods had that are over is shared again; True when something changed."""
        gone = self.assigned.keys() - set(uids)
        for uid in gone:
            del self.assigned[uid]
        return bool(gone)


def reserve(topology: Topology, millicores: int, named: Cpus) -> Cpus:
    """Processors that nobody gets alone: those that are named, or as many as what is kept back for the machine needs.
    Raises ValueError with the kubelet's words."""
    if named:
        if not named <= topology.cpus:
            raise ValueError("reservedSystemCPUs names processors that this machine does not have")
        return named
    if millicores <= 0:
        raise ValueError("the static policy requires systemreserved.cpu + kubereserved.cpu to be greater than zero")
    return allocator.take(topology, topology.cpus, min(-(-millicores // 1000), len(topology.cpus)))
