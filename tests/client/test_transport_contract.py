"""What every API server does behind a ``Transport``: the real one, by HTTP and without a socket, and the tests' fake.

The fake stands in for the real server in the tests of the client, the controllers and the network; it may do so because
it passes this suite. What the real server adds (defaults, validation, policy) is not asked for here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sampan.api.errors import AlreadyExists, Conflict, Expired, Invalid, NotFound, from_status
from sampan.api.resources import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, PODS
from sampan.api.transport import WatchEvent
from sampan.client import reflector
from sampan.client.client import Client
from sampan.client.http import HttpTransport
from sampan.client.informer import Informer
from sampan.client.kubeconfig import Connection
from sampan.server.app import Server
from sampan.server.config import ServerConfig
from sampan.store.memory import MemoryStore

#: revisions that were before the test, and that no history reaches
FORGOTTEN = 5
WITH_VIEW, REMOTE = ["fake with a view", "real in process"], ["fake", "real by HTTP"]


@asynccontextmanager
async def opened(which: str, new_fake_api: Any) -> AsyncIterator[Client]:
    if which.startswith("fake"):
        fake = new_fake_api(in_process=which in WITH_VIEW)
        fake.revision = fake.compacted = FORGOTTEN
        yield Client(fake)
        return
    store = MemoryStore()
    for _ in range(FORGOTTEN):
        await store.commit("/elsewhere", None, b"x")
    await store.compact(FORGOTTEN)
    config = ServerConfig(
        bind_address="127.0.0.1", port=0, listen=which in REMOTE, bootstrap=False, openapi=False,
        authorization_modes=("AlwaysAllow",), disable_admission_plugins=("ServiceAccount",),
    )  # fmt: skip
    async with Server(config, store=store) as server:
        local = server.local_transport()
        for name in ("default", "other"):
            await Client(local).create(NAMESPACES, {"metadata": {"name": name}})
        if which in WITH_VIEW:
            yield Client(local)
            return
        transport = HttpTransport(Connection(server.url))
        try:
            yield Client(transport)
        finally:
            await transport.close()


@pytest.fixture(params=[*WITH_VIEW, *REMOTE])
async def client(request: pytest.FixtureRequest, new_fake_api: Any) -> AsyncIterator[Client]:
    async with opened(request.param, new_fake_api) as made:
        yield made


@pytest.fixture(params=WITH_VIEW)
async def seen(request: pytest.FixtureRequest, new_fake_api: Any) -> AsyncIterator[Client]:
    """A client that may look into the server's cache."""
    async with opened(request.param, new_fake_api) as made:
        yield made


@pytest.fixture(params=REMOTE)
async def remote(request: pytest.FixtureRequest, new_fake_api: Any) -> AsyncIterator[Client]:
    """A client that may not: its informers list and watch."""
    async with opened(request.param, new_fake_api) as made:
        yield made


def config_map(name: str, namespace: str = "default", **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"},
        "metadata": {"name": name, "namespace": namespace, **({"labels": labels} if labels else {})},
    }  # fmt: skip


def pod(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "i"}], **spec},
    }  # fmt: skip


def deployment(replicas: int = 1) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "default"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "x"}}, "template": template},
    }  # fmt: skip


async def make(client: Client, *objects: dict[str, Any]) -> list[dict[str, Any]]:
    return [await client.create(CONFIG_MAPS, obj) for obj in objects]


def names(page: dict[str, Any]) -> list[str]:
    return [obj["metadata"]["name"] for obj in page["items"]]


def revision(obj: dict[str, Any]) -> int:
    return int(obj["metadata"]["resourceVersion"])


# -- writes --------------------------------------------------------------------------------------------------------


async def test_a_created_object_has_an_identity_and_is_read_back_the_same(client: Client) -> None:
    made = await client.create(CONFIG_MAPS, {"metadata": {"name": "a"}, "data": {"k": "v"}}, "default")
    meta = made["metadata"]
    assert meta["namespace"] == "default" and meta["uid"] and meta["creationTimestamp"] and revision(made) > 0
    assert (made["kind"], made["apiVersion"]) == ("ConfigMap", "v1")
    assert await client.get(CONFIG_MAPS, "a", "default") == made


async def test_what_a_caller_was_given_is_its_own(client: Client) -> None:
    made = (await make(client, config_map("a")))[0]
    made["data"]["a"] = "mine"
    (await client.get(CONFIG_MAPS, "a", "default"))["data"]["a"] = "mine too"
    (await client.list(CONFIG_MAPS))["items"][0]["data"]["a"] = "mine as well"
    assert (await client.get(CONFIG_MAPS, "a", "default"))["data"] == {"a": "1"}


async def test_names_are_made_from_a_prefix_and_none_twice(client: Client) -> None:
    body = {"metadata": {"generateName": "x-"}}
    made = {(await client.create(CONFIG_MAPS, body, "default"))["metadata"]["name"] for _ in range(3)}
    assert len(made) == 3 and all(name.startswith("x-") for name in made)


async def test_a_second_object_of_that_name_already_exists(client: Client) -> None:
    await make(client, config_map("a"), config_map("a", "other"))
    with pytest.raises(AlreadyExists):
        await make(client, config_map("a"))


async def test_what_is_absent_is_not_found_by_any_verb(client: Client) -> None:
    for work in (
        client.get(CONFIG_MAPS, "a", "default"),
        client.update(CONFIG_MAPS, config_map("a")),
        client.patch(CONFIG_MAPS, "a", {"data": {"a": "2"}}, "default"),
        client.delete(CONFIG_MAPS, "a", "default"),
    ):
        with pytest.raises(NotFound):
            await work


async def test_an_update_holds_to_the_version_it_was_read_at(client: Client) -> None:
    [old] = await make(client, config_map("a"))
    new = await client.update(CONFIG_MAPS, {**old, "data": {"a": "2"}})
    assert revision(new) > revision(old)
    with pytest.raises(Conflict):
        await client.update(CONFIG_MAPS, {**old, "data": {"a": "3"}})
    last = await client.update(CONFIG_MAPS, {**config_map("a"), "data": {"a": "4"}})
    assert last["data"] == {"a": "4"} and last["metadata"]["uid"] == old["metadata"]["uid"]


async def test_a_write_that_changes_nothing_keeps_the_version(client: Client) -> None:
    [old] = await make(client, config_map("a"))
    assert await client.update(CONFIG_MAPS, old) == old
    assert await client.patch(CONFIG_MAPS, "a", {"data": {"a": "1"}}, "default") == old


async def test_a_merge_patch_adds_replaces_and_removes(client: Client) -> None:
    await make(client, config_map("a", app="x"))
    patched = await client.patch(
        CONFIG_MAPS, "a", {"data": {"a": None, "b": "2"}, "metadata": {"labels": {"app": "y"}}}, "default"
    )
    assert (patched["data"], patched["metadata"]["labels"]) == ({"b": "2"}, {"app": "y"})


async def test_a_patch_of_another_version_conflicts_and_one_of_another_object_is_invalid(client: Client) -> None:
    [made] = await make(client, config_map("a"))
    version, uid = made["metadata"]["resourceVersion"], made["metadata"]["uid"]
    for meta, error in (
        ({"resourceVersion": "1"}, Conflict),
        ({"resourceVersion": "1", "uid": "another"}, Conflict),
        ({"resourceVersion": version, "uid": "another"}, Invalid),
        ({"uid": "another"}, Invalid),
    ):
        with pytest.raises(error):
            await client.patch(CONFIG_MAPS, "a", {"metadata": meta, "data": {"a": "2"}}, "default")
    pinned = {"metadata": {"resourceVersion": version, "uid": uid}, "data": {"a": "2"}}
    assert (await client.patch(CONFIG_MAPS, "a", pinned, "default"))["data"] == {"a": "2"}


async def test_status_and_the_rest_are_written_apart(client: Client) -> None:
    made = await client.create(DEPLOYMENTS, deployment())
    both = {**made, "status": {"replicas": 3}, "spec": {**made["spec"], "replicas": 9}}
    after = await client.update_status(DEPLOYMENTS, both)
    assert (after["status"]["replicas"], after["spec"]["replicas"]) == (3, 1)
    after = await client.update(DEPLOYMENTS, {**after, "status": {"replicas": 7}})
    assert after["status"]["replicas"] == 3


async def test_the_generation_counts_changes_of_the_spec_only(client: Client) -> None:
    made = await client.create(DEPLOYMENTS, deployment())
    made = await client.patch(DEPLOYMENTS, "d", {"metadata": {"labels": {"a": "b"}}}, "default")
    made = await client.patch(DEPLOYMENTS, "d", {"status": {"replicas": 2}}, "default", subresource="status")
    assert made["metadata"]["generation"] == 1
    made = await client.patch(DEPLOYMENTS, "d", {"spec": {"replicas": 2}}, "default")
    assert made["metadata"]["generation"] == 2


# -- deletions -----------------------------------------------------------------------------------------------------


async def test_a_deletion_of_another_object_of_that_name_conflicts(client: Client) -> None:
    await make(client, config_map("a"))
    with pytest.raises(Conflict):
        await client.delete(CONFIG_MAPS, "a", "default", uid="another")
    await client.delete(CONFIG_MAPS, "a", "default")
    with pytest.raises(NotFound):
        await client.get(CONFIG_MAPS, "a", "default")


async def test_a_finalizer_keeps_a_deleted_object_until_it_is_taken_off(client: Client) -> None:
    held = config_map("a")
    held["metadata"]["finalizers"] = ["example.com/hold"]
    [made] = await make(client, held)
    await client.delete(CONFIG_MAPS, "a", "default")
    kept = await client.get(CONFIG_MAPS, "a", "default")
    assert kept["metadata"]["deletionTimestamp"] and revision(kept) > revision(made)
    await client.patch(CONFIG_MAPS, "a", {"metadata": {"finalizers": None}}, "default")
    with pytest.raises(NotFound):
        await client.get(CONFIG_MAPS, "a", "default")


@pytest.mark.parametrize(("policy", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")])
async def test_a_deletion_that_waits_for_dependents_is_a_finalizer(client: Client, policy: Any, finalizer: str) -> None:
    await client.create(DEPLOYMENTS, deployment())
    await client.delete(DEPLOYMENTS, "d", "default", propagation=policy)
    assert (await client.get(DEPLOYMENTS, "d", "default"))["metadata"]["finalizers"] == [finalizer]


async def test_a_pod_on_a_node_has_its_grace_and_one_on_none_goes_at_once(client: Client) -> None:
    await client.create(PODS, pod("free"))
    await client.delete(PODS, "free", "default")
    with pytest.raises(NotFound):
        await client.get(PODS, "free", "default")
    await client.create(PODS, pod("bound", nodeName="n1"))
    await client.delete(PODS, "bound", "default", grace_period_seconds=7)
    meta = (await client.get(PODS, "bound", "default"))["metadata"]
    assert meta["deletionTimestamp"] and meta["deletionGracePeriodSeconds"] == 7
    await client.delete(PODS, "bound", "default", grace_period_seconds=0)
    with pytest.raises(NotFound):
        await client.get(PODS, "bound", "default")


# -- lists ---------------------------------------------------------------------------------------------------------


async def test_a_list_is_in_the_order_of_keys_and_of_one_namespace_or_all(client: Client) -> None:
    made = await make(client, config_map("b"), config_map("a", "other"), config_map("a"))
    everything = await client.list(CONFIG_MAPS)
    assert [(o["metadata"]["namespace"], o["metadata"]["name"]) for o in everything["items"]] == [
        ("default", "a"), ("default", "b"), ("other", "a"),
    ]  # fmt: skip
    assert (everything["kind"], everything["apiVersion"]) == ("ConfigMapList", "v1")
    assert revision(everything) >= revision(made[-1])
    assert names(await client.list(CONFIG_MAPS, "default")) == ["a", "b"]
    assert names(await client.list(CONFIG_MAPS, "nowhere")) == []


@pytest.mark.parametrize(
    ("labels", "fields", "found"),
    [
        ("app=x", "", ["a", "b"]),
        ("app in (y,z)", "", ["c"]),
        ("!app", "", ["d"]),
        ("app=x,tier!=front", "", ["b"]),
        ("", "metadata.name=a", ["a"]),
        ("app=x", "metadata.name!=a,metadata.namespace=default", ["b"]),
    ],
)
async def test_a_list_selects_by_labels_and_fields(client: Client, labels: str, fields: str, found: list[str]) -> None:
    await make(
        client,
        config_map("a", app="x", tier="front"),
        config_map("b", app="x"),
        config_map("c", app="y"),
        config_map("d"),
    )
    assert names(await client.list(CONFIG_MAPS, label_selector=labels, field_selector=fields)) == found


async def test_a_pod_is_found_by_its_node_and_phase(client: Client) -> None:
    await client.create(PODS, pod("a", nodeName="n1"))
    await client.create(PODS, pod("b"))
    assert names(await client.list(PODS, field_selector="spec.nodeName=n1")) == ["a"]
    assert names(await client.list(PODS, field_selector="spec.nodeName=")) == ["b"]


async def test_pages_are_of_one_revision_whatever_is_written_between_them(client: Client) -> None:
    await make(client, *(config_map(f"c{number}") for number in range(5)))
    first = await client.list(CONFIG_MAPS, limit=2)
    await make(client, config_map("c00"), config_map("c9"))
    await client.delete(CONFIG_MAPS, "c3", "default")
    second = await client.list(CONFIG_MAPS, limit=2, continue_token=first["metadata"]["continue"])
    third = await client.list(CONFIG_MAPS, limit=2, continue_token=second["metadata"]["continue"])
    assert [names(page) for page in (first, second, third)] == [["c0", "c1"], ["c2", "c3"], ["c4"]]
    assert {revision(page) for page in (first, second, third)} == {revision(first)}
    assert first["metadata"]["remainingItemCount"] == 3
    assert "continue" not in third["metadata"] and "remainingItemCount" not in third["metadata"]


async def test_a_page_of_a_selection_is_full_and_does_not_count_what_remains(client: Client) -> None:
    await make(client, *(config_map(f"c{number}", odd=str(number % 2)) for number in range(6)))
    first = await client.list(CONFIG_MAPS, label_selector="odd=1", limit=2)
    assert names(first) == ["c1", "c3"] and "remainingItemCount" not in first["metadata"]
    rest = await client.list(CONFIG_MAPS, label_selector="odd=1", limit=2, continue_token=first["metadata"]["continue"])
    assert names(rest) == ["c5"]


async def test_a_collection_is_deleted_in_its_namespace(client: Client) -> None:
    await make(client, config_map("a"), config_map("b"), config_map("a", "other"))
    await client.raw("DELETE", CONFIG_MAPS.path("default"))
    assert [obj["metadata"]["namespace"] for obj in (await client.list(CONFIG_MAPS))["items"]] == ["other"]


# -- watches -------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def watching(client: Client, *where: Any, **how: Any) -> AsyncIterator[Any]:
    """``take(3)`` gives the next three events, bookmarks left out, as (type, name)."""
    async with client.watch(CONFIG_MAPS, *where, **how) as events:

        async def take(count: int) -> list[tuple[str, str]]:
            return [(event.type, event.object["metadata"]["name"]) for event in await _next(events, count)]

        yield take


async def _next(events: AsyncIterator[WatchEvent], count: int) -> list[WatchEvent]:
    found: list[WatchEvent] = []
    async with asyncio.timeout(15):
        while len(found) < count:
            event = await anext(events)
            if event.type == "ERROR":
                raise from_status(int(event.object["code"]), event.object)
            if event.type != "BOOKMARK":
                found.append(event)
    return found


async def test_a_watch_goes_on_where_a_list_ended(client: Client) -> None:
    await make(client, config_map("a"))
    at = (await client.list(CONFIG_MAPS))["metadata"]["resourceVersion"]
    await make(client, config_map("b"))
    async with watching(client, resource_version=at) as take:
        assert await take(1) == [("ADDED", "b")]
        await client.patch(CONFIG_MAPS, "a", {"data": {"a": "2"}}, "default")
        await client.delete(CONFIG_MAPS, "b", "default")
        assert await take(2) == [("MODIFIED", "a"), ("DELETED", "b")]


async def test_a_watch_without_a_version_begins_with_what_is_there(client: Client) -> None:
    await make(client, config_map("b"), config_map("a"))
    async with watching(client) as take:
        assert sorted(await take(2)) == [("ADDED", "a"), ("ADDED", "b")]
        await make(client, config_map("c"))
        assert await take(1) == [("ADDED", "c")]


async def test_a_deleted_object_is_told_with_the_version_of_its_end(client: Client) -> None:
    [made] = await make(client, config_map("a"))
    async with client.watch(CONFIG_MAPS, resource_version=str(revision(made))) as events:
        await client.delete(CONFIG_MAPS, "a", "default")
        [event] = await _next(events, 1)
    assert event.type == "DELETED" and event.object["data"] == {"a": "1"} and revision(event.object) > revision(made)


async def test_a_watch_of_a_namespace_hears_of_no_other(client: Client) -> None:
    [first] = await make(client, config_map("x"))
    async with watching(client, "other", resource_version=str(revision(first))) as take:
        await make(client, config_map("a"), config_map("b", "other"))
        await client.delete(CONFIG_MAPS, "a", "default")
        await client.delete(CONFIG_MAPS, "b", "other")
        assert await take(2) == [("ADDED", "b"), ("DELETED", "b")]


async def test_a_watch_by_label_sees_objects_come_into_the_selection_and_leave_it(client: Client) -> None:
    _, first = await make(client, config_map("a"), config_map("b", app="y"))
    async with watching(client, resource_version=str(revision(first)), label_selector="app=x") as take:
        for value in ("x", "x", "z"):
            patch = {"metadata": {"labels": {"app": value}}, "data": {"a": value}}
            await client.patch(CONFIG_MAPS, "a", patch, "default")
        await client.patch(CONFIG_MAPS, "b", {"metadata": {"labels": {"app": "x"}}}, "default")
        assert await take(3) == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "b")]


async def test_a_watch_by_name_hears_of_that_object_only(client: Client) -> None:
    at = (await client.list(CONFIG_MAPS))["metadata"]["resourceVersion"]
    async with watching(client, resource_version=at, field_selector="metadata.name=b") as take:
        await make(client, config_map("a"), config_map("b"), config_map("c"))
        await client.delete(CONFIG_MAPS, "b", "default")
        assert await take(2) == [("ADDED", "b"), ("DELETED", "b")]


async def test_a_position_that_is_no_more_is_told_as_expired(client: Client) -> None:
    with pytest.raises(Expired):
        async with client.watch(CONFIG_MAPS, resource_version="1") as events:
            await _next(events, 1)


async def test_a_view_shows_what_lists_show_and_tells_of_changes_in_order(seen: Client) -> None:
    view = seen.cache_view(CONFIG_MAPS)
    assert view is not None
    await make(seen, config_map("a"), config_map("b"))
    told: list[tuple[str, str, bool, bool]] = []

    def changed(kind: str, obj: Any, previous: Any, at: int) -> None:
        told.append((kind, obj["metadata"]["name"], previous is not None, revision(obj) == at == view.revision()))

    stop = view.subscribe(changed)
    await seen.patch(CONFIG_MAPS, "a", {"data": {"a": "2"}}, "default")
    await make(seen, config_map("c"))
    await seen.delete(CONFIG_MAPS, "b", "default")
    stop()
    await make(seen, config_map("unheard"))
    assert told == [("MODIFIED", "a", True, True), ("ADDED", "c", False, True), ("DELETED", "b", True, True)]
    assert [obj["metadata"]["name"] for obj in view.objects()] == ["a", "c", "unheard"]
    found = view.get("default", "a")
    assert found is not None and found["data"] == {"a": "2"} and view.get("default", "b") is None


async def test_another_process_has_no_view(remote: Client) -> None:
    assert remote.cache_view(CONFIG_MAPS) is None


# -- reflectors, over those without a view -------------------------------------------------------------------------


@asynccontextmanager
async def running(informer: Informer) -> AsyncIterator[Informer]:
    task = asyncio.ensure_future(informer.run())
    try:
        await informer.synced()
        yield informer
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_reflector_reads_all_pages_and_then_follows(remote: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflector, "PAGE_SIZE", 3)
    calls: list[str] = []
    call = remote.transport.call

    async def noted(what: Any) -> Any:
        if what.method == "GET":
            calls.append(what.query.get("continue", "") and "more")
        return await call(what)

    monkeypatch.setattr(remote.transport, "call", noted)
    await make(remote, *(config_map(f"c{number}") for number in range(8)))
    async with running(Informer(remote, CONFIG_MAPS)) as informer:
        assert calls == ["", "more", "more"]
        assert sorted(obj["metadata"]["name"] for obj in informer.list()) == [f"c{number}" for number in range(8)]
        assert all(obj["kind"] == "ConfigMap" and obj["apiVersion"] == "v1" for obj in informer.list())
        last = await remote.create(CONFIG_MAPS, config_map("later"))
        await informer.wait_for(revision(last))
        assert informer.get("default", "later") is not None


async def test_what_changes_between_two_pages_is_heard_after_them(
    remote: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reflector, "PAGE_SIZE", 2)
    call, last = remote.transport.call, 0
    await make(remote, *(config_map(f"c{number}") for number in range(4)))

    async def between(what: Any) -> Any:
        nonlocal last
        answer = await call(what)
        if what.method == "GET" and "continue" not in what.query:
            await remote.delete(CONFIG_MAPS, "c0", "default")
            await remote.delete(CONFIG_MAPS, "c3", "default")
            last = revision(await remote.create(CONFIG_MAPS, config_map("c00")))
        return answer

    monkeypatch.setattr(remote.transport, "call", between)
    async with running(Informer(remote, CONFIG_MAPS)) as informer:
        await informer.wait_for(last)
        assert sorted(obj["metadata"]["name"] for obj in informer.list()) == ["c00", "c1", "c2"]


async def test_a_list_whose_pages_have_expired_is_begun_anew(remote: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflector, "PAGE_SIZE", 2)
    monkeypatch.setattr(reflector, "BACKOFF_BASE_SECONDS", 0.001)
    call, refused = remote.transport.call, 0
    await make(remote, *(config_map(f"c{number}") for number in range(4)))

    async def expiring(what: Any) -> Any:
        nonlocal refused
        if what.query.get("continue") and refused < 2:
            refused += 1
            raise Expired("the continue token is too old")
        return await call(what)

    monkeypatch.setattr(remote.transport, "call", expiring)
    async with running(Informer(remote, CONFIG_MAPS)) as informer:
        assert len(informer.list()) == 4 and refused == 2


async def test_a_reflector_of_a_selection_holds_the_selection(remote: Client) -> None:
    await make(remote, config_map("a", app="x"), config_map("b", app="y"))
    async with running(Informer(remote, CONFIG_MAPS, label_selector="app=x")) as informer:
        await remote.patch(CONFIG_MAPS, "a", {"metadata": {"labels": {"app": "z"}}}, "default")
        await remote.create(CONFIG_MAPS, config_map("other"))
        last = await remote.patch(CONFIG_MAPS, "b", {"metadata": {"labels": {"app": "x"}}}, "default")
        await informer.wait_for(revision(last))
        assert [obj["metadata"]["name"] for obj in informer.list()] == ["b"]
