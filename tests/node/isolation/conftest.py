"""A node agent on the real API server, with a simulated runtime and a machine in memory."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from sampan.api.clock import SystemClock
from sampan.api.errors import NotFound
from sampan.api.resources import EVENTS, NODES, PODS, SERVICE_ACCOUNTS
from sampan.api.types import Obj
from sampan.client.tasks import cancel_and_wait
from sampan.node.agent import NodeAgent
from sampan.node.config import NodeConfig
from sampan.node.devices.interface import ClaimsUnready, NoDevices
from sampan.node.host_memory import MemoryHost, hollow_machine
from sampan.node.simulated import SimulatedRuntime
from sampan.testing.api import Api

GRACE = {"terminationGracePeriodSeconds": 0}


class DriversToTell(NoDevices):
    """``unready``: what the drivers of the node say of a pod's claims; "": that they are prepared."""

    unready = ""

    async def prepare(self, pod: Obj) -> None:
        if self.unready:
            raise ClaimsUnready(self.unready)


class Node:
    """Stopped and started again it is another agent on the same machine."""

    def __init__(self, api: Api, tmp: Path) -> None:
        self.api = api
        self.client = api.client
        self.runtime = SimulatedRuntime(SystemClock())
        self.devices = DriversToTell()
        self.host = MemoryHost(hollow_machine("n1", cpus=4))
        self.config = NodeConfig(
            node_name="n1", addresses=("192.0.2.1",), root_dir=tmp / "node", log_dir=tmp / "logs", max_pods=20
        )
        self._task: asyncio.Task[None] | None = None
        self.agent: NodeAgent

    async def start(self) -> None:
        client = self.api.client_for_node("n1")
        self.agent = NodeAgent(
            self.config,
            client,
            self.runtime,
            SystemClock(),
            random.Random(1),
            host=self.host,
            make_devices=lambda holders, changed: self.devices,
        )
        started = asyncio.Event()
        self._task = asyncio.create_task(self.agent.run(started))
        waiter = asyncio.create_task(started.wait())
        await asyncio.wait({self._task, waiter}, return_when=asyncio.FIRST_COMPLETED)
        waiter.cancel()
        if self._task.done():
            self._task.result()

    async def stop(self) -> None:
        if self._task is not None:
            await cancel_and_wait(self._task)
            self._task = None

    async def add_pod(self, name: str, container: Any = None, **spec: Any) -> None:
        """Bound to the node past the scheduler."""
        labels = spec.pop("labels", {})
        pod = {
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {"name": name, "namespace": "default", "labels": labels},
            "spec": {
                "nodeName": "n1",
                "containers": [{"name": "main", "image": "demo:1", **(container or {})}],
                "automountServiceAccountToken": False,
                **GRACE,
                **spec,
            },
        }
        await self.client.create(PODS, pod)

    async def status(self, name: str) -> Obj:
        found: Obj = (await self.client.get(PODS, name, "default")).get("status") or {}
        return found

    async def until(self, name: str, condition: Callable[[Obj], Any]) -> Obj:
        """The pod's status when it meets the condition."""
        async with asyncio.timeout(20):
            while True:
                found = await self.status(name)
                if condition(found):
                    return found
                await asyncio.sleep(0.005)

    async def running(self, name: str) -> Obj:
        return await self.until(name, lambda status: status.get("phase") == "Running")

    async def failed(self, name: str) -> tuple[str, str]:
        status = await self.until(name, lambda status: status.get("phase") == "Failed")
        return status["reason"], status["message"]

    async def waiting(self, name: str, reason: str) -> str:
        """The message of the container's waiting state, once it has the reason."""

        def found(status: Obj) -> Any:
            return any(
                (item["state"].get("waiting") or {}).get("reason") == reason
                for item in status.get("containerStatuses") or ()
            )

        status = await self.until(name, found)
        return str(status["containerStatuses"][0]["state"]["waiting"]["message"])

    async def event(self, pod: str, reason: str) -> str:
        """The message of the pod's first event with the reason."""
        async with asyncio.timeout(20):
            while True:
                for item in (await self.client.list(EVENTS, "default"))["items"]:
                    if (item["involvedObject"]["name"], item["reason"]) == (pod, reason):
                        return str(item["message"])
                await asyncio.sleep(0.005)

    async def gone(self, name: str) -> None:
        async with asyncio.timeout(20):
            while True:
                try:
                    await self.client.get(PODS, name, "default")
                except NotFound:
                    return
                await asyncio.sleep(0.005)

    async def node_object(self) -> Obj:
        return await self.client.get(NODES, "n1")


@pytest.fixture
async def node(api: Api, tmp_path: Path) -> AsyncIterator[Node]:
    for name in ("default",):
        try:
            await api.client.get(SERVICE_ACCOUNTS, name, "default")
        except NotFound:
            await api.client.create(SERVICE_ACCOUNTS, {"metadata": {"name": name, "namespace": "default"}})
    made = Node(api, tmp_path)
    await made.start()
    yield made
    await made.stop()
    await made.runtime.close()
