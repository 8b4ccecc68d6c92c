"""Lists and watches: resourceVersion, pages, selectors, bookmarks, expiry, forms."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sampan.api.resources import CONFIG_MAPS

pytestmark = pytest.mark.every_store

CMS = "/api/v1/namespaces/default/configmaps"


async def make(api: Any, *names: str, **labels: str) -> list[dict[str, Any]]:
    return [(await api("POST", CMS, {"metadata": {"name": name, "labels": labels}})).obj for name in names]


def names(answer: Any) -> list[str]:
    return [item["metadata"]["name"] for item in answer.obj["items"]]


async def take(events: Any, count: int) -> list[tuple[str, str]]:
    """The type and name of the next events."""
    found = []
    async for event in events:
        found.append((event["type"], event["object"]["metadata"].get("name", "")))
        if len(found) == count:
            break
    return found


async def test_a_list_is_in_key_order_with_the_revision_of_the_snapshot(api: Any) -> None:
    made = await make(api, "b", "a")
    answer = await api("GET", CMS)
    assert names(answer) == ["a", "b"]
    assert answer.obj["kind"] == "ConfigMapList"
    assert answer.obj["metadata"]["resourceVersion"] == made[1]["metadata"]["resourceVersion"]
    assert "kind" not in answer.obj["items"][0]


async def test_pages_are_of_one_revision_whatever_happens_meanwhile(api: Any) -> None:
    await make(api, "a", "b", "c", "d")
    first = await api("GET", f"{CMS}?limit=2")
    assert (names(first), first.obj["metadata"]["remainingItemCount"]) == (["a", "b"], 2)
    await make(api, "bb")
    token = first.obj["metadata"]["continue"]
    second = await api("GET", f"{CMS}?limit=2&continue={token}")
    assert names(second) == ["c", "d"]
    assert second.obj["metadata"] == {"resourceVersion": first.obj["metadata"]["resourceVersion"]}


async def test_a_selector_hides_the_remaining_count(api: Any) -> None:
    await make(api, "a", "b", x="y")
    await make(api, "c")
    first = await api("GET", f"{CMS}?limit=1&labelSelector=x%3Dy")
    assert (names(first), "remainingItemCount" in first.obj["metadata"]) == (["a"], False)
    token = first.obj["metadata"]["continue"]
    await make(api, "aa", x="y")
    assert names(await api("GET", f"{CMS}?limit=5&labelSelector=x%3Dy&continue={token}")) == ["b"]


async def test_a_compacted_continue_offers_an_inconsistent_one(api: Any) -> None:
    await make(api, "a", "b", "c")
    first = await api("GET", f"{CMS}?limit=1")
    await make(api, "bb")
    await api.server.store.compact(api.server.store.revision)
    expired = await api("GET", f"{CMS}?limit=1&continue={first.obj['metadata']['continue']}")
    assert (expired.status, expired.reason) == (410, "Expired")
    rest = await api("GET", f"{CMS}?continue={expired.obj['metadata']['continue']}")
    assert names(rest) == ["b", "bb", "c"]


async def test_exact_revisions_and_compacted_ones(api: Any) -> None:
    (made,) = await make(api, "a")
    await make(api, "b")
    version = made["metadata"]["resourceVersion"]
    await api("GET", CMS)  # the newest: from here on the server cannot know less
    assert names(await api("GET", f"{CMS}?resourceVersion={version}&resourceVersionMatch=Exact")) == ["a"]
    assert names(await api("GET", f"{CMS}?resourceVersion={version}&limit=5")) == ["a"]
    assert names(await api("GET", f"{CMS}?resourceVersion={version}")) == ["a", "b"]
    assert names(await api("GET", f"{CMS}?resourceVersion=0&limit=1")) == ["a", "b"]
    await api.server.store.compact(api.server.store.revision)
    gone = await api("GET", f"{CMS}?resourceVersion={version}&resourceVersionMatch=Exact")
    assert (gone.status, gone.reason) == (410, "Expired")


async def test_a_future_revision_is_504_with_its_cause(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampan.server.rest.get.FUTURE_WAIT_SECONDS", 0.01)
    for url in (f"{CMS}?resourceVersion=99999", f"{CMS}/a?resourceVersion=99999"):
        answer = await api("GET", url)
        assert (answer.status, answer.causes[0][0]) == (504, "ResourceVersionTooLarge")
        assert answer.headers["Retry-After"] == "1"


async def test_field_selectors(api: Any) -> None:
    await make(api, "a", "b")
    assert names(await api("GET", f"{CMS}?fieldSelector=metadata.name%3Da")) == ["a"]
    assert names(
        await api("GET", "/api/v1/configmaps?fieldSelector=metadata.name!%3Da,metadata.namespace%3Ddefault")
    ) == ["b"]


async def test_table_and_partial_metadata(api: Any) -> None:
    await make(api, "a")
    table = (await api("GET", CMS, accept="application/json;as=Table;v=v1;g=meta.k8s.io,application/json")).obj
    assert (table["kind"], table["rows"][0]["cells"][0]) == ("Table", "a")
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    partial = (await api("GET", CMS, accept="application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")).obj
    assert (partial["kind"], partial["items"][0]["metadata"]["name"]) == ("PartialObjectMetadataList", "a")
    one = (await api("GET", f"{CMS}/a", accept="application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io")).obj
    assert one.keys() == {"kind", "apiVersion", "metadata"}


async def test_yaml_and_pretty_answers(api: Any) -> None:
    await make(api, "a")
    assert "kind: ConfigMap" in (await api("GET", f"{CMS}/a", accept="application/yaml")).obj
    for url, agent in ((f"{CMS}/a?pretty=true", "x"), (f"{CMS}/a", "curl/8")):
        response = await api.server.handler(api.request("GET", url, user_agent=agent))
        assert b'\n  "kind": "ConfigMap"' in response.body


async def test_a_watch_sends_the_present_then_changes(api: Any) -> None:
    await make(api, "a")
    events = api.watch(f"{CMS}?watch=1")
    assert await take(events, 1) == [("ADDED", "a")]
    await api("DELETE", f"{CMS}/a")
    await events.aclose()


async def test_a_watch_from_a_revision_sends_what_came_after(api: Any) -> None:
    (made,) = await make(api, "a")
    await make(api, "b")
    await api("DELETE", f"{CMS}/b")
    events = api.watch(f"{CMS}?watch=1&resourceVersion={made['metadata']['resourceVersion']}")
    assert await take(events, 2) == [("ADDED", "b"), ("DELETED", "b")]
    await events.aclose()


async def test_leaving_the_selector_is_deleted_and_entering_added(api: Any) -> None:
    (made,) = await make(api, "a", x="y")
    for value in ("z", "y"):
        patch = {"metadata": {"labels": {"x": value}}}
        await api("PATCH", f"{CMS}/a", patch, content_type="application/merge-patch+json")
    start = made["metadata"]["resourceVersion"]
    events = api.watch(f"{CMS}?watch=1&labelSelector=x%3Dy&resourceVersion={start}")
    assert await take(events, 2) == [("DELETED", "a"), ("ADDED", "a")]
    await events.aclose()


async def test_a_node_watches_the_pods_that_are_bound_to_it_and_no_others(api: Any) -> None:
    pods = "/api/v1/namespaces/default/pods"
    (made,) = await make(api, "before")
    start = made["metadata"]["resourceVersion"]
    url = f"/api/v1/pods?watch=1&fieldSelector=spec.nodeName%3D{{}}&resourceVersion={start}"
    watches = {node: api.watch(url.format(node)) for node in ("n1", "n2")}
    live = {node: asyncio.ensure_future(take(events, 2)) for node, events in watches.items()}
    for node in ("n2", "n1"):
        pod = {"metadata": {"name": f"on-{node}"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        await api("POST", pods, pod)
        await api("POST", f"{pods}/on-{node}/binding", {"target": {"kind": "Node", "name": node}})
        await api("DELETE", f"{pods}/on-{node}?gracePeriodSeconds=0")
    assert {node: await task for node, task in live.items()} == {
        node: [("ADDED", f"on-{node}"), ("DELETED", f"on-{node}")] for node in watches
    }
    for events in watches.values():
        await events.aclose()


@pytest.mark.parametrize(
    "url", ["/api/v1/watch/namespaces/default/configmaps/a", f"{CMS}?watch=1&fieldSelector=metadata.name%3Da"]
)
async def test_both_ways_to_watch_one_object(api: Any, url: str) -> None:
    await make(api, "b", "a")
    events = api.watch(url)
    assert await take(events, 1) == [("ADDED", "a")]
    await events.aclose()


async def test_a_watch_from_a_compacted_revision_is_one_error_event(api: Any) -> None:
    (made,) = await make(api, "a")
    await make(api, "b", "c")
    cache = api.server.surface.by_resource(CONFIG_MAPS).storage.cache
    await cache.barrier()
    cache._ring.clear()
    cache._ring_floor = api.server.store.revision
    await api.server.store.compact(api.server.store.revision)
    found = [e async for e in api.watch(f"{CMS}?watch=1&resourceVersion={made['metadata']['resourceVersion']}")]
    assert [(e["type"], e["object"]["code"], e["object"]["reason"]) for e in found] == [("ERROR", 410, "Expired")]


async def test_a_streaming_list_ends_with_its_bookmark(api: Any) -> None:
    await make(api, "a", "b")
    url = f"{CMS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    found = []
    events = api.watch(url)
    async for event in events:
        found.append(event)
        if event["type"] == "BOOKMARK":
            break
    await events.aclose()
    assert [e["type"] for e in found] == ["ADDED", "ADDED", "BOOKMARK"]
    assert found[-1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert found[-1]["object"]["metadata"]["resourceVersion"] == str(api.server.store.revision)


async def test_a_watch_ends_cleanly_at_its_timeout_after_a_bookmark(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampan.server.watching.LAST_BOOKMARK_SECONDS", 0.95)
    await make(api, "a")
    await api("GET", CMS)  # so that the server need not catch up first
    url = f"{CMS}?watch=1&timeoutSeconds=1&allowWatchBookmarks=true&resourceVersion={api.server.store.revision}"
    async with asyncio.timeout(15):
        assert [e["type"] async for e in api.watch(url)] == ["BOOKMARK"]


async def test_a_watch_can_be_a_table(api: Any) -> None:
    await make(api, "a", "b")
    found = []
    events = api.watch(f"{CMS}?watch=1", accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    async for event in events:
        found.append(event["object"])
        if len(found) == 2:
            break
    await events.aclose()
    assert [bool(t["columnDefinitions"]) for t in found] == [True, False]
    assert [t["rows"][0]["cells"][0] for t in found] == ["a", "b"]
