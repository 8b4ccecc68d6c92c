"""The drivers that are registered on this node, and calls to them: awaited on the event loop, or from a thread.

A call from a thread is made on the event loop, and ends with it: whatever is closed or cancelled there fails the call.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from pathlib import Path
from typing import Any, Final

from sampan.csi.client import DriverClient
from sampan.csi.errors import DriverError, Uncertain
from sampan.node.plugins import paths
from sampan.records import dataclass

#: beyond a call's own deadline: only a loop that hangs takes longer
_GRACE_SECONDS: Final = 30.0
_DEADLINE_SECONDS: Final = 120.0


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
        drivers, self._drivers = self._drivers, {}
        for driver in drivers.values():
            await driver.client.close()

    def call(self, driver: Driver, method: str, request: Any) -> Any:
        """From a thread: ``NodePublishVolume`` and the like. Raises DriverError."""
        assert self._loop is not None
        work = driver.client.node(method, request, _DEADLINE_SECONDS)
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:  # the loop is closed: the agent ends
            work.close()
            raise Uncertain("Canceled", "the node agent ends") from None
        try:
            return future.result(_DEADLINE_SECONDS + _GRACE_SECONDS)
        except DriverError:
            raise
        except (concurrent.futures.CancelledError, TimeoutError):
            future.cancel()
            raise Uncertain("Canceled", "the call was given up") from None
