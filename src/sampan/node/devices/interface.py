"""What the rest of the node sees of its devices. Knows no plug-in and no gRPC, which hollow nodes do without."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import field
from typing import Protocol

from sampan.api.types import Obj
from sampan.client import tasks
from sampan.node import runtime
from sampan.records import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a container gets with its devices."""

    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[runtime.Mount, ...] = ()
    devices: tuple[runtime.Device, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)


class Devices(Protocol):
    async def load(self) -> None:
        """Reads what was given before; to be awaited before anything is asked. Raises Unavailable."""

    async def run(self) -> None:
        """Until cancelled: plug-ins may come. Raises OSError."""

    def amounts(self) -> Mapping[str, tuple[int, int]]:
        """Capacity and allocatable by resource."""

    def concerns(self, pod: Obj) -> bool:
        """Whether the pod asks for a device."""

    async def admit(self, pod: Obj) -> None:
        """Gives the pod's containers their devices. Raises ``plan.Unavailable``, and then it has none of them."""

    async def container(self, uid: str, name: str) -> Given:
        """What a container of an admitted pod gets. Raises ValueError: it cannot be given."""

    async def pre_start(self, uid: str, name: str) -> None:
        """Lets plug-ins that want it make the container's devices ready. Raises ValueError."""


#: Makes a node's devices. The first is asked for the uids of the pods that have a part of the node, the second called
#: when there are other devices.
MakeDevices = Callable[[Callable[[], Collection[str]], Callable[[], None]], Devices]


class NoDevices:
    """Of a node that lends none."""

    async def load(self) -> None:
        pass

    async def run(self) -> None:
        await tasks.forever()

    def amounts(self) -> Mapping[str, tuple[int, int]]:
        return {}

    def concerns(self, pod: Obj) -> bool:
        return False

    async def admit(self, pod: Obj) -> None:
        pass

    async def container(self, uid: str, name: str) -> Given:
        return Given()

    async def pre_start(self, uid: str, name: str) -> None:
        pass
