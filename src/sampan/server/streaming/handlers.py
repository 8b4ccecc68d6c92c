"""The one door to streaming: the REST core hands over requests for these subresources, after authorization."""

from __future__ import annotations

from collections.abc import Callable

from sampan.api import errors
from sampan.api.clock import Random
from sampan.api.types import Obj
from sampan.server.reader import ObjectReader
from sampan.server.request import Handler, Request, Response
from sampan.server.streaming.backend import HttpClient
from sampan.server.streaming.commands import Commands
from sampan.server.streaming.locate import Locator, NodeTls
from sampan.server.streaming.logs import Logs
from sampan.server.streaming.options import connect_options
from sampan.server.streaming.proxy import Proxy
from sampan.server.streaming.slots import Slots

#: (resource, subresource) of the core group that are served here
SUBRESOURCES = frozenset(
    {
        ("pods", "log"), ("pods", "exec"), ("pods", "attach"), ("pods", "portforward"), ("pods", "proxy"),
        ("services", "proxy"), ("nodes", "proxy"),
    }
)  # fmt: skip


class StreamingHandlers:
    """Close it when the server stops."""

    def __init__(self, reader: ObjectReader, tls: NodeTls, random: Random, *, allow_loopback: bool = False) -> None:
        self._http = HttpClient()
        locator = Locator(reader, tls, random, allow_loopback=allow_loopback)
        slots = Slots()
        self._commands, self._logs = Commands(locator, slots), Logs(locator, self._http, slots)
        self._proxy = Proxy(locator, self._http, slots)

    def register(self, connect: Callable[[str, str, str, Handler, Callable[[Request], Obj | None]], None]) -> None:
        """Offers every subresource to ``Server.connect``."""
        for resource, subresource in sorted(SUBRESOURCES):
            connect("", resource, subresource, self.handle, connect_options)

    async def handle(self, request: Request) -> Response:
        """Raises ApiError. Returns after the end of an upgraded connection."""
        info = request.info
        if info.group or (info.resource, info.subresource) not in SUBRESOURCES:
            raise errors.NotFound("the server could not find the requested resource")
        if info.subresource == "log":
            return await self._logs.handle(request)
        if info.subresource == "proxy":
            return await self._proxy.handle(request)
        return await self._commands.handle(request)

    async def close(self) -> None:
        await self._http.close()
