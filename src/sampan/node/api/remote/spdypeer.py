"""A SPDY/3.1 client (kubectl, client-go): it opens the streams, each with headers that say what it is for."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from sampan.api.streams import spdy
from sampan.node.api.remote.peer import Peer, PeerGone, PeerStream
from sampan.node.api.streams import ClientConnection
from sampan.node.inbox import Inbox

_FRAME_BYTES = 64 << 10
_PROTOCOL_ERROR, _REFUSED_STREAM, _CANCEL = 1, 3, 5


class SpdyStream(PeerStream):
    def __init__(self, peer: SpdyPeer, stream_id: int, headers: Mapping[str, str], inbox_bytes: int) -> None:
        super().__init__(Inbox(inbox_bytes))
        self._peer = peer
        self.id, self.headers = stream_id, headers
        #: the client wants no more of it
        self.was_reset = asyncio.Event()
        self._finished = False

    async def write(self, data: bytes) -> None:
        for start in range(0, len(data), _FRAME_BYTES):
            if self._finished or self.was_reset.is_set():
                return
            await self._peer.send(spdy.data_frame(self.id, data[start : start + _FRAME_BYTES]))

    async def finish(self) -> None:
        if not self._finished and not self.was_reset.is_set():
            self._finished = True
            await self._peer.send(spdy.data_frame(self.id, b"", fin=True))


class SpdyPeer(Peer):
    """``max_streams``: open at once; further ones are refused."""

    def __init__(self, connection: ClientConnection, *, max_streams: int, inbox_bytes: int) -> None:
        super().__init__(connection)
        self._codec = spdy.Codec()
        self._max_streams, self._inbox_bytes = max_streams, inbox_bytes
        self._streams: dict[int, SpdyStream] = {}
        self._new: asyncio.Queue[SpdyStream] = asyncio.Queue()  # bounded by max_streams
        self._last_id = 0
        self._ping_id = 0

    async def next_stream(self) -> SpdyStream:
        return await self._new.get()

    def forget(self, *streams: SpdyStream) -> None:
        """Makes room for others. What still comes for these is dropped."""
        for stream in streams:
            stream.inbox.discard()
            self._streams.pop(stream.id, None)

    async def _take(self, data: bytes) -> None:
        try:
            for frame in self._codec.feed(data):
                await self._take_frame(frame)
        except spdy.SpdyError as error:
            self.connection.write_if_idle(spdy.goaway_frame(self._last_id, _PROTOCOL_ERROR))
            raise PeerGone from error

    async def _take_frame(self, frame: spdy.Frame) -> None:
        if frame.kind == spdy.SYN_STREAM:
            await self._open(frame)
            return
        if frame.kind == spdy.PING:
            if frame.value % 2:  # even ones are answers to ours
                await self.send(spdy.ping_frame(frame.value))
            return
        stream = self._streams.get(frame.stream_id)
        if stream is None:
            return
        if frame.kind == spdy.DATA:
            await self.deliver(stream.inbox, frame.data)
        elif frame.kind == spdy.RST_STREAM:
            stream.was_reset.set()
            stream.inbox.end()
            return
        if frame.fin:
            stream.inbox.end()

    async def _open(self, frame: spdy.Frame) -> None:
        if frame.stream_id % 2 == 0 or frame.stream_id <= self._last_id:
            raise spdy.SpdyError("stream ids must be odd and grow")
        self._last_id = frame.stream_id
        if len(self._streams) >= self._max_streams:
            await self.send(spdy.rst_frame(frame.stream_id, _REFUSED_STREAM))
            return
        stream = SpdyStream(self, frame.stream_id, frame.headers, self._inbox_bytes)
        if frame.fin:
            stream.inbox.end()
        self._streams[frame.stream_id] = stream
        await self.send(self._codec.syn_reply(frame.stream_id, {}))
        self._new.put_nowait(stream)

    def _ping(self) -> None:
        self._ping_id += 2
        self.connection.write_if_idle(spdy.ping_frame(self._ping_id & 0x7FFFFFFE))

    async def goodbye(self) -> None:
        for stream in tuple(self._streams.values()):
            stream.inbox.discard()
            await stream.finish()
        await self.send(spdy.goaway_frame(self._last_id))
