"""The node APIs of all hollow nodes of this process, behind one socket: which node is meant says the address called.

The kernel takes connections to every loopback address, and the API server calls a simulated node at its own
(``sampan.server.streaming.locate``). A node's API is made when somebody calls it, and goes again when many others were
called since. Logs tell of a container's life; exec, attach and port-forward say that nothing runs.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from datetime import datetime
from typing import Final, cast

from aiohttp import web

from sampan.api.clock import Clock, format_micro_time
from sampan.api.errors import BadRequest, NotFound
from sampan.client import tasks
from sampan.client.client import Client
from sampan.node.api import containers, options
from sampan.node.api.auth import DelegatedAuth
from sampan.node.api.server import NodeApi, NodeApiConfig
from sampan.node.hollow import HollowNode
from sampan.node.hollow_nodes import HollowNodes
from sampan.node.logs.reader import LogOptions
from sampan.node.runtime import RuntimeCallError

log = logging.getLogger(__name__)

#: APIs that are kept ready
KEPT: Final = 64


class HollowApi:
    def __init__(
        self,
        nodes: HollowNodes,
        client: Client,
        tls: ssl.SSLContext,
        clock: Clock,
        *,
        address: str = "0.0.0.0",
        port: int = 10250,
        shared: bool = False,
    ) -> None:
        """``client`` asks the API server who calls and whether he may. ``port`` 0: any free one; ``shared``: others may
        have it too (``SO_REUSEPORT``)."""
        self._shared = shared
        self.port = port
        self._nodes, self._client, self._tls, self._clock, self._address = nodes, client, tls, clock, address
        #: by node, the one asked last at the end
        self._ready: dict[str, tuple[_NodeApi, web.AppRunner]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._making = asyncio.Lock()

    async def run(self, started: asyncio.Event) -> None:
        """Serves until cancelled. Raises OSError when the address is taken."""
        loop = asyncio.get_running_loop()
        self._nodes.on_exit = self._ended
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                listener = await loop.create_server(
                    lambda: _Arrival(self),
                    self._address,
                    self.port,
                    ssl=self._tls,
                    backlog=128,
                    reuse_port=self._shared or None,
                )
                try:
                    self.port = listener.sockets[0].getsockname()[1]
                    started.set()
                    await tasks.forever()
                finally:
                    listener.close()
        finally:
            self._group = None
            for _, runner in self._ready.values():
                await runner.cleanup()
            self._ready.clear()

    def arrived(self, transport: asyncio.Transport) -> None:
        """A connection whose first byte nobody has read yet."""
        node = self._nodes.at(transport.get_extra_info("sockname")[0])
        if node is None or node.is_silent or self._group is None:
            transport.abort()
            return
        transport.pause_reading()
        tasks.spawn_apart(self._group, self._hand_over(node, transport), f"connection to {node.name}")

    async def _hand_over(self, node: HollowNode, transport: asyncio.Transport) -> None:
        async with self._making:
            runner = await self._runner(node)
        if transport.is_closing() or runner.server is None:
            return
        protocol = runner.server()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        transport.resume_reading()

    async def _runner(self, node: HollowNode) -> web.AppRunner:
        found = self._ready.pop(node.name, None)
        if found is None or found[0].node is not node:
            if found is not None:
                await found[1].cleanup()
            api = _NodeApi(node, self._client, self._tls, self._clock)
            found = api, await api.prepare()
        self._ready[node.name] = found
        idle = [name for name, (_, runner) in self._ready.items() if runner.server and not runner.server.connections]
        for name in idle[: max(0, len(self._ready) - KEPT)]:
            if name != node.name:
                await self._ready.pop(name)[1].cleanup()
        return found[1]

    def _ended(self, node: str, container_id: str) -> None:
        if node in self._ready:
            self._ready[node][0].container_stopped(container_id)


class _Arrival(asyncio.Protocol):
    def __init__(self, api: HollowApi) -> None:
        self._api = api

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._api.arrived(cast(asyncio.Transport, transport))  # uvloop's own class, or asyncio's


class _NodeApi(NodeApi):
    """The API of one node."""

    def __init__(self, node: HollowNode, client: Client, tls: ssl.SSLContext, clock: Clock) -> None:
        config = NodeApiConfig(node_name=node.name)
        auth = DelegatedAuth(client, node.name, asyncio.get_running_loop().time)
        super().__init__(config, node, node.runtime, auth, tls, clock, machine=node.usage)
        self.node = node

    async def _container_logs(self, request: web.Request) -> web.StreamResponse:
        name, container = request.match_info["pod"], request.match_info["container"]
        pod = self.node.get_pod(request.match_info["namespace"], name)
        if pod is None:
            raise NotFound(f'pod "{name}" does not exist\n')
        containers.find_container(pod, container)
        wanted = options.parse_log_options(request.query, self._clock.now())
        container_id = containers.log_container_id(pod, container, wanted.previous)
        try:
            told = self.node.runtime.history_of(container_id)
        except RuntimeCallError:
            raise BadRequest(f"unable to retrieve container logs for {container_id}") from None
        response = web.StreamResponse(headers={"Content-Type": "text/plain", "X-Content-Type-Options": "nosniff"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(render_log(told, wanted))
        if wanted.follow:
            await self._follow(container_id, len(told), wanted, response)
        await response.write_eof()
        return response

    async def _follow(self, container_id: str, told: int, wanted: LogOptions, response: web.StreamResponse) -> None:
        running = (await self.node.runtime.container_status(container_id)).state == "running"
        with self._ending(container_id, running) as ending:
            if running:
                await ending.wake.wait()
            try:
                await response.write(render_log(self.node.runtime.history_of(container_id)[told:], wanted))
            except RuntimeCallError:
                return  # it was removed


def render_log(told: list[tuple[datetime, str]], wanted: LogOptions) -> bytes:
    """Lines of a container's life as ``kubectl logs`` asks for them; all of it was said on the standard output."""
    lines = [
        f"{format_micro_time(moment)} {line}\n" if wanted.timestamps else f"{line}\n"
        for moment, line in told
        if (wanted.since is None or moment >= wanted.since) and wanted.stream != "Stderr"
    ]
    if wanted.tail_lines is not None:
        lines = lines[len(lines) - min(wanted.tail_lines, len(lines)) :]
    return "".join(lines).encode()[: wanted.limit_bytes]
