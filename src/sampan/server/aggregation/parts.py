"""What speaks to extension API servers, made together: apart from ``aggregator``, because the HTTP library takes longer
to import than all the rest of a server that starts."""

from __future__ import annotations

from pathlib import Path

from sampan.api.clock import Clock
from sampan.api.transport import Transport
from sampan.server.aggregation.backends import Backends
from sampan.server.aggregation.described import Described
from sampan.server.aggregation.discovered import Discovered
from sampan.server.aggregation.following import Follower
from sampan.server.aggregation.proxy import ApiProxy
from sampan.server.aggregation.remotes import Remotes
from sampan.server.aggregation.services import Resolver
from sampan.server.aggregation.trust import Trust
from sampan.server.reader import ObjectReader
from sampan.server.streaming.backend import HttpClient
from sampan.server.streaming.forwarding import Forwarder
from sampan.server.streaming.slots import Slots


class Parts:
    def __init__(self, resolver: Resolver, cert: Path | None, key: Path | None, answer_seconds: float) -> None:
        self._http = HttpClient()
        self.trust = Trust(cert, key)
        self.backends = Backends(resolver, self.trust, self._http)
        self.discovered = Discovered(self.backends)
        self.described = Described(self.backends)
        self.proxy = ApiProxy(self.backends, Forwarder(self._http, Slots()), answer_seconds)

    def follower(self, remotes: Remotes, reader: ObjectReader, transport: Transport, clock: Clock) -> Follower:
        return Follower(remotes, reader, transport, self.backends, self.discovered, self.described, clock)

    async def close(self) -> None:
        await self._http.close()
