"""API servers that share one store, each with a way to it of its own that can be cut."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sampan.api.clock import Clock
from sampan.api.transport import Call
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.store.protocol import Change, Entry, Listener, Missed, Range, StoreUnavailable
from sampan.testing.yielding import LateStore


class Way:
    """``Store`` of one server. ``cut``: it reaches nothing any more, and is told nothing. Between ``hold`` and
    ``release`` it is told of nothing yet, as by a watch that lags."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.cut = False
        self._released = asyncio.Event()
        self._released.set()
        self._untold: list[tuple[Listener, Change]] = []
        #: how often it was asked for all that was committed
        self.syncs = 0

    def hold(self) -> None:
        self._released.clear()

    def release(self) -> None:
        untold, self._untold = self._untold, []
        for listener, change in untold:
            listener(change)
        self._released.set()

    def _reached(self) -> Any:
        if self.cut:
            raise StoreUnavailable("this server is cut off")
        return self._store

    @property
    def revision(self) -> int:
        return int(self._store.revision)

    @property
    def oldest(self) -> int:
        return int(self._store.oldest)

    async def get(self, key: str, revision: int | None = None) -> Entry | None:
        return await self._reached().get(key, revision)  # type: ignore[no-any-return]

    async def range(self, prefix: str, **options: Any) -> Range:
        return await self._reached().range(prefix, **options)  # type: ignore[no-any-return]

    async def commit(self, key: str, expected: int | None, value: bytes | None, **options: Any) -> int:
        return await self._reached().commit(key, expected, value, **options)  # type: ignore[no-any-return]

    async def changes(self, prefix: str, after: int, until: int, limit: int) -> Sequence[Change]:
        return await self._reached().changes(prefix, after, until, limit)  # type: ignore[no-any-return]

    def add_listener(self, prefix: str, listener: Listener, missed: Missed | None = None) -> Callable[[], None]:
        def tell(change: Change) -> None:
            if self.cut:
                return
            if self._released.is_set():
                listener(change)
            else:
                self._untold.append((listener, change))

        return self._store.add_listener(prefix, tell, missed)  # type: ignore[no-any-return]

    def sync_now(self) -> int | None:
        return None

    async def sync(self) -> int:
        self.syncs += 1
        revision = int(await self._reached().sync())
        await self._released.wait()
        return revision

    async def limit_life(self, prefix: str, ttl_seconds: float) -> None:
        await self._reached().limit_life(prefix, ttl_seconds)

    async def compact(self, revision: int) -> None:
        await self._reached().compact(revision)

    async def shrink(self) -> None:
        await self._reached().shrink()

    async def close(self) -> None:
        """The store outlives each of its servers."""


@dataclass
class Member:
    """``server`` with its way to the store; a call raises ApiError."""

    server: Server
    way: Way

    async def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        user: str = "system:apiserver",
        content_type: str = "application/json",
        **query: str,
    ) -> Any:
        transport = self.server.local_transport(user)
        return await transport.call(Call(method, path, query=query, body=body, content_type=content_type))

    async def end(self) -> None:
        """As a server that is told to stop."""
        await self.server.__aexit__(None, None, None)


def address(index: int) -> str:
    return f"192.0.2.{index + 1}"


async def start(store: Any, index: int, *, clock: Clock | None = None, **config: Any) -> Member:
    way = Way(store)
    settings: dict[str, Any] = {"listen": False, "openapi": False, "advertise_address": address(index)}
    settings |= {"random": random.Random(index), **config}
    if clock is not None:
        settings["clock"] = clock
    server = Server(ServerConfig(**settings), store=way)
    await server.__aenter__()
    return Member(server, way)


@asynccontextmanager
async def several(
    count: int, *, store: Any = None, seed: int = 0, clock: Clock | None = None, **config: Any
) -> AsyncIterator[list[Member]]:
    """So many on a store that tells its listeners late; those that ended already are left alone."""
    store = store or LateStore(seed)
    async with AsyncExitStack() as stack:
        members = []
        for index in range(count):
            member = await start(store, index, clock=clock, **config)
            stack.push_async_callback(member.end)
            members.append(member)
        yield members
