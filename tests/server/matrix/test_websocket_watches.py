"""Watches over WebSocket, as a browser's client reads them, on real sockets."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from sampan.api.protobuf.numbers import META, message_of
from sampan.server.http import HttpServer
from sampan.server.stream import Batch
from sampan.server.streaming import watches

CMS = "/api/v1/namespaces/default/configmaps"
PROTOBUF = "application/vnd.kubernetes.protobuf"


def _google() -> Any:
    path = Path(__file__).parents[2] / "protobuf/google_reader.py"
    spec = importlib.util.spec_from_file_location("sockets_google_reader", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


google = _google()


@pytest.fixture
async def session(api: Any) -> AsyncIterator[aiohttp.ClientSession]:
    server = HttpServer(api.server.handler)
    host, port = await server.start("127.0.0.1", 0)
    async with aiohttp.ClientSession(f"http://{host}:{port}") as made:
        made.server = server
        yield made
    await server.close(1.0)


async def make(api: Any, *names: str) -> None:
    for name in names:
        assert (await api("POST", CMS, {"metadata": {"name": name}})).status == 201


async def next_event(socket: Any) -> Any:
    message = await asyncio.wait_for(socket.receive(), 20)
    assert message.type is aiohttp.WSMsgType.TEXT
    return orjson.loads(message.data)


async def test_each_event_is_a_text_message(api: Any, session: Any) -> None:
    await make(api, "a", "b")
    async with session.ws_connect(f"{CMS}?watch=1&allowWatchBookmarks=true") as socket:
        seen = [await next_event(socket) for _ in range(3)]
        assert [event["type"] for event in seen] == ["ADDED", "ADDED", "BOOKMARK"]
        await make(api, "c")
        await api("DELETE", f"{CMS}/c")
        later = [await next_event(socket) for _ in range(2)]
    assert [(event["type"], event["object"]["metadata"]["name"]) for event in later] == [
        ("ADDED", "c"), ("DELETED", "c"),
    ]  # fmt: skip


async def test_an_event_in_protobuf_is_a_binary_message_without_a_length(api: Any, session: Any) -> None:
    await make(api, "a")
    async with session.ws_connect(f"{CMS}?watch=1", headers={"Accept": PROTOBUF}) as socket:
        for name in ("a", "b"):
            message = await asyncio.wait_for(socket.receive(), 20)
            assert message.type is aiohttp.WSMsgType.BINARY
            framed = len(message.data).to_bytes(4, "big") + message.data
            ((kind, obj),) = google.read_events(framed, lambda version, kind: message_of(version, kind) or META + kind)
            assert (kind, obj["kind"], obj["metadata"]["name"]) == ("ADDED", "ConfigMap", name)
            if name == "a":
                await make(api, "b")


async def test_tables_are_watched_too(api: Any, session: Any) -> None:
    await make(api, "a", "b")
    accept = "application/json;as=Table;g=meta.k8s.io;v=v1,application/json"
    async with session.ws_connect(f"{CMS}?watch=1", headers={"Accept": accept}) as socket:
        seen = [await next_event(socket) for _ in range(2)]
    assert [bool(event["object"]["columnDefinitions"]) for event in seen] == [True, False]


async def test_the_end_of_its_time_is_a_close_frame(api: Any, session: Any) -> None:
    await make(api, "a")
    async with session.ws_connect(f"{CMS}?watch=1&timeoutSeconds=1") as socket:
        assert (await next_event(socket))["type"] == "ADDED"
        assert (await asyncio.wait_for(socket.receive(), 20)).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 1000
    assert len(api.server.watching) == 0


async def test_the_end_of_the_server_is_a_close_frame(api: Any, session: Any) -> None:
    await make(api, "a")
    async with session.ws_connect(f"{CMS}?watch=1") as socket:
        assert (await next_event(socket))["type"] == "ADDED"
        api.server.watching.stop()
        assert (await asyncio.wait_for(socket.receive(), 20)).type is aiohttp.WSMsgType.CLOSE


async def test_the_end_of_its_kind_is_a_close_frame_at_once(api: Any, session: Any) -> None:
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    schema = {"openAPIV3Schema": {"type": "object"}}
    spec = {
        "group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
    }  # fmt: skip
    await api("POST", crds, {"metadata": {"name": "things.example.com"}, "spec": spec})
    async with aclosing(api.watch(f"{crds}?watch=1")) as events:
        async for event in events:
            conditions = event["object"].get("status", {}).get("conditions") or []
            if any(each["type"] == "Established" and each["status"] == "True" for each in conditions):
                break
    url = "/apis/example.com/v1/namespaces/default/things"
    await api("POST", url, {"kind": "Thing", "apiVersion": "example.com/v1", "metadata": {"name": "t"}})
    async with session.ws_connect(f"{url}?watch=1") as socket:
        assert (await next_event(socket))["type"] == "ADDED"
        await api("DELETE", f"{crds}/things.example.com")
        assert (await next_event(socket))["type"] == "DELETED"
        assert (await asyncio.wait_for(socket.receive(), 20)).type is aiohttp.WSMsgType.CLOSE


async def test_what_the_client_says_is_not_heard_and_its_going_ends_the_watch(api: Any, session: Any) -> None:
    await make(api, "a")
    async with session.ws_connect(f"{CMS}?watch=1") as socket:
        assert (await next_event(socket))["type"] == "ADDED"
        await socket.send_str("hello")
        await socket.ping()
        await make(api, "b")
        assert (await next_event(socket))["object"]["metadata"]["name"] == "b"
        assert len(api.server.watching) == 1
    async with asyncio.timeout(20):
        while len(api.server.watching):
            await make(api, "c")
            await api("DELETE", f"{CMS}/c")


async def test_one_protocol_is_agreed_to_and_two_are_refused(session: Any) -> None:
    async with session.ws_connect(f"{CMS}?watch=1", protocols=["x"]) as socket:
        assert socket.protocol == "x"
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await session.ws_connect(f"{CMS}?watch=1", protocols=["x", "y"])
    assert refused.value.status == 400


async def test_a_page_of_another_host_gets_nothing(session: Any) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await session.ws_connect(f"{CMS}?watch=1", origin="http://evil.example")
    assert refused.value.status == 403


async def test_a_browser_may_give_its_token_as_a_protocol_that_is_never_said_back(session: Any) -> None:
    token = base64.urlsafe_b64encode(b"no token at all").rstrip(b"=").decode()
    protocols = [f"base64url.bearer.authorization.k8s.io.{token}", "x"]
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await session.ws_connect(f"{CMS}?watch=1", protocols=protocols)
    assert refused.value.status == 401
    assert token not in str(refused.value.headers)


async def test_parameters_are_refused_before_the_upgrade(session: Any) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await session.ws_connect(f"{CMS}?watch=1&sendInitialEvents=true")
    assert refused.value.status == 422


class SilentSocket:
    """Takes nothing."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    async def send_frames(self, frames: bytes, seconds: float) -> None:
        self.sent.append(frames)
        await asyncio.Event().wait()


async def test_what_waits_for_a_client_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "UNREAD_BYTES", 1000)
    socket: Any = SilentSocket()
    behind = watches.Behind()
    stream = watches.SocketStream(socket, watches.text_frames, behind)
    told: list[bool] = []
    stream.on_close(lambda: told.append(True))
    sending = asyncio.ensure_future(stream.send())
    for _ in range(30):
        stream.push(Batch(b'{"a":"%s"}\n' % (b"x" * 80)))
        await asyncio.sleep(0)
    assert (stream.closed, told, stream._bytes, behind.bytes, len(socket.sent)) == (True, [True], 0, 0, 1)
    sending.cancel()


async def test_of_all_clients_together_the_one_that_is_furthest_behind_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watches, "ALL_UNREAD_BYTES", 1000)
    socket: Any = SilentSocket()
    behind = watches.Behind()
    streams = [watches.SocketStream(socket, watches.text_frames, behind) for _ in range(3)]
    for stream, times in zip(streams, (3, 5, 4), strict=True):
        for _ in range(times):
            stream.push(Batch(b'{"a":"%s"}\n' % (b"x" * 80)))
    assert [stream.cut_off for stream in streams] == [False, True, False]
    assert behind.bytes == sum(stream._bytes for stream in streams) > 0


SILENT_CLIENT = (
    b"GET %s?watch=1%s HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


async def silent_client(session: Any, parameters: bytes = b"") -> asyncio.StreamWriter:
    """Asks for a watch and takes nothing of it but its head."""
    url = session._base_url
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (url.host, url.port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
    writer.write(SILENT_CLIENT % (CMS.encode(), parameters))
    assert b"101" in await asyncio.wait_for(reader.readuntil(b"\r\n"), 20)
    return writer


async def until_nobody_is_served(session: Any) -> None:
    async with asyncio.timeout(20):
        while session.server.connections:  # noqa: ASYNC110 (the connections tell nobody)
            await asyncio.sleep(0.01)


LONG = {"k": "x" * 400_000}


async def test_the_connection_of_who_is_cut_off_is_closed(
    api: Any, session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches, "UNREAD_BYTES", 500_000)
    writer = await silent_client(session)
    for number in range(30):  # more than the buffers of both sides take
        await api("POST", CMS, {"metadata": {"name": f"n{number}"}, "data": LONG})
    await until_nobody_is_served(session)
    assert len(api.server.watching) == 0
    writer.close()


async def test_who_takes_nothing_for_long_is_cut_off(api: Any, session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "UNREAD_SECONDS", 0.05)
    for number in range(20):
        await api("POST", CMS, {"metadata": {"name": f"n{number}"}, "data": LONG})
    writer = await silent_client(session)
    await until_nobody_is_served(session)
    assert len(api.server.watching) == 0
    writer.close()


async def test_the_end_of_a_watch_does_not_wait_for_who_takes_nothing(
    api: Any, session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches, "LAST_SECONDS", 0.05)
    for number in range(20):
        await api("POST", CMS, {"metadata": {"name": f"n{number}"}, "data": LONG})
    writer = await silent_client(session)
    api.server.watching.stop()
    await until_nobody_is_served(session)
    assert len(api.server.watching) == 0
    writer.close()


def test_frames_are_made_once_for_all_sockets() -> None:
    batch = Batch(b'{"a":1}\n{"b":2}\n')
    socket: Any = SilentSocket()
    streams = [watches.SocketStream(socket, watches.text_frames) for _ in range(2)]
    for stream in streams:
        stream.push(batch)
    first, second = (stream._waiting[0] for stream in streams)
    assert first is second
    assert first == b'\x81\x08{"a":1}\n\x81\x08{"b":2}\n'
