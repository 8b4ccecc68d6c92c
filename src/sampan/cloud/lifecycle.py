"""The cloud-node-lifecycle-controller: nodes whose machine is gone are deleted, those whose machine is off are tainted.

A node that is Ready is what it says: the cloud is asked of the others only.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from sampan.api import objects
from sampan.api.clock import format_time
from sampan.api.errors import ApiError, Conflict, NotFound
from sampan.api.resources import NODES
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.cloud.context import CALL_SECONDS, Context
from sampan.cloud.provider import CloudError, Instances
from sampan.cloud.reading import SHUTDOWN, has_taint, is_ready, ref_of, taints_without

log = logging.getLogger(__name__)

NAME: Final = "cloud-node-lifecycle-controller"
#: asked of at the same time
_TOGETHER = 10


class CloudNodeLifecycleController:
    def __init__(self, context: Context, instances: Instances) -> None:
        self._client = context.client_for(NAME)
        self._recorder = context.recorder(self._client, NAME)
        self._instances = instances
        self._clock = context.clock
        self._period = context.settings.node_monitor_seconds
        self._nodes = context.informers.informer(NODES)
        self._together = asyncio.Semaphore(_TOGETHER)

    async def run(self) -> None:
        await tasks.run_all(monitor=self._monitor(), events=self._recorder.run())

    async def _monitor(self) -> None:
        await self._nodes.synced()
        while True:
            await self.look()
            await asyncio.sleep(self._period)

    async def look(self) -> None:
        """Once at every node."""
        wanted = [node for node in self._nodes.list() if not is_ready(node) or has_taint(node, SHUTDOWN)]
        await asyncio.gather(*(self._look_at(node) for node in wanted))

    async def _look_at(self, node: Obj) -> None:
        async with self._together:
            try:
                async with asyncio.timeout(CALL_SECONDS):
                    await self._judge(node)
            except (Conflict, NotFound):
                return  # it changed, or is gone: the next look sees
            except (CloudError, ApiError, TimeoutError) as error:
                log.warning("%s: node %s: %s", NAME, objects.name(node), error or "the cloud does not answer")

    async def _judge(self, node: Obj) -> None:
        name = objects.name(node)
        if is_ready(node):
            await self._taint(node, None)
            return
        machine = await self._instances.machine(ref_of(node))
        if machine is None:
            said = f"Deleting node {name} because it does not exist in the cloud provider"
            self._recorder.event(node, "Normal", "DeletingNode", said)
            await self._client.delete(NODES, name, uid=objects.uid(node))
        elif machine.shutdown and not has_taint(node, SHUTDOWN):
            taint = {"key": SHUTDOWN, "effect": "NoSchedule", "timeAdded": format_time(self._clock.now())}
            await self._taint(node, taint)

    async def _taint(self, node: Obj, taint: Obj | None) -> None:
        rest = taints_without(node, SHUTDOWN)
        patch = {
            "metadata": {"resourceVersion": objects.resource_version(node)},
            "spec": {"taints": [*rest, taint] if taint else rest or None},
        }
        await self._client.patch(NODES, objects.name(node), patch)
