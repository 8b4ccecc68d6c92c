"""Servers that share one store, asked in their own process, and what must hold of it whenever a Service is stored."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from sampan.api.clock import FixedClock
from sampan.api.transport import Call
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.store.memory import MemoryStore
from sampan.store.protocol import Change, Store

ADDRESSES = "/registry/networking.k8s.io/ipaddresses/"
PORTS = "/ranges/servicenodeports/"
SERVICES = "/registry/core/services/"
CORE = "/api/v1/namespaces/ns"


class Cluster:
    """``servers`` API servers on one store, each with its own caches. Calls raise ApiError."""

    def __init__(self, store: Store, servers: list[Server]) -> None:
        self.store, self.servers = store, servers
        self.transports = [server.local_transport() for server in servers]

    async def __call__(self, method: str, path: str, body: Any = None, *, server: int = 0, **query: str) -> Any:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        return await self.transports[server].call(Call(method, path, query=query, body=body, content_type=kind))

    async def create(self, name: str, *, server: int = 0, dry_run: bool = False, **spec: Any) -> Any:
        query = {"dryRun": "All"} if dry_run else {}
        return await self("POST", f"{CORE}/services", service(name, **spec), server=server, **query)

    async def patch(self, name: str, *, server: int = 0, **spec: Any) -> Any:
        return await self("PATCH", f"{CORE}/services/{name}", {"spec": spec}, server=server)

    async def delete(self, name: str, *, server: int = 0) -> Any:
        return await self("DELETE", f"{CORE}/services/{name}", server=server)

    async def values(self, prefix: str) -> dict[str, Any]:
        found = await self.store.range(prefix)
        return {entry.key.removeprefix(prefix): orjson.loads(entry.value) for entry in found.entries}

    async def records(self) -> tuple[dict[str, str], dict[str, str]]:
        """Who has each address and each port, as the records say."""
        addresses = {name: obj["spec"]["parentRef"]["name"] for name, obj in (await self.values(ADDRESSES)).items()}
        return addresses, {name: obj["service"]["name"] for name, obj in (await self.values(PORTS)).items()}

    async def held(self) -> tuple[dict[str, str], dict[str, str]]:
        """The same, as the Services say."""
        addresses: dict[str, str] = {}
        ports: dict[str, str] = {}
        for key, obj in (await self.values(SERVICES)).items():
            addresses |= dict.fromkeys(addresses_of(obj), key.split("/")[1])
            ports |= dict.fromkeys(ports_of(obj), key.split("/")[1])
        return addresses, ports

    async def settled(self) -> None:
        """Returns once no write is under way: some go on when their request is gone."""
        while writes := [task for task in asyncio.all_tasks() if task.get_name() == "write"]:
            await asyncio.wait(writes)


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"type": "ClusterIP", "ports": [{"port": 80}], **spec}}


def addresses_of(obj: Any) -> list[str]:
    return [address for address in obj["spec"].get("clusterIPs") or () if address != "None"]


def ports_of(obj: Any) -> list[str]:
    found = [port.get("nodePort") for port in obj["spec"].get("ports") or ()]
    return [str(port) for port in (*found, obj["spec"].get("healthCheckNodePort")) if port]


def watch_for_doubles(store: Store) -> list[str]:
    """A list that grows when a Service is stored with a number that another stored Service has."""
    faults: list[str] = []
    holders: dict[str, str] = {}

    def look(change: Change) -> None:
        for number in [number for number, holder in holders.items() if holder == change.key]:
            del holders[number]
        if change.entry is None:
            return
        obj = orjson.loads(change.entry.value)
        for number in {*addresses_of(obj), *ports_of(obj)}:
            other = holders.setdefault(number, change.key)
            if other != change.key:
                faults.append(f"{number} is of {other} and of {change.key} at revision {change.revision}")

    store.add_listener(SERVICES, look)
    return faults


@pytest.fixture
def doubles() -> Callable[[Store], list[str]]:
    return watch_for_doubles


Start = Callable[..., AbstractAsyncContextManager[Cluster]]


@pytest.fixture
def start() -> Start:
    """``async with start(store, servers=2, cidr=..., ports=...) as cluster``."""

    @asynccontextmanager
    async def run(
        store: Store | None = None,
        *,
        servers: int = 1,
        cidr: str = "10.96.0.0/16",
        ports: tuple[int, int] = (30000, 32767),
        seed: int = 3,
        rng: random.Random | None = None,
    ) -> AsyncIterator[Cluster]:
        shared = store or MemoryStore()
        running: list[Server] = []
        try:
            for index in range(servers):
                config = ServerConfig(
                    listen=False,
                    openapi=False,
                    bootstrap=False,
                    authorization_modes=("AlwaysAllow",),
                    service_cidr=cidr,
                    node_port_range=ports,
                    clock=FixedClock(datetime(2026, 1, 1, tzinfo=UTC)),
                    random=rng or random.Random(seed + index),
                )
                running.append(await Server(config, store=shared).__aenter__())
            made = Cluster(shared, running)
            if "ns" not in await made.values("/registry/core/namespaces/"):
                await made("POST", "/api/v1/namespaces", {"metadata": {"name": "ns"}})
            yield made
        finally:
            for server in reversed(running):
                await server.__aexit__(None, None, None)

    return run


@pytest.fixture
async def cluster(start: Start) -> AsyncIterator[Cluster]:
    async with start() as made:
        yield made
