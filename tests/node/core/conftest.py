"""A small API server in memory, behind the client's transport, and a node agent on a simulated runtime."""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sampan.api.errors import AlreadyExists, Conflict, NotFound
from sampan.api.transport import Call, WatchEvent
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.timeline import VirtualTimeline
from sampan.node.agent import NodeAgent
from sampan.node.config import NodeConfig
from sampan.node.host_memory import MemoryHost, hollow_machine
from sampan.node.shutdown import Request
from sampan.node.simulated import SimulatedRuntime
from sampan.node.simulated_volumes import SimulatedVolumes
from sampan.testing.virtual import VirtualLoop


def merge(target: Obj, patch: Obj) -> None:
    """Strategic enough for pod status: conditions by type, addresses by ip."""
    keys = {"conditions": "type", "podIPs": "ip", "hostIPs": "ip"}
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        elif isinstance(value, dict) and isinstance(target.get(name), dict) and name in ("status", "metadata", "spec"):
            merge(target[name], value)
        elif name in keys and isinstance(value, list):
            present = {item[keys[name]]: item for item in target.get(name) or ()}
            for item in value:
                if item.get("$patch") == "delete":
                    present.pop(item[keys[name]], None)
                else:
                    merged = {**present.get(item[keys[name]], {}), **item}
                    present[item[keys[name]]] = {key: each for key, each in merged.items() if each is not None}
            target[name] = list(present.values())
        else:
            target[name] = value


class FakeApi:
    """Atomic, with resourceVersions, uids and watches; graceful deletion of pods as the API server does it."""

    def __init__(self) -> None:
        self.objects: dict[str, Obj] = {}
        self.revision = 0
        self.watchers: list[tuple[str, asyncio.Queue[WatchEvent]]] = []
        self.calls: list[Call] = []

    def cache_view(self, resource: Any) -> None:
        return None

    async def close(self) -> None: ...

    async def call(self, call: Call) -> Any:
        await asyncio.sleep(0)
        self.calls.append(call)
        path = call.path.removesuffix("/status")
        if call.method == "POST":
            return self.create(path, copy.deepcopy(call.body))
        collection = path.rpartition("/")[2] in ("pods", "services", "configmaps", "secrets", "nodes")
        if call.method == "GET" and path not in self.objects and collection:
            return {"items": self.list(path, call.query), "metadata": {"resourceVersion": str(self.revision)}}
        obj = self.objects.get(path)
        if obj is None:
            raise NotFound(f"{path} not found")
        if call.method == "GET":
            return obj
        if call.method == "DELETE":
            return self.delete(path, call.body)
        new = copy.deepcopy(obj)
        if call.method == "PUT":
            new = copy.deepcopy(call.body)
        else:
            uid = call.body.get("metadata", {}).get("uid")
            if uid and uid != obj["metadata"]["uid"]:
                raise Conflict("uid")
            merge(new, call.body)
        return self.store(path, new, "MODIFIED")

    def create(self, collection: str, obj: Obj) -> Obj:
        meta = obj["metadata"]
        path = f"{collection}/{meta['name']}"
        if path in self.objects:
            raise AlreadyExists(path)
        self.revision += 1
        meta.setdefault("uid", f"uid-{self.revision}")
        return self.store(path, obj, "ADDED")

    def store(self, path: str, obj: Obj, kind: Any) -> Obj:
        self.revision += 1
        obj["metadata"]["resourceVersion"] = str(self.revision)
        self.objects[path] = obj
        self._tell(kind, path, obj)
        return obj

    def delete(self, path: str, options: Obj | None = None) -> Obj:
        obj = copy.deepcopy(self.objects[path])
        grace = (options or {}).get("gracePeriodSeconds")
        uid = ((options or {}).get("preconditions") or {}).get("uid")
        if uid and uid != obj["metadata"]["uid"]:
            raise Conflict("uid")
        if grace is None:
            grace = obj.get("spec", {}).get("terminationGracePeriodSeconds", 30)
        if "/pods/" in path and grace > 0:
            obj["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": grace}
            return self.store(path, obj, "MODIFIED")
        obj["metadata"]["deletionGracePeriodSeconds"] = grace
        if obj["metadata"].get("finalizers"):
            return self.store(path, obj, "MODIFIED")
        del self.objects[path]
        self.revision += 1
        obj["metadata"]["resourceVersion"] = str(self.revision)
        self._tell("DELETED", path, obj)
        return obj

    def list(self, collection: str, query: Any) -> list[Obj]:
        plural = collection.rpartition("/")[2]
        selector = query.get("fieldSelector", "")
        found = [obj for path, obj in self.objects.items() if path.rpartition("/")[0].endswith(plural)]
        if selector.startswith("metadata.name="):
            found = [obj for obj in found if obj["metadata"]["name"] == selector.partition("=")[2]]
        return found

    def _tell(self, kind: Any, path: str, obj: Obj) -> None:
        for collection, queue in self.watchers:
            if path.rpartition("/")[0].endswith(collection.rpartition("/")[2]):
                queue.put_nowait(WatchEvent(kind, copy.deepcopy(obj)))

    @asynccontextmanager
    async def watch(self, call: Call) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        queue: asyncio.Queue[WatchEvent] = asyncio.Queue()
        entry = (call.path, queue)
        self.watchers.append(entry)

        async def follow() -> AsyncIterator[WatchEvent]:
            while True:
                yield await queue.get()

        try:
            yield follow()
        finally:
            self.watchers.remove(entry)

    # For tests.

    def add_pod(self, name: str, **spec: Any) -> str:
        containers = spec.pop("containers", [{"name": "main", "image": "demo:1"}])
        pod = {
            "kind": "Pod", "apiVersion": "v1",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": "n1", "restartPolicy": "Always", "containers": containers, **spec},
            "status": {"phase": "Pending"},
        }  # fmt: skip
        self.create("/api/v1/namespaces/default/pods", pod)
        return f"/api/v1/namespaces/default/pods/{name}"

    def status(self, path: str) -> Obj:
        found: Obj = self.objects[path].get("status") or {}
        return found

    def condition(self, path: str, kind: str) -> str:
        conditions = {item["type"]: item["status"] for item in self.status(path).get("conditions") or ()}
        return str(conditions.get(kind, ""))

    def reasons(self) -> list[str]:
        return [obj["reason"] for path, obj in self.objects.items() if "/events/" in path]

    def messages(self) -> list[str]:
        return [obj["message"] for path, obj in self.objects.items() if "/events/" in path]

    async def until(self, condition: Callable[[], bool], seconds: float = 1000) -> None:
        async with asyncio.timeout(seconds):
            while not self._holds(condition):  # noqa: ASYNC110 -- any of many things may change it
                await asyncio.sleep(0.01)

    @staticmethod
    def _holds(condition: Callable[[], bool]) -> bool:
        """What is not told yet does not hold."""
        try:
            return condition()
        except LookupError:
            return False


class World:
    """One API, one runtime, and an agent that can be stopped and started again, in virtual time."""

    def __init__(self) -> None:
        self.api = FakeApi()
        self.clock = VirtualTimeline(datetime(2026, 1, 1, tzinfo=UTC))
        self.runtime = SimulatedRuntime(self.clock)
        #: what agents are given for it
        self.source: Any = self.runtime
        self.host = MemoryHost(hollow_machine("n1"))
        self.config = NodeConfig(
            node_name="n1", addresses=("192.0.2.1",), root_dir=Path("/node"), log_dir=Path("/logs"), cgroup_root=""
        )
        self.shutdown = Request()
        self.agent: NodeAgent
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self.agent = NodeAgent(
            self.config, Client(self.api), self.source, self.clock, random.Random(1),
            host=self.host, make_volumes=SimulatedVolumes,
            shutdown=self.shutdown,
        )  # fmt: skip
        started = asyncio.Event()
        self._task = asyncio.create_task(self.agent.run(started))
        waiter = asyncio.create_task(started.wait())
        await asyncio.wait({self._task, waiter}, return_when=asyncio.FIRST_COMPLETED, timeout=15)
        waiter.cancel()
        if self._task.done():
            self._task.result()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def running(self, name: str = "main") -> list[str]:
        return [
            entry.container.id
            for entry in self.runtime._containers.values()
            if entry.container.name == name and entry.container.state == "running"
        ]


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """A world lives in virtual time; other tests have sockets."""
    made = {"world", "new_world"} & set(getattr(item, "fixturenames", ()))
    return {"virtual": VirtualLoop} if made else {"real": asyncio.new_event_loop}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    await made.start()
    yield made
    await made.stop()
    await made.runtime.close()


@pytest.fixture
def new_world() -> type[World]:
    return World
