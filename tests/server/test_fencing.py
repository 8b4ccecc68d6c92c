"""Writes of a leader: they count while its lease is its own, to the moment at which the object is handed over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from sampan.api.errors import BadRequest, Conflict
from sampan.api.resources import CONFIG_MAPS, LEASES, NAMESPACES
from sampan.api.transport import Call
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.server.app import Server
from sampan.server.config import ServerConfig

PLACE = "/api/v1/namespaces/default/configmaps"
LEADER = "kube-system/boss a"


def config_map(name: str, **data: str) -> Obj:
    meta = {"name": name, "namespace": "default"}
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": meta, "data": data}


def lease(holder: str) -> Obj:
    meta = {"name": "boss", "namespace": "kube-system"}
    return {
        "kind": "Lease", "apiVersion": "coordination.k8s.io/v1", "metadata": meta, "spec": {"holderIdentity": holder},
    }  # fmt: skip


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server(ServerConfig(listen=False, openapi=False)) as made:
        yield made


@pytest.fixture
def client(server: Server) -> Client:
    return Client(server.local_transport())


def call(method: str, path: str = PLACE, body: Obj | None = None, leader: str = LEADER) -> Call:
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    return Call(method, path, body=body, content_type=kind, leader=leader)


WRITES = [
    call("POST", body=config_map("new")),
    call("PUT", f"{PLACE}/old", config_map("old", key="changed")),
    call("PATCH", f"{PLACE}/old", {"data": {"key": "changed"}}),
    call("DELETE", f"{PLACE}/old"),
    call("DELETE", f"{PLACE}/kept"),
    call("DELETE"),
]


@pytest.mark.parametrize("write", WRITES, ids=lambda each: f"{each.method} {each.path.removeprefix(PLACE)}")
async def test_a_leaders_write_counts_and_one_of_a_past_leader_changes_nothing(client: Client, write: Call) -> None:
    await client.create(CONFIG_MAPS, config_map("old"))
    kept = config_map("kept")
    kept["metadata"]["finalizers"] = ["example.com/one"]
    await client.create(CONFIG_MAPS, kept)
    held = await client.create(LEASES, lease("b"))
    before = (await client.list(CONFIG_MAPS, "default"))["items"]
    with pytest.raises(Conflict, match="lease kube-system/boss is not held by who asks"):
        await client.transport.call(write)
    assert (await client.list(CONFIG_MAPS, "default"))["items"] == before
    held["spec"]["holderIdentity"] = "a"
    await client.update(LEASES, held)
    await client.transport.call(write)
    assert (await client.list(CONFIG_MAPS, "default"))["items"] != before


async def test_without_the_lease_nobody_leads_and_reading_is_everybodys(client: Client) -> None:
    with pytest.raises(Conflict):
        await client.transport.call(WRITES[0])
    assert (await client.transport.call(call("GET")))["kind"] == "ConfigMapList"


async def test_a_lease_that_passes_on_during_admission_ends_the_write(server: Server, client: Client) -> None:
    """What waits for a slow webhook is no longer the leader's when the lease is another's."""
    await client.create(LEASES, lease("a"))
    view = server.surface.by_resource(CONFIG_MAPS)
    assert view is not None
    waits, goes_on = asyncio.Event(), asyncio.Event()
    to_keep = view.to_keep

    async def slow(obj: Obj, *, heavy: bool) -> Obj:
        waits.set()
        await goes_on.wait()
        return await to_keep(obj, heavy=heavy)

    view.to_keep = slow  # type: ignore[method-assign]
    writing = asyncio.ensure_future(client.transport.call(WRITES[0]))
    await waits.wait()
    held = await client.get(LEASES, "boss", "kube-system")
    held["spec"]["holderIdentity"] = "b"
    await client.update(LEASES, held)
    goes_on.set()
    with pytest.raises(Conflict):
        await writing


async def test_the_next_request_of_the_same_task_is_nobodys_leader(client: Client) -> None:
    with pytest.raises(Conflict):
        await client.transport.call(WRITES[0])
    await client.create(CONFIG_MAPS, config_map("new"))


async def test_a_past_leader_fails_no_write_of_others_that_is_done_beside_its_own(client: Client) -> None:
    """A quota's charge is one commit for all writes that wait in a namespace."""
    await client.create(NAMESPACES, {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "n"}})
    quota = {"metadata": {"name": "q", "namespace": "n"}, "spec": {"hard": {"configmaps": "10"}}}
    await client.raw(
        "POST", "/api/v1/namespaces/n/resourcequotas", {"kind": "ResourceQuota", "apiVersion": "v1", **quota}
    )
    where = "/api/v1/namespaces/n/configmaps"

    def made(name: str) -> Obj:
        obj = config_map(name)
        obj["metadata"]["namespace"] = "n"
        return obj

    past = call("POST", where, made("past"))
    others = [client.create(CONFIG_MAPS, made(f"m{number}")) for number in range(4)]
    refused, *written = await asyncio.gather(client.transport.call(past), *others, return_exceptions=True)
    assert isinstance(refused, Conflict) and all(isinstance(each, dict) for each in written)


@pytest.mark.parametrize("leader", ["boss", "kube-system/boss", "/boss a", "kube-system/ a", "a/b " + "x" * 2000])
async def test_a_header_that_says_nothing_is_refused(client: Client, leader: str) -> None:
    with pytest.raises(BadRequest, match="the header Sampan-Leader has to be"):
        await client.transport.call(call("POST", body=config_map("new"), leader=leader))
