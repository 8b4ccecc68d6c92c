"""A data plane with the real program, and back ends that say what they got, on addresses of this process alone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from sampan.edge.haproxy.dataplane import DataPlane
from sampan.edge.haproxy.program import Program
from sampan.edge.haproxy.render import Settings
from sampan.edge.model import Endpoint, Owner

#: Loopback has sixteen million addresses: a process has its own, and so ports that nobody else takes there.
ADDRESS = f"127.{1 + (os.getpid() >> 16) % 250}.{(os.getpid() >> 8) & 255}.{os.getpid() & 255}"
#: None that clusters of tests take on every address (``sampan.testing.free``).
HTTP, HTTPS = 9180, 9543
OWNER = Owner("networking.k8s.io/v1", "Ingress", "default", "web", "uid-1")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def got(self) -> Any:
        """What the back end got."""
        return orjson.loads(self.body)


@dataclass
class Lab:
    plane: DataPlane
    program: Program
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    _runner: web.AppRunner | None = None

    async def backend(self, name: str) -> Endpoint:
        """A server of its own, that says its name."""
        assert self._runner is not None
        if name not in self.endpoints:
            site = web.TCPSite(self._runner, "127.0.0.1", 0)
            await site.start()
            sockets = site._server.sockets  # type: ignore[union-attr]
            self.endpoints[name] = Endpoint("127.0.0.1", sockets[0].getsockname()[1])
        return self.endpoints[name]

    async def echo(self, request: web.Request) -> web.StreamResponse:
        local = request.transport.get_extra_info("sockname")[1] if request.transport else 0
        name = next((name for name, endpoint in self.endpoints.items() if endpoint.port == local), "")
        size = 0
        async for chunk in request.content.iter_any():
            size += len(chunk)
        return web.json_response(
            {
                "backend": name,
                "method": request.method,
                "path": request.raw_path,
                "host": request.host,
                "headers": {key.lower(): ", ".join(request.headers.getall(key)) for key in request.headers},
                "size": size,
            }
        )


@contextlib.asynccontextmanager
async def lab(**settings: Any) -> AsyncIterator[Lab]:
    with tempfile.TemporaryDirectory(prefix="edge-") as text:
        settings.setdefault("default_certificate", _fake())
        program = Program(Path(text) / "edge", Path(text) / "run", Path(text) / "edge.log")
        made = Settings(
            files=str(program.files),
            run=str(program.run),
            name=f"t{os.getpid()}",
            ipv6=False,
            connections=500,
            **settings,
        )
        lab = Lab(DataPlane(program, made), program)
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", lab.echo)
        lab._runner = web.AppRunner(app, access_log=None)
        await lab._runner.setup()
        try:
            yield lab
        finally:
            await lab.plane.end()
            await lab._runner.cleanup()


def _fake() -> str:
    from ingress_world import pair

    return "".join(pair("fake"))


class Connection:
    """Requests one after another on one connection, written as they are: no library mends them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(
        self, host: str, path: str, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"] if host else [f"{method} {path} HTTP/1.0"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await self.writer.drain()
        return await self._answer(method)

    async def _answer(self, method: str) -> Answer:
        head = await self.reader.readuntil(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")[:-2]
        headers: dict[str, str] = {}
        for line in rest:
            name, _, value = line.partition(":")
            headers[name.lower()] = ", ".join(filter(None, (headers.get(name.lower()), value.strip())))
        if method == "HEAD" or first.split()[1] in ("204", "304"):
            body = b""
        elif "content-length" in headers:
            body = await self.reader.readexactly(int(headers["content-length"]))
        elif headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int((await self.reader.readline()).strip(), 16):
                body += await self.reader.readexactly(size)
                await self.reader.readline()
            await self.reader.readline()
        else:
            body = await self.reader.read()
        return Answer(int(first.split()[1]), headers, body)


@contextlib.asynccontextmanager
async def connected(port: int = HTTP, tls: str | None = None) -> AsyncIterator[Connection]:
    """``tls``: the server name; "" for none of it."""
    context = None
    if tls is not None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(
        ADDRESS, port, ssl=context, server_hostname=(tls or None) if tls is not None else None
    )
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def ask(host: str, path: str, *, port: int = HTTP, **rest: Any) -> Answer:
    async with connected(port) as connection:
        return await connection.ask(host, path, **rest)
