"""Both kinds of devices of a node behind one interface: those that plug-ins lend, and those of claims.

Made by ``sampan.node.main``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

from sampan.api import objects
from sampan.api.reading import text
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.node.devices import cdi, podresources
from sampan.node.devices.claims import ClaimDevices
from sampan.node.devices.drivers import Drivers
from sampan.node.devices.interface import Given, Handler, Sharing
from sampan.node.devices.manager import DeviceManager
from sampan.node.topology.aligning import HintProvider, Step


class NodeDevices:
    """See ``interface.Devices``."""

    def __init__(
        self, root: Path, client: Client, holders: Callable[[], Collection[str]], changed: Callable[[], None]
    ) -> None:
        self._root = root
        self._drivers = Drivers(root)
        self._lent = DeviceManager(root / "device-plugins", root / "devices.json", holders=holders, changed=changed)
        self._claimed = ClaimDevices(client, self._drivers, root / "device-claims.json")

    async def load(self) -> None:
        await self._lent.load()
        await self._claimed.load()

    async def run(self) -> None:
        await self._lent.run()

    def amounts(self) -> Mapping[str, tuple[int, int]]:
        return self._lent.amounts()

    def concerns(self, pod: Obj) -> bool:
        return self._lent.concerns(pod)

    def placing(self, nodes: Sequence[int]) -> HintProvider:
        return self._lent.placing(nodes)

    async def admit(self, pod: Obj, steps: Iterable[Step] | None = None) -> None:
        await self._lent.admit(pod, steps)

    async def prepare(self, pod: Obj) -> None:
        await self._claimed.prepare(pod)

    async def container(self, pod: Obj, container: Obj) -> Given:
        uid, name = objects.uid(pod), text(container, "name")
        lent, claimed = await self._lent.container(uid, name), await self._claimed.container(pod, container)
        await self._lent.pre_start(uid, name)
        return cdi.merged(lent, claimed)

    async def unprepare(self, uid: str) -> None:
        await self._claimed.unprepare(uid)

    async def cleanup(self, known: Callable[[], Collection[str]]) -> None:
        await self._claimed.cleanup(known)

    async def tell(self, sharing: Sharing) -> None:
        known = podresources.Known(sharing, self._lent.lent, self._claimed.claimed, self._lent.stock, self._lent.nodes)
        await podresources.serve(self._root, known)

    def handlers(self) -> Mapping[str, Handler]:
        return {"DRAPlugin": self._drivers}
