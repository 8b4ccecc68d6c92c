"""healthCheckNodePort: tells load balancers whether this node has endpoints of a Service with external policy Local.

Answers as kube-proxy's service health server: 200 with endpoints, 503 without, and a small JSON body. Whoever reaches
the node may connect, and the node agent lives in this process: connections, their bytes and their time are bounded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

import orjson

from sampan.api.faults import cause
from sampan.network.gate import Gate
from sampan.records import dataclass

log = logging.getLogger(__name__)

#: Connections of all ports, and of one client; bytes of a request; seconds from its beginning to the answer's end.
_CONNECTIONS = 64
_CONNECTIONS_OF_CLIENT = 8
_REQUEST_BYTES = 8192
_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Health:
    namespace: str
    name: str
    local_endpoints: int


class HealthServers:
    """One small HTTP server a port. ``update`` opens and closes them; ``close`` ends all."""

    def __init__(self, address: str | Sequence[str]) -> None:
        self._address = address
        self._health: dict[int, Health] = {}
        self._servers: dict[int, asyncio.Server] = {}
        #: that could not be opened, as was said
        self._taken: set[int] = set()
        self._gate = Gate(_CONNECTIONS, _CONNECTIONS_OF_CLIENT)

    async def update(self, wanted: Mapping[int, Health]) -> None:
        self._health = dict(wanted)
        for port in [port for port in self._servers if port not in wanted]:
            await self._stop(port)
        self._taken &= wanted.keys()
        for port in wanted:
            if port not in self._servers:
                await self._start(port)

    async def close(self) -> None:
        await self.update({})

    async def _start(self, port: int) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(port, reader, writer)

        try:
            server = await asyncio.start_server(serve, self._address, port, limit=_REQUEST_BYTES)
        except OSError as error:
            # Another program has the port: this Service's health is unknown, all the rest must go on.
            if port not in self._taken:
                health = self._health[port]
                log.error(
                    "healthCheckNodePort %d of Service %s/%s cannot be opened: %s",
                    port, health.namespace, health.name, cause(error),
                )  # fmt: skip
            self._taken.add(port)
            return
        self._taken.discard(port)
        self._servers[port] = server

    async def _stop(self, port: int) -> None:
        self._servers.pop(port).close()

    async def _serve(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = (writer.get_extra_info("peername") or ("",))[0]
        if not self._gate.enter(client):
            writer.transport.abort()
            return
        try:
            async with asyncio.timeout(_SECONDS):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer(port))
                await writer.drain()
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError) as error:
            log.debug("a question about health was not finished: %s", cause(error))
        finally:
            self._gate.leave(client)
            writer.close()

    def _answer(self, port: int) -> bytes:
        health = self._health.get(port)
        count = health.local_endpoints if health else 0
        body = orjson.dumps(
            {
                "service": {"namespace": health.namespace if health else "", "name": health.name if health else ""},
                "localEndpoints": count,
                "serviceProxyHealthy": True,
            }
        )
        head = (
            f"HTTP/1.1 {'200 OK' if count else '503 Service Unavailable'}\r\nContent-Type: application/json\r\n"
            f"X-Content-Type-Options: nosniff\r\nX-Load-Balancing-Endpoint-Weight: {count}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + body
