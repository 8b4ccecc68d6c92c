"""An informer of one name, one namespace or one value of a field hears of that, and nothing else costs it anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sampan.api.resources import CONFIG_MAPS, PODS
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.client.informer import Informer
from sampan.testing.api import Api, api_server
from sampan.testing.yielding import LateStore


@pytest.fixture(params=["a store that tells at once", "a store that tells late"])
async def api(request: pytest.FixtureRequest) -> AsyncIterator[Api]:
    store = LateStore(1) if "late" in request.param else None
    async with api_server(store=store) as made:
        yield made


@asynccontextmanager
async def running(informer: Informer) -> AsyncIterator[list[tuple[str, str]]]:
    seen: list[tuple[str, str]] = []
    informer.add_handler(lambda kind, obj, old: seen.append((kind, obj["metadata"]["name"])))
    task = asyncio.ensure_future(informer.run())
    try:
        await informer.synced()
        yield seen
    finally:
        task.cancel()
        await asyncio.wait([task])


def pod(name: str, node: str = "") -> Obj:
    spec: Obj = {"containers": [{"name": "c", "image": "i"}]} | ({"nodeName": node} if node else {})
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


def config_map(name: str, namespace: str = "default") -> Obj:
    meta = {"name": name, "namespace": namespace}
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": meta, "data": {"a": "b"}}


def revision(obj: Obj) -> int:
    return int(obj["metadata"]["resourceVersion"])


async def bind(client: Client, name: str, node: str) -> None:
    target = {"kind": "Node", "apiVersion": "v1", "name": node}
    binding = {"kind": "Binding", "apiVersion": "v1", "metadata": {"name": name}, "target": target}
    await client.create(PODS, binding, "default", name=name, subresource="binding")


async def test_a_pod_that_is_bound_to_the_node_is_added_and_one_that_is_gone_deleted(api: Api) -> None:
    client = api.client
    await client.create(PODS, pod("present", "n1"))
    await client.create(PODS, pod("elsewhere", "n2"))
    informer = Informer(client, PODS, field_selector="spec.nodeName=n1")
    async with running(informer) as seen:
        await client.create(PODS, pod("later"))
        await bind(client, "later", "n1")
        await client.delete(PODS, "present", "default", grace_period_seconds=0)
        await client.delete(PODS, "elsewhere", "default", grace_period_seconds=0)
        last = await client.create(PODS, pod("unbound"))
        await informer.wait_for(revision(last))
        assert seen == [("ADDED", "present"), ("ADDED", "later"), ("DELETED", "present")]
        assert [each["metadata"]["name"] for each in informer.list()] == ["later"]
        assert informer.get("default", "later") is not None
        assert informer.get("default", "unbound") is None


async def test_one_name_of_a_namespace_is_one_object(api: Api) -> None:
    client = api.client
    selector = "metadata.namespace=default,metadata.name=a"
    async with running(informer := Informer(client, CONFIG_MAPS, field_selector=selector)) as seen:
        await client.create(CONFIG_MAPS, config_map("a"))
        await client.create(CONFIG_MAPS, config_map("b"))
        await client.create(CONFIG_MAPS, config_map("a", "kube-system"))
        last = await client.delete(CONFIG_MAPS, "a", "default")
        last = await client.create(CONFIG_MAPS, config_map("c"))
        await informer.wait_for(revision(last))
        assert seen == [("ADDED", "a"), ("DELETED", "a")]


async def test_a_name_without_a_namespace_is_that_name_in_all_of_them(api: Api) -> None:
    client = api.client
    async with running(informer := Informer(client, CONFIG_MAPS, field_selector="metadata.name=a")) as seen:
        await client.create(CONFIG_MAPS, config_map("a"))
        await client.create(CONFIG_MAPS, config_map("b"))
        last = await client.create(CONFIG_MAPS, config_map("a", "kube-system"))
        await informer.wait_for(revision(last))
        assert seen == [("ADDED", "a"), ("ADDED", "a")]


async def test_a_namespace_is_all_that_is_in_it(api: Api) -> None:
    client = api.client
    async with running(informer := Informer(client, CONFIG_MAPS, field_selector="metadata.namespace=default")) as seen:
        await client.create(CONFIG_MAPS, config_map("a", "kube-system"))
        last = await client.create(CONFIG_MAPS, config_map("b"))
        await informer.wait_for(revision(last))
        assert seen == [("ADDED", "b")]


async def test_a_wait_ends_with_somebody_elses_change(api: Api) -> None:
    client = api.client
    async with running(informer := Informer(client, PODS, field_selector="spec.nodeName=n1")):
        last = await client.create(PODS, pod("elsewhere", "n2"))
        waiting = asyncio.ensure_future(informer.wait_for(revision(last) + 1))
        await asyncio.sleep(0)
        await client.create(PODS, pod("too", "n2"))
        await waiting


@pytest.mark.parametrize("nodes", [10, 200])
async def test_the_calls_that_one_pods_event_makes_do_not_grow_with_the_nodes(
    nodes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with api_server() as api, asyncio.TaskGroup() as group:
        client = api.client
        informers = [Informer(client, PODS, field_selector=f"spec.nodeName=n{number}") for number in range(nodes)]
        # What only is read hears of nothing at all.
        informers += [Informer(client, PODS) for _ in range(nodes)]
        asked = 0

        def count(informer: Informer) -> None:
            matches, changed = informer._matches, informer._view_changed

            def counted(obj: Obj) -> bool:
                nonlocal asked
                asked += 1
                return matches is None or matches(obj)

            def told(*change: Any) -> None:
                nonlocal asked
                asked += 1
                changed(*change)

            if matches is not None:
                informer._matches = counted
            informer._view_changed = told  # type: ignore[method-assign]

        for informer in informers:
            count(informer)
        running = [group.create_task(informer.run()) for informer in informers]
        for informer in informers:
            await informer.synced()
        asked = 0
        await client.create(PODS, pod("p", "n5"))
        assert asked == 2  # the node's own informer is told, and asks its predicate
        for task in running:
            task.cancel()
