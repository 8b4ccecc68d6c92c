"""Port-forward: each pair of a data and an error stream is one connection to a port of the pod.

SPDY names the port in the streams' headers; the WebSocket protocols in the query, two channels a port, and write the
port's number first on both. Spec: kubelet ``portforward``.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from aiohttp import web

from sampan.api.errors import BadRequest
from sampan.node.api.remote.channelpeer import ChannelPeer, upgrade_headers
from sampan.node.api.remote.commands import agree_socket, agree_spdy, spdy_headers
from sampan.node.api.remote.peer import PeerStream, serve
from sampan.node.api.remote.spdypeer import SpdyPeer, SpdyStream
from sampan.node.api.streams import ClientConnection, Hijacked, reset
from sampan.node.runtime import RuntimeCallError
from sampan.records import dataclass

_SPDY_PROTOCOLS = ("portforward.k8s.io",)
_SOCKET_PROTOCOLS = (
    "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "channel.k8s.io", "base64.channel.k8s.io",
)  # fmt: skip
#: of one client: connections and bytes a connection that wait for the pod
_MAX_STREAMS = 512
_INBOX_BYTES = 64 << 10
_BLOCK_BYTES = 64 << 10
_MAX_PORTS = 64
#: how long the second stream of a pair may take, and what a pod has closed may still be written to
_PAIR_SECONDS = 30.0
_LAST_SECONDS = 1.0

Connect = Callable[[int], Awaitable[socket.socket]]


@dataclass(frozen=True, slots=True)
class Forwarding:
    """``sandbox`` names the pod in messages, as upstream's do."""

    sandbox: str
    ports: Sequence[int]
    connect: Connect


async def serve_ports(request: web.BaseRequest, forwarding: Forwarding) -> web.StreamResponse:
    """Serves the connection to its end. Raises BadRequest, Forbidden before it begins."""
    upgrade = request.headers.get("Upgrade", "").lower()
    if upgrade == "websocket":
        return await _serve_socket(request, forwarding)
    if upgrade != "spdy/3.1":
        raise BadRequest(f'unable to upgrade: the protocol "{upgrade[:32]}" is not spoken here')
    protocol = agree_spdy(request, _SPDY_PROTOCOLS)
    connection = ClientConnection(request)
    peer = SpdyPeer(connection, max_streams=_MAX_STREAMS, inbox_bytes=_INBOX_BYTES)
    connection.switch(spdy_headers(protocol))
    await serve(peer, _pair_streams(peer, forwarding))
    return Hijacked()


async def _serve_socket(request: web.BaseRequest, forwarding: Forwarding) -> web.StreamResponse:
    protocol = agree_socket(request, _SOCKET_PROTOCOLS)
    if not forwarding.ports or len(forwarding.ports) > _MAX_PORTS:
        raise BadRequest(f'query parameter "port" is required, at most {_MAX_PORTS} times')
    connection = ClientConnection(request)
    peer = ChannelPeer(connection, is_base64="base64" in protocol, has_close=False)
    pairs = [
        (
            peer.open(2 * index, reads=True, inbox_bytes=_INBOX_BYTES),
            peer.open(2 * index + 1, reads=False, inbox_bytes=_INBOX_BYTES),
            port,
        )
        for index, port in enumerate(forwarding.ports)
    ]
    connection.switch(upgrade_headers(request.headers["Sec-WebSocket-Key"], protocol))

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            for data, error, port in pairs:
                await data.write(port.to_bytes(2, "little"))
                await error.write(port.to_bytes(2, "little"))
                group.create_task(_forward(forwarding, port, data, error), name=f"port {port}")

    await serve(peer, _ungrouped(run()))
    return Hijacked()


async def _ungrouped(work: Awaitable[None]) -> None:
    """Raises ConnectionResetError when the client has gone."""
    try:
        await work
    except* ConnectionError as errors:
        raise ConnectionResetError("the client has gone") from errors


async def _pair_streams(peer: SpdyPeer, forwarding: Forwarding) -> None:
    """Never ends by itself: the client opens pairs as it needs them, and goes."""
    waiting: dict[str, SpdyStream] = {}

    async def forget_lonely(request_id: str, stream: SpdyStream) -> None:
        await asyncio.sleep(_PAIR_SECONDS)
        if waiting.get(request_id) is stream:
            del waiting[request_id]
            peer.forget(stream)
            await stream.finish()

    async def forward(data: SpdyStream, error: SpdyStream, port: int) -> None:
        try:
            await _forward(forwarding, port, data, error)
        finally:
            peer.forget(data, error)

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            timers: dict[str, asyncio.Task[None]] = {}
            while True:
                stream = await peer.next_stream()
                request_id = _request_id(stream)
                other = waiting.pop(request_id, None)
                if other is None:
                    waiting[request_id] = stream
                    timer = group.create_task(forget_lonely(request_id, stream), name="lonely stream")
                    timers[request_id] = timer
                    timer.add_done_callback(partial(_forget, timers, request_id))
                    continue
                if request_id in timers:
                    timers[request_id].cancel()
                kinds = {each.headers.get("streamtype", ""): each for each in (other, stream)}
                port = _port(stream)
                if set(kinds) != {"data", "error"} or port is None or _port(other) != port:
                    peer.forget(other, stream)
                    for each in (other, stream):
                        await each.finish()
                    continue
                group.create_task(forward(kinds["data"], kinds["error"], port), name=f"port {port}")

    await _ungrouped(run())


def _request_id(stream: SpdyStream) -> str:
    """Old clients give none: there the data stream follows its error stream."""
    given = stream.headers.get("requestid", "")
    if given:
        return given
    return f"stream {stream.id - 2 if stream.headers.get('streamtype') == 'data' else stream.id}"


def _port(stream: SpdyStream) -> int | None:
    text = stream.headers.get("port", "")
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0
    return number if 0 < number < 65536 else None


async def _forward(forwarding: Forwarding, port: int, data: PeerStream, error: PeerStream) -> None:
    """One connection to the pod, to its end. Raises ConnectionError when the client has gone."""
    try:
        made = await forwarding.connect(port)
    except RuntimeCallError as fault:
        await error.write(f"error forwarding port {port} to pod {forwarding.sandbox}, uid : {fault}".encode())
    else:
        reader, writer = await asyncio.open_connection(sock=made, limit=_BLOCK_BYTES)
        try:
            await _join(reader, writer, data)
        finally:
            reset(writer.transport)
    data.inbox.discard()
    await error.finish()
    await data.finish()


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: PeerStream) -> None:
    """Until the pod has closed its side; what the client has ended may still be answered."""

    async def upload() -> None:
        try:
            while piece := await data.inbox.read():
                writer.write(piece)
                await writer.drain()
            if isinstance(data, SpdyStream) and data.was_reset.is_set():
                reset(writer.transport)
            else:
                writer.write_eof()
        except OSError:
            data.inbox.discard()  # the pod reads no more

    async def download() -> None:
        while True:
            try:
                piece = await reader.read(_BLOCK_BYTES)
            except OSError:
                return
            if not piece:
                return
            await data.write(piece)

    sending = asyncio.ensure_future(upload())
    try:
        await download()
        await asyncio.wait((sending,), timeout=_LAST_SECONDS)
    finally:
        sending.cancel()
        await asyncio.wait((sending,))


def _forget(timers: dict[str, asyncio.Task[None]], request_id: str, timer: asyncio.Task[None]) -> None:
    """A timer that ended; the id may have come again meanwhile, and then has another."""
    if timers.get(request_id) is timer:
        del timers[request_id]
