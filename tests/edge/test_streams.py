"""What is more than a request and an answer: WebSocket, gRPC, HTTP/2, TLS to back ends and large bodies."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
from aiohttp import ClientSession, TCPConnector, WSMsgType, web
from edge_lab import ADDRESS, HTTP, HTTPS, Lab, ask, connected, lab
from ingress_world import World, ingress, pair, path, rule, tls_secret

from sampan.edge.merging import merge
from sampan.edge.model import Endpoint

HUNDRED_MB = 100 * 1024 * 1024
CHUNK = b"x" * (1 << 20)


async def _serve(made: Lab, world: World) -> None:
    plane, problems = merge(world.plan().listeners)
    assert problems == [] and await made.plane.apply(plane) == []


@contextlib.asynccontextmanager
async def _application(app: web.Application, tls: ssl.SSLContext | None = None) -> AsyncIterator[Endpoint]:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        yield Endpoint("127.0.0.1", site._server.sockets[0].getsockname()[1])  # type: ignore[union-attr]
    finally:
        await runner.cleanup()


async def _websocket(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(f"{request.path} {message.data}")
    return socket


async def test_a_websocket_goes_both_ways_until_it_is_closed() -> None:
    app = web.Application()
    app.router.add_get("/chat", _websocket)
    async with lab() as made, _application(app) as endpoint:
        world = World(ingresses=[ingress("ws", rule("ws.io", path("/", "ws")))])
        world.serve("ws", endpoint)
        await _serve(made, world)
        async with (
            ClientSession(connector=TCPConnector()) as session,
            session.ws_connect(f"http://{ADDRESS}:{HTTP}/chat", headers={"Host": "ws.io"}) as socket,
        ):
            for word in ("one", "two"):
                await socket.send_str(word)
                assert (await socket.receive()).data == f"/chat {word}"
            await socket.close()
            assert (await socket.receive()).type == WSMsgType.CLOSED


async def test_grpc_calls_and_streams_pass_over_http2_with_and_without_tls() -> None:
    async def stream(request: bytes, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
        for number in range(3):
            yield request + str(number).encode()

    handler = grpc.method_handlers_generic_handler(
        "echo.Echo", {"Stream": grpc.unary_stream_rpc_method_handler(stream)}
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with lab() as made:
            secret = tls_secret("grpc.io")
            tls = [{"hosts": ["grpc.io"], "secretName": "grpc"}]
            wanted = {"backend-protocol": "GRPC", "ssl-redirect": "false"}
            world = World(ingresses=[ingress("grpc", rule("grpc.io", path("/", "grpc")), tls=tls, annotations=wanted)])
            world.secrets["grpc"] = secret
            world.serve("grpc", Endpoint("127.0.0.1", port))
            await _serve(made, world)
            options = [("grpc.default_authority", "grpc.io"), ("grpc.enable_http_proxy", 0)]
            async with grpc.aio.insecure_channel(f"{ADDRESS}:{HTTP}", options=options) as channel:
                call = channel.unary_stream("/echo.Echo/Stream")(b"a")
                assert [message async for message in call] == [b"a0", b"a1", b"a2"]
            roots = base64.b64decode(secret["data"]["tls.crt"])
            credentials = grpc.ssl_channel_credentials(root_certificates=roots)
            options.append(("grpc.ssl_target_name_override", "grpc.io"))
            async with grpc.aio.secure_channel(f"{ADDRESS}:{HTTPS}", credentials, options=options) as channel:
                call = channel.unary_stream("/echo.Echo/Stream")(b"b")
                assert [message async for message in call] == [b"b0", b"b1", b"b2"]
    finally:
        await server.stop(None)


async def test_http2_is_offered_with_tls() -> None:
    async with lab() as made:
        world = World(ingresses=[ingress("web", rule("web.io", path("/", "web")))])
        world.serve("web", await made.backend("web"))
        await _serve(made, world)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2", "http/1.1"])
        _, writer = await asyncio.open_connection(ADDRESS, HTTPS, ssl=context, server_hostname="web.io")
        try:
            assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


async def _posted_by_http2(declared: int, come: int) -> bytes:
    """The status of a request by HTTP/2 (RFC 9113, 4.1; RFC 7541, 6) of whose body some has come with its headers."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    length = str(declared).encode()
    head = b"\x83\x87\x84\x01\x06web.io\x0f\x0d" + bytes([len(length)]) + length  # POST, https, /
    reader, writer = await asyncio.open_connection(ADDRESS, HTTPS, ssl=context, server_hostname="web.io")
    try:
        body = _frame(0, come == declared, 1, b"x" * come)
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0) + _frame(1, 4, 1, head) + body)
        while True:
            start = await reader.readexactly(9)
            payload = await reader.readexactly(int.from_bytes(start[:3], "big"))
            if start[3] == 1:
                return b"200" if payload[0] == 0x88 else payload[2:5]
    finally:
        writer.close()


async def test_a_declared_length_is_held_to_the_limit_in_http2_too_however_much_has_come() -> None:
    async with lab() as made:
        limited = ingress("web", rule("web.io", path("/", "web")), annotations={"proxy-body-size": "1k"})
        world = World(ingresses=[limited])
        world.serve("web", await made.backend("web"))
        await _serve(made, world)
        assert await _posted_by_http2(900, 900) == b"200"
        for declared in (2000, 1 << 31, 1 << 32, (1 << 32) + 5):
            for come in (5, 500):
                async with asyncio.timeout(60):
                    assert await _posted_by_http2(declared, come) == b"413", (declared, come)


async def test_a_back_end_with_tls_is_asked_with_tls(tmp_path: Path) -> None:
    chain = tmp_path / "pair.pem"
    chain.write_text("".join(pair("inner")))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain)

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text=request.scheme)

    app = web.Application()
    app.router.add_get("/", hello)
    async with lab() as made, _application(app, context) as endpoint:
        world = World(ingresses=[ingress("s", rule("s.io", path("/", "s")), annotations={"backend-protocol": "HTTPS"})])
        world.serve("s", endpoint)
        await _serve(made, world)
        assert (await ask("s.io", "/")).body == b"https"


async def test_connections_for_a_name_that_is_passed_through_are_not_looked_into(tmp_path: Path) -> None:
    chain = tmp_path / "pair.pem"
    chain.write_text("".join(pair("inner")))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain)
    app = web.Application()
    async with lab() as made, _application(app, context) as endpoint:
        passed = ingress("p", rule("pass.io", path("/", "p")), annotations={"ssl-passthrough": "true"})
        world = World(ingresses=[passed, ingress("web", rule("web.io", path("/", "web")))])
        world.serve("p", endpoint)
        world.serve("web", await made.backend("web"))
        await _serve(made, world)
        async with connected(HTTPS, tls="pass.io") as connection:
            assert (await connection.ask("pass.io", "/")).status == 404  # aiohttp's own
            assert await _common_name(connection.writer) == "inner"
        async with connected(HTTPS, tls="web.io") as connection:
            assert (await connection.ask("web.io", "/")).got["backend"] == "web"


async def _common_name(writer: asyncio.StreamWriter) -> str:
    from cryptography import x509

    raw = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return str(x509.load_der_x509_certificate(raw).subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)


async def test_bodies_of_a_hundred_megabytes_pass_in_both_directions() -> None:
    async def large(request: web.Request) -> web.StreamResponse:
        size = 0
        async for chunk in request.content.iter_any():
            size += len(chunk)
        answer = web.StreamResponse(headers={"Content-Length": str(HUNDRED_MB), "X-Size": str(size)})
        await answer.prepare(request)
        for _ in range(100):
            await answer.write(CHUNK)
        return answer

    app = web.Application()
    app.router.add_post("/", large)
    async with lab() as made, _application(app) as endpoint:
        world = World(ingresses=[ingress("large", rule("large.io", path("/", "large")))])
        world.serve("large", endpoint)
        await _serve(made, world)
        async with connected() as connection:
            connection.writer.write(
                f"POST / HTTP/1.1\r\nHost: large.io\r\nContent-Length: {HUNDRED_MB}\r\n\r\n".encode()
            )
            for _ in range(100):
                connection.writer.write(CHUNK)
                await connection.writer.drain()
            head = await connection.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200") and f"x-size: {HUNDRED_MB}".encode() in head.lower()
            left = HUNDRED_MB
            while left:
                left -= len(await connection.reader.read(min(left, 1 << 20)))
