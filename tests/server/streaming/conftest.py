"""A node API on loopback that speaks SPDY, a fake client connection, and a reader with one pod on that node."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from sampan.api.resources import Resource
from sampan.api.types import Obj
from sampan.server.request import Connection, Request, RequestInfo
from sampan.server.streaming.handlers import StreamingHandlers
from sampan.server.streaming.tls import NodeTls


class FakeReader:
    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Obj] = {}

    def put(self, resource: Resource, obj: Obj) -> None:
        meta = obj["metadata"]
        self.objects[resource.plural, meta.get("namespace", ""), meta["name"]] = obj

    def get(self, resource: Resource, namespace: str | None, name: str) -> Obj | None:
        return self.objects.get((resource.plural, namespace or "", name))

    async def fresh(self, resource: Resource, namespace: str | None, name: str) -> Obj | None:
        return self.get(resource, namespace, name)

    def list(self, resource: Resource, namespace: str | None = None) -> Iterable[Obj]:
        return [
            obj
            for (plural, own, _), obj in self.objects.items()
            if plural == resource.plural and namespace in (None, own)
        ]

    def subscribe(self, resource: Resource, callback: Any) -> Callable[[], None]:
        return lambda: None


@dataclass
class FakeClient:
    """Both ends of the client's hijacked connection: what the server sees, and what the test does."""

    to_server: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    from_server: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    closed: bool = False
    #: writing fails from now on, as it does for a client whose machine has answered with a reset
    gone: bool = False

    async def hijack(self, status: int, headers: Mapping[str, str]) -> Connection:
        self.status, self.headers = status, headers
        return self

    async def read(self, limit: int = 65536) -> bytes:
        return await self.to_server.get()

    async def write(self, data: bytes) -> None:
        if self.gone:
            raise ConnectionResetError
        self.from_server.put_nowait(data)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.from_server.put_nowait(b"")

    def abort(self) -> None:
        self.close()


NodeBehaviour = Callable[[str, Mapping[str, str], asyncio.StreamReader, asyncio.StreamWriter], Any]


class FakeNode:
    """Accepts connections, parses the request head, and lets ``behaviour`` do the rest."""

    def __init__(self) -> None:
        self.behaviour: NodeBehaviour | None = None
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.port = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
            self.requests.append((head[0], headers))
            assert self.behaviour is not None
            await self.behaviour(head[0], headers, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the server under test hung up: part of several tests
        finally:
            writer.close()


@pytest.fixture
async def node() -> AsyncIterator[FakeNode]:
    fake = FakeNode()
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
def reader(node: FakeNode) -> FakeReader:
    from sampan.api.resources import NODES, PODS

    fake = FakeReader()
    addresses = [{"type": "InternalIP", "address": "127.0.0.1"}]
    status = {"addresses": addresses, "daemonEndpoints": {"kubeletEndpoint": {"Port": node.port}}}
    fake.put(NODES, {"metadata": {"name": "n1"}, "status": status})
    spec = {"nodeName": "n1", "containers": [{"name": "a"}, {"name": "b"}]}
    fake.put(PODS, {"metadata": {"name": "p", "namespace": "ns"}, "spec": spec, "status": {"podIP": "127.0.0.1"}})
    return fake


@pytest.fixture
async def handlers(reader: FakeReader) -> AsyncIterator[StreamingHandlers]:
    made = StreamingHandlers(reader, NodeTls(None), random.Random(1), allow_loopback=True)
    yield made
    await made.close()


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
def make_request(client: FakeClient) -> Callable[..., Request]:
    def make(subresource: str, raw_query: str = "", headers: Mapping[str, str] | None = None, **info: Any) -> Request:
        from urllib.parse import parse_qs

        lists = parse_qs(raw_query, keep_blank_values=True)
        resource = info.pop("resource", "pods")
        name = info.pop("name", "p")
        path = info.pop("path", f"/api/v1/namespaces/ns/{resource}/{name}/{subresource}")
        return Request(
            info.pop("method", "GET"),
            path,
            {key: values[0] for key, values in lists.items()},
            dict(headers or {}),
            query_lists=lists,
            raw_query=raw_query,
            remote_address="192.0.2.7",
            info=RequestInfo(
                True, "get", path, "", "v1", resource, subresource, "" if resource == "nodes" else "ns", name
            ),
            hijack=client.hijack,
        )

    return make
