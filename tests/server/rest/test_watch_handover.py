"""From what was read to what is pushed: a watch over HTTP loses nothing on the way, or says that it did."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from sampan.api.resources import CONFIG_MAPS

PATH = "/api/v1/namespaces/default/configmaps"
MERGE = "application/merge-patch+json"
BIG = "x" * 700_000


class SlowStream:
    """A reader that takes nothing until it is let, then all at once."""

    def __init__(self) -> None:
        self.reads = asyncio.Event()
        self.begun = asyncio.Event()
        self.chunks: list[bytes] = []
        self.ended = asyncio.Event()
        self._on_close: list[Any] = []

    @property
    def closed(self) -> bool:
        return self.ended.is_set()

    def push(self, batch: Any) -> None:
        self.chunks.append(batch.data)

    async def write(self, data: bytes) -> None:
        self.begun.set()
        await self.reads.wait()
        self.chunks.append(data)

    def finish(self) -> None:
        if not self.closed:
            self.ended.set()
            for callback in self._on_close:
                callback()

    abort = finish

    def on_close(self, callback: Any) -> None:
        self._on_close.append(callback)

    def events(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in b"".join(self.chunks).splitlines()]


@pytest.fixture
async def streams(api: Any) -> AsyncIterator[Any]:
    opened: list[SlowStream] = []

    async def start(url: str) -> SlowStream:
        response = await api.server.handler(api.request("GET", url))
        stream = SlowStream()
        opened.append(stream)
        response.body.start(stream)
        return stream

    yield start
    for stream in opened:
        stream.finish()


async def turns(count: int = 50) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_resume_past_many_megabytes_gets_every_event(api: Any, streams: Any) -> None:
    version = (await api("POST", PATH, {"metadata": {"name": "first"}})).obj["metadata"]["resourceVersion"]
    for number in range(14):  # more bytes than a watch's queue holds
        await api("POST", PATH, {"metadata": {"name": f"m{number:02}"}, "data": {"k": BIG}})
    stream = await streams(f"{PATH}?watch=1&resourceVersion={version}")
    stream.reads.set()
    await turns(400)
    await api("POST", PATH, {"metadata": {"name": "later"}})
    await turns()
    names = [event["object"]["metadata"]["name"] for event in stream.events()]
    assert names == [f"m{number:02}" for number in range(14)] + ["later"]


async def test_what_overflows_while_a_slow_reader_catches_up_ends_in_410(api: Any, streams: Any) -> None:
    await api("POST", PATH, {"metadata": {"name": "a"}, "data": {"k": "0"}})
    await api("POST", PATH, {"metadata": {"name": "gone"}})
    stream = await streams(f"{PATH}?watch=1")
    await stream.begun.wait()
    for number in range(14):
        await api("PATCH", f"{PATH}/a", {"data": {"k": f"{number}{BIG}"}}, content_type=MERGE)
    await api("DELETE", f"{PATH}/gone")
    stream.reads.set()
    await stream.ended.wait()
    last = stream.events()[-1]
    assert (last["type"], last["object"]["code"], last["object"]["reason"]) == ("ERROR", 410, "Expired")


async def test_what_happens_while_a_slow_reader_catches_up_is_sent_in_order(api: Any, streams: Any) -> None:
    await api("POST", PATH, {"metadata": {"name": "a"}})
    stream = await streams(f"{PATH}?watch=1")
    await stream.begun.wait()
    await api("POST", PATH, {"metadata": {"name": "b"}})
    await api("DELETE", f"{PATH}/a")
    stream.reads.set()
    await turns()
    await api("POST", PATH, {"metadata": {"name": "c"}})
    await turns()
    seen = [(event["type"], event["object"]["metadata"]["name"]) for event in stream.events()]
    assert seen == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "a"), ("ADDED", "c")]


async def test_a_cache_that_is_closed_ends_a_watch_that_catches_up(api: Any, streams: Any) -> None:
    await api("POST", PATH, {"metadata": {"name": "a"}})
    stream = await streams(f"{PATH}?watch=1")
    await stream.begun.wait()
    api.server.watching.stop()
    api.server.surface.by_resource(CONFIG_MAPS).storage.cache.close()
    stream.reads.set()
    await asyncio.wait_for(stream.ended.wait(), 5)


async def test_a_reader_that_only_trickles_has_no_more_time_than_it_asked_for(api: Any, streams: Any) -> None:
    await api("POST", PATH, {"metadata": {"name": "a"}})
    stream = await streams(f"{PATH}?watch=1&timeoutSeconds=1")
    await stream.begun.wait()
    await asyncio.wait_for(stream.ended.wait(), 20)  # takes nothing, ever


async def test_a_bookmark_comes_after_the_events_before_it(api: Any, streams: Any) -> None:
    stream = await streams(f"{PATH}?watch=1&allowWatchBookmarks=1")
    stream.reads.set()
    await turns()
    [pushed] = api.server.watching._pushed
    await api.server.store.commit(
        "/registry/core/configmaps/default/a", 0,
        b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","namespace":"default"}}',
    )  # fmt: skip
    pushed._timer.cancel()
    pushed._tick(True)  # in the same turn of the loop as the change
    _end_of_what_was_there, *events = stream.events()
    assert [event["type"] for event in events] == ["ADDED", "BOOKMARK"]
    assert events[0]["object"]["metadata"]["resourceVersion"] == events[1]["object"]["metadata"]["resourceVersion"]


async def test_a_watch_that_resumes_where_nothing_of_its_own_has_happened_since_is_pushed_to_and_ends_in_time(
    api: Any, streams: Any
) -> None:
    """After a restart of the server: the recent events are gone, and history holds other kinds' changes only."""
    before = api.server.store.revision
    await api("POST", "/api/v1/namespaces", {"metadata": {"name": "another"}})
    cache = api.server.surface.by_resource(CONFIG_MAPS).storage.cache
    cache._ring.start(cache.revision)
    stream = await streams(f"{PATH}?watch=1&allowWatchBookmarks=1&resourceVersion={before}")
    stream.reads.set()
    await turns()
    [pushed] = api.server.watching._pushed
    assert pushed._timer is not None, "it has joined the channel, whose followers get bookmarks and are ended in time"
    pushed._tick(True)
    assert [event["type"] for event in stream.events()] == ["BOOKMARK"]
    await api("POST", PATH, {"metadata": {"name": "a"}})
    await turns()
    assert [event["type"] for event in stream.events()] == ["BOOKMARK", "ADDED"]
