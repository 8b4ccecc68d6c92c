"""A whole server: start with policy, calls from the same process, limits, and the order of its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from sampan.api import errors
from sampan.api.resources import CONFIG_MAPS, NAMESPACES, SUBJECT_ACCESS_REVIEWS
from sampan.client.client import Client
from sampan.server.app import Server
from sampan.server.bootstrap import objects
from sampan.server.config import ServerConfig
from sampan.server.pipeline import parse_duration
from sampan.server.request import Request
from sampan.server.rest import router


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    """Policy is read from package data once a process; the first test shall not pay for it."""
    objects.policy()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server(ServerConfig(bind_address="127.0.0.1", port=0)) as running:
        yield running


def config_map(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": {"k": "v"}}


async def test_a_started_server_has_its_namespaces_and_answers_over_http(server: Server) -> None:
    client = Client(server.local_transport())
    names = {item["metadata"]["name"] for item in (await client.list(NAMESPACES))["items"]}
    assert {"default", "kube-system", "kube-public", "kube-node-lease"} <= names
    async with aiohttp.ClientSession(server.url) as session:
        async with session.get("/readyz") as ready:
            assert (ready.status, await ready.text()) == (200, "ok")
        async with session.get("/readyz?verbose") as told:
            checks = [line.split()[0].removeprefix("[+]") for line in (await told.text()).splitlines()[:-1]]
            assert checks == [
                "ping", "etcd", "informer-sync", "poststarthook/crd-informer-synced",
                "poststarthook/rbac/bootstrap-roles", "poststarthook/scheduling/bootstrap-system-priority-classes",
                "started", "shutdown",
            ]  # fmt: skip
        assert await client.raw("GET", "/readyz/poststarthook/rbac/bootstrap-roles") == "ok"
        async with session.get("/api/v1/pods") as anonymous:
            assert anonymous.status == 403
            assert "X-Kubernetes-PF-FlowSchema-UID" in anonymous.headers


async def test_components_are_held_to_their_own_rights(server: Server) -> None:
    stranger = Client(server.local_transport("stranger"))
    with pytest.raises(errors.Forbidden):
        await stranger.create(CONFIG_MAPS, config_map("a"), "default")


async def test_calls_copy_what_goes_in_and_comes_out(server: Server) -> None:
    client = Client(server.local_transport())
    given = config_map("a")
    made = await client.create(CONFIG_MAPS, given, "default")
    assert given == config_map("a")
    made["data"]["k"] = "changed"
    got = await client.get(CONFIG_MAPS, "a", "default")
    assert got["data"] == {"k": "v"}
    got["data"]["k"] = "changed"
    assert (await client.get(CONFIG_MAPS, "a", "default"))["data"] == {"k": "v"}


async def test_a_cache_view_has_a_write_when_the_call_returns(server: Server) -> None:
    client = Client(server.local_transport())
    view = client.cache_view(CONFIG_MAPS)
    assert view is not None
    seen: list[tuple[str, str, int]] = []
    unsubscribe = view.subscribe(lambda kind, obj, _, revision: seen.append((kind, obj["metadata"]["name"], revision)))
    made = await client.create(CONFIG_MAPS, config_map("a"), "default")
    found = view.get("default", "a")
    assert found == made
    assert seen == [("ADDED", "a", int(made["metadata"]["resourceVersion"]))]
    unsubscribe()


async def test_a_watch_in_process_yields_objects(server: Server) -> None:
    client = Client(server.local_transport())
    await client.create(CONFIG_MAPS, config_map("a"), "default")
    async with client.watch(CONFIG_MAPS, "default") as events:
        async for event in events:
            if event.object["metadata"]["name"] == "a":
                assert (event.type, event.object["kind"]) == ("ADDED", "ConfigMap")
                break


async def test_reviews_are_answered_and_not_stored(server: Server) -> None:
    client = Client(server.local_transport())
    spec = {"user": "nobody", "resourceAttributes": {"verb": "get", "resource": "pods"}}
    answer = await client.create(SUBJECT_ACCESS_REVIEWS, {"spec": spec})
    assert answer["status"]["allowed"] is False


async def test_a_stop_ends_watches_cleanly() -> None:
    ended = asyncio.Event()

    async def follow(url: str) -> None:
        async with aiohttp.ClientSession(url) as session, session.get("/api/v1/namespaces?watch=1") as answer:
            opened.set()
            await answer.read()
            ended.set()

    opened = asyncio.Event()
    config = ServerConfig(bind_address="127.0.0.1", port=0, bootstrap=False, authorization_modes=("AlwaysAllow",))
    async with asyncio.TaskGroup() as tasks:
        async with Server(config) as server:
            tasks.create_task(follow(server.url))
            await opened.wait()
        await ended.wait()


async def test_too_many_requests_are_turned_away_in_plain_text() -> None:
    config = ServerConfig(listen=False, bootstrap=False, authorization_modes=("AlwaysAllow",), max_requests_inflight=0)
    async with Server(config) as server:
        response = await server.handler(Request("GET", "/api/v1/namespaces", {}, {}))
        assert (response.status, response.headers["Retry-After"]) == (429, "1")
        assert response.content_type.startswith("text/plain")


@pytest.mark.logs_errors("GET /api/v1/namespaces/default failed")
async def test_a_fault_of_ours_is_500_and_tells_nothing(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setitem(router._MAIN, "get", broken)
    answer = await api("GET", "/api/v1/namespaces/default")
    assert (answer.status, answer.reason) == (500, "InternalError")
    assert "secret" not in answer.message


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("1m30s", 90), ("500ms", 0.5), ("0", 0), ("abc", None), ("30", None), ("1.2.3s", None)],
)
def test_durations_are_read_as_go_does(text: str, seconds: float | None) -> None:
    assert parse_duration(text) == seconds
