"""The cloud-node-controller: makes a new node one of the cloud's, and keeps its addresses and labels as the cloud says.

A node that was started for an external cloud has a taint that keeps pods away until its machine was found: then it gets
its provider ID, labels of its zone, region and type, and its addresses, and the taint goes.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from sampan.api import objects
from sampan.api.errors import ApiError, NotFound
from sampan.api.reading import part, parts
from sampan.api.resources import NODES
from sampan.api.types import Obj
from sampan.client import tasks
from sampan.client.controller import DONE, Controller, Result, observe
from sampan.client.keys import ObjectKey, key_of
from sampan.cloud.context import CALL_SECONDS, Context
from sampan.cloud.provider import CloudError, Instances, Machine
from sampan.cloud.reading import UNINITIALIZED, addresses_of, has_taint, initialized, labels_of, ref_of

log = logging.getLogger(__name__)

NAME: Final = "cloud-node-controller"
RETRY_SECONDS: Final = 5.0


class CloudNodeController:
    def __init__(self, context: Context, instances: Instances) -> None:
        self._client = context.client_for(NAME)
        self._recorder = context.recorder(self._client, NAME)
        self._instances = instances
        self._period = context.settings.node_status_seconds
        self._nodes = context.informers.informer(NODES)
        self._controller: Controller[ObjectKey] = Controller(NAME, self.sync, workers=3, sync_seconds=CALL_SECONDS)
        self._controller.watch(self._nodes, lambda node: [key_of(node)] if has_taint(node, UNINITIALIZED) else [])

    async def run(self) -> None:
        await tasks.run_all(
            controller=self._controller.run(), addresses=self._look_again(), events=self._recorder.run()
        )

    async def _look_again(self) -> None:
        """The cloud tells nothing of changes, so that it is asked from time to time."""
        while True:
            await asyncio.sleep(self._period)
            for node in self._nodes.list():
                self._controller.enqueue(key_of(node))

    async def sync(self, key: ObjectKey) -> Result:
        node = self._nodes.get(*key)
        if node is None or objects.is_deleting(node):
            return DONE
        new = has_taint(node, UNINITIALIZED)
        try:
            machine = await self._instances.machine(ref_of(node))
        except CloudError as error:
            log.warning("%s: node %s: %s", NAME, key.name, error)
            return Result(RETRY_SECONDS)
        if machine is None:
            if new:
                said = "failed to get instance metadata for node: instance not found"
                self._recorder.event(node, "Warning", "FailedToInitialize", said)
                return Result(RETRY_SECONDS)
            return DONE  # whether it is to go is the lifecycle controller's
        addresses = addresses_of(node, machine)
        if addresses is None:
            said = "failed to get node address from cloud provider that matches the address the node was given"
            self._recorder.event(node, "Warning", "FailedToInitialize", said)
            return Result(RETRY_SECONDS)
        try:
            await self._write(node, machine, addresses, new=new)
        except NotFound:
            return DONE
        return DONE

    async def _write(self, node: Obj, machine: Machine, addresses: list[Obj], *, new: bool) -> None:
        name = objects.name(node)
        # Addresses first: pods that come once the taint is gone find them.
        had = [dict(each) for each in parts(part(node, "status"), "addresses")]
        if addresses and had != addresses:
            patch = {"status": {"addresses": addresses}}
            node = await self._client.patch(NODES, name, patch, subresource="status")
        if new:
            written = await self._client.patch(NODES, name, initialized(node, machine))
            self._recorder.event(node, "Normal", "Synced", "Node synced successfully")
            await observe(self._nodes, written)
            return
        wanted, has = labels_of(machine), objects.labels(node)
        if any(has.get(label) != value for label, value in wanted.items()):
            try:
                await self._client.patch(NODES, name, {"metadata": {"labels": wanted}})
            except ApiError as error:
                log.warning("%s: labels of node %s: %s", NAME, name, error.message)
