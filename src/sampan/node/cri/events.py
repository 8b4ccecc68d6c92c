"""What ended, as ``RuntimeEvent``s: known in milliseconds where the runtime tells, in a second where it must be asked.

A runtime tells of an end before its own status says so; an event is passed on only when the status agrees, because the
pod worker acts on the status at once. Connections are made again for ever; each says ``lost``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import aclosing
from typing import Any

from sampan.client import tasks
from sampan.node import runtime
from sampan.node.cri import rpc, sources

log = logging.getLogger(__name__)

_RECONNECT_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
_SUBSCRIBED_SECONDS = 0.5
_SETTLE_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.5, 5.0, 10.0, 20.0)
#: more than this many events wait for the agent: the source waits too
_WAITING = 1024


async def follow(channel: rpc.Channel, listing: sources.Listing) -> AsyncIterator[runtime.RuntimeEvent]:
    follower = _Follower(channel, listing)
    reader = tasks.detach(follower.read(), "runtime-event-source")
    try:
        while True:
            yield await follower.queue.get()
    finally:
        await tasks.cancel_and_wait(reader, *follower.settling.values())


class _Follower:
    """Invariant: one task at most looks after the end of one container."""

    def __init__(self, channel: rpc.Channel, listing: sources.Listing) -> None:
        self._channel = channel
        self._listing = listing
        self.queue: asyncio.Queue[runtime.RuntimeEvent] = asyncio.Queue(_WAITING)
        self.settling: dict[str, asyncio.Task[None]] = {}

    async def read(self) -> None:
        attempt = 0
        source: sources.EventSource | None = None
        while True:
            try:
                source = source or await sources.choose(self._channel, self._listing)
                async with aclosing(source.notices()) as notices:
                    async for notice in notices:
                        attempt = 0
                        await self._pass_on(notice)
                source = None
            except runtime.RuntimeLacks:
                # Neither stream: lists are what every runtime has. They are kept to until they break.
                source = sources.Relisting(self._listing)
            except runtime.RuntimeCallError:
                source = None  # it restarts or is upgraded: perhaps it tells in another way afterwards
            except Exception:
                # What cannot be read ends this connection, not the node.
                log.exception("the runtime's events")
                source = None
            await asyncio.sleep(_RECONNECT_SECONDS[min(attempt, len(_RECONNECT_SECONDS) - 1)])
            attempt += 1

    async def _pass_on(self, notice: sources.Notice) -> None:
        if isinstance(notice, sources.OutOfMemory):
            await self.queue.put(runtime.RuntimeEvent("oom", notice.container_id))
        elif isinstance(notice, sources.Ended):
            if notice.id not in self.settling:
                self._begin(notice.id, self._settle(notice.id))
        else:
            await self.queue.put(runtime.RuntimeEvent("lost"))
            if not notice.certain and "" not in self.settling:
                self._begin("", self._say_lost_again())

    def _begin(self, key: str, work: Coroutine[Any, Any, None]) -> None:
        task = tasks.detach(work, "runtime-event")
        self.settling[key] = task
        task.add_done_callback(lambda _: self.settling.pop(key, None))

    async def _say_lost_again(self) -> None:
        """When the subscription has certainly begun: what happened in between was not told."""
        await asyncio.sleep(_SUBSCRIBED_SECONDS)
        await self.queue.put(runtime.RuntimeEvent("lost"))

    async def _settle(self, ended: str) -> None:
        for delay in _SETTLE_SECONDS:
            try:
                if await self._has_ended(ended):
                    break
            except runtime.RuntimeCallError:
                pass  # asked again after the delay; the relist that follows a reconnect finds it in any case
            await asyncio.sleep(delay)
        await self.queue.put(runtime.RuntimeEvent("exit", ended))

    async def _has_ended(self, ended: str) -> bool:
        """By the runtime's own status, of a container or else of a sandbox; what is not there has ended."""
        try:
            return (await self._listing.container_status(ended)).state == "exited"
        except runtime.RuntimeNotFound:
            pass
        try:
            return not (await self._listing.sandbox_status(ended)).ready
        except runtime.RuntimeNotFound:
            return True
