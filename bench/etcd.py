"""Measures the store on etcd: commits, reads, and how long writers wait when the leader is killed.

    python bench/etcd.py [dir]       one member and three, on the disk of the directory

The peer in the same run is etcd alone: the same puts by the same gRPC library, without transactions, outcomes or notes;
and SQLite, one machine's store. All on one machine: three members share its disk, and its processors.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop
from api_load.etcd_member import members

from sampan.api.clock import SystemClock
from sampan.store.etcd.client import Client
from sampan.store.etcd.pb import etcd_pb2 as pb
from sampan.store.etcd.settings import EtcdSettings
from sampan.store.etcd.store import EtcdStore
from sampan.store.sqlite import SqliteStore

VALUE = b"x" * 1100
SECONDS = 3.0
PUT, RANGE, STATUS = "/etcdserverpb.KV/Put", "/etcdserverpb.KV/Range", "/etcdserverpb.Maintenance/Status"


async def rate(name: str, workers: int, do: Callable[[str], Awaitable[Any]]) -> None:
    """As many as there is time for; processor time is this process's."""
    loop = asyncio.get_running_loop()
    end = loop.time() + SECONDS
    waits: list[float] = []

    async def work(worker: int) -> None:
        number = 0
        while loop.time() < end:
            begun = time.perf_counter()
            await do(f"/registry/core/configmaps/ns{worker:03}/{number % 500:05}")
            waits.append(time.perf_counter() - begun)
            number += 1

    cpu = time.process_time()
    await asyncio.gather(*(work(worker) for worker in range(workers)))
    cpu = time.process_time() - cpu
    waits.sort()
    print(
        f"{name:<46}{len(waits) / SECONDS:>9,.0f}/s  p50 {waits[len(waits) // 2] * 1000:>7.2f} ms  "
        f"p99 {waits[len(waits) * 99 // 100] * 1000:>7.2f} ms  {cpu / len(waits) * 1e6:>6.0f} us CPU",
        flush=True,
    )


async def etcd_rows(folder: Path, count: int) -> None:
    with members(folder, count) as made:
        settings = EtcdSettings(endpoints=made.endpoints)
        bare = Client(settings)
        store = await EtcdStore.open(settings, clock=SystemClock())
        what = f"etcd, {count} member{'s' if count > 1 else ''}"

        async def put(key: str) -> None:
            await bare.call(PUT, pb.PutRequest(key=b"/bare" + key.encode(), value=VALUE))

        async def read(key: str) -> None:
            await bare.call(RANGE, pb.RangeRequest(key=b"/bare" + key.encode()))

        for workers in (1, 16, 100):
            await rate(f"{what}: bare puts, {workers} at once", workers, put)
            await rate(f"{what}: commits, {workers} at once", workers, lambda key: store.commit(key, None, VALUE))
        for workers in (1, 16):
            await rate(f"{what}: bare linearizable reads, {workers} at once", workers, read)
            await rate(f"{what}: gets, {workers} at once", workers, lambda key: store.get(key))
            await rate(f"{what}: sync, {workers} at once", workers, lambda key: store.sync())
        begun = time.perf_counter()
        found = await store.range("/registry/")
        print(f"{what}: list of {len(found.entries)} entries{'':<6}{(time.perf_counter() - begun) * 1000:.0f} ms")
        if count > 1:
            await kill_leader(made, bare, store)
        await bare.close()
        await store.close()


async def kill_leader(made: Any, bare: Client, store: EtcdStore) -> None:
    """The longest that any of 16 writers waited."""
    loop = asyncio.get_running_loop()
    waits: list[float] = []
    stop = asyncio.Event()

    async def write(worker: int) -> None:
        while not stop.is_set():
            begun = loop.time()
            await store.commit(f"/registry/core/configmaps/fail/{worker}", None, VALUE)
            waits.append(loop.time() - begun)

    writers = [asyncio.ensure_future(write(worker)) for worker in range(16)]
    await asyncio.sleep(1)
    for endpoint, process in zip(made.endpoints, made.processes, strict=True):
        status = await bare.call(STATUS, pb.StatusRequest(), member=endpoint)
        if status.leader == status.header.member_id:
            process.kill()
            break
    await asyncio.sleep(6)
    stop.set()
    await asyncio.gather(*writers)
    print(f"etcd, 3 members: leader killed, longest wait of a writer {max(waits):.2f} s, no error", flush=True)


async def main(folder: Path) -> None:
    print(f"{len(VALUE)} bytes a value, in {folder}")
    sqlite = await SqliteStore.open(folder / "sqlite", clock=SystemClock())
    for workers in (1, 16, 100):
        await rate(f"SQLite: commits, {workers} at once", workers, lambda key: sqlite.commit(key, None, VALUE))
    await sqlite.close()
    for count in (1, 3):
        await etcd_rows(folder / f"etcd-{count}", count)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as name:
        uvloop.run(main(Path(name)))
