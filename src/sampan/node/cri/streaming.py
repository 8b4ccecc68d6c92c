"""Commands through a CRI runtime's own streaming server, over SPDY: attach, and exec where there is no task service.

Input goes through ``pipe`` where there is one: what is sent over SPDY and not read by the program would hold the
connection for as long as the container lives.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import orjson

from sampan.api.streams import spdy
from sampan.client.tasks import detach
from sampan.node import runtime
from sampan.node.cri.fifo import FifoWriter
from sampan.node.inbox import Inbox

_CONNECT_SECONDS = 10.0
_ANSWER_SECONDS = 30.0
_HEAD_BYTES = 64 << 10
_BLOCK_BYTES = 64 << 10
_FRAME_BYTES = 32 << 10
_STATUS_BYTES = 64 << 10
_Connected = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_GONE = "the runtime's streaming server broke off"


async def connect(
    url: str, *, tty: bool, stdin: bool, stdout: bool, stderr: bool, pipe: FifoWriter | None = None
) -> StreamedCommand:
    """Raises RuntimeCallError."""
    target = urlsplit(url)
    try:
        if target.scheme != "http" or not target.hostname:
            raise runtime.RuntimeCallError(f'the runtime gave a streaming URL of scheme "{target.scheme}", not http')
        path = target.path + (f"?{target.query}" if target.query else "")
        connected = await _upgrade(target.hostname, target.port or 80, target.netloc, path)
    except BaseException:
        if pipe is not None:
            pipe.close()
        raise
    names = ["error"]
    names += [name for name, wanted in (("stdin", stdin), ("stdout", stdout), ("stderr", stderr)) if wanted]
    names += ["resize"] if tty else []
    made = StreamedCommand(*connected, names, pipe)
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            await made.open()
    except (TimeoutError, OSError) as error:
        await made.close()
        raise runtime.RuntimeCallError(_GONE) from error
    except BaseException:
        await made.close()
        raise
    return made


async def _upgrade(
    host: str, port: int, authority: str, path: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Nothing is sent on before the server has agreed with 101."""
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(host, port, limit=_HEAD_BYTES)
    except (OSError, TimeoutError) as error:
        raise runtime.RuntimeCallError("the runtime's streaming server cannot be reached") from error
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
        "X-Stream-Protocol-Version: v4.channel.k8s.io\r\nContent-Length: 0\r\n\r\n"
    )
    try:
        writer.write(head.encode())
        async with asyncio.timeout(_ANSWER_SECONDS):
            answer = await reader.readuntil(b"\r\n\r\n")
    except (OSError, EOFError, asyncio.LimitOverrunError, TimeoutError) as error:
        writer.transport.abort()
        raise runtime.RuntimeCallError("the runtime's streaming server gave no answer") from error
    except BaseException:
        writer.transport.abort()
        raise
    status = answer.split(b"\r\n", 1)[0].decode("latin-1").split(" ")[1:2]
    if status != ["101"]:
        writer.transport.abort()
        raise runtime.RuntimeCallError(f"the runtime's streaming server refused: {''.join(status) or 'no HTTP'}")
    return reader, writer


class StreamedCommand:
    """Implements ``runtime.Command``."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, names: list[str], pipe: FifoWriter | None
    ) -> None:
        self._reader, self._writer, self._pipe = reader, writer, pipe
        self._codec = spdy.Codec()
        self._ids = {name: 2 * index + 1 for index, name in enumerate(names)}
        self._names = {stream_id: name for name, stream_id in self._ids.items()}
        self._outputs = {name: Inbox() for name in names if name in ("stdout", "stderr")}
        self._status = bytearray()
        self._replied: set[int] = set()
        self._all_replied = asyncio.Event()
        self._outcome: asyncio.Future[int | str] = asyncio.get_running_loop().create_future()
        self._reading: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Data on a stream that the server has not answered would be dropped, so all answers are waited for."""
        for name, stream_id in self._ids.items():
            self._writer.write(self._codec.syn_stream(stream_id, {"streamtype": name}))
        self._reading = detach(self._read(), "streams of the runtime")
        await self._all_replied.wait()
        if self._outcome.done() and self._outcome.result() == _GONE:
            raise ConnectionResetError

    async def _read(self) -> None:
        try:
            while data := await self._reader.read(_BLOCK_BYTES):
                for frame in self._codec.feed(data):
                    await self._take(frame)
        except (OSError, spdy.SpdyError):
            pass  # ended without a proper end
        finally:
            self._finish(_GONE)
            self._all_replied.set()
            for output in self._outputs.values():
                output.end()

    async def _take(self, frame: spdy.Frame) -> None:
        if frame.kind == spdy.PING:
            self._writer.write(spdy.ping_frame(frame.value))
            return
        if frame.kind == spdy.SYN_REPLY:
            self._replied.add(frame.stream_id)
            if len(self._replied) == len(self._ids):
                self._all_replied.set()
            return
        name = self._names.get(frame.stream_id, "")
        output = self._outputs.get(name)
        over = frame.fin or frame.kind == spdy.RST_STREAM
        if output is not None:
            output.add(frame.data)
            if over:
                output.end()
            await output.room()
        elif name == "error" and frame.kind in (spdy.DATA, spdy.RST_STREAM):
            self._status += frame.data[: _STATUS_BYTES - len(self._status)]
            if over:
                self._finish(_parse_status(bytes(self._status)))

    def _finish(self, outcome: int | str) -> None:
        if not self._outcome.done():
            self._outcome.set_result(outcome)

    async def read(self, stream: runtime.OutputStream) -> bytes:
        output = self._outputs.get(stream)
        return await output.read() if output is not None else b""

    async def write(self, data: bytes) -> None:
        if self._pipe is not None:
            await self._pipe.write(data)
            return
        stream_id = self._ids.get("stdin")
        if stream_id is None:
            raise BrokenPipeError
        for start in range(0, len(data), _FRAME_BYTES):
            self._send(spdy.data_frame(stream_id, data[start : start + _FRAME_BYTES]))
            await self._writer.drain()

    async def close_stdin(self) -> None:
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            pipe.close()
        stream_id = self._ids.pop("stdin", None)
        if stream_id is not None:
            # The runtime closes its own end of the container's input with it, where the container wants that.
            self._send(spdy.data_frame(stream_id, b"", fin=True))

    async def resize(self, width: int, height: int) -> None:
        if "resize" in self._ids:
            size = orjson.dumps({"Width": width, "Height": height})
            self._send(spdy.data_frame(self._ids["resize"], size))

    def _send(self, data: bytes) -> None:
        if self._writer.transport.is_closing():
            raise BrokenPipeError
        self._writer.write(data)

    async def wait(self) -> int:
        outcome = await asyncio.shield(self._outcome)
        if isinstance(outcome, str):
            raise runtime.RuntimeCallError(outcome)
        return outcome

    async def close(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
        self._writer.transport.abort()
        if self._reading is not None:
            self._reading.cancel()


def _parse_status(text: bytes) -> int | str:
    """The exit code, or why there is none."""
    try:
        status: dict[str, Any] = orjson.loads(text) if text else {"status": "Success"}
        if status.get("status") == "Success":
            return 0
        for cause in (status.get("details") or {}).get("causes") or ():
            if cause.get("reason") == "ExitCode":
                return int(cause["message"])
        return str(status.get("message") or _GONE)
    except (orjson.JSONDecodeError, AttributeError, KeyError, ValueError, TypeError):
        return text.decode("utf-8", "replace") or _GONE
