"""The process of a SQLite store is killed (-9) again and again, while clients write and read and a watcher follows."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from linearizability_clients import Recorder, Watcher, judge, work

from sampan.store.protocol import Change, Entry, OutcomeUnknown, RevisionConflict, StoreUnavailable

RUNS = int(os.environ.get("SAMPAN_LINEARIZABILITY_RUNS", "1"))
FIRST = int(os.environ.get("SAMPAN_LINEARIZABILITY_FIRST", "0"))
KILLS = 5
PROGRAM = Path(__file__).with_name("sqlite_program.py")

pytestmark = pytest.mark.timeout(120 + RUNS * 30)


class Remote:
    """The store of whichever process runs now. What a death cuts off has an unknown outcome if it is a write."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: asyncio.subprocess.Process | None = None
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._ids = itertools.count()
        self._reading: asyncio.Task[None] | None = None
        self._there = asyncio.Event()

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, PROGRAM, self._directory, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            limit=1 << 24,
        )  # fmt: skip
        self._reading = asyncio.create_task(self._read(self._process))
        self._there.set()

    async def kill(self) -> None:
        assert self._process is not None and self._reading is not None
        self._there.clear()
        self._process.kill()
        await self._process.wait()
        await self._reading  # what it had answered counts
        for waiting in self._waiting.values():
            waiting.set_exception(OutcomeUnknown("the process was killed"))
        self._waiting.clear()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            if not line.endswith(b"\n"):
                return
            said = json.loads(line)
            self._waiting.pop(said["id"]).set_result(said)

    async def ask(self, **words: Any) -> Any:
        await self._there.wait()
        assert self._process is not None and self._process.stdin is not None
        number = next(self._ids)
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._process.stdin.write(json.dumps({"id": number, **words}).encode() + b"\n")
            said = await waiting
        except ConnectionError as error:
            raise OutcomeUnknown(str(error)) from error
        if "conflict" in said:
            raise RevisionConflict(words["key"], words["expected"] or 0, said["conflict"])
        if "error" in said:
            raise StoreUnavailable(said["error"])
        return said["ok"]

    async def get(self, key: str) -> Entry | None:
        return _entry(await self.ask(do="get", key=key))

    async def commit(self, key: str, expected: int | None, value: bytes | None) -> int:
        text = None if value is None else value.decode()
        made: int = await self.ask(do="commit", key=key, expected=expected, value=text)
        return made

    async def changes(self, after: int) -> list[Change]:
        found = await self.ask(do="changes", after=after)
        return [Change(key, at, _entry(entry), _entry(previous)) for key, at, entry, previous in found]

    def add_listener(self, prefix: str, listener: Any, missed: Any = None) -> None:
        """A watcher of this store is told by ``follow``."""


def _entry(said: Any) -> Entry | None:
    return None if said is None else Entry(said[0], said[1].encode(), said[2], said[3])


async def follow(remote: Remote, watcher: Watcher, stop: asyncio.Event) -> None:
    """As a client that watches, loses its server and goes on from what it saw last."""
    while not stop.is_set():
        try:
            found = await remote.changes(watcher.seen[-1].revision if watcher.seen else 0)
        except StoreUnavailable:
            continue
        for change in found:
            watcher._tell(change)
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("seed", range(FIRST, FIRST + RUNS))
async def test_no_write_is_lost_no_read_is_stale_and_watchers_see_all_of_it_once(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    recorder, stop = Recorder(), asyncio.Event()
    remote = Remote(tmp_path / "store")
    await remote.start()
    try:
        watcher = Watcher(remote)
        async with asyncio.TaskGroup() as group:
            for number in range(5):
                group.create_task(work(recorder, lambda: remote, random.Random(f"{seed} {number}"), stop))
            group.create_task(follow(remote, watcher, stop))
            for _ in range(KILLS):
                enough = len(recorder.acknowledged) + rng.randrange(1, 60)
                while len(recorder.acknowledged) < enough:  # noqa: ASYNC110 (the clients' doing)
                    await asyncio.sleep(0.001 * rng.random())
                await remote.kill()
                await remote.start()
            stop.set()
        history: list[Change] = []
        while page := await remote.changes(history[-1].revision if history else 0):
            history += page
        for change in await remote.changes(watcher.seen[-1].revision if watcher.seen else 0):
            watcher._tell(change)
        judge(recorder, history, [watcher])
    finally:
        await remote.kill()
