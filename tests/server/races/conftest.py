"""API servers that share one store which lets others run at any point, asked in their own process."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import suite_samples

from sampan.api.clock import FixedClock
from sampan.api.transport import Call
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.store.protocol import Store
from sampan.store.sqlite import SqliteStore
from sampan.testing.yielding import LateStore, YieldingStore

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MERGE = "application/merge-patch+json"


class Cluster:
    """Calls go to any of the servers and raise ApiError."""

    def __init__(self, store: Any, servers: list[Server], rng: random.Random) -> None:
        self.store, self.servers, self._random = store, servers, rng
        self._transports = [server.local_transport() for server in servers]

    async def __call__(
        self, method: str, path: str, body: Any = None, *, content_type: str = "application/json", **query: str
    ) -> Any:
        transport = self._random.choice(self._transports)
        return await transport.call(Call(method, path, query=query, body=body, content_type=content_type))

    def reseed(self, seed: int) -> None:
        """The next round is another order of events; servers and their caches stay."""
        self._random.seed(seed)
        if isinstance(self.store, YieldingStore):
            self.store.reseed(seed)

    async def merge(self, path: str, body: Any, **query: str) -> Any:
        return await self("PATCH", path, body, content_type=MERGE, **query)


Start: TypeAlias = Callable[..., AbstractAsyncContextManager[Cluster]]


@asynccontextmanager
async def run(
    store: Store, seed: int = 0, *, servers: int = 2, rng: random.Random | None = None
) -> AsyncIterator[Cluster]:
    async with AsyncExitStack() as stack:
        running = []
        for index in range(servers):
            config = ServerConfig(
                listen=False,
                openapi=False,
                bootstrap=False,
                authorization_modes=("AlwaysAllow",),
                disable_admission_plugins=("ServiceAccount",),
                clock=FixedClock(NOW),
                random=rng or random.Random(seed + index),
            )
            running.append(await stack.enter_async_context(Server(config, store=store)))
        cluster = Cluster(store, running, random.Random(seed))
        await cluster("POST", "/api/v1/namespaces", {"metadata": {"name": "ns"}})
        yield cluster


@pytest.fixture
def start() -> Start:
    """``async with start(store, seed, servers=2) as cluster``."""
    return run


OpenStore: TypeAlias = Callable[[int], AbstractAsyncContextManager[Any]]


@pytest.fixture(params=["yielding", "late", "sqlite"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    """``async with open_store(seed) as store``."""

    @asynccontextmanager
    async def opened(seed: int) -> AsyncIterator[Any]:
        store: Any
        if request.param == "yielding":
            store = YieldingStore(seed)
        elif request.param == "late":
            store = LateStore(seed)
        else:
            store = await SqliteStore.open(tmp_path / f"store{seed}", clock=FixedClock(NOW))
        yield store
        await store.close()

    return opened


@pytest.fixture
def seeds(request: pytest.FixtureRequest) -> Callable[[int], range]:
    """``seeds(240)``: of so many a third (``SAMPAN_LONG=1``: all), a few on a store with a disk, where each takes
    longer."""

    def of(count: int) -> range:
        on_disk = "sqlite" in request.node.callspec.id
        return range(max(2, count // 20) if on_disk else suite_samples.of(count, count // 3))

    return of
