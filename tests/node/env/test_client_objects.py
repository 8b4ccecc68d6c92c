"""Objects of pods are read on demand, kept while watched, and changes are told."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sampan.api import resources
from sampan.api.errors import NotFound, not_found
from sampan.api.resources import Resource
from sampan.api.transport import Call, WatchEvent
from sampan.api.types import Obj
from sampan.client.client import Client
from sampan.node.env.objects import ClientObjects
from sampan.node.env.sources import ObjectRef

REF = ObjectRef(resources.CONFIG_MAPS, "ns", "cm")
POD: Obj = {
    "metadata": {"namespace": "ns", "uid": "u1"},
    "spec": {"containers": [{"name": "c", "envFrom": [{"configMapRef": {"name": "cm"}}]}]},
}


def config_map(version: str, **more: Any) -> Obj:
    return {"metadata": {"name": "cm", "namespace": "ns", "resourceVersion": version}, **more}


class OneObjectTransport:
    """An API server that has one ConfigMap, and sends what the test puts in ``events``."""

    def __init__(self) -> None:
        self.present: Obj | None = config_map("1")
        self.events: asyncio.Queue[WatchEvent] = asyncio.Queue()
        self.calls: list[Call] = []
        self.watching = asyncio.Event()

    async def call(self, call: Call) -> Any:
        self.calls.append(call)
        if call.query.get("fieldSelector"):
            items = [self.present] if self.present else []
            return {"metadata": {"resourceVersion": "9"}, "items": items}
        if self.present is None:
            raise not_found("configmaps", "cm")
        return self.present

    @asynccontextmanager
    async def watch(self, call: Call) -> AsyncIterator[AsyncIterator[WatchEvent]]:
        self.calls.append(call)

        async def events() -> AsyncIterator[WatchEvent]:
            self.watching.set()
            while True:
                yield await self.events.get()

        yield events()

    def cache_view(self, resource: Resource) -> None:
        return None

    async def close(self) -> None:
        pass


@pytest.fixture
def transport() -> OneObjectTransport:
    return OneObjectTransport()


@pytest.fixture
async def objects(transport: OneObjectTransport) -> AsyncIterator[ClientObjects]:
    made = ClientObjects(Client(transport), random.Random(1))  # a transport in all that matters
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()
    await asyncio.wait([task])


async def test_unregistered_object_is_read_each_time(transport: OneObjectTransport, objects: ClientObjects) -> None:
    await objects.get_config_map("ns", "cm")
    await objects.get_config_map("ns", "cm")
    assert [call.path for call in transport.calls] == ["/api/v1/namespaces/ns/configmaps/cm"] * 2


async def test_registered_object_is_watched_by_name_and_kept(
    transport: OneObjectTransport, objects: ClientObjects
) -> None:
    told: list[ObjectRef] = []
    objects.subscribe(told.append)
    objects.register_pod(POD)
    await transport.watching.wait()
    assert {call.query["fieldSelector"] for call in transport.calls} == {"metadata.name=cm"}
    changed = asyncio.Event()
    objects.subscribe(lambda ref: changed.set())
    await transport.events.put(WatchEvent("MODIFIED", config_map("2", data={"k": "new"})))
    await changed.wait()
    assert told == [REF, REF]
    assert (await objects.get_config_map("ns", "cm"))["data"] == {"k": "new"}
    assert len(transport.calls) == 2


async def test_last_pod_ends_the_watch(transport: OneObjectTransport, objects: ClientObjects) -> None:
    objects.register_pod(POD)
    await transport.watching.wait()
    objects.unregister_pod("u1")
    assert objects._watches == {}
    await objects.get_config_map("ns", "cm")
    assert transport.calls[-1].path.endswith("/cm")


async def test_immutable_object_is_not_watched(transport: OneObjectTransport, objects: ClientObjects) -> None:
    transport.present = config_map("1", immutable=True)
    told = asyncio.Event()
    objects.subscribe(lambda ref: told.set())
    objects.register_pod(POD)
    await told.wait()
    await asyncio.sleep(0)
    assert not transport.watching.is_set()


class BundleTransport(OneObjectTransport):
    """An API server that has one ClusterTrustBundle of a signer."""

    async def call(self, call: Call) -> Any:
        self.calls.append(call)
        return {"metadata": {"resourceVersion": "1"}, "items": [trust_bundle("1")]}


def trust_bundle(version: str) -> Obj:
    meta = {"name": "example.com:mtls:a", "uid": "b", "resourceVersion": version}
    return {"metadata": meta, "spec": {"signerName": "example.com/mtls", "trustBundle": version}}


def pod_with(source: Obj) -> Obj:
    volumes = [{"name": "v", "projected": {"sources": [source]}}]
    return {"metadata": {"namespace": "ns", "uid": "u2"}, "spec": {"containers": [], "volumes": volumes}}


async def test_trust_bundles_are_watched_from_the_first_pod_that_mounts_one_on_and_their_changes_told() -> None:
    transport = BundleTransport()
    objects = ClientObjects(Client(transport), random.Random(1))  # as above
    told: asyncio.Queue[ObjectRef] = asyncio.Queue()
    objects.subscribe(told.put_nowait)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(objects.run())
        objects.register_pod(pod_with({"downwardAPI": {}}))
        for _ in range(20):
            await asyncio.sleep(0)
        assert transport.calls == []
        objects.register_pod(pod_with({"clusterTrustBundle": {"signerName": "example.com/mtls"}}))
        await transport.watching.wait()
        named, of_signer = [(await told.get()).name for _ in range(2)]
        assert (named, of_signer) == ("example.com:mtls:a", "example.com/mtls")
        await transport.events.put(WatchEvent("MODIFIED", trust_bundle("2")))
        await told.get()
        assert (await objects.get_trust_bundle("example.com:mtls:a"))["spec"]["trustBundle"] == "2"
        assert await objects.list_trust_bundles("example.com/mtls") == [trust_bundle("2")]
        assert await objects.list_trust_bundles("example.com/other") == []
        with pytest.raises(NotFound):
            await objects.get_trust_bundle("gone")
        assert {call.path for call in transport.calls} == {"/apis/certificates.k8s.io/v1/clustertrustbundles"}
        task.cancel()
