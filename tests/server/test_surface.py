"""What the API serves can be swapped whole, while it serves."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from sampan.api import schema
from sampan.api.clock import FixedClock
from sampan.api.kind import Kind
from sampan.api.registry import registry
from sampan.api.resources import CONFIG_MAPS
from sampan.api.types import Obj
from sampan.server.request import Request, Response
from sampan.server.storage import ResourceStorage
from sampan.server.surface import Surface, Surfaces
from sampan.store.memory import MemoryStore
from sampan.store.protocol import StoreUnavailable

BOATS = "/apis/example.com/v1/namespaces/default/boats"
NODE = schema.node_from_openapi(
    {"type": "object", "properties": {"spec": {"type": "object", "properties": {"masts": {"type": "integer"}}}}},
    type_name="Boat",
    root=True,
)


def boat(version: str = "v1", **more: Any) -> Kind:
    return Kind(
        group="example.com", version=version, kind="Boat", plural="boats", singular="boat", namespaced=True,
        schema="", own_node=lambda: NODE, **more,
    )  # fmt: skip


async def serve(api: Any, *kinds: Kind) -> None:
    """From now on these are served, besides the built-in kinds."""
    versions = tuple(kind.version for kind in kinds)
    larger = registry().extended({"example.com": versions}, kinds) if kinds else registry()
    await api.server._surfaces.replace(lambda before: Surface.build(larger, api.server.store, kept=before))


async def test_a_kind_that_comes_is_served_at_once(api: Any) -> None:
    assert (await api("GET", BOATS)).status == 404
    await serve(api, boat())
    made = await api("POST", BOATS, {"metadata": {"name": "a"}, "spec": {"masts": 0, "colour": "red"}})
    assert made.status == 201
    assert made.obj["spec"] == {"masts": 0}  # custom resources keep their zeros, and lose what they do not have
    assert [item["metadata"]["name"] for item in (await api("GET", BOATS)).obj["items"]] == ["a"]
    groups = {group["name"] for group in (await api("GET", "/apis")).obj["groups"]}
    assert "example.com" in groups


async def test_what_was_served_before_keeps_its_cache_and_its_watches(api: Any) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    watch = api.watch(f"{path}?watch=1")
    await api("POST", path, {"metadata": {"name": "a"}})
    assert (await anext(watch))["object"]["metadata"]["name"] == "a"
    await serve(api, boat())
    await api("POST", path, {"metadata": {"name": "b"}})
    assert (await anext(watch))["object"]["metadata"]["name"] == "b"
    await watch.aclose()


async def test_a_kind_that_goes_ends_its_watches(api: Any) -> None:
    await serve(api, boat())
    await api("POST", BOATS, {"metadata": {"name": "a"}})
    watch = api.watch(f"{BOATS}?watch=1")
    assert (await anext(watch))["type"] == "ADDED"
    await serve(api)
    assert [event async for event in watch] == []
    assert (await api("GET", BOATS)).status == 404


async def test_what_was_stored_before_its_kind_had_a_time_to_live_gets_one_at_the_start() -> None:
    clock = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
    store = MemoryStore(clock=clock)
    old = b'{"metadata":{"name":"a","namespace":"default","uid":"1"}}'
    for key in ("core/events/default/a", "core/configmaps/default/a"):
        await store.commit(f"/registry/{key}", 0, old)
    surfaces = Surfaces(Surface.build(registry(), store))
    await surfaces.start()
    clock.set(clock.now() + timedelta(seconds=3601))
    await store.expire()
    assert [entry.key for entry in (await store.range("/")).entries] == ["/registry/core/configmaps/default/a"]
    surfaces.close()
    await store.close()


async def test_custom_resources_take_no_strategic_merge(api: Any) -> None:
    await serve(api, boat())
    await api("POST", BOATS, {"metadata": {"name": "a"}})
    refused = await api("PATCH", f"{BOATS}/a", {}, content_type="application/strategic-merge-patch+json")
    assert refused.status == 415


async def test_a_request_in_flight_is_answered_by_the_surface_it_began_with(api: Any) -> None:
    await serve(api, boat())
    await api("POST", BOATS, {"metadata": {"name": "a"}})
    going_on = asyncio.Event()
    authorize = api.server._pipeline._stages.authorize

    async def slowly(request: Any) -> None:
        await authorize(request)
        await going_on.wait()

    api.server._pipeline._stages.authorize = slowly
    listed = asyncio.ensure_future(api("GET", BOATS))
    await asyncio.sleep(0)
    api.server._pipeline._stages.authorize = authorize
    replaced = asyncio.ensure_future(serve(api, boat(short_names=("b",))))
    for _ in range(1000):
        if api.server.surface.kinds.by_resource("example.com", "v1", "boats").short_names == ("b",):
            break
        await asyncio.sleep(0)
    assert [item["metadata"]["name"] for item in (await api("GET", BOATS)).obj["items"]] == ["a"]
    going_on.set()
    assert [item["metadata"]["name"] for item in (await listed).obj["items"]] == ["a"]
    await replaced
    await api("POST", BOATS, {"metadata": {"name": "b"}})
    assert [item["metadata"]["name"] for item in (await api("GET", BOATS)).obj["items"]] == ["a", "b"]


async def test_what_is_served_no_longer_is_never_empty(api: Any) -> None:
    """Whoever still holds it is told; an empty list would be taken for the truth."""
    await serve(api, boat())
    await api("POST", BOATS, {"metadata": {"name": "a"}})
    old = api.server.surface.by_resource(boat().resource).storage
    await serve(api)
    for ask in (old.cache.entries, old.cache.watch, lambda: old.cache.watch(from_revision=1), lambda: old.cached("k")):
        with pytest.raises(StoreUnavailable, match="served no longer"):
            ask()


# Stored values say their version


def storage(kind: Kind) -> ResourceStorage:
    return ResourceStorage(kind, MemoryStore())


def test_a_stored_value_begins_with_its_kind_and_version() -> None:
    pods = registry().by_resource("", "v1", "pods")
    assert pods is not None
    value = storage(pods).encode({"metadata": {"name": "a", "resourceVersion": "7"}, "spec": {}})
    assert orjson.loads(value) == {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}, "spec": {}}
    assert value.startswith(b'{"kind":"Pod","apiVersion":"v1","metadata":{')


async def test_what_was_stored_before_versions_is_read_as_if_written_today(api: Any) -> None:
    pods, key = "/api/v1/namespaces/default/pods", "/registry/core/pods/default/old"
    body = {"metadata": {"name": "old"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    written = (await api("POST", pods, body)).obj
    entry = await api.server.store.get(key)
    old = orjson.loads(entry.value)
    del old["kind"], old["apiVersion"]
    old["spec"]["hostPID"] = False
    old["spec"]["containers"][0] |= {"tty": False, "env": []}
    revision = await api.server.store.commit(key, entry.revision, orjson.dumps(old))
    read = (await api("GET", f"{pods}/old")).obj
    assert read["metadata"]["resourceVersion"] == str(revision)
    assert read["spec"] == written["spec"]
    listed = (await api("GET", "/api/v1/namespaces/default/pods")).obj["items"]
    assert listed[0]["spec"] == read["spec"]
    watch = api.watch("/api/v1/namespaces/default/pods?watch=1")
    assert (await anext(watch))["object"]["spec"] == read["spec"]
    await watch.aclose()
    labelled = await api(
        "PATCH", "/api/v1/namespaces/default/pods/old", {"metadata": {"labels": {"a": "b"}}},
        content_type="application/merge-patch+json",
    )  # fmt: skip
    assert labelled.status == 200


async def test_a_value_of_another_stored_version_is_converted_when_it_is_read(api: Any) -> None:
    def newer(obj: Obj) -> Obj:
        spec = {"poles": (obj.get("spec") or {}).get("masts", 0)}
        return {**obj, "spec": spec}

    poles = schema.node_from_openapi(
        {"type": "object", "properties": {"spec": {"type": "object", "properties": {"poles": {"type": "integer"}}}}},
        type_name="Boat",
        root=True,
    )
    await serve(api, boat("v1"))
    await api("POST", BOATS, {"metadata": {"name": "a"}, "spec": {"masts": 2}})
    value = (await api.server.store.get("/registry/example.com/boats/default/a")).value
    assert b'"apiVersion":"example.com/v1"' in value
    v1 = boat("v1", stored_as=("example.com", "v2"), to_stored=newer, from_stored=lambda obj: obj)
    v2 = Kind(
        group="example.com", version="v2", kind="Boat", plural="boats", singular="boat", namespaced=True, schema="",
        own_node=lambda: poles,
    )  # fmt: skip
    await serve(api, v2, v1)
    read = (await api("GET", "/apis/example.com/v2/namespaces/default/boats/a")).obj
    assert (read["apiVersion"], read["spec"]) == ("example.com/v2", {"poles": 2})


# Damage


@pytest.mark.parametrize("value", [b"\xff\xfe", b"{}", b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{', b'"x"'])
@pytest.mark.logs_errors("configmaps/bad failed")
async def test_one_damaged_value_costs_the_others_nothing(api: Any, value: bytes) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    await api("POST", path, {"metadata": {"name": "good"}})
    await api.server.store.commit("/registry/core/configmaps/default/bad", 0, value)
    listed = await api("GET", path)
    assert [item["metadata"]["name"] for item in listed.obj["items"]] == ["good"]
    assert listed.warnings == ["left out, for its stored value is damaged: core/configmaps/default/bad"]
    as_table = await api("GET", path, accept="application/json;as=Table;g=meta.k8s.io;v=v1")
    assert len(as_table.obj["rows"]) == 1
    one = await api("GET", f"{path}/bad")
    assert one.status == 500
    assert "core/configmaps/default/bad" in one.message
    watch = api.watch(f"{path}?watch=1")
    assert (await anext(watch))["object"]["metadata"]["name"] == "good"
    await watch.aclose()
    wrong = await api("DELETE", f"{path}/bad", {"preconditions": {"resourceVersion": "1"}})
    assert wrong.status == 409
    assert (await api("DELETE", f"{path}/bad", {"preconditions": {"uid": "u"}})).status == 409
    assert (await api("DELETE", f"{path}/bad")).status == 200
    assert (await api("GET", path)).warnings == []


async def test_a_collection_with_a_damaged_value_can_be_deleted(api: Any) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    for name in ("a", "b"):
        await api("POST", path, {"metadata": {"name": name}})
    await api.server.store.commit("/registry/core/configmaps/default/bad", 0, b"{")
    rehearsed = await api("DELETE", f"{path}?dryRun=All")
    assert {item["metadata"]["name"] for item in rehearsed.obj["items"]} == {"a", "b", "bad"}
    assert (await api("DELETE", path)).status == 200
    assert api.server.surface.by_resource(CONFIG_MAPS).storage.cache.count() == 0


async def test_what_is_served_no_longer_does_not_wait_for_open_connections(api: Any) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def held(_: Request) -> Response:
        begun.set()
        await may_end.wait()
        return Response(200, b"{}")

    api.server.connect("", "pods", "exec", held, lambda _: None)
    surface = api.server.surface
    connection = asyncio.create_task(api.server.handler(api.request("POST", "/api/v1/namespaces/default/pods/p/exec")))
    await begun.wait()
    async with asyncio.timeout(20):
        await surface.wait_unused(3600)
    may_end.set()
    assert (await connection).status == 200
    async with asyncio.timeout(20):
        await surface.wait_unused(3600)
