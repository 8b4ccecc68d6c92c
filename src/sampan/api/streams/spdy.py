"""SPDY/3.1 framing as container streaming servers and their clients speak it, without I/O.

``Codec`` turns bytes into frames and frames into bytes. Data frames are given out in pieces as they arrive, control
frames are bounded. Windows are not kept: neither client-go nor the streaming servers (moby/spdystream) keep or send
them, and whoever waited for them would wait for ever; what bounds a stream is that nobody reads on while it is full.
Spec: draft-mbelshe-httpbis-spdy-00, with 3.1's session window.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import field

from sampan.records import dataclass

#: of a control frame, and of its headers once inflated
MAX_CONTROL_BYTES = 64 << 10
_MAX_HEADERS = 64
_VERSION = 3
_CONTROL = 0x8000
FLAG_FIN = 0x01

SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
DATA = 0  # our own number: data frames have no type on the wire

_PREFIXED_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie "
    "keep-alive origin"
)
_PLAIN_TAIL = (
    b"100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    b"203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
    b"403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    b"Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    b"chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
    b"text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _prefixed(word: str) -> bytes:
    text = word.replace("_", " ").encode()
    return struct.pack(">I", len(text)) + text


#: The preset dictionary of header compression. Its Adler-32 is part of the protocol: 0xe3c6a7c2.
DICTIONARY = b"".join(map(_prefixed, _PREFIXED_WORDS.split())) + _PLAIN_TAIL


class SpdyError(Exception):
    """The other side broke the protocol."""


@dataclass(frozen=True, slots=True)
class Frame:
    """``kind`` is one of the constants above. ``value`` is the status of RST_STREAM and GOAWAY, the id of PING.

    Of a data frame that arrives in pieces only the last has its ``fin``.
    """

    kind: int
    stream_id: int = 0
    fin: bool = False
    data: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    value: int = 0


class Codec:
    """One connection's two header compressors and the bytes of an incomplete frame."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(wbits=zlib.MAX_WBITS, zdict=DICTIONARY)
        self._inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS, zdict=DICTIONARY)
        self._buffer = bytearray()
        self._data_left = 0  # of the data frame under way: bytes that have not come yet
        self._data_stream, self._data_fin = 0, False

    # -- writing

    def syn_stream(self, stream_id: int, headers: Mapping[str, str], *, fin: bool = False) -> bytes:
        body = struct.pack(">IIBB", stream_id, 0, 0, 0) + self._compress(headers)
        return _control(SYN_STREAM, FLAG_FIN if fin else 0, body)

    def syn_reply(self, stream_id: int, headers: Mapping[str, str]) -> bytes:
        return _control(SYN_REPLY, 0, struct.pack(">I", stream_id) + self._compress(headers))

    def _compress(self, headers: Mapping[str, str]) -> bytes:
        block = [struct.pack(">I", len(headers))]
        for name, value in headers.items():
            block += [_prefixed_bytes(name.lower().encode()), _prefixed_bytes(value.encode())]
        return self._deflate.compress(b"".join(block)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)

    # -- reading

    def feed(self, data: bytes) -> Iterator[Frame]:
        """What is complete now. Raises SpdyError, after which nothing more must be fed."""
        buffer = self._buffer
        buffer += data
        while buffer or self._data_left:
            if self._data_left:
                if not buffer:
                    return
                yield self._take_data()
                continue
            if len(buffer) < 8:
                return
            first, second, flags = struct.unpack_from(">HHB", buffer)
            length = int.from_bytes(buffer[5:8])
            if not first & _CONTROL:
                del buffer[:8]
                self._data_stream, self._data_fin = (first << 16 | second) & 0x7FFFFFFF, bool(flags & FLAG_FIN)
                self._data_left = length
                if not length:
                    yield Frame(DATA, self._data_stream, self._data_fin)
                continue
            if first & 0x7FFF != _VERSION:
                raise SpdyError(f"unsupported SPDY version {first & 0x7FFF}")
            if length > MAX_CONTROL_BYTES:
                raise SpdyError("control frame too large")
            if len(buffer) < 8 + length:
                return
            body = bytes(buffer[8 : 8 + length])
            del buffer[: 8 + length]
            try:
                frame = self._parse_control(second, bool(flags & FLAG_FIN), body)
            except struct.error as error:
                raise SpdyError(f"short control frame of type {second}") from error
            if frame is not None:
                yield frame

    def _take_data(self) -> Frame:
        data = bytes(self._buffer[: self._data_left])
        del self._buffer[: len(data)]
        self._data_left -= len(data)
        return Frame(DATA, self._data_stream, self._data_fin and not self._data_left, data)

    def _parse_control(self, kind: int, fin: bool, body: bytes) -> Frame | None:
        if kind in (SYN_STREAM, SYN_REPLY, HEADERS):
            (stream_id,) = struct.unpack_from(">I", body)
            block = body[10:] if kind == SYN_STREAM else body[4:]
            return Frame(kind, stream_id & 0x7FFFFFFF, fin, headers=self._decompress(block))
        if kind in (RST_STREAM, GOAWAY):
            stream_id, status = struct.unpack_from(">II", body)
            return Frame(kind, stream_id & 0x7FFFFFFF, value=status)
        if kind == PING:
            (value,) = struct.unpack_from(">I", body)
            return Frame(PING, value=value)
        return None  # SETTINGS, WINDOW_UPDATE, and what later drafts added

    def _decompress(self, block: bytes) -> dict[str, str]:
        try:
            plain = self._inflate.decompress(block, MAX_CONTROL_BYTES)
        except zlib.error as error:
            raise SpdyError("broken header block") from error
        if self._inflate.unconsumed_tail:
            raise SpdyError("header block too large")
        (count,) = struct.unpack_from(">I", plain)
        if count > _MAX_HEADERS:
            raise SpdyError("too many headers")
        position, texts = 4, []
        for _ in range(2 * count):
            (length,) = struct.unpack_from(">I", plain, position)
            position += 4
            if length > len(plain) - position:
                raise SpdyError("broken header block")
            texts.append(plain[position : position + length].decode("utf-8", "replace"))
            position += length
        return dict(zip(texts[::2], texts[1::2], strict=True))


def data_frame(stream_id: int, data: bytes, *, fin: bool = False) -> bytes:
    return struct.pack(">IB", stream_id, FLAG_FIN if fin else 0) + len(data).to_bytes(3) + data


def ping_frame(ping_id: int) -> bytes:
    return _control(PING, 0, struct.pack(">I", ping_id))


def rst_frame(stream_id: int, status: int) -> bytes:
    return _control(RST_STREAM, 0, struct.pack(">II", stream_id, status))


def goaway_frame(last_stream_id: int, status: int = 0) -> bytes:
    return _control(GOAWAY, 0, struct.pack(">II", last_stream_id, status))


def _control(kind: int, flags: int, body: bytes) -> bytes:
    return struct.pack(">HHB", _CONTROL | _VERSION, kind, flags) + len(body).to_bytes(3) + body


def _prefixed_bytes(text: bytes) -> bytes:
    return struct.pack(">I", len(text)) + text
