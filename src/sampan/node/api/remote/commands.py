"""exec and attach: a program's streams joined with a client's, and its outcome told as the protocol has it.

Spec: kubelet ``remotecommand`` (protocols v1 to v4), KEP-4006 (v5). Only v4 and v5 tell an exit code; older ones get
the text of a failure.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping

import orjson
from aiohttp import web

from sampan.api.errors import BadRequest, Forbidden
from sampan.api.streams import websocket
from sampan.api.types import Obj
from sampan.node.api.options import StreamOptions
from sampan.node.api.remote.channelpeer import Channel, ChannelPeer, upgrade_headers
from sampan.node.api.remote.peer import PeerStream, serve
from sampan.node.api.remote.spdypeer import SpdyPeer
from sampan.node.api.streams import ClientConnection, Hijacked
from sampan.node.runtime import Command, OutputStream, RuntimeCallError
from sampan.records import dataclass

_SPDY_PROTOCOLS = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
_SOCKET_PROTOCOLS = (
    "v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "channel.k8s.io", "base64.channel.k8s.io",
)  # fmt: skip
#: protocols without a stream for the size of the terminal
_WITHOUT_RESIZE = ("v2.channel.k8s.io", "channel.k8s.io", "base64.channel.k8s.io")
_WITH_STATUS = ("v5", "v4")
_CHANNELS = {"stdin": 0, "stdout": 1, "stderr": 2, "error": 3, "resize": 4}
_STREAM_SECONDS = 30.0
_INBOX_BYTES = 128 << 10
_RESIZE_BYTES = 4096

Streams = Mapping[str, PeerStream]


@dataclass(frozen=True, slots=True)
class Work:
    """What the client asked for. ``doing`` and ``shown`` are for messages: upstream's words, and the command line."""

    streams: StreamOptions
    start: Callable[[], Awaitable[Command]]
    doing: str
    shown: str = ""

    def names(self, protocol: str) -> list[str]:
        wanted = self.streams
        found = ["error"]
        found += [name for name in ("stdin", "stdout", "stderr") if getattr(wanted, name)]
        return [*found, "resize"] if wanted.tty and protocol not in _WITHOUT_RESIZE else found


async def serve_command(request: web.BaseRequest, work: Work) -> web.StreamResponse:
    """Serves the connection to its end. Raises BadRequest, Forbidden before it begins."""
    upgrade = request.headers.get("Upgrade", "").lower()
    if upgrade == "websocket":
        return await _serve_socket(request, work)
    if upgrade == "spdy/3.1":
        return await _serve_spdy(request, work)
    raise BadRequest(f'unable to upgrade: the protocol "{upgrade[:32]}" is not spoken here')


async def _serve_socket(request: web.BaseRequest, work: Work) -> web.StreamResponse:
    protocol = agree_socket(request, _SOCKET_PROTOCOLS)
    key = request.headers.get("Sec-WebSocket-Key", "")
    connection = ClientConnection(request)
    peer = ChannelPeer(connection, is_base64="base64" in protocol, has_close=protocol.startswith("v5"))
    streams = {
        name: peer.open(_CHANNELS[name], reads=name in ("stdin", "resize"), inbox_bytes=_INBOX_BYTES)
        for name in work.names(protocol)
    }
    connection.switch(upgrade_headers(key, protocol))

    async def run() -> None:
        # Upstream's way to tell that the connection stands: an empty message on the first output.
        first = next(name for name in ("stdout", "stderr", "error") if name in streams)
        await streams[first].write(b"")
        await run_command(work, streams, protocol)

    await serve(peer, run())
    return Hijacked()


def agree_socket(request: web.BaseRequest, known: tuple[str, ...]) -> str:
    """The first offered subprotocol that is known; "" when none is offered. Raises BadRequest."""
    key = request.headers.get("Sec-WebSocket-Key", "")
    if not websocket.is_valid_key(key) or request.headers.get("Sec-WebSocket-Version") != "13":
        raise BadRequest("not a valid WebSocket handshake: version 13 and a 16 byte key are needed")
    offered = [each.strip() for each in ",".join(request.headers.getall("Sec-WebSocket-Protocol", [])).split(",")]
    # A browser's bearer token travels as a subprotocol; it was for the authentication.
    offered = [each for each in offered if each and not each.startswith("base64url.bearer.authorization.")]
    protocol = next((each for each in offered if each in known), "")
    if offered and not protocol:
        raise BadRequest(f"none of the offered WebSocket protocols is spoken here: {', '.join(known)}")
    return protocol


async def _serve_spdy(request: web.BaseRequest, work: Work) -> web.StreamResponse:
    protocol = agree_spdy(request, _SPDY_PROTOCOLS)
    connection = ClientConnection(request)
    names = work.names(protocol)
    peer = SpdyPeer(connection, max_streams=len(names) + 1, inbox_bytes=_INBOX_BYTES)
    connection.switch(spdy_headers(protocol))

    async def run() -> None:
        streams: dict[str, PeerStream] = {}
        try:
            async with asyncio.timeout(_STREAM_SECONDS):
                while len(streams) < len(names):
                    stream = await peer.next_stream()
                    name = stream.headers.get("streamtype", "")
                    if name not in names or name in streams:
                        return  # as upstream: such a client is cut off
                    streams[name] = stream
        except TimeoutError:
            return
        await run_command(work, streams, protocol)

    await serve(peer, run())
    return Hijacked()


def agree_spdy(request: web.BaseRequest, known: tuple[str, ...]) -> str:
    """The first of the client's protocols that is known; the oldest for a client that names none. Raises Forbidden."""
    offered = [each.strip() for each in ",".join(request.headers.getall("X-Stream-Protocol-Version", [])).split(",")]
    offered = [each for each in offered if each]
    protocol = next((each for each in offered if each in known), "" if offered else known[-1])
    if not protocol:
        raise Forbidden(
            "unable to upgrade: unable to negotiate protocol: "
            f"client supports [{' '.join(offered)}], server accepts [{' '.join(known)}]"
        )
    return protocol


def spdy_headers(protocol: str) -> Mapping[str, str]:
    return {"Upgrade": "SPDY/3.1", "Connection": "Upgrade", "X-Stream-Protocol-Version": protocol}


async def run_command(work: Work, streams: Streams, protocol: str) -> None:
    """Starts the program, joins the streams, tells the outcome. Raises ConnectionError when the client has gone."""
    failure: Obj | None
    try:
        command = await work.start()
    except RuntimeCallError as error:
        failure = internal_error(f"error {work.doing}: {error}")
    else:
        try:
            failure = exit_failure(work, await _join(command, streams))
        except RuntimeCallError as error:
            failure = internal_error(f"error {work.doing}: {error}")
        finally:
            await command.close()
    if protocol.startswith(_WITH_STATUS):
        text = orjson.dumps(failure or {"metadata": {}, "status": "Success"})
    else:
        text = failure["message"].encode() if failure else b""
    error_stream = streams["error"]
    if isinstance(error_stream, Channel):
        if text:
            await error_stream.write_whole(text)
    else:
        await error_stream.write(text)
    for stream in streams.values():
        await stream.finish()


async def _join(command: Command, streams: Streams) -> int:
    """The exit code, once it has ended and its outputs are read. Raises RuntimeCallError, ConnectionError."""
    try:
        async with asyncio.TaskGroup() as group:
            inputs = [group.create_task(_send_input(command, streams["stdin"]))] if "stdin" in streams else []
            if "resize" in streams:
                inputs.append(group.create_task(_resize(command, streams["resize"])))
            names: tuple[OutputStream, ...] = ("stdout", "stderr")
            outputs = [
                group.create_task(_send_output(command, name, streams[name])) for name in names if name in streams
            ]
            if outputs:
                await asyncio.gather(*outputs)
            code = await command.wait()
            for task in inputs:
                task.cancel()
    except* ConnectionError as errors:
        raise ConnectionResetError("the client has gone") from errors
    except* RuntimeCallError as errors:
        raise _first(errors) from errors
    return code


def _first(group: BaseExceptionGroup[RuntimeCallError]) -> RuntimeCallError:
    error = group.exceptions[0]
    return error if isinstance(error, RuntimeCallError) else _first(error)


async def _send_input(command: Command, stream: PeerStream) -> None:
    try:
        while data := await stream.inbox.read():
            await command.write(data)
        await command.close_stdin()
    except (BrokenPipeError, ConnectionResetError):
        stream.inbox.discard()  # the program reads no more; it may go on for long


async def _send_output(command: Command, name: OutputStream, stream: PeerStream) -> None:
    while data := await command.read(name):
        await stream.write(data)
    await stream.finish()


async def _resize(command: Command, stream: PeerStream) -> None:
    decoder = json.JSONDecoder()
    text = ""
    while data := await stream.inbox.read():
        text = (text + data.decode("utf-8", "replace"))[-_RESIZE_BYTES:].lstrip()
        size: object = None
        while text:
            try:
                size, end = decoder.raw_decode(text)
            except (ValueError, RecursionError):
                break
            text = text[end:].lstrip()
        if isinstance(size, dict):
            width, height = size.get("Width", size.get("width")), size.get("Height", size.get("height"))
            if isinstance(width, int) and isinstance(height, int) and 0 < width < 65536 and 0 < height < 65536:
                await command.resize(width, height)


def exit_failure(work: Work, code: int) -> Obj | None:
    """The Status of a non-zero exit; None for zero."""
    if code == 0:
        return None
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: error {work.doing.partition(' in ')[0]} "
        f"{work.shown}, exit code {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def internal_error(text: str) -> Obj:
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"Internal error occurred: {text}",
        "reason": "InternalError",
        "details": {"causes": [{"message": text}]},
        "code": 500,
    }
