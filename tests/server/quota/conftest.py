"""An API server and the quota controller over it, in one process; and short-hands for quotas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from sampan.client.client import Client
from sampan.client.informer import InformerFactory
from sampan.controllers.context import Context, ControllersConfig
from sampan.controllers.resourcequota.controller import ResourceQuotaController
from sampan.controllers.volumeprotection.controller import ClaimProtectionController
from sampan.server.app import Server

NAMESPACE = "/api/v1/namespaces/default"
QUOTAS = f"{NAMESPACE}/resourcequotas"
TURNS = 20_000


@asynccontextmanager
async def counting(server: Server) -> AsyncIterator[None]:
    """The controller works meanwhile."""
    client = Client(server.local_transport())
    informers = InformerFactory(client, random=Random(1))
    config = server.config
    context = Context(informers, lambda name: client, config.clock, Random(1), ControllersConfig())
    # Claims go when their finalizer is taken away.
    controllers = (ResourceQuotaController(context), ClaimProtectionController(context))
    work = [asyncio.ensure_future(each.run()) for each in (informers, *controllers)]
    try:
        yield
    finally:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)


class Quotas:
    def __init__(self, api: Any) -> None:
        self.api = api

    async def make(self, name: str, hard: dict[str, str], **spec: Any) -> Any:
        """The quota, once its status has been worked out."""
        made = await self.api("POST", QUOTAS, {"metadata": {"name": name}, "spec": {"hard": hard, **spec}})
        assert made.status == 201, made.obj
        await self.until(name, lambda status: status.get("hard") == made.obj["spec"]["hard"] and "used" in status)
        return made

    async def used(self, name: str) -> dict[str, str]:
        found: dict[str, str] = (await self.api("GET", f"{QUOTAS}/{name}")).obj["status"]["used"]
        return found

    async def until(self, name: str, holds: Callable[[dict[str, Any]], bool]) -> None:
        status: dict[str, Any] = {}
        for _ in range(TURNS):
            status = (await self.api("GET", f"{QUOTAS}/{name}")).obj.get("status") or {}
            if holds(status):
                return
            await asyncio.sleep(0)
        raise AssertionError(f"the status of {name} stays {status}")

    async def until_used(self, name: str, **used: str) -> None:
        wanted = {key.replace("_", "."): value for key, value in used.items()}
        await self.until(name, lambda status: wanted.items() <= (status.get("used") or {}).items())


@pytest.fixture
async def quotas(api: Any) -> AsyncIterator[Quotas]:
    async with counting(api.server):
        yield Quotas(api)


@pytest.fixture
def running_controller() -> Callable[[Server], Any]:
    return counting


@pytest.fixture
def until() -> Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]:
    async def wait(condition: Callable[[], Awaitable[bool]]) -> None:
        for _ in range(TURNS):
            if await condition():
                return
            await asyncio.sleep(0)
        raise AssertionError("the condition never held")

    return wait
