"""Three members of etcd are killed, paused, cut off, their disks filled, while clients of three servers write and read.

SAMPAN_LINEARIZABILITY_RUNS=50 makes so many seeded runs, from SAMPAN_LINEARIZABILITY_FIRST on; the suite has one. Those
of even seeds count from far above etcd's own revisions, as a store that was moved there does.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from etcd_machines import Machine, Machines, running_machines
from linearizability_clients import Recorder, Watcher, judge, work

from sampan.api.clock import SystemClock
from sampan.store.archive.etcdside import EtcdSide
from sampan.store.etcd.client import Client
from sampan.store.etcd.layout import Layout
from sampan.store.etcd.settings import EtcdSettings
from sampan.store.etcd.store import EtcdStore
from sampan.store.protocol import Change, StoreUnavailable

RUNS = int(os.environ.get("SAMPAN_LINEARIZABILITY_RUNS", "1"))
FIRST = int(os.environ.get("SAMPAN_LINEARIZABILITY_FIRST", "0"))
SECONDS = 3.0
CALL_SECONDS = 8.0

pytestmark = pytest.mark.timeout(120 + RUNS * 40)

_prefixes = (f"/run{number}" for number in itertools.count())


@pytest.fixture
async def machines(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Machines]:
    async with running_machines(tmp_path_factory.mktemp("members")) as made:
        yield made


async def test_no_write_is_lost_no_read_is_stale_and_watchers_see_all_of_it_once(machines: Machines) -> None:
    written = 0
    for seed in range(FIRST, FIRST + RUNS):
        try:
            written += await _run(machines, seed)
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
    assert written > 10 * RUNS, "hardly anything was written: the runs show nothing"


async def _run(machines: Machines, seed: int) -> int:
    """How many writes were acknowledged."""
    rng = random.Random(seed)
    recorder, stop = Recorder(), asyncio.Event()
    prefix = next(_prefixes)
    if seed % 2 == 0:
        await _count_from(EtcdSettings(endpoints=machines.endpoints, prefix=prefix), 3_000_000_000)
    async with AsyncExitStack() as stack:
        stores = [await _open(stack, machines, prefix, shift) for shift in range(3)]
        start = stores[0].revision
        watchers = [Watcher(store) for store in stores]
        await asyncio.gather(*(store.sync() for store in stores))
        async with asyncio.TaskGroup() as group:
            for number in range(5):
                store = stores[number % 3]
                group.create_task(work(recorder, lambda store=store: store, random.Random(f"{seed} {number}"), stop))
            for number, watcher in enumerate(watchers):
                group.create_task(watcher.read(recorder, random.Random(f"{seed} watcher {number}"), stop))
            await _break(machines, rng)
            stop.set()
        await asyncio.to_thread(machines.wait_ready)
        for store in stores:
            end = await _synced(store)
        history = await _history(stores[0], start, end)
        judge(recorder, history, watchers)
    print(f"seed {seed}: {len(recorder.history)} operations, {recorder.unknown} of unknown outcome")  # noqa: T201
    return len(recorder.acknowledged)


async def _count_from(settings: EtcdSettings, revision: int) -> None:
    client = Client(settings)
    await EtcdSide(client, Layout(settings.prefix)).claim(b"{}", None, revision)
    await client.close()


async def _open(stack: AsyncExitStack, machines: Machines, prefix: str, shift: int) -> EtcdStore:
    """Each begins with another member."""
    endpoints = machines.endpoints[shift:] + machines.endpoints[:shift]
    settings = EtcdSettings(endpoints=endpoints, prefix=prefix, call_seconds=CALL_SECONDS)
    store = await EtcdStore.open(settings, clock=SystemClock())
    stack.push_async_callback(store.close)
    return store


async def _synced(store: EtcdStore) -> int:
    for _ in range(5):
        try:
            return await store.sync()
        except StoreUnavailable:
            continue
    return await store.sync()


async def _history(store: EtcdStore, start: int, end: int) -> list[Change]:
    """From etcd itself, not from what this process was told."""
    found: list[Change] = []
    store._ring.floor = end
    while page := await store.changes("/", found[-1].revision if found else start, end, 200):
        found += page
    return found


async def _break(machines: Machines, rng: random.Random) -> None:
    """What goes wrong, one after the other; everything is mended in the end."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + SECONDS
    while loop.time() < deadline:
        await asyncio.sleep(rng.uniform(0.2, 0.6))
        # Mostly one: the others go on. Two: nothing can be written until one is back.
        victims = rng.sample(machines.machines, 1 if rng.random() < 0.8 else 2)
        fault = rng.choice(("kill", "pause", "cut", "disk"))
        for victim in victims:
            await asyncio.to_thread(_hurt, victim, fault)
        await asyncio.sleep(rng.uniform(0.3, 1.5))
        for victim in victims:
            await asyncio.to_thread(_mend, machines, victim, fault)


def _hurt(machine: Machine, fault: str) -> None:
    if fault == "kill":
        machine.kill()
    elif fault == "pause":
        machine.send(signal.SIGSTOP)
    elif fault == "cut":
        machine.cut()
    else:
        machine.fill_disk()


def _mend(machines: Machines, machine: Machine, fault: str) -> None:
    if fault == "pause":
        machine.send(signal.SIGCONT)
    elif fault == "cut":
        machine.join()
    elif fault == "disk":  # it may have died of it, or does when it needs more
        machine.kill()
        machine.free_disk()
    if fault in ("kill", "disk"):
        machines.start(machine)
