"""Load on a cluster while parts of it die: one who writes through the API, one who calls a Service. Each notes what it
saw; nobody of them waits longer than for the next answer."""

from __future__ import annotations

import asyncio
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from machines_lab import Machine

from sampan.api.errors import AlreadyExists, ApiError
from sampan.api.resources import CONFIG_MAPS
from sampan.client.client import Client
from sampan.client.http import HttpTransport
from sampan.client.kubeconfig import KubeConfig
from sampan.client.servers import Servers


@dataclass
class Seen:
    """``gap``: the longest time without an answer. ``written``: names of what was acknowledged."""

    gap: float = 0.0
    answers: int = 0
    faults: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    _last: float = field(default_factory=time.monotonic)

    def answered(self) -> None:
        now = time.monotonic()
        self.gap, self._last, self.answers = max(self.gap, now - self._last), now, self.answers + 1

    def fault(self, text: str) -> None:
        self.faults.append(f"{time.monotonic() - self._last:.2f} s after the last answer: {text}")

    def ended(self) -> None:
        self.gap = max(self.gap, time.monotonic() - self._last)


@contextmanager
def running(machine: Machine, *work: object) -> Iterator[None]:
    """Functions of (stop) in threads whose network is the machine's."""
    stop = threading.Event()

    def inside(function: object) -> None:
        with machine.inside():
            function(stop)  # type: ignore[operator]

    threads = [threading.Thread(target=inside, args=(each,), daemon=True) for each in work]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)


@dataclass
class Writer:
    """A client that retries, as client libraries do, with a list of API servers."""

    kubeconfig: Path
    servers: Sequence[str]
    namespace: str
    seen: Seen = field(default_factory=Seen)

    def __call__(self, stop: threading.Event) -> None:
        self.seen = Seen()
        asyncio.run(self._write(stop))
        self.seen.ended()

    async def _write(self, stop: threading.Event) -> None:
        connection = KubeConfig.load(self.kubeconfig).connection()
        client = Client(HttpTransport(connection, servers=Servers(self.servers)))
        number = 0
        while not stop.is_set():
            number += 1
            name = f"w{number}"
            while not stop.is_set():
                try:
                    await client.create(CONFIG_MAPS, {"metadata": {"name": name}, "data": {"a": "b"}}, self.namespace)
                except AlreadyExists:
                    pass  # the answer of the first try was lost
                except ApiError as error:
                    self.seen.fault(f"{type(error).__name__}: {error.message}")
                    await asyncio.sleep(0.05)
                    continue
                self.seen.answered()
                self.seen.written.append(name)
                break
            await asyncio.sleep(0.02)
        await client.close()


@dataclass
class Caller:
    """Asks a URL again and again, over a new connection each time."""

    url: str
    seen: Seen = field(default_factory=Seen)

    def __call__(self, stop: threading.Event) -> None:
        self.seen = Seen()
        while not stop.is_set():
            try:
                with urllib.request.urlopen(self.url, timeout=5) as answer:
                    answer.read()
                self.seen.answered()
            except OSError as error:
                self.seen.fault(str(error))
            stop.wait(0.02)
        self.seen.ended()
