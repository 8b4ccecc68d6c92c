"""The one door to streaming: the REST core hands over requests for these subresources, after authorization."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sampan.api import errors
from sampan.api.clock import Random
from sampan.api.types import Obj
from sampan.server.reader import ObjectReader
from sampan.server.request import Handler, Request, Response
from sampan.server.streaming.options import connect_options
from sampan.server.threads import aside

if TYPE_CHECKING:
    from sampan.server.streaming.parts import Parts
    from sampan.server.streaming.tls import NodeTls

#: (resource, subresource) of the core group that are served here
SUBRESOURCES = frozenset(
    {
        ("pods", "log"), ("pods", "exec"), ("pods", "attach"), ("pods", "portforward"), ("pods", "proxy"),
        ("services", "proxy"), ("nodes", "proxy"),
    }
)  # fmt: skip


class StreamingHandlers:
    """Close it when the server stops."""

    def __init__(
        self,
        reader: ObjectReader,
        tls: NodeTls,
        random: Random,
        *,
        allow_loopback: bool = False,
        simulated: str = "",
    ) -> None:
        """As ``Locator`` has them."""
        self._reader, self._tls, self._random, self._loopback = reader, tls, random, allow_loopback
        self._simulated = simulated
        self._parts: Parts | None = None

    def register(self, connect: Callable[[str, str, str, Handler, Callable[[Request], Obj | None]], None]) -> None:
        """Offers every subresource to ``Server.connect``."""
        for resource, subresource in sorted(SUBRESOURCES):
            connect("", resource, subresource, self.handle, connect_options)

    async def handle(self, request: Request) -> Response:
        """Raises ApiError. Returns after the end of an upgraded connection."""
        info = request.info
        if info.group or (info.resource, info.subresource) not in SUBRESOURCES:
            raise errors.NotFound("the server could not find the requested resource")
        return await (self._parts or await self._make()).handle(request)

    async def _make(self) -> Parts:
        made = await aside(self._import_and_make)
        if self._parts is None:  # several may have come at once
            self._parts = made
        return self._parts

    async def close(self) -> None:
        if self._parts is not None:
            await self._parts.close()

    def _import_and_make(self) -> Parts:
        from sampan.server.streaming.parts import Parts

        return Parts(self._reader, self._tls, self._random, allow_loopback=self._loopback, simulated=self._simulated)
