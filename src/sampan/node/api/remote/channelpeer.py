"""A WebSocket client (kubectl since 1.31, Python and JavaScript clients): numbered channels in one connection.

A message is a channel's number and data; the base64 protocols write both as text. In v5 the client ends a channel by
the number 255 and the channel's. Spec: KEP-4006 and apimachinery's wsstream.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from sampan.api.streams import websocket
from sampan.node.api.remote.peer import Peer, PeerGone, PeerStream
from sampan.node.api.streams import ClientConnection
from sampan.node.inbox import Inbox

_CLOSE_CHANNEL = 255
_MESSAGE_BYTES = 32 << 10


class Channel(PeerStream):
    def __init__(self, peer: ChannelPeer, number: int, inbox: Inbox) -> None:
        super().__init__(inbox)
        self._peer, self._number = peer, number

    async def write(self, data: bytes) -> None:
        """An empty message is sent, too: it tells the client that the connection stands."""
        for start in range(0, max(len(data), 1), _MESSAGE_BYTES):
            await self._peer.send_message(self._number, data[start : start + _MESSAGE_BYTES])

    async def write_whole(self, data: bytes) -> None:
        """As one message: clients parse one message as one Status."""
        await self._peer.send_message(self._number, data)


class ChannelPeer(Peer):
    """``open`` the channels before ``run``."""

    def __init__(self, connection: ClientConnection, *, is_base64: bool, has_close: bool) -> None:
        super().__init__(connection)
        self._codec = websocket.Codec()
        self._base64, self._has_close = is_base64, has_close
        self._channels: dict[int, Channel] = {}
        #: of the message under way: its channel (None: not known yet), and base64 characters without a whole group
        self._number: int | None = None
        self._rest = b""
        self._said_goodbye = False

    def open(self, number: int, *, reads: bool, inbox_bytes: int) -> Channel:
        """``reads``: what the client sends on it is wanted."""
        inbox = Inbox(inbox_bytes)
        if not reads:
            inbox.discard()
        channel = self._channels[number] = Channel(self, number, inbox)
        return channel

    async def send_message(self, number: int, data: bytes) -> None:
        if self._base64:
            text = b"%d%s" % (number, base64.b64encode(data))
            await self.send(websocket.render_frame(websocket.TEXT, text))
        else:
            await self.send(websocket.render_frame(websocket.BINARY, bytes((number,)) + data))

    async def _take(self, data: bytes) -> None:
        try:
            for piece in self._codec.feed(data):
                await self._take_piece(piece)
        except websocket.WebSocketError as error:
            self._answer_goodbye(error.code, str(error))
            raise PeerGone from error

    async def _take_piece(self, piece: websocket.Piece) -> None:
        if piece.opcode == websocket.CLOSE:
            self._answer_goodbye(websocket.NORMAL)
            raise PeerGone
        if piece.opcode == websocket.PING:
            await self.send(websocket.render_frame(websocket.PONG, piece.data))
        elif piece.opcode in (websocket.TEXT, websocket.BINARY):
            await self._take_data(piece)

    async def _take_data(self, piece: websocket.Piece) -> None:
        data = piece.data
        if piece.first:
            self._number, self._rest = None, b""
        if self._number is None:
            if not data:
                return
            self._number = data[0] - ord("0") if self._base64 else data[0]
            data = data[1:]
        if self._base64:
            data = self._decoded(data, last=piece.last)
        if self._number == _CLOSE_CHANNEL and self._has_close:
            closed = self._channels.get(data[0]) if data else None
            if closed is not None:
                closed.inbox.end()
            return
        channel = self._channels.get(self._number)
        if channel is not None and data:
            await self.deliver(channel.inbox, data)

    def _decoded(self, data: bytes, *, last: bool) -> bytes:
        data = self._rest + data
        whole = len(data) if last else len(data) // 4 * 4
        data, self._rest = data[:whole], data[whole:]
        try:
            return base64.b64decode(data, validate=True)
        except binascii.Error as error:
            raise websocket.WebSocketError(websocket.PROTOCOL_ERROR, "not base64") from error

    def _ping(self) -> None:
        self.connection.write_if_idle(websocket.render_frame(websocket.PING, b""))

    async def goodbye(self) -> None:
        for channel in self._channels.values():
            channel.inbox.discard()
        if not self._said_goodbye:
            self._said_goodbye = True
            await self.send(websocket.render_close(websocket.NORMAL))

    def _answer_goodbye(self, code: int, reason: str = "") -> None:
        if not self._said_goodbye:
            self._said_goodbye = True
            self.connection.write_if_idle(websocket.render_close(code, reason))


def upgrade_headers(key: str, protocol: str) -> Mapping[str, str]:
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": websocket.accept_key(key)}
    return {**headers, "Sec-WebSocket-Protocol": protocol} if protocol else headers
