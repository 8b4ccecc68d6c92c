"""healthCheckNodePort: tells load balancers whether this node has endpoints of a Service with external policy Local.

Answers as kube-proxy's service health server: 200 with endpoints, 503 without, and a small JSON body.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Health:
    namespace: str
    name: str
    local_endpoints: int


class HealthServers:
    """One small HTTP server a port. ``update`` opens and closes them; ``close`` ends all."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._health: dict[int, Health] = {}
        self._servers: dict[int, tuple[asyncio.Server, web.Server]] = {}

    async def update(self, wanted: Mapping[int, Health]) -> None:
        self._health = dict(wanted)
        for port in [port for port in self._servers if port not in wanted]:
            await self._stop(port)
        for port in wanted:
            if port not in self._servers:
                await self._start(port)

    async def close(self) -> None:
        await self.update({})

    async def _start(self, port: int) -> None:
        async def answer(_: web.BaseRequest) -> web.StreamResponse:
            return self._answer(port)

        handler = web.Server(answer)
        try:
            server = await asyncio.get_running_loop().create_server(handler, self._address, port)
        except OSError as error:
            # Another program has the port: this Service's health is unknown, all the rest must go on.
            log.error("healthCheckNodePort %d of %s cannot be opened: %s", port, self._health[port], error.strerror)
            return
        self._servers[port] = (server, handler)

    async def _stop(self, port: int) -> None:
        server, handler = self._servers.pop(port)
        server.close()
        await handler.shutdown(timeout=1)

    def _answer(self, port: int) -> web.Response:
        health = self._health.get(port)
        count = health.local_endpoints if health else 0
        body = {
            "service": {"namespace": health.namespace if health else "", "name": health.name if health else ""},
            "localEndpoints": count,
            "serviceProxyHealthy": True,
        }
        headers = {"X-Content-Type-Options": "nosniff", "X-Load-Balancing-Endpoint-Weight": str(count)}
        return web.json_response(body, status=200 if count else 503, headers=headers)
