"""Measures the stores: durable commits, lists, start-up, watch fan-out. Usage: ``python bench/store.py [directory]``.

The peer in the same run is a plain ``sqlite3`` loop with one durable transaction a row: what the disk allows.
"""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson

from sampan.api.clock import SystemClock
from sampan.store.cache import WatchCache
from sampan.store.memory import MemoryStore
from sampan.store.sqlite import SqliteStore

OBJECT = {
    "metadata": {"name": "pod", "namespace": "default", "labels": {"app": "web"}, "uid": "0" * 36},
    "spec": {"containers": [{"name": "c", "image": "registry/image:tag", "env": [{"name": "A", "value": "b" * 900}]}]},
}
VALUE = orjson.dumps(OBJECT)
PREFIX = "/registry/core/pods/"


def row(name: str, count: int, seconds: float, unit: str = "/s") -> None:
    print(f"{name:<44}{count / seconds:>12,.0f} {unit:<10}{seconds * 1000:>10,.1f} ms")


def peer(path: Path, count: int) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE t (revision INTEGER PRIMARY KEY, key TEXT, value BLOB)")
    start = time.perf_counter()
    for n in range(count):
        connection.execute("INSERT INTO t (key, value) VALUES (?, ?)", (f"{PREFIX}{n}", VALUE))
    row("raw sqlite3 autocommit (peer)", count, time.perf_counter() - start)
    connection.close()


async def one_by_one(name: str, store: Any, count: int) -> None:
    start = time.perf_counter()
    for n in range(count):
        await store.commit(f"/one/{n % 100:05}", None, VALUE)
    row(f"{name}: commits one by one", count, time.perf_counter() - start)


async def concurrent(name: str, store: Any, count: int, writers: int) -> None:
    async def write(worker: int) -> None:
        for n in range(count // writers):
            await store.commit(f"{PREFIX}ns-{worker:03}/{n:06}", None, VALUE)

    start = time.perf_counter()
    await asyncio.gather(*(write(worker) for worker in range(writers)))
    row(f"{name}: commits by {writers} writers", count, time.perf_counter() - start)


async def timed(name: str, count: int, what: Callable[[], Awaitable[Any]]) -> Any:
    start = time.perf_counter()
    result = await what()
    row(name, count, time.perf_counter() - start)
    return result


async def fan_out(store: Any, cache: WatchCache, watchers: int, changes: int) -> None:
    async def follow(watch: Any) -> None:
        left = changes
        while left:
            left -= len(await anext(watch))

    watches = [cache.watch(from_revision=cache.revision) for _ in range(watchers)]
    followers = [asyncio.ensure_future(follow(watch)) for watch in watches]
    start = time.perf_counter()
    await asyncio.gather(*(store.commit(f"{PREFIX}w/{n}", None, VALUE) for n in range(changes)))
    await asyncio.gather(*followers)
    row(f"cache: {changes} changes to {watchers} watchers", changes * watchers, time.perf_counter() - start)
    for watch in watches:
        watch.close()


async def measure(name: str, store: Any, count: int) -> None:
    await one_by_one(name, store, count // 10)
    await concurrent(name, store, count, 16)
    await concurrent(name, store, count, 100)
    found = await timed(f"{name}: list of {count} entries", count, lambda: store.range(PREFIX))
    assert len(found.entries) >= count
    await timed(f"{name}: list at an older revision", count, lambda: store.range(PREFIX, revision=store.revision - 1))


async def main(directory: Path) -> None:
    count = 10_000
    print(f"{len(VALUE)} bytes an object, in {directory}")
    peer(directory / "peer.db", count // 10)
    await measure("memory", MemoryStore(), count)
    store = await SqliteStore.open(directory / "store", clock=SystemClock())
    await measure("sqlite", store, count)
    entries = len((await store.range("")).entries)
    await store.close()
    store = await timed(
        f"sqlite: start with {entries} entries",
        entries,
        lambda: SqliteStore.open(directory / "store", clock=SystemClock()),
    )
    cache = WatchCache(store, PREFIX, lambda obj: (obj["metadata"]["labels"], {}), lambda value, _: orjson.loads(value))
    await timed("cache: start", entries, cache.start)
    await timed("cache: list", entries, lambda: _list(cache))
    await fan_out(store, cache, 100, 1000)
    await store.close()
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")


async def _list(cache: WatchCache) -> bytes:
    return b",".join([entry.value for entry in cache.entries()])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as made:
        asyncio.run(main(Path(made)))
