"""What carries streaming out: commands, logs and proxies over one HTTP client. Made by ``handlers`` on first use, for
the client's library takes longer to import than all the rest of a server that starts."""

from __future__ import annotations

from sampan.api.clock import Random
from sampan.server.reader import ObjectReader
from sampan.server.request import Request, Response
from sampan.server.streaming.backend import HttpClient
from sampan.server.streaming.commands import Commands
from sampan.server.streaming.locate import Locator
from sampan.server.streaming.logs import Logs
from sampan.server.streaming.proxy import Proxy
from sampan.server.streaming.slots import Slots
from sampan.server.streaming.tls import NodeTls


class Parts:
    def __init__(
        self, reader: ObjectReader, tls: NodeTls, random: Random, *, allow_loopback: bool, simulated: str = ""
    ) -> None:
        self._http = HttpClient()
        locator = Locator(reader, tls, random, allow_loopback=allow_loopback, simulated=simulated)
        slots = Slots()
        self._commands, self.logs = Commands(locator, slots), Logs(locator, self._http, slots)
        self.proxy = Proxy(locator, self._http, slots)

    async def handle(self, request: Request) -> Response:
        """Raises ApiError. Returns after the end of an upgraded connection."""
        if request.info.subresource == "log":
            return await self.logs.handle(request)
        if request.info.subresource == "proxy":
            return await self.proxy.handle(request)
        return await self._commands.handle(request)

    async def close(self) -> None:
        await self._http.close()
