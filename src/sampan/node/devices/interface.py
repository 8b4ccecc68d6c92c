"""What the rest of the node sees of its devices. Knows no plug-in and no gRPC, which hollow nodes do without."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import NamedTuple, Protocol

from sampan.api.types import Obj
from sampan.client import tasks
from sampan.node import runtime
from sampan.node.memorymanager.policy import Block
from sampan.node.topology.aligning import GivesNothing, HintProvider, Step
from sampan.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a container gets with its devices."""

    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[runtime.Mount, ...] = ()
    devices: tuple[runtime.Device, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)


class Prepared(NamedTuple):
    """One device of a claim: the requests that it is for, and the names by which a container gets it; which one it is
    of which pool of its driver's."""

    requests: tuple[str, ...]
    cdi: tuple[str, ...]
    pool: str = ""
    device: str = ""


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a container has by one claim: devices, each with its driver."""

    namespace: str
    name: str
    devices: tuple[tuple[str, Prepared], ...]


@dataclass(frozen=True, slots=True)
class Sharing:
    """Who has a part of the node. ``exclusive``: processors of a container alone, by its pod's uid and its name;
    ``assignable``: those that may become somebody's alone; ``memory``: what a container has of which NUMA nodes,
    likewise; ``allocatable_memory``: what pods may have of each."""

    pods: Callable[[], Sequence[Obj]]
    exclusive: Callable[[str, str], Collection[int]] = lambda uid, name: ()
    assignable: Callable[[], Collection[int]] = lambda: ()
    memory: Callable[[str, str], Sequence[Block]] = lambda uid, name: ()
    allocatable_memory: Callable[[], Sequence[Block]] = lambda: ()


class ClaimsUnready(runtime.RuntimeCallError):
    """A pod's claims for devices cannot be prepared, or given back; the text says which and why."""


class Handler(Protocol):
    """As ``sampan.node.plugins.registry`` wants it."""

    async def register(self, name: str, endpoint: str, versions: Sequence[str], socket: Path) -> None: ...
    async def deregister(self, name: str, socket: Path) -> None: ...


class Devices(Protocol):
    async def load(self) -> None:
        """Reads what was given before; to be awaited before anything is asked. Raises Unavailable."""

    async def run(self) -> None:
        """Until cancelled: plug-ins may come. Raises OSError."""

    def amounts(self) -> Mapping[str, tuple[int, int]]:
        """Capacity and allocatable by resource."""

    def concerns(self, pod: Obj) -> bool:
        """Whether the pod asks for a device."""

    def placing(self, nodes: Sequence[int]) -> HintProvider:
        """Says on which of the machine's NUMA nodes a pod can have the devices that it asks for."""

    async def admit(self, pod: Obj, steps: Iterable[Step] | None = None) -> None:
        """Gives the pod's containers their devices, one after the other; ``steps`` says which and from where, None:
        all, from anywhere. Raises ``plan.Unavailable``, and what ``steps`` raises, and then it has none of them."""

    async def prepare(self, pod: Obj) -> None:
        """Has drivers make the devices of the pod's claims ready, before its sandbox is made. Raises
        ClaimsUnready, ApiError."""

    async def container(self, pod: Obj, container: Obj) -> Given:
        """What a container of an admitted pod gets, which plug-ins that want it have made ready. Raises ValueError: it
        cannot be given."""

    async def unprepare(self, uid: str) -> None:
        """The pod has ended. Raises ClaimsUnready: it is to be asked again."""

    async def cleanup(self, known: Callable[[], Collection[str]]) -> None:
        """Takes back what pods had that are gone; ``known``: uids of those that are not, at the moment."""

    def handlers(self) -> Mapping[str, Handler]:
        """For plug-ins that register by a socket, by their type."""

    async def tell(self, sharing: Sharing) -> None:
        """Until cancelled: programs of the node may ask which container has what. Raises OSError."""


#: Makes a node's devices. The first is asked for the uids of the pods that have a part of the node, the second called
#: when there are other devices.
MakeDevices = Callable[[Callable[[], Collection[str]], Callable[[], None]], Devices]


class NoDevices:
    """Of a node that lends none and has no drivers: claims mean nothing to simulated containers."""

    async def load(self) -> None:
        pass

    async def run(self) -> None:
        await tasks.forever()

    def amounts(self) -> Mapping[str, tuple[int, int]]:
        return {}

    def concerns(self, pod: Obj) -> bool:
        return False

    def placing(self, nodes: Sequence[int]) -> HintProvider:
        return GivesNothing()

    async def admit(self, pod: Obj, steps: Iterable[Step] | None = None) -> None:
        for _ in steps or ():
            pass

    async def prepare(self, pod: Obj) -> None:
        pass

    async def container(self, pod: Obj, container: Obj) -> Given:
        return Given()

    async def unprepare(self, uid: str) -> None:
        pass

    async def cleanup(self, known: Callable[[], Collection[str]]) -> None:
        pass

    def handlers(self) -> Mapping[str, Handler]:
        return {}

    async def tell(self, sharing: Sharing) -> None:
        await tasks.forever()
