"""A server that dies after any commit leaves no number in two hands, and what it left over is free again in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sampan.api.errors import ApiError
from sampan.server.allocators.repair import GRACE_SECONDS, INTERVAL_SECONDS
from sampan.store.memory import MemoryStore
from sampan.store.protocol import StoreUnavailable


class DyingStore(MemoryStore):
    """Makes ``left`` more commits and then none: what a process that was killed has written."""

    left: int | None = None

    async def commit(self, *arguments: Any, **options: Any) -> int:
        if self.left == 0:
            raise StoreUnavailable("the process is gone")
        if self.left is not None:
            self.left -= 1
        return await super().commit(*arguments, **options)

    async def close(self) -> None:
        """It outlives its servers."""


PORTS = [{"name": "a", "port": 80, "nodePort": 30001}, {"name": "b", "port": 81}]


async def created(cluster: Any) -> None:
    await cluster.create("s", type="LoadBalancer", externalTrafficPolicy="Local", clusterIP="10.96.0.9", ports=PORTS)


async def replaced(cluster: Any) -> None:
    await cluster.create("s", type="NodePort", clusterIP="10.96.0.9", ports=PORTS)
    await cluster.delete("s")
    await cluster.create("t", type="NodePort", clusterIP="10.96.0.9", ports=PORTS)


async def changed(cluster: Any) -> None:
    await cluster.create("s", type="NodePort", clusterIP="10.96.0.9", ports=PORTS)
    await cluster.patch("s", type="ExternalName", externalName="x.example", clusterIP=None)
    await cluster.patch("s", type="NodePort", externalName=None, ports=[{"port": 80}])


@pytest.mark.timeout(20)
@pytest.mark.parametrize("steps", [created, replaced, changed])
def test_a_crash_after_any_commit_heals(
    start: Any, virtual: Any, doubles: Callable[..., list[str]], steps: Callable[[Any], Awaitable[None]]
) -> None:
    async def run(commits: int) -> bool:
        """Whether all that should be done was done."""
        store = DyingStore()
        faults = doubles(store)
        async with start(store) as cluster:
            store.left, done = commits, True
            try:
                await steps(cluster)
            except ApiError:
                done = False
        store.left = None
        async with start(store) as again:
            await again.create("another", type="NodePort")
            await asyncio.sleep(2 * INTERVAL_SECONDS + GRACE_SECONDS)
            assert await again.records() == await again.held()
            assert not faults
        return done

    commits = 0
    while not virtual(run(commits)):
        commits += 1
    assert commits > 3
