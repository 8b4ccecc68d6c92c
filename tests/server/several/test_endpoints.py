"""The endpoints of the ``kubernetes`` Service are the API servers that live."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sampan.client.timeline import VirtualTimeline
from sampan.server.bootstrap.masterleases import sort_addresses
from sampan.testing import virtual
from sampan.testing.yielding import LateStore

from .several_servers import Member, several, start

ENDPOINTS = "/api/v1/namespaces/default/endpoints/kubernetes"
SLICE = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"


async def shown(member: Member) -> list[str]:
    """The addresses, which Endpoints and EndpointSlice agree on."""
    endpoints, piece = await member("GET", ENDPOINTS), await member("GET", SLICE)
    (subset,) = endpoints["subsets"]
    found = [each["ip"] for each in subset["addresses"]]
    assert [address for each in piece["endpoints"] for address in each["addresses"]] == found
    assert [port["port"] for port in subset["ports"]] == [port["port"] for port in piece["ports"]] == [6443]
    return found


def living(body: Callable[[list[Member]], Any], count: int = 3) -> None:
    async def run() -> None:
        clock = VirtualTimeline(datetime(2026, 1, 1, tzinfo=UTC))
        async with several(count, clock=clock) as members:
            await asyncio.sleep(1)
            await body(members)

    virtual.run(run())


def test_all_servers_are_in_it() -> None:
    async def body(members: list[Member]) -> None:
        for member in members:
            assert await shown(member) == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
        await asyncio.sleep(100)
        assert await shown(members[0]) == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]

    living(body)


def test_one_that_was_killed_is_gone_when_its_lease_has_run_out() -> None:
    async def body(members: list[Member]) -> None:
        members[1].way.cut = True
        await asyncio.sleep(16)
        assert await shown(members[0]) == ["192.0.2.1", "192.0.2.3"]
        members[1].way.cut = False  # it was only cut off
        await asyncio.sleep(11)
        assert await shown(members[0]) == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]

    living(body)


def test_one_that_ends_is_gone_at_once_and_one_that_starts_is_there_at_once() -> None:
    async def body(members: list[Member]) -> None:
        await members[0].end()
        assert await shown(members[1]) == ["192.0.2.2", "192.0.2.3"]
        clock = members[1].server.config.clock
        again = await start(members[0].way._store, 0, clock=clock)
        await asyncio.sleep(1)
        assert await shown(members[1]) == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]
        await again.end()

    living(body)


def test_an_idle_cluster_writes_leases_and_nothing_else() -> None:
    async def body(members: list[Member]) -> None:
        await asyncio.sleep(120)
        store = members[0].way._store
        before = store.revision
        await asyncio.sleep(60)
        changes = await store.changes("/", before, store.revision, 1000)
        assert {change.key for change in changes} == {f"/registry/masterleases/192.0.2.{n}" for n in (1, 2, 3)}
        assert len(changes) == 18

    living(body)


def test_what_somebody_writes_into_the_endpoints_is_set_right() -> None:
    async def body(members: list[Member]) -> None:
        wrong = {"subsets": [{"addresses": [{"ip": "192.0.2.66"}], "ports": [{"port": 1}]}]}
        await members[0]("PATCH", ENDPOINTS, wrong, content_type="application/merge-patch+json")
        await asyncio.sleep(10)
        assert await shown(members[1]) == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]

    living(body)


def test_addresses_are_ordered_as_numbers_and_what_is_none_is_left_out() -> None:
    assert sort_addresses(["192.0.2.10", "2001:db8::1", "192.0.2.9", "server-1"]) == (
        "192.0.2.9",
        "192.0.2.10",
        "2001:db8::1",
    )


def test_a_store_that_deletes_late_keeps_no_dead_server_in() -> None:
    class Forgetful(LateStore):
        """No entry ends."""

        async def commit(self, key: str, expected: int | None, value: bytes | None, **options: Any) -> int:
            return await super().commit(key, expected, value, note=options.get("note"))

    async def run() -> None:
        clock = VirtualTimeline(datetime(2026, 1, 1, tzinfo=UTC))
        async with several(3, store=Forgetful(0), clock=clock) as members:
            await asyncio.sleep(1)
            members[2].way.cut = True
            await asyncio.sleep(16)
            assert await shown(members[0]) == ["192.0.2.1", "192.0.2.2"]
            members[2].way.cut = False
            await asyncio.sleep(3)
            assert await shown(members[0]) == ["192.0.2.1", "192.0.2.2", "192.0.2.3"]

    virtual.run(run())
