"""Requests that two readers could read in two ways are refused: in plain text, echoing nothing, ending the connection.

The second request in each text is what would be smuggled: it must never be answered.
"""

from __future__ import annotations

import logging

import pytest

from .conftest import Victim

pytestmark = pytest.mark.timeout(240)  # a whole server, and hundreds of connections

SMUGGLED = b"GET /version HTTP/1.1\r\nHost: x\r\nX: secret\r\n\r\n"

_400 = b"400 Bad Request"
_NO_HOST = b"400 Bad Request: missing required Host header"
_BAD_HOST = b"400 Bad Request: malformed Host header"
_505 = b"505 HTTP Version Not Supported: unsupported protocol version"


def post(*headers: bytes, body: bytes = b"") -> bytes:
    return b"POST /apis HTTP/1.1\r\nHost: x\r\n" + b"".join(header + b"\r\n" for header in headers) + b"\r\n" + body


CASES = {
    "length and coding": (post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), _400),
    "coding and length": (post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n"), _400),
    "two lengths": (post(b"Content-Length: 1", b"Content-Length: 2", body=b"ab"), _400),
    "two equal lengths": (post(b"Content-Length: 1", b"Content-Length: 1", body=b"a"), _400),
    "list of lengths": (post(b"Content-Length: 1, 1", body=b"a"), _400),
    "length with a sign": (post(b"Content-Length: +1", body=b"a"), _400),
    "negative length": (post(b"Content-Length: -1"), _400),
    "length with a space inside": (post(b"Content-Length: 1 1", body=b"a"), _400),
    "hexadecimal length": (post(b"Content-Length: 0x1", body=b"a"), _400),
    "length in other digits": (post("Content-Length: \u0661".encode(), body=b"a"), _400),
    "empty length": (post(b"Content-Length:"), _400),
    "endless length": (post(b"Content-Length: " + b"9" * 40), _400),
    "identity": (post(b"Transfer-Encoding: identity", body=b"0\r\n\r\n"), b"501 Not Implemented"),
    "gzip": (post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), b"501 Not Implemented"),
    "two codings": (post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), b"501 Not Implemented"),
    "coding with a tab": (post(b"Transfer-Encoding: \x0bchunked"), _400),
    "quoted coding": (post(b'Transfer-Encoding: "chunked"'), b"501 Not Implemented"),
    "folded coding": (post(b"Transfer-Encoding:\r\n chunked"), _400),
    "coding in HTTP/1.0": (
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        _400,
    ),
    "folded line": (post(b"A: b\r\n c"), _400),
    "folded first line": (b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", _400),
    "space before the colon": (post(b"Content-Length : 1", body=b"a"), _400),
    "no colon": (post(b"Content-Length"), _400),
    "no name": (post(b": 1"), _400),
    "name with a space": (post(b"A B: 1"), _400),
    "name beyond ASCII": (post(b"\xc3\xa4: 1"), _400),
    "NUL in a value": (post(b"A: b\0c"), _400),
    "NUL in a name": (post(b"A\0: c"), _400),
    "bell in a value": (post(b"A: b\x07c"), _400),
    "delete in a value": (post(b"A: b\x7fc"), _400),
    "bare line feeds": (b"GET / HTTP/1.1\nHost: x\n\n", _400),
    "bare line feed in a value": (post(b"A: b\nTransfer-Encoding: chunked"), _400),
    "bare carriage return in a value": (post(b"A: b\rTransfer-Encoding: chunked"), _400),
    "line feed before the end": (b"GET / HTTP/1.1\r\nHost: x\r\n\n\r\n", _400),
    "garbage for a chunk size": (post(b"Transfer-Encoding: chunked", body=b"zz\r\n"), _400),
    "chunk size with a sign": (post(b"Transfer-Encoding: chunked", body=b"+1\r\na\r\n0\r\n\r\n"), _400),
    "chunk size with 0x": (post(b"Transfer-Encoding: chunked", body=b"0x1\r\na\r\n0\r\n\r\n"), _400),
    "chunk size with a space": (post(b"Transfer-Encoding: chunked", body=b" 1\r\na\r\n0\r\n\r\n"), _400),
    "chunk size beyond all": (post(b"Transfer-Encoding: chunked", body=b"f" * 17 + b"\r\n"), _400),
    "chunk ended by a line feed": (post(b"Transfer-Encoding: chunked", body=b"1\na\r\n0\r\n\r\n"), _400),
    "chunk longer than it says": (post(b"Transfer-Encoding: chunked", body=b"1\r\nabc\r\n0\r\n\r\n"), _400),
    "line feed in an extension": (post(b"Transfer-Encoding: chunked", body=b"1;a\nb\r\na\r\n0\r\n\r\n"), _400),
    "NUL in an extension": (post(b"Transfer-Encoding: chunked", body=b"1;a\0b\r\na\r\n0\r\n\r\n"), _400),
    "endless extension": (post(b"Transfer-Encoding: chunked", body=b"1;" + b"a" * 300), _400),
    "trailer without a colon": (post(b"Transfer-Encoding: chunked", body=b"0\r\nabc\r\n\r\n"), _400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", _400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", _NO_HOST),
    "host with a space": (b"GET / HTTP/1.1\r\nHost: x y\r\n\r\n", _BAD_HOST),
    "host with a slash": (b"GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", _BAD_HOST),
    "two spaces": (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", _400),
    "space in the target": (b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", _400),
    "tab for a space": (b"GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", _400),
    "target without a slash": (b"GET healthz HTTP/1.1\r\nHost: x\r\n\r\n", _400),
    "broken escape": (b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", _400),
    "method with a control": (b"G\x00T / HTTP/1.1\r\nHost: x\r\n\r\n", _400),
    "method with a colon": (b"GET: / HTTP/1.1\r\nHost: x\r\n\r\n", _400),
    "HTTP/0.9": (b"GET /\r\n", _400),
    "no version": (b"GET / \r\nHost: x\r\n\r\n", _400),
    "lower-case version": (b"GET / http/1.1\r\nHost: x\r\n\r\n", _400),
    "version 1.10": (b"GET / HTTP/1.10\r\nHost: x\r\n\r\n", _400),
    "version 0.9": (b"GET / HTTP/0.9\r\nHost: x\r\n\r\n", _505),
    "version 3": (b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", _505),
    "preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", _505),
    "TLS on a plain port": (b"\x16\x03\x01\x02\x00\x01\x00\x01", _400),
    "unknown expectation": (post(b"Expect: tea", b"Content-Length: 1", body=b"a"), b"417 Expectation Failed"),
    "too many headers": (post(*[b"A: b"] * 300), b"431 Request Header Fields Too Large"),
    "a long header": (post(b"A: " + b"a" * 70_000), b"431 Request Header Fields Too Large"),
    "a very long URL": (b"GET /" + b"a" * 1_100_000, b"431 Request Header Fields Too Large"),
}


async def test_what_can_be_read_in_two_ways_is_refused(either: Victim, caplog: pytest.LogCaptureFixture) -> None:
    for name, (text, status) in CASES.items():
        with caplog.at_level(logging.INFO):
            answer = await either.ask(text + SMUGGLED)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 " + status + b"\r\n"), (name, answer[:200])
        assert b"\r\nConnection: close" in head, name
        assert b"\r\nContent-Type: text/plain; charset=utf-8" in head, name
        assert body in (status, b"Unsupported transfer encoding", b""), (name, body)
        assert answer.count(b"HTTP/1.1 ") == 1, name
        assert not caplog.records, name


@pytest.mark.parametrize("method", [b"FOO", b"get", b"Get", b"TRACE", b"CONNECT"])
async def test_unknown_methods_are_405(victim: Victim, method: bytes) -> None:
    answer = await victim.ask(method + b" /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")


async def test_bytes_that_are_no_text_break_no_answer(either: Victim) -> None:
    """Audit-Id is sent back as it came: it must not decide whether there is an answer."""
    for value in (b"\xff\xfe", "ä€𝄞".encode(), b"a\xed\xa0\x80b", b"\xc3"):
        answer = await either.ask(
            b"GET /version HTTP/1.1\r\nHost: x\r\nAudit-Id: " + value + b"\r\nConnection: close\r\n\r\n"
        )
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer
        assert answer.endswith((b"}\n", b"}"))
