"""Writers, readers and watchers of several API servers, each as a client that retries, and what they were promised.

Every object is one writer's own, who counts in it; so an acknowledged write that is lost shows as a number that goes
back. Watchers keep every event; afterwards the store says which there were.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sampan.api.errors import AlreadyExists, ApiError, Conflict, Expired, from_status
from sampan.api.resources import CONFIG_MAPS
from sampan.client import tasks
from sampan.client.client import Client
from sampan.client.http import HttpTransport
from sampan.client.kubeconfig import Connection
from sampan.client.servers import Servers

NAMESPACE = "default"
#: a client that retries does so after so long
PAUSE_SECONDS = 0.1


class ServerProcess:
    """``url`` stays the same over its lives."""

    def __init__(self, number: int, endpoints: Sequence[str], log: Path) -> None:
        self._number, self._endpoints, self._log = number, endpoints, log
        self.process: asyncio.subprocess.Process | None = None
        self.url = ""

    async def start(self) -> None:
        port = self.url.rpartition(":")[2] or "0"
        program = str(Path(__file__).with_name("server_process.py"))
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, program, str(self._number), port, ",".join(self._endpoints), str(self._log.parent),
                stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            self.url = (await self.process.stdout.readline()).decode().strip()
        assert self.url, f"the server did not start:\n{self._log.read_text()[-3000:]}"

    async def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


@asynccontextmanager
async def servers(count: int, endpoints: Sequence[str], directory: Path) -> AsyncIterator[list[ServerProcess]]:
    started = [ServerProcess(number + 1, endpoints, directory / f"server{number}.log") for number in range(count)]
    try:
        await started[0].start()
        await asyncio.gather(*(each.start() for each in started[1:]))
        yield started
    finally:
        for each in started:
            await each.kill()


@dataclass
class Seen:
    """``gap_seconds``: the longest that a client got nothing done."""

    writes: int = 0
    reads: int = 0
    gap_seconds: float = 0.0
    unknown: int = 0
    #: of each object the last number that was acknowledged
    acknowledged: dict[str, int] = field(default_factory=dict)
    #: of each watcher, what it was told: revision, name, number
    told: dict[str, list[tuple[int, str, int]]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


class Load:
    def __init__(self, urls: Sequence[str]) -> None:
        self._urls, self.seen = urls, Seen()
        self._transports: list[HttpTransport] = []
        self._stop = asyncio.Event()

    def client(self, place: str) -> Client:
        transport = HttpTransport(Connection(self._urls[0]), servers=Servers(self._urls, place=place))
        self._transports.append(transport)
        return Client(transport)

    @asynccontextmanager
    async def running(self, writers: int, readers: int, watchers: int) -> AsyncIterator[Seen]:
        """Ends when its writers have ended and its watchers have been told of the last write."""
        names = [f"c{number}" for number in range(writers)]
        listed = [asyncio.Event() for _ in range(watchers)]
        watching = [asyncio.ensure_future(self._watch(f"watcher-{n}", event)) for n, event in enumerate(listed)]
        for event in listed:  # so that they see every write
            await event.wait()
        working = [asyncio.ensure_future(self._write(name)) for name in names]
        working += [asyncio.ensure_future(self._read(f"reader-{number}", names)) for number in range(readers)]
        try:
            yield self.seen
            self._stop.set()
            await asyncio.gather(*working)
            async with asyncio.timeout(20):
                while any(self._last(told) != self.seen.acknowledged for told in self.seen.told.values()):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        finally:
            await tasks.cancel_and_wait(*working, *watching)
            await self.close()

    async def close(self) -> None:
        for transport in self._transports:
            await transport.close()

    @staticmethod
    def _last(told: list[tuple[int, str, int]]) -> dict[str, int]:
        return {name: number for _, name, number in told}

    def _did(self, since: float) -> float:
        now = asyncio.get_running_loop().time()
        self.seen.gap_seconds = max(self.seen.gap_seconds, now - since)
        return now

    async def _write(self, name: str) -> None:
        """Counts in an object of its own; of a write whose end it does not know it asks what became of it."""
        client, seen = self.client(name), self.seen
        obj, number, done = None, 0, asyncio.get_running_loop().time()
        while not self._stop.is_set():
            try:
                if obj is None:
                    body = {"metadata": {"name": name, "namespace": NAMESPACE}, "data": {"n": "0"}}
                    obj = await client.create(CONFIG_MAPS, body)
                else:
                    obj = await client.update(CONFIG_MAPS, {**obj, "data": {"n": str(number + 1)}})
                    number += 1
                seen.acknowledged[name] = number
                seen.writes += 1
                done = self._did(done)
            except ApiError as error:
                seen.unknown += 1
                if not isinstance(error, Conflict | AlreadyExists):
                    await asyncio.sleep(PAUSE_SECONDS)
                obj, found = await self._found(client, name)
                if found not in (number, number + 1) and obj is not None:
                    seen.faults.append(f"{name} counted to {number} and finds {found}: {error.message}")
                number = found
                if obj is not None:
                    seen.acknowledged[name] = number

    async def _found(self, client: Client, name: str) -> tuple[dict[str, object] | None, int]:
        while True:
            try:
                listed = await client.list(CONFIG_MAPS, NAMESPACE, field_selector=f"metadata.name={name}")
            except ApiError:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            for item in listed["items"]:
                item |= {"kind": "ConfigMap", "apiVersion": "v1"}
                return item, int(item["data"]["n"])
            return None, 0

    async def _read(self, place: str, names: Sequence[str]) -> None:
        """Never finds less than was acknowledged before it asked."""
        client, seen = self.client(place), self.seen
        done = asyncio.get_running_loop().time()
        while not self._stop.is_set():
            for name in names:
                if name not in seen.acknowledged:
                    await asyncio.sleep(0.01)
                    continue
                before = seen.acknowledged[name]
                try:
                    found = int((await client.get(CONFIG_MAPS, name, NAMESPACE))["data"]["n"])
                except ApiError:
                    await asyncio.sleep(PAUSE_SECONDS)
                    continue
                seen.reads += 1
                done = self._did(done)
                if found < before:
                    seen.faults.append(f"{place} finds {name} at {found} though {before} was acknowledged")

    async def _watch(self, place: str, begun: asyncio.Event) -> None:
        """Lists once, and from then on only watches, at whichever server there is."""
        client, told = self.client(place), self.seen.told.setdefault(place, [])
        listed = await client.list(CONFIG_MAPS, NAMESPACE)
        position = listed["metadata"]["resourceVersion"]
        begun.set()
        while True:
            try:
                async with client.watch(CONFIG_MAPS, NAMESPACE, resource_version=position) as events:
                    async for event in events:
                        if event.type == "ERROR":
                            raise from_status(int(event.object["code"]), event.object)
                        position = event.object["metadata"]["resourceVersion"]
                        if event.type == "BOOKMARK" or event.object["metadata"]["name"] == "acts":
                            continue
                        told.append((int(position), event.object["metadata"]["name"], int(event.object["data"]["n"])))
            except Expired as error:
                self.seen.faults.append(f"{place} had to list again: {error.message}")
                return
            except ApiError:
                await asyncio.sleep(PAUSE_SECONDS)
