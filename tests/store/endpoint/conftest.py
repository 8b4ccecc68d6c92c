"""An endpoint over a store of each kind, and a client of its calls that uses gRPC alone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from sampan.api.clock import FixedClock
from sampan.store.embedded import EmbeddedStore
from sampan.store.endpoint.serving import Endpoint
from sampan.store.etcd.methods import KEEP_ALIVE, METHODS, SNAPSHOT, WATCH
from sampan.store.etcd.pb import etcd_pb2 as pb
from sampan.store.memory import MemoryStore
from sampan.store.sqlite import SqliteStore

_PATHS = {path.rpartition("/")[2]: path for path in METHODS}


class Client:
    endpoint: Endpoint

    def __init__(self, port: int) -> None:
        self.port = port
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)])

    async def call(self, name: str, **fields: Any) -> Any:
        request, answer = METHODS[_PATHS[name]]
        stub = self._channel.unary_unary(_PATHS[name], request.SerializeToString, answer.FromString)
        return await stub(request(**fields), timeout=30)

    async def put(self, key: str, value: str = "", **fields: Any) -> int:
        answer = await self.call("Put", key=key.encode(), value=value.encode(), **fields)
        return int(answer.header.revision)

    async def get(self, key: str, **fields: Any) -> Any:
        return await self.call("Range", key=key.encode(), **fields)

    def watch(self) -> Any:
        call = self._channel.stream_stream(WATCH, pb.WatchRequest.SerializeToString, pb.WatchResponse.FromString)
        return Watching(call(timeout=60))

    async def keep_alive(self, ident: int) -> Any:
        call = self._channel.stream_stream(
            KEEP_ALIVE, pb.LeaseKeepAliveRequest.SerializeToString, pb.LeaseKeepAliveResponse.FromString
        )(timeout=30)
        await call.write(pb.LeaseKeepAliveRequest(ID=ident))
        answer = await call.read()
        await call.done_writing()
        return answer

    async def snapshot(self) -> tuple[bytes, list[int]]:
        call = self._channel.unary_stream(
            SNAPSHOT, pb.SnapshotRequest.SerializeToString, pb.SnapshotResponse.FromString
        )(pb.SnapshotRequest(), timeout=30)
        pieces = [piece async for piece in call]
        return b"".join(piece.blob for piece in pieces), [piece.remaining_bytes for piece in pieces]

    async def close(self) -> None:
        await self._channel.close()


class Watching:
    """One watch stream."""

    def __init__(self, call: Any) -> None:
        self._call = call

    async def create(self, key: str, end: str = "", **fields: Any) -> Any:
        request = pb.WatchCreateRequest(key=key.encode(), range_end=end.encode(), **fields)
        await self._call.write(pb.WatchRequest(create_request=request))
        return await self.read()

    async def cancel(self, ident: int) -> None:
        await self._call.write(pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=ident)))

    async def ask_progress(self) -> None:
        await self._call.write(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))

    async def read(self) -> Any:
        return await self._call.read()

    async def events(self, count: int) -> list[tuple[str, str, int]]:
        """The next ones: kind, key, revision."""
        found: list[tuple[str, str, int]] = []
        while len(found) < count:
            for event in (await self.read()).events:
                kind = "DELETE" if event.type == pb.Event.DELETE else "PUT"
                found.append((kind, event.kv.key.decode(), event.kv.mod_revision))
        return found


@pytest.fixture(params=["memory", "sqlite"])
async def served(request: pytest.FixtureRequest, tmp_path: Path, clock: FixedClock) -> AsyncIterator[EmbeddedStore]:
    opened: MemoryStore | SqliteStore
    if request.param == "memory":
        opened = MemoryStore(clock=clock)
    else:
        opened = await SqliteStore.open(tmp_path / "store", clock=clock)
    yield opened
    await opened.close()


@pytest.fixture
async def client(served: EmbeddedStore, tmp_path: Path) -> AsyncIterator[Client]:
    directory = tmp_path / "store" if isinstance(served, SqliteStore) else None
    endpoint = Endpoint(served, identity="test", directory=directory, random=random.Random(1), progress_seconds=0.05)
    before = asyncio.all_tasks()
    async with endpoint.listening("127.0.0.1:0") as port:
        made = Client(port)
        made.endpoint = endpoint
        yield made
        await made.close()
    endpoint.close()
    # gRPC's tasks for a call outlive the server's end by a moment: one that is cancelled with the loop is logged.
    if rest := asyncio.all_tasks() - before - {asyncio.current_task()}:
        await asyncio.wait(rest, timeout=10)
