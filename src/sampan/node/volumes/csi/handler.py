"""Takes CSI drivers as they register: asks what they are, tells the API, and makes them known to the volume plug-in.

A ``sampan.node.plugins.registry.Handler``. ``run`` keeps the CSINode there and what it says of the drivers true.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from sampan.api.errors import ApiError
from sampan.api.faults import fault
from sampan.csi.client import DriverClient
from sampan.csi.errors import DriverError
from sampan.node.plugins import paths
from sampan.node.plugins.registry import PluginRefused
from sampan.node.volumes.csi.drivers import Driver, Drivers
from sampan.node.volumes.csi.nodeinfo import DriverInfo, InfoRefused, NodeInfo

log = logging.getLogger(__name__)

_REFUSED: Final = "RegisterPlugin error -- plugin registration failed with err: "
_LOOK_SECONDS: Final = 60.0
_FIRST_LOOK_SECONDS: Final = 1.0


def version_complaint(name: str, versions: Sequence[str]) -> str:
    """Why none of the versions that a driver gives is spoken here; "": one is. Pure."""
    prefix = f'kubernetes.io/csi: RegisterPlugin for CSI driver "{name}" failed. '
    if not versions:
        return prefix + "Plugin returned an empty list for supported versions"
    if any(each.removeprefix("v").split(".")[0] == "1" for each in versions):
        return ""
    listed = " ".join(f'"{each}"' for each in versions)
    return prefix + f"None of the versions specified [{listed}] are supported"


class CsiHandler:
    def __init__(self, root: Path, drivers: Drivers, info: NodeInfo, changed: Callable[[], None]) -> None:
        """``changed``: told when a driver came: what waited for it may go on."""
        self._root = root
        self._drivers = drivers
        self._info = info
        self._changed = changed

    async def register(self, name: str, endpoint: str, versions: Sequence[str], socket: Path) -> None:
        if complaint := version_complaint(name, versions):
            raise PluginRefused(_REFUSED + complaint)
        server = paths.on_machine(Path(endpoint.removeprefix("unix://")), self._root)
        client = DriverClient(str(server))
        try:
            driver = await self._look_at(name, client, server, socket)
            await self._info.install(await _info(driver))
        except BaseException as error:
            await client.close()
            if isinstance(error, DriverError | InfoRefused | ApiError | OSError):
                text = fault(error) if isinstance(error, OSError) else str(error)
                raise PluginRefused(_REFUSED + text) from error
            raise
        await self._drivers.add(driver)
        log.info("CSI driver %s at %s is registered", name, server)
        self._changed()

    async def deregister(self, name: str, socket: Path) -> None:
        if not await self._drivers.remove(name, socket):
            return
        try:
            await self._info.uninstall(name)
        except (ApiError, OSError, TimeoutError) as error:
            log.warning("CSI driver %s is gone, and the API does not know: %s", name, error)

    async def run(self) -> None:
        """Until cancelled; only then are the drivers let go, who would not come by themselves."""
        seconds = _FIRST_LOOK_SECONDS
        try:
            while True:
                try:
                    await self._info.ensure()
                    for driver in self._drivers.all():
                        await self._info.install(await _info(driver))
                    seconds = _LOOK_SECONDS
                except (DriverError, InfoRefused, ApiError, OSError, TimeoutError) as error:
                    log.info("CSI drivers of this node: %s", error)
                await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            await self._drivers.close()
            raise

    async def _look_at(self, name: str, client: DriverClient, server: Path, socket: Path) -> Driver:
        capabilities = await client.node_capabilities()
        seen_root = await asyncio.to_thread(paths.root_seen_by, server, self._root)
        return Driver(name, client, capabilities, socket, self._root, seen_root)


async def _info(driver: Driver) -> DriverInfo:
    answer = await driver.client.node_info()
    return DriverInfo(
        name=driver.name,
        node_id=answer.node_id,
        most_volumes=answer.max_volumes_per_node,
        topology=dict(answer.accessible_topology.segments),
    )
