"""A node is drained as kubectl drains it: what would be lost is refused by name first, budgets hold, the rest goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sampan.api.resources import NODES, POD_DISRUPTION_BUDGETS, PODS, SERVICE_ACCOUNTS
from sampan.client.client import Client
from sampan.cluster import draining
from sampan.cluster.draining import Options
from sampan.cluster.errors import ClusterError
from sampan.server.app import Server
from sampan.server.config import ServerConfig

Obj = dict[str, Any]
EVERYTHING = Options(force=True, ignore_daemonsets=True, delete_emptydir_data=True, grace_seconds=0)


def pod(name: str, *, owner: str = "", local: bool = False, phase: str = "Running", mirror: bool = False) -> Obj:
    meta: Obj = {"name": name, "namespace": "default", "labels": {"app": name}}
    if owner:
        meta["ownerReferences"] = [
            {"apiVersion": "apps/v1", "kind": owner, "name": "set", "uid": "1", "controller": True}
        ]
    if mirror:
        meta["annotations"] = {"kubernetes.io/config.mirror": "x"}
    volumes = [{"name": "v", "emptyDir": {}}] if local else []
    spec = {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}], "volumes": volumes}
    return {"metadata": meta, "spec": spec, "status": {"phase": phase}}


@pytest.mark.parametrize(
    ("given", "options", "said"),
    [
        (pod("p"), Options(), "declare no controller"),
        (pod("p", owner="ReplicaSet", local=True), Options(force=True), "with local storage"),
        (pod("p", owner="DaemonSet"), Options(force=True), "DaemonSet-managed Pods"),
    ],
    ids=["bare", "local", "daemon"],
)
def test_what_would_be_lost_or_come_again_is_refused_by_name(given: Obj, options: Options, said: str) -> None:
    made = draining.plan([given], {"default/set"}, options)
    ((why, names),) = made.refused
    assert said in why
    assert names == ("default/p",)
    assert made.evicted == ()
    assert draining.plan([given], {"default/set"}, EVERYTHING).refused == ()


def test_what_is_finished_goes_and_what_is_of_the_node_itself_stays() -> None:
    pods = [
        pod("done", local=True, phase="Succeeded"),
        pod("old", owner="DaemonSet", phase="Failed"),
        pod("web", owner="ReplicaSet"),
        pod("static", mirror=True),
    ]
    made = draining.plan(pods, {"default/set"}, Options())
    assert [each["metadata"]["name"] for each in made.evicted] == ["done", "old", "web"]
    assert made.refused == ()
    made = draining.plan([pod("d", owner="DaemonSet"), pod("bare")], {"default/set"}, EVERYTHING)
    assert (made.ignored, made.warned) == (("default/d",), ("default/bare",))


def test_a_pod_whose_daemonset_is_gone_goes_when_it_is_forced() -> None:
    left = pod("d", owner="DaemonSet")
    assert "DaemonSet is not there" in draining.plan([left], set(), Options(ignore_daemonsets=True)).refused[0][0]
    assert draining.plan([left], set(), Options(force=True)).evicted == (left,)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """Of a server with node n1."""
    async with Server(ServerConfig(listen=False, openapi=False)) as server:
        made = Client(server.local_transport())
        await made.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default", "namespace": "default"}})
        await made.create(NODES, {"metadata": {"name": "n1"}})
        yield made


async def test_a_drained_node_takes_no_pods_and_has_none(client: Client) -> None:
    for each in (pod("web"), pod("data", local=True)):
        await client.create(PODS, each)
    said: list[str] = []
    with pytest.raises(ClusterError, match="cannot delete Pods with local storage"):
        await draining.drain(client, "n1", Options(force=True), said.append)
    assert len((await client.list(PODS))["items"]) == 2
    await draining.drain(client, "n1", EVERYTHING, said.append)
    assert (await client.list(PODS))["items"] == []
    assert (await client.get(NODES, "n1"))["spec"]["unschedulable"] is True
    assert {"node/n1 cordoned", "node/n1 already cordoned", "pod/web evicted", "node/n1 drained"} <= {*said}


async def test_a_budget_that_lets_nobody_go_is_told_and_asked_again_until_the_end(client: Client) -> None:
    made = await client.create(PODS, pod("web", owner="ReplicaSet"))
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    await client.update_status(PODS, {**made, "status": made["status"] | ready})
    budget = {
        "metadata": {"name": "b", "namespace": "default"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
    }
    await client.create(POD_DISRUPTION_BUDGETS, budget)
    said: list[str] = []
    told = asyncio.Event()

    def say(text: str) -> None:
        said.append(text)
        if "will retry" in text:
            told.set()

    work = asyncio.create_task(draining.drain(client, "n1", EVERYTHING, say))
    async with asyncio.timeout(30):
        await told.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert len((await client.list(PODS))["items"]) == 1
    with pytest.raises(ClusterError, match="default/web still there"):
        await draining.drain(client, "n1", Options(timeout_seconds=0.01), say)


async def test_a_node_that_is_not_there_is_told(client: Client) -> None:
    with pytest.raises(ClusterError, match="there is no node 'n2'"):
        await draining.drain(client, "n2", Options(), print)
