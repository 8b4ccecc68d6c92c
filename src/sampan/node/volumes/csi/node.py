"""The CSI side of one node, put together: made by the node agent, which gives ``plugin`` to its volume manager and
``handler`` to its plugin registry, and keeps ``run`` running."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from sampan.api.clock import Clock, Random
from sampan.api.resources import CSI_DRIVERS
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.client import Client
from sampan.node.env.lazy import LazyInformer
from sampan.node.volumes.csi.attachments import Attachments, InUse, Reports
from sampan.node.volumes.csi.drivers import Drivers
from sampan.node.volumes.csi.growing import Growing, Recorder
from sampan.node.volumes.csi.handler import CsiHandler
from sampan.node.volumes.csi.nodeinfo import NodeInfo
from sampan.node.volumes.csi.plugin import CsiPlugin
from sampan.node.volumes.csi.preparing import Preparing


class CsiNode:
    def __init__(
        self,
        root: Path,
        node_name: str,
        client: Client,
        clock: Clock,
        random: Random,
        recorder: Recorder,
        reports: Reports,
        came: Callable[[], None] = lambda: None,
    ) -> None:
        """``came``: told when a driver has registered."""
        self.in_use = InUse()
        self._reports = reports
        self._loop: asyncio.AbstractEventLoop | None = None
        self._objects = LazyInformer(client, CSI_DRIVERS, random, lambda found: None)
        drivers = Drivers()
        attachments = Attachments(client, node_name, self.in_use, reports)
        preparing = Preparing(drivers, self, attachments, clock, self._changed)
        self.plugin = CsiPlugin(root, drivers, preparing, Growing(client, recorder, node_name), self.in_use)
        self.handler = CsiHandler(root, drivers, NodeInfo(client, node_name), came)

    async def run(self) -> None:
        """Until cancelled."""
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self.plugin.load)
        await tasks.run_all(objects=self._objects.run(), drivers=self.handler.run())

    async def get(self, name: str) -> Obj | None:
        return (await self._objects.informer()).get("", name)

    def _changed(self) -> None:
        """From any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._reports.look)
