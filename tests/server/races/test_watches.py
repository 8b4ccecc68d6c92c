"""Watches that begin at any acknowledged revision while others write: each sees every later change of what it selects,
once and in order, whatever way it takes from the store's history over the cache's memory to the shared channel."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from sampan.api.errors import ApiError
from sampan.api.resources import CONFIG_MAPS
from sampan.api.transport import Call
from sampan.testing.yielding import LateStore

from .history import History, Obj
from .test_writes import CONFIGMAPS, NAMES, PREFIX

Wanted = Callable[[Obj], bool]
SELECTIONS: tuple[tuple[str, Wanted], ...] = (
    ("", lambda obj: True),
    ("&labelSelector=x%3Dy", lambda obj: obj["metadata"].get("labels", {}).get("x") == "y"),
    ("&labelSelector=x%21%3Dy", lambda obj: obj["metadata"].get("labels", {}).get("x") != "y"),
    ("&fieldSelector=metadata.name%3Da", lambda obj: obj["metadata"]["name"] == "a"),
)


class SlowStream:
    """``sampan.server.stream.Stream`` of a peer that reads when it likes."""

    def __init__(self, rng: random.Random, turns: int) -> None:
        self._random, self._turns = rng, turns
        self._on_close: list[Callable[[], None]] = []
        self.closed = False
        self.lines: list[Any] = []

    def push(self, batch: Any) -> None:
        if not self.closed:
            self.lines += [orjson.loads(line) for line in batch.data.splitlines()]

    async def write(self, data: bytes) -> None:
        for _ in range(self._random.randrange(self._turns)):
            await asyncio.sleep(0)
        if not self.closed:
            self.lines += [orjson.loads(line) for line in data.splitlines()]

    def finish(self) -> None:
        if not self.closed:
            self.closed = True
            for callback in self._on_close:
                callback()

    abort = finish

    def on_close(self, callback: Callable[[], None]) -> None:
        self._on_close.append(callback)


@dataclass
class Watcher:
    """``start`` None: whatever is there comes first."""

    start: int | None
    wanted: Wanted
    stream: SlowStream
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def events(self) -> list[tuple[str, Obj]]:
        return [(line["type"], line["object"]) for line in self.stream.lines]

    def complete(self, expected: list[tuple[str, Obj]], last: list[Obj]) -> bool:
        if self.start is not None:
            return self.events == expected
        return folded(self.events) == {obj["metadata"]["name"]: obj for obj in last}

    async def close(self) -> None:
        self.stream.finish()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


def folded(events: list[tuple[str, Obj]]) -> dict[str, Obj]:
    """What a client that follows the events has in the end; each must make sense to it."""
    known: dict[str, Obj] = {}
    for kind, obj in events:
        name = obj["metadata"]["name"]
        before = known.get(name)
        assert (before is None) == (kind == "ADDED"), (kind, before, obj)
        if before is not None:
            assert int(before["metadata"]["resourceVersion"]) < int(obj["metadata"]["resourceVersion"])
        if kind == "DELETED":
            del known[name]
        else:
            known[name] = obj
    return known


def expected_of(history: History, start: int, wanted: Wanted) -> list[tuple[str, Obj]]:
    found: list[tuple[str, Obj]] = []
    for revision, (key, before, after) in sorted(history.changes.items()):
        if not key.startswith(PREFIX) or revision <= start:
            continue
        was, now = before is not None and wanted(before), after is not None and wanted(after)
        if after is not None and now:
            found.append(("MODIFIED" if was else "ADDED", after))
        elif before is not None and was:
            shown = {**before, "metadata": {**before["metadata"], "resourceVersion": str(revision)}}
            found.append(("DELETED", shown))
    return found


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def write(cluster: Any, rng: random.Random, acknowledged: list[int], steps: int) -> None:
    for _ in range(steps):
        name = rng.choice(NAMES)
        path, labels = f"{CONFIGMAPS}/{name}", {"x": rng.choice("yz")}
        try:
            match rng.randrange(4):
                case 0:
                    answer = await cluster("POST", CONFIGMAPS, {"metadata": {"name": name, "labels": labels}})
                case 1:
                    await cluster("DELETE", path)
                    continue
                case _:
                    body = {"metadata": {"labels": labels}, "data": {"v": str(rng.random())}}
                    answer = await cluster.merge(path, body)
        except ApiError:
            continue
        acknowledged.append(int(answer["metadata"]["resourceVersion"]))


async def watch(cluster: Any, api_of: Any, rng: random.Random, start: int | None) -> Watcher:
    query, wanted = rng.choice(SELECTIONS)
    server = rng.choice(cluster.servers)
    stream = SlowStream(rng, rng.choice((1, 2, 40)))
    watcher = Watcher(start, wanted, stream)
    url = f"{CONFIGMAPS}?watch=1{query}" + (f"&resourceVersion={start}" if start is not None else "")
    if rng.random() < 0.25:
        watcher.tasks.append(asyncio.ensure_future(follow_in_process(server, url, stream)))
        return watcher
    api = api_of(server, None)
    response = await server.handler(api.request("GET", url))
    response.body.start(stream)
    return watcher


async def follow_in_process(server: Any, url: str, stream: SlowStream) -> None:
    path, _, query = url.partition("?")
    named = dict(part.split("=", 1) for part in query.replace("%3D", "=").replace("%21", "!").split("&"))
    async with server.local_transport().watch(Call("GET", path, query=named)) as events:
        async for event in events:
            stream.lines.append({"type": event.type, "object": event.object})


def remember_little(cluster: Any, events: int) -> None:
    """Caches keep so few recent events that watches have to read the store's history, and to do so again."""
    for server in cluster.servers:
        server.surface.by_resource(CONFIG_MAPS).storage.cache._ring._limit = events


@pytest.mark.parametrize("group", range(6))
async def test_every_watch_sees_every_change_once_and_in_order(
    start: Any, open_store: Any, api_of: Any, seeds: Callable[[int], range], group: int
) -> None:
    async with open_store(group) as store, start(store, group) as cluster:
        if group % 2:
            remember_little(cluster, 3)
        for seed in (group * 40 + at for at in seeds(40)):
            cluster.reseed(seed)
            began = store.revision
            acknowledged = [began]
            watchers: list[Watcher] = []

            async def come(rng: random.Random, acknowledged: list[int], watchers: list[Watcher], cluster: Any) -> None:
                for _ in range(4):
                    await turns(rng.randrange(20))
                    since = None if rng.random() < 0.25 else rng.choice(acknowledged[-6:])
                    watchers.append(await watch(cluster, api_of, rng, since))

            writers = [write(cluster, random.Random(f"{seed} {n}"), acknowledged, 6) for n in range(3)]
            comers = [come(random.Random(f"{seed} c{n}"), acknowledged, watchers, cluster) for n in range(2)]
            await asyncio.gather(*writers, *comers)
            history = await History.of(store)
            last = history.under(PREFIX, store.revision)
            for watcher in watchers:
                expected = expected_of(history, watcher.start or 0, watcher.wanted)
                selected = [obj for obj in last if watcher.wanted(obj)]
                for _ in range(400):
                    if watcher.complete(expected, selected):
                        break
                    await turns(10)
                    await store.sync()
                else:
                    raise AssertionError((seed, watcher.start, watcher.events, expected))
            await turns(60)  # for what comes twice
            for watcher in watchers:
                expected = expected_of(history, watcher.start or 0, watcher.wanted)
                assert watcher.complete(expected, [obj for obj in last if watcher.wanted(obj)]), seed
                await watcher.close()


async def test_a_watch_from_a_revision_that_the_cache_has_not_reached_sees_nothing_before_it(
    start: Any, api_of: Any
) -> None:
    store = LateStore(1)
    async with start(store, servers=1) as cluster:
        store.held = True
        made = [
            await cluster("POST", CONFIGMAPS, {"metadata": {"name": name}}) for name in NAMES
        ]  # acknowledged, and the cache knows of none
        response = await cluster.servers[0].handler(
            api_of(cluster.servers[0], None).request(
                "GET", f"{CONFIGMAPS}?watch=1&resourceVersion={made[1]['metadata']['resourceVersion']}"
            )
        )
        stream = SlowStream(random.Random(1), 1)
        response.body.start(stream)
        await turns(20)
        assert stream.lines == []
        store.held = False
        await store.sync()
        await turns(20)
        assert [line["object"]["metadata"]["name"] for line in stream.lines] == ["c"]
        stream.finish()


async def test_a_watch_from_a_future_revision_sees_nothing_until_then(start: Any, open_store: Any, api_of: Any) -> None:
    async with open_store(0) as store, start(store, servers=1) as cluster:
        (server,) = cluster.servers
        url = f"{CONFIGMAPS}?watch=1&resourceVersion={store.revision + 2}"
        response = await server.handler(api_of(server, None).request("GET", url))
        stream = SlowStream(random.Random(1), 1)
        response.body.start(stream)
        await turns(40)
        for name in NAMES:
            await cluster("POST", CONFIGMAPS, {"metadata": {"name": name}})
        await store.sync()
        await turns(40)
        assert [line["object"]["metadata"]["name"] for line in stream.lines] == ["c"]
        stream.finish()
