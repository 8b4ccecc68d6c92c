"""What a connection is told before there is a request: HTTP that is broken or too long, and HTTP where TLS is spoken.

Used by ``http`` only. Go's server answers these in plain text and closes; so does this. Nothing of what the client sent
is echoed, and nothing is logged above debug level: strangers can send such things as fast as they like.
"""

from __future__ import annotations

import logging
import re
import ssl
from http import HTTPStatus
from typing import Any

from aiohttp import HttpVersion, web
from aiohttp.http_exceptions import BadHttpMethod, LineTooLong

from sampan.api import errors
from sampan.server.errors import status_response

log = logging.getLogger(__name__)

#: one request line; upstream bounds line and headers together with as much (``MaxHeaderBytes``)
MAX_LINE_BYTES = 1024 * 1024
MAX_HEADER_BYTES = 64 * 1024
MAX_HEADERS = 256
_METHOD_TOKEN = re.compile(r"b'[A-Z]{1,32} \S{1,2048} HTTP/1\.[01]'")
PLAIN_HTTP_ANSWER = (
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 48\r\n"
    b"Connection: close\r\n\r\n"
    b"Client sent an HTTP request to an HTTPS server.\n"
)


class WebServer(web.Server):
    """Makes connections whose protocol errors are answered as upstream does."""

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return super().handle_error(request, status, exc, message)
        log.debug("broken request from %s: %s", request.remote, message)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun, no other can be sent")
        answer = protocol_error(exc, message or "")
        answer.force_close()
        return answer


def protocol_error(exc: BaseException | None, message: str) -> web.Response:
    """The answer to a request that the parser refused. Pure."""
    if isinstance(exc, BadHttpMethod) and _METHOD_TOKEN.search(message):
        error = errors.MethodNotAllowed("the server does not allow this method on the requested resource")
        body = status_response(error).body
        return web.Response(status=405, body=body, content_type="application/json")
    if isinstance(exc, LineTooLong) or "Too many headers" in message:
        return plain_error(431)
    if "Invalid HTTP version" in message:
        return version_error(HttpVersion(9, 9))
    return plain_error(400)


def version_error(version: HttpVersion) -> web.Response:
    """For everything but HTTP/1; a request without a version (HTTP/0.9) is merely broken."""
    return plain_error(505, "unsupported protocol version") if version.major else plain_error(400)


def plain_error(status: int, detail: str = "") -> web.Response:
    """``400 Bad Request``, as text, the way Go's server has it."""
    phrase = "Request Header Fields Too Large" if status == 431 else HTTPStatus(status).phrase
    text = f"{status} {phrase}" + (f": {detail}" if detail else "")
    answer = web.Response(status=status, text=text)
    answer.force_close()
    return answer


class _TlsObject(ssl.SSLObject):
    """A TLS connection that, when its peer speaks plain HTTP, says so in plain HTTP before it fails."""

    plain: ssl.MemoryBIO | None = None
    answered = False

    def do_handshake(self) -> None:
        if self.answered:
            raise ssl.SSLError(ssl.SSL_ERROR_SSL, "the client speaks plain HTTP")
        try:
            super().do_handshake()
        except ssl.SSLError as error:
            if error.reason != "HTTP_REQUEST" or self.plain is None:
                raise
            self.answered = True
            self.plain.read()  # drops the alert of the failed handshake
            self.plain.write(PLAIN_HTTP_ANSWER)
            # The event loop sends what is there and waits for more, which then fails for good.
            raise ssl.SSLWantReadError from error


class TlsContext(ssl.SSLContext):
    """A server's context whose connections answer plain HTTP with 400, as Go's do."""

    sslobject_class = _TlsObject

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: Any, **named: Any) -> ssl.SSLObject:
        made = super().wrap_bio(incoming, outgoing, *args, **named)
        if isinstance(made, _TlsObject):
            made.plain = outgoing
        return made
