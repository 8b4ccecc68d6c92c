"""Translates a remote command from WebSocket (kubectl since 1.31, Python clients) to SPDY (streaming servers of nodes).

Channels of the WebSocket are streams of SPDY: 0 stdin, 1 stdout, 2 stderr, 3 error, 4 resize; in protocol v5 the client
closes stdin by [255, 0]. The outcome on the error stream is passed on as one message, a JSON Status. Spec: KEP-4006.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sampan.server.streaming import spdy
from sampan.server.streaming.backend import Upgraded, first_to_end
from sampan.server.streaming.websocket import PROTOCOL_ERROR, WebSocket

V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
#: what a WebSocket client may speak for this translation, best first; other protocols are the node's to answer
PROTOCOLS = (V5, V4)
#: what is spoken to the node
SPDY_PROTOCOL = "v4.channel.k8s.io"
STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
_NAMES = {STDIN: "stdin", STDOUT: "stdout", STDERR: "stderr", ERROR: "error", RESIZE: "resize"}
_ERROR_LIMIT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Streams:
    """Which streams the command has (PodExecOptions)."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False

    def channels(self) -> list[int]:
        """In the order client-go opens them, which is what streaming servers are tested with."""
        wanted = {ERROR: True, STDIN: self.stdin, STDOUT: self.stdout, STDERR: self.stderr and not self.tty}
        wanted[RESIZE] = self.tty
        return [channel for channel, is_wanted in wanted.items() if is_wanted]


@dataclass(slots=True)
class _State:
    """Invariant: a channel is in ``open_remote`` until the node has finished or reset its stream."""

    stream_ids: dict[int, int]
    open_remote: set[int]
    error: bytearray = field(default_factory=bytearray)
    stdin_open: bool = True

    def channel(self, stream_id: int) -> int | None:
        return next((channel for channel, known in self.stream_ids.items() if known == stream_id), None)


class Translator:
    """One remote command. ``run`` returns when it is over; the caller closes the backend."""

    def __init__(self, client: WebSocket, backend: Upgraded, streams: Streams, protocol: str) -> None:
        self._client, self._backend, self._protocol = client, backend, protocol
        self._codec = spdy.Codec()
        channels = streams.channels()
        ids = {channel: 2 * index + 1 for index, channel in enumerate(channels)}
        self._state = _State(ids, {channel for channel in channels if channel not in (STDIN, RESIZE)})

    async def run(self) -> None:
        opening = [
            self._codec.syn_stream(stream_id, {"streamtype": _NAMES[channel]})
            for channel, stream_id in self._state.stream_ids.items()
        ]
        await self._backend.write(b"".join(opening))
        # Upstream's way to tell the client that the connection stands: an empty message on the first output.
        first = next((c for c in (STDOUT, STDERR, ERROR) if c in self._state.stream_ids), ERROR)
        await self._client.send(bytes((first,)))
        await first_to_end(self._upload(), self._download())

    async def _upload(self) -> None:
        """Ends when the client is gone; an abandoned command loses its connection."""
        while (message := await self._client.receive()) is not None:
            if not message.data:
                continue
            channel, data = message.data[0], message.data[1:]
            if channel == CLOSE and self._protocol == V5:
                await self._close_stdin(data)
            elif channel in (STDIN, RESIZE) and channel in self._state.stream_ids:
                if channel == STDIN and not self._state.stdin_open:
                    continue
                if data:
                    await self._backend.write(spdy.data_frame(self._state.stream_ids[channel], data))
            elif channel not in (STDIN, RESIZE):
                await self._client.close(PROTOCOL_ERROR, f"channel {channel} is not for writing")
                return

    async def _close_stdin(self, data: bytes) -> None:
        if data == bytes((STDIN,)) and STDIN in self._state.stream_ids and self._state.stdin_open:
            self._state.stdin_open = False
            await self._backend.write(spdy.data_frame(self._state.stream_ids[STDIN], b"", fin=True))

    async def _download(self) -> None:
        """Ends when all outputs are finished, or the node is gone."""
        try:
            while self._state.open_remote:
                data = await self._backend.read()
                if not data:
                    break
                for frame in self._codec.feed(data):
                    await self._take(frame)
        except spdy.SpdyError as error:
            self._state.error[:] = _failure(str(error))
        if self._state.error:
            await self._client.send(bytes((ERROR,)) + self._state.error)
        await self._client.close()

    async def _take(self, frame: spdy.Frame) -> None:
        if frame.kind == spdy.PING:
            await self._backend.write(spdy.ping_frame(frame.value))
            return
        if frame.kind == spdy.GOAWAY:
            self._state.open_remote.clear()
            return
        channel = self._state.channel(frame.stream_id)
        if channel is None:
            return
        if frame.kind == spdy.DATA and frame.data:
            if channel == ERROR:
                # Kept together: clients parse one message as one Status.
                self._state.error += frame.data[: _ERROR_LIMIT_BYTES - len(self._state.error)]
            else:
                await self._client.send(bytes((channel,)) + frame.data)
        if frame.fin or frame.kind == spdy.RST_STREAM:
            self._state.open_remote.discard(channel)


def _failure(text: str) -> bytes:
    return b'{"metadata":{},"status":"Failure","reason":"InternalError","message":"%s"}' % text.encode()
