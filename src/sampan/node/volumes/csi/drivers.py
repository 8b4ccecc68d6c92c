"""The drivers that are registered on this node, and calls to them: awaited on the event loop, or from a thread.

A call from a thread is made on the event loop, and ends with it: whatever is closed or cancelled there fails the call.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from pathlib import Path
from typing import Any, Final

from sampan.client import tasks
from sampan.csi.client import DriverClient
from sampan.csi.errors import Uncertain
from sampan.node.plugins import paths
from sampan.records import dataclass

_DEADLINE_SECONDS: Final = 120.0
#: how often a thread looks whether there still is a loop, and for how long beyond the deadline
_LOOK_SECONDS: Final = 1.0
_LOOKS: Final = 150


class NotRegistered(LookupError):
    def __init__(self, name: str) -> None:
        super().__init__(f"driver name {name} not found in the list of registered CSI drivers")


@dataclass(frozen=True, slots=True)
class Driver:
    name: str
    client: DriverClient
    #: of its node service
    capabilities: frozenset[str]
    #: the socket by which it registered
    socket: Path
    #: the node's root: here, and as the driver sees it
    root: Path
    seen_root: Path

    def seen(self, path: Path) -> str:
        return paths.as_seen(path, self.root, self.seen_root)

    def can(self, capability: str) -> bool:
        return capability in self.capabilities


class Drivers:
    def __init__(self) -> None:
        self._drivers: dict[str, Driver] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._closed = False

    def get(self, name: str) -> Driver:
        """Raises NotRegistered."""
        driver = self._drivers.get(name)
        if driver is None:
            raise NotRegistered(name)
        return driver

    def all(self) -> list[Driver]:
        return list(self._drivers.values())

    async def add(self, driver: Driver) -> None:
        """In place of another one of that name."""
        self._loop = asyncio.get_running_loop()
        before = self._drivers.get(driver.name)
        self._drivers[driver.name] = driver
        if before is not None:
            await before.client.close()

    async def remove(self, name: str, socket: Path) -> bool:
        """Whether there was one that this socket had registered."""
        driver = self._drivers.get(name)
        if driver is None or driver.socket != socket:
            return False
        del self._drivers[name]
        await driver.client.close()
        return True

    async def close(self) -> None:
        """Calls that are under way fail, and so does every later one."""
        self._closed = True
        await tasks.cancel_and_wait(*self._calls)
        drivers, self._drivers = self._drivers, {}
        for driver in drivers.values():
            await driver.client.close()

    def call(self, driver: Driver, method: str, request: Any) -> Any:
        """From a thread: ``NodePublishVolume`` and the like. Raises DriverError."""
        answer: concurrent.futures.Future[Any] = concurrent.futures.Future()
        if self._loop is None or self._closed:
            raise _ended()
        try:
            self._loop.call_soon_threadsafe(self._begin, driver, method, request, answer)
        except RuntimeError:  # the loop is closed
            raise _ended() from None
        for _ in range(_LOOKS):
            try:
                return answer.result(_LOOK_SECONDS)
            except TimeoutError:
                if self._loop.is_closed():
                    raise _ended() from None
        raise Uncertain("DeadlineExceeded", "context deadline exceeded")

    def _begin(self, driver: Driver, method: str, request: Any, answer: concurrent.futures.Future[Any]) -> None:
        """On the loop."""
        if self._closed:
            answer.set_exception(_ended())
            return
        task = tasks.detach(self._ask(driver, method, request, answer), f"{driver.name} {method}")
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _ask(self, driver: Driver, method: str, request: Any, answer: concurrent.futures.Future[Any]) -> None:
        try:
            answer.set_result(await driver.client.node(method, request, _DEADLINE_SECONDS))
        except asyncio.CancelledError:
            answer.set_exception(_ended())
            raise
        except Exception as error:  # the thread's matter, whatever it is
            answer.set_exception(error)


def _ended() -> Uncertain:
    return Uncertain("Canceled", "the node agent ends")
