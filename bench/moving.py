"""Backup, restore and moves of a store with 30,000 objects, beside SQLite's own backup and a plain copy.

python bench/moving.py [OBJECTS]
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from sampan.api.clock import SystemClock
from sampan.cluster import instance as instances
from sampan.cluster.etcd import member
from sampan.cluster.instance import Instance, nameless
from sampan.cluster.moving import migrate as moving
from sampan.cluster.moving import restore as restoring
from sampan.cluster.moving.backup import back_up
from sampan.cluster.nodesettings import NodeSettings
from sampan.cluster.settings import ClusterSettings
from sampan.store.sqlite import SqliteStore

T = TypeVar("T")
_TOGETHER = 500


class Silent:
    def step(self, text: str) -> None: ...

    def warn(self, text: str) -> None: ...

    def count(self, done: int, total: int) -> None: ...


def timed(name: str, work: Callable[[], T]) -> T:
    began = time.perf_counter()
    result = work()
    print(f"{name:24} {time.perf_counter() - began:7.2f} s", flush=True)
    return result


async def fill(instance: Instance, count: int) -> None:
    """Values of some two kilobytes, of words that repeat as those of pods do."""
    chance = random.Random(1)
    words = [f"{chance.getrandbits(64):016x}" for _ in range(400)]
    store = await SqliteStore.open(instance.store, clock=SystemClock())

    def value(n: int) -> bytes:
        spec = " ".join(chance.choices(words, k=100))
        return b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"pod-%d"},"spec":"%b"}' % (n, spec.encode())

    for base in range(0, count, _TOGETHER):
        block = range(base, min(base + _TOGETHER, count))
        await asyncio.gather(*(store.commit(f"/registry/core/pods/ns{n % 50}/pod-{n}", 0, value(n)) for n in block))
    await store.close()


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 30_000
    root = Path(tempfile.mkdtemp(prefix="sampan-bench-"))
    clock, silent = SystemClock(), Silent()
    try:
        made = nameless("one", state_root=root / "one", run_root=root / "run")
        node = NodeSettings(name="n1", roles=("control-plane",), simulate="1", simulated_count=1)
        made = replace(made, cluster=ClusterSettings("one"), node=node)
        made.save()
        asyncio.run(fill(made, count))
        database = made.store / "state.db"
        print(f"{count:,} objects, {database.stat().st_size / 1e6:.0f} MB")
        taken = timed("backup", lambda: back_up(made, root / "backup", clock=clock, progress=silent))
        print(f"  {taken.bytes / 1e6:.0f} MB")
        timed("sqlite3 .backup", lambda: _sqlite_backup(database, root / "copy.db"))
        timed("copy and sync", lambda: (shutil.copy(database, root / "plain.db"), os.sync()))
        archive = timed("checking a backup", lambda: restoring.open_archive(root / "backup", silent))
        two = nameless("two", state_root=root / "two", run_root=root / "run2")
        planned = restoring.plan(archive, two, moved=False, certificates=True, force=False)
        timed("restore", lambda: asyncio.run(restoring.restore(planned, clock=clock, progress=silent)))
        if member.program(made) is None:
            return
        for to in ("etcd", "sqlite"):
            now = instances.load("one", state_root=root / "one", run_root=root / "run")
            target = moving.target_of(now, to, {})
            move = moving.migrate(now, target, clock=clock, progress=silent)
            timed(f"move to {to}", lambda move=move: asyncio.run(move))  # type: ignore[misc]  # bound now
    finally:
        shutil.rmtree(root)


def _sqlite_backup(source: Path, target: Path) -> None:
    with sqlite3.connect(source) as one, sqlite3.connect(target) as other:
        one.backup(other)


if __name__ == "__main__":
    main()
