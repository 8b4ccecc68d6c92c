"""Finds plugins by the sockets that they put into one directory, and keeps their handlers told (the kubelet's plugin
watcher).

Each socket has a task of its own: it asks who is there, tells the handler of that type, tells the plugin how that
went, and tries again later when it failed. A socket that goes, or is replaced by another, takes its plugin with it. A
plugin that hangs holds up its own socket only. What a type does with a plugin is the handler's matter.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from sampan.client import tasks
from sampan.csi.client import DriverClient
from sampan.csi.errors import DriverError

log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 10.0
_RETRY_SECONDS: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_SOCKETS: Final = 256


class PluginRefused(Exception):
    """The handler does not take the plugin; the plugin is told the text."""


class Handler(Protocol):
    async def register(self, name: str, endpoint: str, versions: Sequence[str], socket: Path) -> None:
        """``endpoint``: the plugin's own words for where its service is. Raises PluginRefused."""
        ...

    async def deregister(self, name: str, socket: Path) -> None:
        """The plugin that was registered by this socket is gone. Never raises."""
        ...


class Identity(NamedTuple):
    """Of a socket's file: another one at the same path is another plugin."""

    inode: int
    changed_ns: int


def look(folder: Path) -> dict[Path, Identity]:
    """The sockets that are there, at most some hundred."""
    found: dict[Path, Identity] = {}
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return found
    for entry in entries:
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:
            continue
        if stat.S_ISSOCK(status.st_mode) and not entry.name.startswith(".") and len(found) < _SOCKETS:
            found[Path(entry.path)] = Identity(status.st_ino, status.st_ctime_ns)
    return found


class PluginRegistry:
    def __init__(self, folder: Path, handlers: Mapping[str, Handler]) -> None:
        """``handlers`` by the type that plugins give: ``CSIPlugin``, ``DevicePlugin``, ``DRAPlugin``."""
        self._folder = folder
        self._handlers = handlers
        self._serving: dict[Path, tuple[Identity, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        try:
            while True:
                await self.refresh()
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            await tasks.cancel_and_wait(*(task for _, task in self._serving.values()))
            self._serving.clear()

    async def refresh(self) -> None:
        """One look at the directory."""
        seen = await asyncio.to_thread(look, self._folder)
        gone = [path for path, (identity, _) in self._serving.items() if seen.get(path) != identity]
        await tasks.cancel_and_wait(*(self._serving.pop(path)[1] for path in gone))
        for path, identity in seen.items():
            if path not in self._serving:
                self._serving[path] = identity, tasks.detach(self._serve(path), f"plugin {path.name}")

    async def _serve(self, path: Path) -> None:
        """The life of one socket."""
        attempt = 0
        while (registered := await self._try(path)) is None:
            await asyncio.sleep(_RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)])
            attempt += 1
        handler, name = registered
        try:
            await tasks.forever()
        finally:
            await handler.deregister(name, path)

    async def _try(self, path: Path) -> tuple[Handler, str] | None:
        client = DriverClient(str(path), _ANSWER_SECONDS)
        try:
            return await self._register(client, path)
        except PluginRefused as refused:
            log.warning("plugin at %s: %s", path, refused)
            await self._tell(client, path, str(refused))
        except DriverError as error:
            log.info("plugin at %s: %s", path, error)
        except Exception:  # a fault of a handler's: the plugin is tried again like one that failed
            log.exception("plugin at %s", path)
        finally:
            await client.close()
        return None

    async def _register(self, client: DriverClient, path: Path) -> tuple[Handler, str]:
        info = await client.registration_info()
        if "\0" in info.name + info.endpoint:
            raise PluginRefused("RegisterPlugin error -- the name or the endpoint holds what no path does")
        handler = self._handlers.get(info.type)
        if handler is None:
            raise PluginRefused(
                f"RegisterPlugin error -- no handler registered for plugin type: {info.type} at socket {path}"
            )
        await handler.register(info.name, info.endpoint or str(path), list(info.supported_versions), path)
        try:
            await client.notify_registration()
        except BaseException:
            await handler.deregister(info.name, path)
            raise
        return handler, info.name

    async def _tell(self, client: DriverClient, path: Path, error: str) -> None:
        try:
            await client.notify_registration(error)
        except DriverError as failed:
            log.info("plugin at %s cannot be told: %s", path, failed)
