"""From the bytes of a request's head to what it asks: a strict parser, and a memo of heads that were seen before.

The parser is the transport's own because a connection must know to the byte where a message ends, and because one
reader of a message is safer than two: whatever could be read in two ways is refused. It costs what a compiled parser
with callbacks costs. Clients repeat themselves to the byte; a head that comes again is a look-up.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from sampan.api import errors
from sampan.server.http.limits import Limits

#: a body of this length comes in chunks
CHUNKED = -1
_MAX_PARAMETERS = 1000
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TOKEN_BYTES = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_VERSION = re.compile(r"HTTP/([0-9])\.([0-9])")
_LENGTH = re.compile(r"[0-9]{1,18}")
_HOST = re.compile(r"[!$%&'()*+,\-.:;=@_~\[\]0-9A-Za-z]*")
#: every byte that may stand in a line
_PRINTABLE = bytes(byte for byte in range(256) if byte == 9 or (byte >= 32 and byte != 127))
_NO_STRINGS: Mapping[str, str] = {}
_NO_LISTS: Mapping[str, list[str]] = {}
_MAX_NAMES = 1024
_MAX_NAME_LENGTH = 64


class Refused(Exception):
    """What came is no request: it is answered in plain text and the connection ends, as net/http does.

    ``detail`` is our own text: nothing of what came is ever echoed.
    """

    def __init__(self, status: int, detail: str = "") -> None:
        super().__init__(status, detail)
        self.status, self.detail = status, detail

    @property
    def text(self) -> str:
        phrase = "Request Header Fields Too Large" if self.status == 431 else HTTPStatus(self.status).phrase
        return f"{self.status} {phrase}" + (f": {self.detail}" if self.detail else "")


class Head:
    """One parsed head. Shared by all requests that sent the same bytes: nothing in it is ever changed but ``plan``."""

    __slots__ = (
        "expects_continue", "fault", "header_lists", "headers", "is_http_1_0", "is_ordinary_read", "keep_alive",
        "length", "method", "path", "plan", "query", "query_lists", "raw_query",
    )  # fmt: skip

    def __init__(self) -> None:
        self.method = ""
        #: as sent, percent-encoded
        self.path = ""
        self.raw_query = ""
        self.query: Mapping[str, str] = _NO_STRINGS
        self.query_lists: Mapping[str, list[str]] = _NO_LISTS
        #: lower-case name -> value; those that repeat are joined, and apart in ``header_lists``
        self.headers: dict[str, str] = {}
        self.header_lists: Mapping[str, list[str]] = _NO_LISTS
        self.is_http_1_0 = False
        self.keep_alive = True
        #: bytes of the body, or CHUNKED
        self.length = 0
        self.expects_continue = False
        #: a GET without a body on an HTTP/1.1 connection that goes on
        self.is_ordinary_read = False
        #: a well-formed request that is answered with this error
        self.fault: errors.ApiError | None = None
        #: free for the pipeline: what it resolved for these bytes
        self.plan: Any = None


class HeadParser:
    """Invariant: ``_names`` maps header names that were checked to their lower-case form, at most ``_MAX_NAMES``."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._names: dict[str, str] = {}

    def parse(self, raw: bytes) -> Head:
        """``raw`` ends with the empty line. A megabyte takes a few milliseconds, whatever is in it. Raises Refused."""
        ends = raw.count(b"\r\n")
        if len(raw.translate(None, _PRINTABLE)) != 2 * ends:
            raise Refused(400)  # NUL or another control character, a bare CR or LF
        if ends - 2 > self._limits.headers:
            raise Refused(431)
        lines = _decoded(raw[:-4])
        head = Head()
        self._request_line(head, lines[0])
        self._headers(head, lines)
        _check_host(head)
        _frame(head)
        if head.method not in _METHODS:
            head.fault = errors.MethodNotAllowed("the server does not allow this method on the requested resource")
        if "authorization" in head.header_lists:
            head.fault = errors.BadRequest("the request has more than one Authorization header")
        if head.raw_query:
            _parse_query(head)
        head.is_ordinary_read = (
            head.method == "GET" and not head.length and head.keep_alive and not head.is_http_1_0 and head.fault is None
        )
        return head

    def check_partial(self, begun: bytearray, scanned: int) -> None:
        """Refuses what can no longer become a request, without waiting for its end. Raises Refused."""
        if begun[0] not in _TOKEN_BYTES or begun.count(b"\n", scanned) != begun.count(b"\r\n", max(0, scanned - 1)):
            raise Refused(400)  # a bare LF
        if len(begun) > self._limits.head_bytes:
            raise Refused(431)
        if not scanned:
            end = begun.find(b"\r\n")
            if end >= 0:
                self._request_line(Head(), _decoded(bytes(begun[:end]))[0])

    def _request_line(self, head: Head, line: str) -> None:
        method, _, rest = line.partition(" ")
        target, _, version = rest.rpartition(" ")
        if not _TOKEN.fullmatch(method) or not target or " " in target:
            raise Refused(400)
        found = _VERSION.fullmatch(version)
        if found is None:
            raise Refused(400)
        if found[1] != "1":
            raise Refused(505, "unsupported protocol version")
        head.is_http_1_0 = found[2] == "0"
        head.method = method
        path, _, head.raw_query = target.partition("?")
        if not path.startswith("/"):
            if "://" in path:  # absolute-form
                path = "/" + path.split("://", 1)[1].partition("/")[2]
            elif path != "*" and method != "CONNECT":
                raise Refused(400)
        if "%" in path and _unescaped(path) is None:
            raise Refused(400)
        head.path = path

    def _headers(self, head: Head, lines: list[str]) -> None:
        headers = head.headers
        known = self._names.get
        most = self._limits.header_bytes
        for line in lines[1:]:
            if len(line) > most:
                raise Refused(431)
            name, colon, value = line.partition(":")
            lower = known(name) or self._checked_name(name, colon)
            value = value.strip(" \t")
            if lower not in headers:
                headers[lower] = value
                continue
            if head.header_lists is _NO_LISTS:
                head.header_lists = {}
            lists: dict[str, list[str]] = head.header_lists  # type: ignore[assignment]  # ours since the line above
            lists.setdefault(lower, [headers[lower]]).append(value)
        for lower, values in head.header_lists.items():
            headers[lower] = ", ".join(values)

    def _checked_name(self, name: str, colon: str) -> str:
        """Lines that are folded, or have no colon or a blank before it, end here. Raises Refused."""
        if not colon or not _TOKEN.fullmatch(name):
            raise Refused(400)
        lower = name.lower()
        if len(name) <= _MAX_NAME_LENGTH and len(self._names) < _MAX_NAMES:
            self._names[name] = lower
        return lower


def _decoded(raw: bytes) -> list[str]:
    """The lines as text. Header bytes are UTF-8 by custom; a line that is not is read as Latin-1, which takes anything
    and breaks nothing further down."""
    try:
        return raw.decode().split("\r\n")
    except UnicodeDecodeError:
        return [_decoded_line(line) for line in raw.split(b"\r\n")]


def _decoded_line(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _parse_query(head: Head) -> None:
    """Each parameter's first value, as Go's ``Values.Get`` gives it, and all of them.

    As there, a parameter with a broken escape or a semicolon is none.
    """
    if head.raw_query.count("&") >= _MAX_PARAMETERS:
        head.fault = errors.BadRequest(f"invalid query: it has more than {_MAX_PARAMETERS} parameters")
        return
    lists: dict[str, list[str]] = {}
    for pair in head.raw_query.split("&"):
        if not pair or ";" in pair:
            continue
        name, _, text = pair.partition("=")
        key, value = _unescaped(name.replace("+", " ")), _unescaped(text.replace("+", " "))
        if key is not None and value is not None:
            lists.setdefault(key, []).append(value)
    head.query_lists = lists
    head.query = {key: values[0] for key, values in lists.items()}


def _unescaped(text: str) -> str | None:
    """Percent-decoded; None: an escape is broken.

    Quoted-printable has the same escapes by another sign, and is decoded in C: ``urllib`` takes half a second for a URL
    of a megabyte. A whole escape makes the text shorter by two, a broken one by less.
    """
    escapes = text.count("%")
    if not escapes:
        return text
    quoted = text.encode().replace(b"=", b"=3D").replace(b"%", b"=")
    plain = binascii.a2b_qp(quoted)
    if len(quoted) - len(plain) != 2 * quoted.count(b"="):
        return None
    return plain.decode("utf-8", "replace")


def _check_host(head: Head) -> None:
    host = head.headers.get("host")
    if host is None:
        if not head.is_http_1_0 and head.method != "CONNECT":
            raise Refused(400, "missing required Host header")
        return
    if "host" in head.header_lists:
        raise Refused(400)
    if not _HOST.fullmatch(host):
        raise Refused(400, "malformed Host header")


def _frame(head: Head) -> None:
    """Finds where the message ends and what becomes of the connection. Raises Refused where that has two answers."""
    headers = head.headers
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None:
        if length is not None or head.is_http_1_0:
            raise Refused(400)
        if coding.lower() != "chunked":
            raise Refused(501, "Unsupported transfer encoding")
        head.length = CHUNKED
    elif length is not None:
        if "content-length" in head.header_lists or not _LENGTH.fullmatch(length):
            raise Refused(400)
        head.length = int(length)
    connection = headers.get("connection")
    if connection is None:
        head.keep_alive = not head.is_http_1_0
    else:
        options = {option.strip() for option in connection.lower().split(",")}
        head.keep_alive = "keep-alive" in options if head.is_http_1_0 else "close" not in options
    expected = headers.get("expect")
    if expected:
        if expected.lower() != "100-continue":
            raise Refused(417)
        head.expects_continue = head.length != 0 and not head.is_http_1_0


class HeadMemo:
    """Heads by their bytes. A head is kept from its second appearance on: of writes, too, for clients that make many
    objects send the same one with each.

    Two generations bound it in number and bytes: when the young one is full it becomes the old one, whose entries
    return to the young one when they are used. Heads that come once (random paths, by the thousand) leave no more than
    a hash behind.
    """

    def __init__(self, heads: int = 1024, all_bytes: int = 2 * 1024 * 1024, one_bytes: int = 8 * 1024) -> None:
        self._most, self._most_bytes, self._one_bytes = heads, all_bytes, one_bytes
        self._young: dict[bytes, Head] = {}
        self._young_bytes = 0
        self._old: dict[bytes, Head] = {}
        self._seen: set[int] = set()

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, raw: bytes) -> Head | None:
        head = self._young.get(raw)
        if head is None and self._old:
            head = self._old.pop(raw, None)
            if head is not None:
                self._keep(raw, head)
        return head

    def add(self, raw: bytes, head: Head) -> None:
        if head.fault is not None or len(raw) > self._one_bytes:
            return
        mark = hash(raw)
        if mark in self._seen:
            self._seen.discard(mark)
            self._keep(raw, head)
            return
        if len(self._seen) >= 4 * self._most:
            self._seen.clear()
        self._seen.add(mark)

    def _keep(self, raw: bytes, head: Head) -> None:
        if len(self._young) >= self._most or self._young_bytes + len(raw) > self._most_bytes:
            self._old, self._young, self._young_bytes = self._young, {}, 0
        self._young[raw] = head
        self._young_bytes += len(raw)


__all__ = ["CHUNKED", "Head", "HeadMemo", "HeadParser", "Refused"]
