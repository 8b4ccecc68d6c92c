"""Measures the stores: durable commits, lists, start-up, watch fan-out, memory. Usage: ``python bench/store.py [dir]``.

The peer in the same run is a plain ``sqlite3`` loop with one durable transaction a row: what the disk allows. Processor
time is the process's, both threads together; what a commit costs beside a busy loop is what is left once the same loop
without a store is taken off.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

import orjson
import uvloop

from sampan.api.clock import SystemClock
from sampan.store.cache import WatchCache
from sampan.store.footprint import trim
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


class Follower:
    """Takes batches as a connection's stream does, but for the sending."""

    def __init__(self) -> None:
        self.batches = 0

    def push(self, batch: bytes) -> None:
        self.batches += 1


def new_cache(store: Any) -> WatchCache:
    return WatchCache(store, PREFIX, lambda obj: (obj["metadata"]["labels"], {}), lambda value, _: orjson.loads(value))


async def channels(followers: int, a_turn: int, changes: int = 5000) -> None:
    """What an event costs with and without followers, ``a_turn`` of them in each turn of the loop."""
    store = MemoryStore(history_limit=100)
    cache = new_cache(store)
    await cache.start()

    async def change() -> float:
        start = time.process_time()
        for n in range(changes):
            await store.commit(f"{PREFIX}default/p{n % 50}", None, VALUE, note=OBJECT)
            if n % a_turn == a_turn - 1:
                await asyncio.sleep(0)
        return (time.process_time() - start) / changes * 1e6

    plain = min([await change() for _ in range(3)])
    channel = cache.channel("all", None, None, None, lambda event: event.entry.value)
    for _ in range(followers):
        channel.join(Follower(), cache.revision)
    each = (min([await change() for _ in range(3)]) - plain) / followers
    print(
        f"{f'channel: {followers} followers, {a_turn} changes a turn':<44}{plain:>12.1f} us an event, + {each:.3f} each"
    )


async def beside_a_busy_loop(store: Any, clients: int) -> None:
    """Processor time of a commit while the loop has 100 µs or so of other work for each."""

    async def load(commit: Callable[[str], Awaitable[Any]] | None) -> tuple[float, list[float]]:
        waits: list[float] = []

        async def client(number: int) -> None:
            for n in range(20):
                for _ in range(2000):
                    pass
                begun = time.perf_counter()
                if commit is not None:
                    await commit(f"{PREFIX}busy/{n * 7919 % 1009:04}-{number:03}")
                await asyncio.sleep(0)
                waits.append(time.perf_counter() - begun)

        start = time.process_time()
        await asyncio.gather(*(client(number) for number in range(clients)))
        return (time.process_time() - start) / len(waits) * 1e6, waits

    costs: list[float] = []
    waits: list[float] = []
    for _ in range(20):
        without, _ = await load(None)
        with_store, waited = await load(lambda key: store.commit(key, None, VALUE))
        costs.append(with_store - without)
        waits += waited
    name = f"sqlite: beside a busy loop, {clients} clients"
    print(f"{name:<44}{median(costs):>12.0f} us of processor a commit, p50 {median(waits) * 1000:.1f} ms")


def resident() -> float:
    gc.collect()
    trim()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


async def memory(store: Any, entries: int) -> None:
    """What is resident with so many entries, and once they have come and gone."""
    before = resident()
    cache = new_cache(store)
    await cache.start()
    keys = [f"{PREFIX}m{n % 20}/pod-{n:06}" for n in range(entries)]

    async def each(*, present: bool) -> None:
        for at in range(0, entries, 100):
            values = [VALUE[:-1] + b"}" if present else None for _ in range(100)]  # each a copy of its own
            pairs = zip(keys[at : at + 100], values, strict=True)
            await asyncio.gather(*(store.commit(key, None, value) for key, value in pairs))

    for _ in range(3):
        await each(present=True)
    full = resident()
    await each(present=False)
    print(
        f"{f'memory: {entries} entries written 3 times':<44}{full - before:>12.0f} MiB, {resident() - before:.0f} left"
        f" once they are gone; their bytes: {entries * len(VALUE) / 2**20:.0f}"
    )
    cache.close()
    await store.close()


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
    await memory(await SqliteStore.open(directory / "memory", clock=SystemClock()), count)
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
    cache = new_cache(store)
    await timed("cache: start", entries, cache.start)
    await timed("cache: list", entries, lambda: _list(cache))
    await fan_out(store, cache, 100, 1000)
    for clients in (8, 32):
        await beside_a_busy_loop(store, clients)
    cache.close()
    await store.close()
    for a_turn in (1, 20):
        await channels(200, a_turn)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")


async def _list(cache: WatchCache) -> bytes:
    return b",".join([entry.value for entry in cache.entries()])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as made:
        uvloop.run(main(Path(made)))
