"""Gives a pod's containers what the node has of processors and memory, close together and close to their devices.

Made by the agent, asked by the reception for every pod that comes. Providers give at once. Devices are given by
plug-ins, which take their time: they say where theirs are, and choose by what this says. One event loop.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Sequence
from typing import NamedTuple, Protocol

from sampan.api.pods import containers
from sampan.api.types import Obj
from sampan.node.admission import Refusal
from sampan.node.numa import Cell
from sampan.node.topology import policies
from sampan.node.topology.hints import Hints, Mask
from sampan.node.topology.policies import Policy

log = logging.getLogger(__name__)


class Refused(Exception):
    """A pod cannot have what it asks for."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class HintProvider(Protocol):
    def hints(self, pod: Obj, container: Obj) -> Hints:
        """Where it can give the container what it asks for, which it may have already."""
        ...

    def pod_hints(self, pod: Obj) -> Hints:
        """Of all containers together."""
        ...


class Provider(HintProvider, Protocol):
    def prepare(self, uid: str) -> None:
        """A pod comes: what others had that are gone is free."""
        ...

    def allocate(self, pod: Obj, container: Obj, affinity: Mask | None) -> None:
        """Nothing to do for one that has it. ``affinity``: from these NUMA nodes, as far as may be. Raises Refused."""
        ...

    def release(self, uid: str) -> None:
        """The pod is not taken."""
        ...

    def metrics(self) -> dict[str, int]:
        """By name (``metrics``)."""
        ...


class GivesNothing:
    """A provider of a node whose policy is ``none``."""

    def prepare(self, uid: str) -> None: ...

    def hints(self, pod: Obj, container: Obj) -> Hints:
        return {}

    def pod_hints(self, pod: Obj) -> Hints:
        return {}

    def allocate(self, pod: Obj, container: Obj, affinity: Mask | None) -> None: ...

    def release(self, uid: str) -> None: ...

    def metrics(self) -> dict[str, int]:
        return {}


class Step(NamedTuple):
    """A container that has its processors and memory, and where its devices are to come from."""

    container: str
    affinity: Mask | None


class Alignment:
    def __init__(self, policy: Policy, cells: Sequence[Cell], providers: Sequence[Provider]) -> None:
        """Raises ValueError: the policy cannot be kept on this machine."""
        policies.check(policy, cells)
        self._policy, self._cells, self._providers = policy, cells, providers
        self._asked = self._apart = 0

    @property
    def heeds_devices(self) -> bool:
        """Devices say where the rest is to come from: a pod gets all of it together."""
        return self._policy.name != "none"

    @property
    def nodes(self) -> list[int]:
        return [cell.id for cell in self._cells]

    def admit(self, pod: Obj) -> Refusal | None:
        """Why a pod without devices, or with a policy that does not mind them, cannot have what it asks for."""
        try:
            for _ in self.steps(pod):
                pass
        except Refused as refused:
            return refused.refusal
        return None

    def metrics(self) -> dict[str, int]:
        found = {
            "kubelet_topology_manager_admission_requests_total": self._asked,
            "kubelet_topology_manager_admission_errors_total": self._apart,
        }
        for provider in self._providers:
            found |= provider.metrics()
        return found

    def release(self, uid: str) -> None:
        """The pod is not taken after all."""
        for provider in self._providers:
            provider.release(uid)

    def adopt(self, pod: Obj) -> None:
        """One that runs already, and has what it has; what nobody remembers is given anew, wherever it is."""
        for provider in self._providers:
            provider.prepare(pod["metadata"]["uid"])
            for container in _containers(pod):
                try:
                    provider.allocate(pod, container, None)
                except Refused as refused:
                    log.warning("pod %s runs without: %s", pod["metadata"]["name"], refused)

    def steps(self, pod: Obj, devices: HintProvider | None = None) -> Generator[Step]:
        """Its containers, in the order in which they are given what they ask for. Raises Refused; then, and when the
        iterator is closed before its end, the pod has nothing."""
        uid = pod["metadata"]["uid"]
        self._asked += 1
        for provider in self._providers:
            provider.prepare(uid)
        complete = False
        try:
            yield from self._whole(pod, devices) if self._policy.scope == "pod" else self._each(pod, devices)
            complete = True
        finally:
            if not complete:
                self.release(uid)

    def _each(self, pod: Obj, devices: HintProvider | None) -> Iterator[Step]:
        for container in _containers(pod):
            affinity = None
            if self._policy.name != "none":
                affinity = self._decide([each.hints(pod, container) for each in self._sources(devices)])
            yield self._give(pod, container, affinity)

    def _whole(self, pod: Obj, devices: HintProvider | None) -> Iterator[Step]:
        """All at once: what was found free together is not given to others while a plug-in is asked."""
        affinity = None
        if self._policy.name != "none":
            affinity = self._decide([each.pod_hints(pod) for each in self._sources(devices)])
        yield from [self._give(pod, container, affinity) for container in _containers(pod)]

    def _sources(self, devices: HintProvider | None) -> list[HintProvider]:
        return [*self._providers, *([] if devices is None else [devices])]

    def _decide(self, offers: Sequence[Hints]) -> Mask | None:
        best = policies.decide(self._policy, self._cells, offers)
        if best is None:
            self._apart += 1
            raise Refused(policies.REFUSED)
        return best.affinity

    def _give(self, pod: Obj, container: Obj, affinity: Mask | None) -> Step:
        for provider in self._providers:
            provider.allocate(pod, container, affinity)
        return Step(container["name"], affinity)


def _containers(pod: Obj) -> list[Obj]:
    return [container for sort, container in containers.walk(pod) if sort != "ephemeral"]
