"""The bytes of an answer: status line, headers, framing. Pure: the date is an argument."""

from __future__ import annotations

import http
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime
from email.utils import format_datetime

import orjson

from sampan.api import errors
from sampan.server.http.heads import Head, Refused
from sampan.server.request import Request, Response

#: answers below this are not worth compressing (upstream's default)
GZIP_MIN_BYTES = 128 * 1024
#: a body below this is copied behind its head, for one write instead of two
_COPIED_BYTES = 64 * 1024
WITHOUT_BODY = frozenset({204, 304})
#: answers after which the connection cannot be trusted to be in step
ENDING = frozenset({408, 413})
#: length of an answer that is sent in chunks, or until the connection ends
STREAMED = -1
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_PHRASES = {status.value: status.phrase for status in http.HTTPStatus}
_STATUS_LINES = {code: f"HTTP/1.1 {code} {phrase}\r\n".encode() for code, phrase in _PHRASES.items()}
_FRAMING = frozenset({"content-length", "transfer-encoding", "connection"})
_BREAKS = ("\r", "\n", "\0")


def ordinary(date: bytes, request: Request, response: Response) -> bytes | None:
    """A complete answer of which only the Audit-Id, the date and the body differ from others like it; None: it is not
    such an answer, ``whole`` does it."""
    head, body, audit_id = response.head, response.body, request.audit_id
    if head is None or type(body) is not bytes or len(body) >= _COPIED_BYTES:
        return None
    if response.headers or request.warnings or response.more_headers or response.hijacked:
        return None
    if not (audit_id.isascii() and audit_id.isprintable()):
        return None
    status = _STATUS_LINES.get(response.status)
    if status is None or response.status in WITHOUT_BODY or response.status in ENDING:
        return None
    length = b"Content-Length: %d\r\n\r\n" % len(body)
    if not audit_id:
        return b"".join((status, head, date, length, body))
    return b"".join((status, head, b"Audit-Id: ", audit_id.encode(), b"\r\n", date, length, body))


def whole(date: bytes, head: Head, request: Request, response: Response, body: bytes, *, close: bool) -> bytes:
    """A complete answer; of one with a large body (not ``is_copied``) only the head. Raises InternalError."""
    text = render(date, head, request, response, len(body), close=close)
    if head.method == "HEAD" or response.status in WITHOUT_BODY or not is_copied(body):
        return text
    return text + body


def is_copied(body: bytes) -> bool:
    return len(body) < _COPIED_BYTES


def render(date: bytes, head: Head, request: Request, response: Response, length: int, *, close: bool) -> bytes:
    """The head of an answer. Raises InternalError for a header that would break it."""
    lines, given = _lines(response)
    parts = [_status_line(response.status, head), response.head or b"", lines]
    if "audit-id" not in given and request.audit_id:
        parts.append(b"Audit-Id: %s\r\n" % _checked(request.audit_id))
    if response.head is None:
        if "cache-control" not in given:
            parts.append(b"Cache-Control: no-cache, private\r\n")
        if "content-type" not in given:
            parts.append(b"Content-Type: %s\r\n" % _checked(response.content_type))
        if "server" not in given:
            parts.append(b"Server: sampan\r\n")
    if "date" not in given:
        parts.append(date)
    parts += [b"Warning: 299 - %s\r\n" % orjson.dumps(text) for text in limited_warnings(request.warnings)]
    if response.status not in WITHOUT_BODY:
        if length != STREAMED:
            parts.append(b"Content-Length: %d\r\n" % length)
        elif not head.is_http_1_0 and head.method != "HEAD":
            parts.append(b"Transfer-Encoding: chunked\r\n")
    if close:
        parts.append(b"Connection: close\r\n")
    elif head.is_http_1_0:
        parts.append(b"Connection: keep-alive\r\n")
    parts.append(b"\r\n")
    return b"".join(parts)


def upgraded(status: int, headers: Mapping[str, str]) -> bytes:
    """The head of an answer after which the connection speaks another protocol. Raises InternalError."""
    parts = [b"HTTP/1.1 %d %s\r\n" % (status, _PHRASES.get(status, "").encode())]
    parts += [b"%s: %s\r\n" % (_checked(name), _checked(value)) for name, value in headers.items()]
    return b"".join((*parts, b"\r\n"))


def refusal(refused: Refused) -> bytes:
    """``400 Bad Request``, as text, the way net/http has it."""
    text = refused.text.encode()
    if refused.status in (417, 501):
        line, body = refused.text.partition(":")[0].encode(), refused.detail.encode()
    else:
        line = body = text
    return (
        b"HTTP/1.1 %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
        % (
            line,
            len(body),
            body,
        )
    )


def date_line(now: datetime) -> bytes:
    return b"Date: %s\r\n" % format_datetime(now, usegmt=True).encode()


def given_length(response: Response) -> int:
    """The Content-Length that a streamed answer brings along; STREAMED: none."""
    for name, value in response.headers.items():
        if name.lower() == "content-length" and value.isascii() and value.isdigit() and len(value) < 19:
            return int(value)
    return STREAMED


def asks_to_close(response: Response) -> bool:
    headers = response.headers
    return response.status in ENDING or "close" in headers.get("Connection", "").lower()


def _status_line(status: int, head: Head) -> bytes:
    if head.is_http_1_0:
        return b"HTTP/1.0 %d %s\r\n" % (status, _PHRASES.get(status, "").encode())
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def _lines(response: Response) -> tuple[bytes, set[str]]:
    """Header lines as bytes, and the lower-case names in them. What frames the message is the transport's."""
    lines: list[str] = []
    given: set[str] = set()
    for name, value in (*response.headers.items(), *response.more_headers):
        lower = name.lower()
        if lower not in _FRAMING:
            given.add(lower)
            lines.append(f"{name}: {value}\r\n")
    text = "".join(lines)
    if text.count("\n") != len(lines) or text.count("\r") != len(lines) or "\0" in text:
        raise errors.InternalError("a response header holds a line break")
    return text.encode("utf-8", "replace"), given


def _checked(text: str) -> bytes:
    """Raises InternalError."""
    if not text.isprintable() and any(character in text for character in _BREAKS):
        raise errors.InternalError("a response header holds a line break")
    return text.encode("utf-8", "replace")


def limited_warnings(warnings: list[str]) -> list[str]:
    """Upstream's bound: beyond 4096 characters in all, each is cut to 256, and what is still too much is dropped."""
    if not warnings:
        return warnings
    # Not more than could be kept, however many there are; a lone surrogate is not printable either.
    printable = ["".join(c if c.isprintable() else " " for c in text[:4097]) for text in warnings[:4097]]
    if sum(map(len, printable)) <= 4096:
        return printable
    kept: list[str] = []
    total = 0
    for text in printable:
        text = text[:256]
        total += len(text)
        if total > 4096:
            break
        kept.append(text)
    return kept


class Compressed:
    """The last large bodies and their gzip form: the same list is asked for by many.

    Bodies are told apart by identity, so a hit costs nothing and is never wrong. What nobody asked for in two ticks of
    ``_TICKS`` is forgotten.
    """

    _TICKS = 15

    def __init__(self, most: int = 4, all_bytes: int = 32 * 1024 * 1024) -> None:
        self._most, self._all_bytes = most, all_bytes
        #: id of the body -> the body itself, so that its id stays its own, and its gzip form
        self._kept: OrderedDict[int, tuple[bytes, bytes]] = OrderedDict()
        self._used: set[int] = set()
        self._ticks = 0

    def get(self, body: bytes) -> bytes | None:
        found = self._kept.get(id(body))
        if found is None:
            return None
        self._used.add(id(body))
        return found[1]

    def add(self, body: bytes, compressed: bytes) -> None:
        self._kept[id(body)] = (body, compressed)
        self._used.add(id(body))
        while len(self._kept) > self._most or sum(len(b) + len(c) for b, c in self._kept.values()) > self._all_bytes:
            self._kept.popitem(last=False)

    def tick(self) -> None:
        self._ticks += 1
        if self._ticks % self._TICKS == 0 and self._kept:
            for key in [key for key in self._kept if key not in self._used]:
                del self._kept[key]
            self._used.clear()

    def clear(self) -> None:
        self._kept.clear()


def compress(body: bytes) -> bytes:
    return zlib.compress(body, 1, 31)


__all__ = [
    "CONTINUE",
    "GZIP_MIN_BYTES",
    "STREAMED",
    "WITHOUT_BODY",
    "Compressed",
    "asks_to_close",
    "compress",
    "date_line",
    "given_length",
    "is_copied",
    "limited_warnings",
    "ordinary",
    "refusal",
    "render",
    "upgraded",
    "whole",
]
