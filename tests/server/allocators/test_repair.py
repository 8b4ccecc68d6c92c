"""Records and Services that fell apart come together again: missing records at once, leftovers after a grace."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sampan.api.errors import Invalid
from sampan.server.allocators.records import Owner, Record
from sampan.server.allocators.repair import GRACE_SECONDS, INTERVAL_SECONDS, Finding, plan_repair
from sampan.server.allocators.reports import MOST_EVENTS, reason_and_message
from sampan.store.memory import MemoryStore

A, B = Owner("ns", "a"), Owner("ns", "b")
ADDRESSES, SERVICES = "/registry/networking.k8s.io/ipaddresses/", "/registry/core/services/"
PORTS = "/ranges/servicenodeports/"


def plan(claims: dict[str, list[Owner]], records: list[Record], now: float = 0.0, **options: Any) -> Any:
    return plan_repair(
        claims,
        {record.name: record for record in records},
        options.get("unreadable", ()),
        options.get("suspects", {}),
        now,
        in_range=lambda name: name != "outside",
        reserved=lambda name: name == "first",
    )


def test_what_fits_is_left_alone() -> None:
    found = plan({"1": [A]}, [Record("1", A, 5), Record("first", None, 6)])
    assert not (found.missing or found.wrong or found.leaked or found.findings or found.suspects)


def test_a_service_without_its_record_gets_it_at_once() -> None:
    found = plan({"1": [A]}, [])
    assert found.missing == [("1", A)]
    assert found.findings == [Finding("missing", "1", A)]


def test_a_number_outside_of_every_range_is_told_but_not_given() -> None:
    found = plan({"outside": [A]}, [])
    assert (found.missing, found.findings) == ([], [Finding("out of range", "outside", A)])


def test_of_two_services_with_one_number_the_record_says_whose_it_is_and_else_the_older() -> None:
    assert plan({"1": [A, B]}, [Record("1", B, 5)]).findings == [Finding("clashing", "1", A)]
    found = plan({"1": [A, B]}, [])
    assert found.missing == [("1", A)]
    assert Finding("clashing", "1", B) in found.findings


@pytest.mark.parametrize("claims", [{}, {"1": [B]}])
def test_a_record_that_nobody_claims_is_touched_only_after_the_grace(claims: dict[str, list[Owner]]) -> None:
    record = Record("1", A, 5)
    first = plan(claims, [record], now=100.0)
    early = plan(claims, [record], now=100.0 + GRACE_SECONDS - 1, suspects=first.suspects)
    assert not (first.wrong or first.leaked or early.wrong or early.leaked)
    late = plan(claims, [record], now=100.0 + GRACE_SECONDS, suspects=early.suspects)
    assert (late.wrong, late.leaked) == (([(record, B)], []) if claims else ([], [record]))


def test_a_record_that_was_written_again_starts_its_grace_anew() -> None:
    first = plan({}, [Record("1", A, 5)])
    assert plan({}, [Record("1", A, 6)], now=GRACE_SECONDS, suspects=first.suspects).leaked == []


def test_records_of_others_and_of_services_that_cannot_be_read_stay() -> None:
    records = [Record("1", A, 5, managed=False), Record("2", B, 6)]
    suspects = {("1", 5): 0.0, ("2", 6): 0.0}
    found = plan({"2": [A]}, records, now=1e6, unreadable={B}, suspects=suspects)
    assert not (found.leaked or found.wrong)


async def test_services_of_an_older_store_get_their_records_at_start(start: Any) -> None:
    store = MemoryStore()
    async with start(store) as cluster:
        await cluster.create("s", type="NodePort", clusterIP="10.96.0.9", ports=[{"port": 1, "nodePort": 30001}])
        for key in (f"{ADDRESSES}10.96.0.9", f"{PORTS}30001", "/ranges/complete"):
            await store.commit(key, None, None)
        async with start(store) as again:
            assert await again.records() == ({"10.96.0.9": "s"}, {"30001": "s"})


def test_a_start_looks_at_the_services_of_its_own_store_beside_the_first_requests(start: Any, virtual: Any) -> None:
    async def run() -> None:
        store = MemoryStore()
        async with start(store) as cluster:
            await cluster.create("s", clusterIP="10.96.0.9")
            await cluster.servers[0].components.close()
            await store.commit(f"{ADDRESSES}10.96.0.9", None, None)
            async with start(store) as again:
                await asyncio.sleep(1)
                assert (await again.records())[0] == {"10.96.0.9": "s"}

    virtual(run())


@pytest.mark.parametrize("value", [b"{}", b'{"service":7}', b'{"service":{}}'])
async def test_a_record_that_was_written_by_hand_keeps_no_server_from_starting(start: Any, value: bytes) -> None:
    store = MemoryStore()
    await store.commit(PORTS + "30080", 0, value)
    async with start(store) as cluster:
        await cluster.servers[0].allocations._repair.run_pass()
        assert (await cluster.create("s", clusterIP="10.96.0.9"))["spec"]["clusterIP"] == "10.96.0.9"


async def test_a_damaged_service_keeps_what_it_holds_and_the_server_starts(start: Any) -> None:
    store = MemoryStore()
    async with start(store) as cluster:
        await cluster.create("s", clusterIP="10.96.0.9")
        await store.commit(f"{SERVICES}ns/s", None, b"{broken")
        async with start(store) as again:
            repair = again.servers[0].allocations._repair
            await repair.run_pass()
            assert (await again.records())[0] == {"10.96.0.9": "s"}
            with pytest.raises(Invalid, match="already allocated"):
                await again.create("t", clusterIP="10.96.0.9")


def test_what_a_crash_left_behind_is_free_after_the_grace(start: Any, virtual: Any) -> None:
    async def run() -> None:
        async with start() as cluster:
            await cluster("POST", "/api/v1/namespaces", {"metadata": {"name": "default"}})
            await cluster.store.commit(f"{PORTS}30001", 0, b'{"service":{"namespace":"ns","name":"gone"}}')
            await cluster.store.commit(f"{PORTS}30002", 0, b"{broken")
            reference = {"resource": "services", "namespace": "ns", "name": "gone"}
            labels = {"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}
            body = {"metadata": {"name": "10.96.0.9", "labels": labels}, "spec": {"parentRef": reference}}
            await cluster("POST", "/apis/networking.k8s.io/v1/ipaddresses", body)
            await asyncio.sleep(INTERVAL_SECONDS + 5)
            await asyncio.sleep(2 * INTERVAL_SECONDS)
            assert await cluster.records() == ({}, {})
            events = (await cluster("GET", "/api/v1/namespaces/default/events"))["items"]
            assert [(event["reason"], event["involvedObject"]["name"]) for event in events] == [
                ("IPAddressNotAllocated", "10.96.0.9")
            ]

    virtual(run())


def test_a_record_that_somebody_deletes_is_there_again_at_once(start: Any, virtual: Any) -> None:
    async def run() -> None:
        async with start() as cluster:
            await cluster.create("s", clusterIP="10.96.0.9")
            await cluster.create("t", clusterIP="10.96.0.10")
            await cluster.delete("t")
            await asyncio.sleep(5)
            await cluster("DELETE", "/apis/networking.k8s.io/v1/ipaddresses/10.96.0.9")
            await asyncio.sleep(5)
            assert (await cluster.records())[0] == {"10.96.0.9": "s"}
            (event,) = (await cluster("GET", "/api/v1/namespaces/ns/events"))["items"]
            assert (event["reason"], event["type"]) == ("ClusterIPNotAllocated", "Warning")
            assert event["message"] == "Cluster IP [IPv4]: 10.96.0.9 is not allocated; repairing"
            assert event["source"] == {"component": "ipallocator-repair-controller"}

    virtual(run())


def test_services_that_share_numbers_are_told_so_once_an_hour(start: Any, virtual: Any) -> None:
    async def run() -> None:
        async with start() as cluster:
            made = await cluster.create("s", type="NodePort", ports=[{"port": 1, "nodePort": 30001}])
            entry = await cluster.store.get(f"{SERVICES}ns/s")
            await cluster.store.commit(f"{SERVICES}ns/t", 0, entry.value.replace(b'"name":"s"', b'"name":"t"'))
            await asyncio.sleep(3 * INTERVAL_SECONDS)
            events = (await cluster("GET", "/api/v1/namespaces/ns/events"))["items"]
            assert sorted((event["reason"], event["message"]) for event in events) == [
                (
                    "ClusterIPAlreadyAllocated",
                    f"Cluster IP [IPv4]:{made['spec']['clusterIP']} was assigned to multiple services; "
                    "please recreate service",
                ),
                ("PortAlreadyAllocated", "Port 30001 was assigned to multiple services; please recreate service"),
            ]
            assert {event["involvedObject"]["name"] for event in events} == {"t"}
            assert await cluster.records() == ({made["spec"]["clusterIP"]: "s"}, {"30001": "s"})

    virtual(run())


@pytest.mark.logs_errors("addresses and ports of services were not checked")
def test_a_store_that_fails_costs_a_pass_and_no_more(start: Any, virtual: Any) -> None:
    async def run() -> None:
        store = MemoryStore()
        async with start(store) as cluster:
            await cluster.create("s", clusterIP="10.96.0.9")
            get, failing = store.get, [True]

            async def fails(key: str, revision: int | None = None) -> Any:
                if failing[0]:
                    raise OSError(5, "Input/output error")
                return await get(key, revision)

            store.get = fails  # type: ignore[method-assign]
            await store.commit(f"{ADDRESSES}10.96.0.9", None, None)
            await asyncio.sleep(INTERVAL_SECONDS)
            failing[0] = False
            await asyncio.sleep(2 * INTERVAL_SECONDS)
            assert (await cluster.records())[0] == {"10.96.0.9": "s"}

    virtual(run())


def test_a_flood_of_faults_makes_few_events(start: Any, virtual: Any) -> None:
    async def run() -> None:
        async with start() as cluster:
            await cluster.create("s", clusterIP="10.96.0.9")
            entry = await cluster.store.get(f"{SERVICES}ns/s")
            for number in range(3 * MOST_EVENTS):
                value = entry.value.replace(b'"name":"s"', b'"name":"t%d"' % number)
                await cluster.store.commit(f"{SERVICES}ns/t{number}", 0, value)
            await asyncio.sleep(INTERVAL_SECONDS + 10)
            assert len((await cluster("GET", "/api/v1/namespaces/ns/events"))["items"]) == MOST_EVENTS

    virtual(run())


@pytest.mark.parametrize(
    ("finding", "told"),
    [
        (
            Finding("wrong", "10.96.0.9", A),
            (
                "ClusterIPNotAllocated",
                "the ClusterIP [IPv4]: 10.96.0.9 for Service ns/a has a wrong reference; repairing",
            ),
        ),
        (
            Finding("out of range", "fd00::9", A),
            (
                "ClusterIPOutOfRange",
                "Cluster IP [IPv6]: fd00::9 is not within any configured Service CIDR; please recreate service",
            ),
        ),
        (Finding("missing", "30001", A), ("PortNotAllocated", "Port 30001 is not allocated; repairing")),
        (
            Finding("out of range", "80", A),
            ("PortOutOfRange", "Port 80 is not within the port range 30000-32767; please recreate service"),
        ),
        (
            Finding("leaked", "10.96.0.9", A),
            ("IPAddressNotAllocated", "IPAddress: 10.96.0.9 for Service ns/a appears to have leaked: cleaning up"),
        ),
        (
            Finding("leaked", "10.96.0.9", None),
            (
                "IPAddressNotAllocated",
                "IPAddress 10.96.0.9 appears to have been modified, not referencing a Service: cleaning up",
            ),
        ),
    ],
)
def test_faults_have_the_references_reasons_and_messages(finding: Finding, told: tuple[str, str]) -> None:
    assert reason_and_message(finding, (30000, 32767)) == told


async def test_a_late_release_leaves_the_number_to_whoever_has_it_now(cluster: Any) -> None:
    await cluster.create("s", clusterIP="10.96.0.9")
    hook = cluster.servers[0].allocations.hook
    late = {"metadata": {"namespace": "ns", "name": "old"}, "spec": {"type": "ClusterIP", "clusterIPs": ["10.96.0.9"]}}
    await hook.committed(None, late, None)
    assert (await cluster.records())[0] == {"10.96.0.9": "s"}


async def test_a_pass_looks_at_nothing_when_nothing_changed(cluster: Any) -> None:
    await cluster.create("s")
    repair = cluster.servers[0].allocations._repair
    found = await repair.run_pass()
    assert await repair.run_pass() is found
    await cluster.create("t")
    assert await repair.run_pass() is not found
