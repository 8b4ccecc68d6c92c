"""Caches that have not been told yet, as they are with a store elsewhere: nothing is refused, answered or left undone
because of what they do not know."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sampan.api.errors import AlreadyExists, Conflict, NotFound
from sampan.store.cache import WatchCache
from sampan.testing.yielding import LateStore

from .test_writes import CONFIGMAPS, ROLES

PATH = f"{CONFIGMAPS}/a"


@pytest.fixture
async def held(start: Any) -> AsyncIterator[Any]:
    """A server whose caches know the ConfigMap ``a`` with ``n`` 1, and nothing of what comes after."""
    store = LateStore(5)
    async with start(store, servers=1) as cluster:
        await cluster("POST", CONFIGMAPS, {"metadata": {"name": "a"}, "data": {"n": "1"}})
        await store.sync()
        store.held = True
        yield cluster
        store.held = False


async def released(cluster: Any) -> None:
    """Some turns later the caches are told."""
    for _ in range(random.Random(1).randrange(30)):
        await asyncio.sleep(0)
    cluster.store.held = False


async def test_a_write_that_changes_nothing_the_cache_knows_of_is_done_all_the_same(held: Any) -> None:
    await held.merge(PATH, {"data": {"n": "2"}})
    again = await held.merge(PATH, {"data": {"n": "1"}})
    assert int(again["metadata"]["resourceVersion"]) == held.store.revision
    assert b'"n":"1"' in (await held.store.get("/registry/core/configmaps/ns/a")).value


async def test_a_dry_run_shows_what_the_write_would_make_of_the_newest_state(held: Any) -> None:
    written = await held.merge(PATH, {"data": {"n": "2"}})
    shown = await held.merge(PATH, {"data": {"m": "3"}}, dryRun="All")
    assert shown["data"] == {"n": "2", "m": "3"}
    assert shown["metadata"]["resourceVersion"] == written["metadata"]["resourceVersion"]


async def test_who_pins_what_he_was_answered_is_not_told_that_it_is_old(held: Any) -> None:
    for n in range(4):
        seen = await held.merge(PATH, {"data": {"n": str(n)}})
        await held("PUT", PATH, {**seen, "data": {"n": "x"}})


async def test_what_was_just_made_can_be_changed_evicted_and_deleted(held: Any) -> None:
    await held("POST", CONFIGMAPS, {"metadata": {"name": "b"}})
    await held.merge(f"{CONFIGMAPS}/b", {"data": {"n": "1"}})
    await held("DELETE", f"{CONFIGMAPS}/b")
    with pytest.raises(NotFound):
        await held("DELETE", f"{CONFIGMAPS}/b")


async def test_a_namespace_that_was_just_made_can_be_filled(held: Any) -> None:
    await held("POST", "/api/v1/namespaces", {"metadata": {"name": "new"}})
    await held("POST", "/api/v1/namespaces/new/configmaps", {"metadata": {"name": "a"}})


async def test_a_name_that_was_just_given_up_can_be_taken_and_is_another_object(held: Any) -> None:
    old = (await held.merge(PATH, {"data": {"n": "2"}}))["metadata"]["uid"]
    await held("DELETE", PATH)
    new = (await held("POST", CONFIGMAPS, {"metadata": {"name": "a"}}))["metadata"]["uid"]
    assert new != old
    with pytest.raises(Conflict):
        await held("DELETE", PATH, {"preconditions": {"uid": old}})
    with pytest.raises(AlreadyExists):
        await held("POST", CONFIGMAPS, {"metadata": {"name": "a"}})
    await held("DELETE", PATH, {"preconditions": {"uid": new}})


async def test_a_pinned_write_to_what_is_gone_is_not_found(held: Any) -> None:
    seen = await held.merge(PATH, {"data": {"n": "2"}})
    await held("DELETE", PATH)
    with pytest.raises(NotFound):
        await held("PUT", PATH, seen)


async def test_a_second_delete_is_of_the_object_that_is_there_now(held: Any) -> None:
    """The cache shows one that is going; the one that took its name is not."""
    held.store.held = False
    await held.merge(PATH, {"metadata": {"finalizers": ["example.com/wait"]}})
    await held("DELETE", PATH)
    await held.store.sync()
    held.store.held = True
    await held.merge(PATH, {"metadata": {"finalizers": None}})
    await held("POST", CONFIGMAPS, {"metadata": {"name": "a"}})
    await held("DELETE", PATH)
    assert await held.store.get("/registry/core/configmaps/ns/a") is None


async def test_an_update_makes_what_is_missing_and_changes_what_was_just_made(held: Any) -> None:
    for said in ("1", "2"):
        await held("PUT", f"{ROLES}/r", {"metadata": {"name": "r", "annotations": {"n": said}}})
    await held("DELETE", f"{ROLES}/r")
    made = await held("PUT", f"{ROLES}/r", {"metadata": {"name": "r", "annotations": {"n": "3"}}})
    assert made["metadata"]["annotations"] == {"n": "3"}


@pytest.mark.parametrize("query", [{}, {"limit": "5"}, {"labelSelector": "x!=y"}], ids=str)
async def test_reads_without_a_resource_version_wait_for_the_cache(held: Any, query: dict[str, str]) -> None:
    await held.merge(PATH, {"data": {"n": "2"}})
    seen, listed, _ = await asyncio.gather(held("GET", PATH), held("GET", CONFIGMAPS, **query), released(held))
    assert seen["data"] == {"n": "2"}
    assert [item["data"] for item in listed["items"]] == [{"n": "2"}]
    assert int(listed["metadata"]["resourceVersion"]) == held.store.revision


async def test_a_read_at_a_revision_waits_until_the_cache_has_it(held: Any) -> None:
    version = (await held.merge(PATH, {"data": {"n": "2"}}))["metadata"]["resourceVersion"]
    seen, _ = await asyncio.gather(held("GET", PATH, resourceVersion=version), released(held))
    assert seen["data"] == {"n": "2"}


async def test_a_read_of_any_version_is_answered_at_once_and_says_how_old_it_is(held: Any) -> None:
    written = await held.merge(PATH, {"data": {"n": "2"}})
    listed = await held("GET", CONFIGMAPS, resourceVersion="0")
    assert listed["items"][0]["data"] == {"n": "1"}
    assert int(listed["metadata"]["resourceVersion"]) < int(written["metadata"]["resourceVersion"])


async def test_a_cache_that_began_with_a_state_is_not_taken_back_by_what_it_hears_late() -> None:
    committed = asyncio.Event()

    class SlowToRead(LateStore):
        async def range(self, *args: Any, **kwargs: Any) -> Any:
            await committed.wait()
            return await super().range(*args, **kwargs)

    store = SlowToRead(3)
    store.held = True
    cache = WatchCache(store, "/x/", lambda obj: ({}, {}), lambda value, revision: {"value": value})
    starting = asyncio.ensure_future(cache.start())
    await asyncio.sleep(0)  # it listens, and has not read yet
    for n in range(3):
        await store.commit("/x/a", None, str(n).encode())
    committed.set()
    await starting
    told: list[object] = []
    cache.subscribe(lambda *change: told.append(change), keep=False)
    store.held = False
    await cache.barrier()
    assert told == []
    entry = cache.get("/x/a")
    assert entry is not None
    assert (entry.value, cache.version()) == (b"2", entry.revision)


async def test_the_revision_of_a_cache_is_its_own_progress() -> None:
    store = LateStore(3)
    cache = WatchCache(store, "/x/", lambda obj: ({}, {}), lambda value, revision: {"value": value})
    await cache.start()
    store.held = True
    watch = cache.watch()
    await store.commit("/x/a", 0, b"1")
    await store.commit("/y/a", 0, b"1")
    assert (store.revision, cache.revision, watch.position) == (2, 0, 0)
    store.held = False
    assert await cache.barrier() == cache.revision == 2
    watch.close()
