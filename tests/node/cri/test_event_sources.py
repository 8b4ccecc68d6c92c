"""How the end of a container becomes known, from each kind of runtime: a small real gRPC server stands for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from sampan.node import runtime
from sampan.node.cri import sources
from sampan.node.cri.client import CriRuntime
from sampan.node.cri.pb import cri_pb2, events_pb2

Handlers = dict[str, grpc.RpcMethodHandler]


class FakeCri:
    """Containers ``c…`` and sandboxes ``s…`` by state; the streams that its kind of runtime has."""

    def __init__(self, name: str, *, streams: bool) -> None:
        self.name = name
        self.streams = streams
        self.alive: dict[str, bool] = {"c1": True, "c2": True, "s1": True}
        #: answers to status calls that still tell the old state, as a runtime does at first
        self.late = 0
        self.listeners: list[asyncio.Queue[Any]] = []
        self.subscribed = asyncio.Event()

    def end(self, ended: str) -> None:
        self.alive[ended] = False
        for listener in self.listeners:
            listener.put_nowait(self._told(ended))

    def _told(self, ended: str) -> Any:
        if self.name != "containerd":
            stopped = cri_pb2.CONTAINER_STOPPED_EVENT
            return cri_pb2.ContainerEventResponse(container_id=ended, container_event_type=stopped)
        envelope = events_pb2.Envelope(topic="/tasks/exit", namespace="k8s.io")
        envelope.event.value = events_pb2.TaskExit(container_id=ended, id=ended).SerializeToString()
        return envelope

    async def _follow(self, request: Any, context: Any) -> AsyncIterator[Any]:
        queue: asyncio.Queue[Any] = asyncio.Queue()
        self.listeners.append(queue)
        self.subscribed.set()
        try:
            while (told := await queue.get()) is not None:
                yield told
        finally:
            self.listeners.remove(queue)

    def break_off(self) -> None:
        self.subscribed.clear()
        for listener in self.listeners:
            listener.put_nowait(None)

    async def _version(self, request: Any, context: Any) -> Any:
        return cri_pb2.VersionResponse(runtime_name=self.name, runtime_version="1")

    async def _container(self, request: Any, context: Any) -> Any:
        state = await self._state(request.container_id, "c", context)
        ids = {True: cri_pb2.CONTAINER_RUNNING, False: cri_pb2.CONTAINER_EXITED}
        return cri_pb2.ContainerStatusResponse(
            status=cri_pb2.ContainerStatus(id=request.container_id, state=ids[state])
        )

    async def _sandbox(self, request: Any, context: Any) -> Any:
        state = await self._state(request.pod_sandbox_id, "s", context)
        ids = {True: cri_pb2.SANDBOX_READY, False: cri_pb2.SANDBOX_NOTREADY}
        return cri_pb2.PodSandboxStatusResponse(
            status=cri_pb2.PodSandboxStatus(id=request.pod_sandbox_id, state=ids[state])
        )

    async def _state(self, wanted: str, kind: str, context: Any) -> bool:
        if not wanted.startswith(kind) or wanted not in self.alive:
            await context.abort(grpc.StatusCode.NOT_FOUND, "not found")
        if self.late:
            self.late -= 1
            return True
        return self.alive[wanted]

    async def _containers(self, request: Any, context: Any) -> Any:
        ids = {True: cri_pb2.CONTAINER_RUNNING, False: cri_pb2.CONTAINER_EXITED}
        found = [cri_pb2.Container(id=key, state=ids[lives]) for key, lives in self.alive.items() if key[0] == "c"]
        self.subscribed.set()
        return cri_pb2.ListContainersResponse(containers=found)

    async def _sandboxes(self, request: Any, context: Any) -> Any:
        ids = {True: cri_pb2.SANDBOX_READY, False: cri_pb2.SANDBOX_NOTREADY}
        found = [cri_pb2.PodSandbox(id=key, state=ids[lives]) for key, lives in self.alive.items() if key[0] == "s"]
        return cri_pb2.ListPodSandboxResponse(items=found)

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        def unary(call: Callable[..., Any], request: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(
                call, request.FromString, lambda answer: answer.SerializeToString()
            )

        def stream(request: Any) -> Any:
            return grpc.unary_stream_rpc_method_handler(
                self._follow, request.FromString, lambda answer: answer.SerializeToString()
            )

        cri: dict[str, Any] = {
            "Version": unary(self._version, cri_pb2.VersionRequest),
            "ContainerStatus": unary(self._container, cri_pb2.ContainerStatusRequest),
            "PodSandboxStatus": unary(self._sandbox, cri_pb2.PodSandboxStatusRequest),
            "ListContainers": unary(self._containers, cri_pb2.ListContainersRequest),
            "ListPodSandbox": unary(self._sandboxes, cri_pb2.ListPodSandboxRequest),
        }
        own: dict[str, Any] = {}
        if self.streams and self.name == "containerd":
            own["Subscribe"] = stream(events_pb2.SubscribeRequest)
        elif self.streams:
            cri["GetContainerEvents"] = stream(cri_pb2.GetEventsRequest)
        return [
            grpc.method_handlers_generic_handler("runtime.v1.RuntimeService", cri),
            grpc.method_handlers_generic_handler("containerd.services.events.v1.Events", own),
        ]


KINDS = {
    "containerd by its event service": ("containerd", True),
    "CRI-O by CRI's stream": ("cri-o", True),
    "a runtime that tells nothing": ("other", False),
    "a containerd without its event service": ("containerd", False),
}


@pytest.fixture(params=list(KINDS))
async def cri(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    monkeypatch.setattr(sources, "RELIST_SECONDS", 0.02)
    name, streams = KINDS[request.param]
    made = FakeCri(name, streams=streams)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(tuple(made.handlers()))
    server.add_insecure_port(f"unix://{tmp_path}/s")
    await server.start()
    client = CriRuntime(str(tmp_path / "s"))
    try:
        yield made, client
    finally:
        await client.close()
        made.break_off()
        await server.stop(None)


async def connected(made: FakeCri, events: Any) -> None:
    assert (await anext(events)).type == "lost"
    await made.subscribed.wait()


async def next_end(events: Any) -> str:
    async for event in events:
        if event.type == "exit":
            return str(event.container_id)
    raise AssertionError("the events ended")


async def test_the_end_of_a_container_is_told_when_the_status_says_so(cri: Any) -> None:
    made, client = cri
    async with aclosing(client.events()) as events:
        await connected(made, events)
        made.late = 3
        made.end("c1")
        assert await next_end(events) == "c1"
        assert (await client.container_status("c1")).state == "exited"


async def test_the_death_of_a_sandbox_is_told_when_the_status_says_so(cri: Any) -> None:
    made, client = cri
    async with aclosing(client.events()) as events:
        await connected(made, events)
        made.late = 3
        made.end("s1")
        assert await next_end(events) == "s1"
        assert not (await client.sandbox_status("s1")).ready


async def test_a_container_that_is_gone_altogether_has_ended(cri: Any) -> None:
    made, client = cri
    async with aclosing(client.events()) as events:
        await connected(made, events)
        made.end("c2")
        del made.alive["c2"]
        assert await next_end(events) == "c2"
        with pytest.raises(runtime.RuntimeNotFound):
            await client.container_status("c2")


async def test_a_stream_that_breaks_is_followed_again_and_says_so(cri: Any) -> None:
    made, client = cri
    if not made.streams:
        pytest.skip("this one has no stream")
    async with aclosing(client.events()) as events:
        await connected(made, events)
        made.break_off()
        assert (await anext(events)).type == "lost"
        await made.subscribed.wait()
        made.end("c1")
        assert await next_end(events) == "c1"
