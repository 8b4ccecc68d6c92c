"""The sending half of a connection: one request's answer, whole, piece by piece as it is read, streamed or pushed.

``HttpConnection`` is the other half; it says which request, and what comes after its answer.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, cast

from sampan.api import errors
from sampan.server.errors import status_response
from sampan.server.http import answers
from sampan.server.http.bodies import Body
from sampan.server.http.heads import Head
from sampan.server.http.phases import IDLE, UPGRADED, Phase
from sampan.server.http.streams import PushStream
from sampan.server.http.wire import Wire
from sampan.server.request import Request, Response
from sampan.server.stream import PushBody
from sampan.server.threads import aside

if TYPE_CHECKING:
    from sampan.server.http.server import HttpServer

log = logging.getLogger(__name__)

#: no client says more; whoever does gets what needs no decoding
_MAX_ACCEPT_ENCODING = 256
_WEIGHT = re.compile(r"q[ \t]*=[ \t]*(0(\.[0-9]{0,3})?|1(\.0{0,3})?)")


class Answering(Wire):
    """Invariants: ``_task``, ``_view`` and ``stream`` are set only while a request is being answered, and at most one
    of ``_view`` and ``stream``."""

    __slots__ = (
        "_body", "_closing", "_continue", "_ended", "_task", "_view", "limits", "phase", "server", "stream",
    )  # fmt: skip

    def __init__(self, server: HttpServer) -> None:
        super().__init__(server.loop, server.read_buffer)
        self.server = server
        self.limits = server.limits
        self.phase: Phase = IDLE
        #: the pushed answer that is under way
        self.stream: PushStream | None = None
        self._body: Body | None = None
        #: the client waits for leave to send its body
        self._continue = False
        #: nothing after the present answer
        self._closing = False
        #: the peer has ended its sending side
        self._ended = False
        self._task: asyncio.Task[None] | None = None
        #: what is left of a large body
        self._view: memoryview | None = None

    # -- what the other half does ---------------------------------------------------------------------------------

    def _answered(self) -> None:
        """The answer is written: what next?"""
        raise NotImplementedError

    def _next(self) -> None:
        """The connection is ready for another request."""
        raise NotImplementedError

    def close(self) -> None:
        """What was written still goes out."""
        raise NotImplementedError

    def flush_soon(self, stream: PushStream) -> None:
        self.server.flush_soon(stream)

    def stream_done(self) -> None:
        self.stream = None
        self._answered()

    # -- one answer ----------------------------------------------------------------------------------------------

    async def _serve(self, request: Request, head: Head) -> None:
        try:
            if head.fault is not None:
                response = status_response(head.fault)
            else:
                response = await self.server.handle(request)
        except Exception:
            log.exception("%s %s failed", request.method, request.raw_path)
            response = status_response(errors.InternalError("Internal error occurred: see the log of the API server"))
        if response.hijacked or self.phase is UPGRADED:  # also when a handler failed after it had taken over
            self._task = None
            self.close()
            return
        body = response.body
        if isinstance(body, bytes):
            if self._is_ordinary(head):
                text = answers.ordinary(self.server.date, request, response)
                if text is not None:
                    self._task = None
                    if self.write_now(text):
                        self._next()
                    return
            try:
                if len(body) > answers.GZIP_MIN_BYTES and _takes_gzip(head):
                    await self._compress(response, body)
            finally:
                self._task = None
            self._answer(request, head, response)
        elif isinstance(body, AsyncIterator):
            await self._send_iterator(request, head, response, body)
        else:
            self._task = None
            self._send_pushed(request, head, response, body)

    def _is_ordinary(self, head: Head) -> bool:
        """Nothing but the answer itself has to be told or done: the request was read, the connection stays."""
        body = self._body
        return (
            head.keep_alive
            and not head.is_http_1_0
            and head.method != "HEAD"
            and (body is None or body.complete)
            and not (self._closing or self._ended or self.server.draining)
        )

    async def _compress(self, response: Response, body: bytes) -> None:
        compressed = self.server.compressed.get(body)
        if compressed is None:
            compressed = await aside(answers.compress, body)
            self.server.compressed.add(body, compressed)
        _use(response, compressed)

    def _answer(self, request: Request, head: Head, response: Response) -> None:
        """Sends an answer whose body is known; now, or piece by piece as it is read."""
        body = cast(bytes, response.body)
        if len(body) > answers.GZIP_MIN_BYTES and self._task is None and _takes_gzip(head) and not _is_packed(response):
            compressed = self.server.compressed.get(body)
            if compressed is None:
                self._task = self._loop.create_task(self._compress_and_answer(request, head, response), name="compress")
                return
            _use(response, compressed)
            body = compressed
        close = self._ends(head, response)
        try:
            text = answers.whole(self.server.date, head, request, response, body, close=close)
        except errors.InternalError as error:
            log.error("the answer to %s cannot be sent: %s", request.raw_path, error)
            response = status_response(error)
            body = cast(bytes, response.body)
            text = answers.whole(self.server.date, head, _anonymous(request), response, body, close=close)
        if not self.write_now(text):
            return
        if answers.is_copied(body) or head.method == "HEAD" or response.status in answers.WITHOUT_BODY:
            self._answered()
            return
        self._view = memoryview(body)
        self._pump()

    async def _compress_and_answer(self, request: Request, head: Head, response: Response) -> None:
        try:
            await self._compress(response, cast(bytes, response.body))
        finally:
            self._task = None
        self._answer(request, head, response)

    def _pump(self) -> None:
        """Writes a large body as the peer reads it."""
        view = self._view
        size = self.limits.piece_bytes
        while view is not None and self.writable:
            piece, view = view[:size], view[size:]
            if not view:
                view = None
            self._view = view
            if not self.write_now(piece):
                self._view = None
                return
            if view is None:
                self._answered()
                return

    async def _send_iterator(
        self, request: Request, head: Head, response: Response, body: AsyncIterator[bytes]
    ) -> None:
        """The head goes out at once; every chunk is flushed as it comes."""
        length = answers.given_length(response)
        chunked = length == answers.STREAMED and not head.is_http_1_0
        complete = False
        try:
            if self._send_head(request, head, response, length):
                if head.method != "HEAD" and response.status not in answers.WITHOUT_BODY:
                    await self._copy(body, length, chunked=chunked)
                complete = True
        except ConnectionError:
            log.debug("the reader of %s has gone", request.raw_path)
        except Exception:
            # The status line is out: the only honest sign of failure left is a broken transfer.
            log.exception("streaming %s failed", request.raw_path)
        finally:
            try:
                close = getattr(body, "aclose", None)
                if close is not None:
                    await close()
            finally:
                self._task = None
                if complete:
                    self._answered()
                else:
                    self.abort()

    async def _copy(self, body: AsyncIterator[bytes], length: int, *, chunked: bool) -> None:
        """Raises ConnectionError, also when the body is not as long as was said."""
        left = length
        async for data in body:
            for at in range(0, len(data), self.limits.piece_bytes):
                part = data[at : at + self.limits.piece_bytes]
                left -= len(part)
                if length != answers.STREAMED and left < 0:
                    raise ConnectionResetError("the body is longer than was said")
                self.write(b"%x\r\n%s\r\n" % (len(part), part) if chunked else part)
                await self.drain()
        if length != answers.STREAMED and left:
            raise ConnectionResetError("the body is shorter than was said")
        if chunked:
            self.write(b"0\r\n\r\n")

    def _send_pushed(self, request: Request, head: Head, response: Response, body: PushBody) -> None:
        if not self._send_head(request, head, response, answers.STREAMED):
            body.cancel()
            self.abort()
            return
        if head.method == "HEAD" or response.status in answers.WITHOUT_BODY:
            body.cancel()
            self._answered()
            return
        self.stream = PushStream(self, chunked=not head.is_http_1_0)
        try:
            body.start(self.stream)
        except Exception:
            log.exception("streaming %s failed", request.raw_path)
            self.abort()

    def _send_head(self, request: Request, head: Head, response: Response, length: int) -> bool:
        """False: it could not be sent."""
        if self._transport is None or self._transport.is_closing():
            return False
        if head.is_http_1_0 and length == answers.STREAMED and head.method != "HEAD":
            self._closing = True  # only the end of the connection tells where the body ends
        close = self._ends(head, response)
        try:
            text = answers.render(self.server.date, head, request, response, length, close=close)
        except errors.InternalError as error:
            log.error("the answer to %s cannot be sent: %s", request.raw_path, error)
            return False
        return self.write_now(text)

    def _ends(self, head: Head, response: Response) -> bool:
        """Whether the connection ends with this answer."""
        body = self._body
        if body is not None and not body.complete and (self._continue or body.left > self.limits.unwanted_body_bytes):
            self._closing = True  # a little that is on its way would be read away instead
        if not head.keep_alive or self._ended or self.server.draining or answers.asks_to_close(response):
            self._closing = True
        return self._closing


def _takes_gzip(head: Head) -> bool:
    accepted = head.headers.get("accept-encoding", "")
    return 0 < len(accepted) <= _MAX_ACCEPT_ENCODING and _names_gzip(accepted)


@functools.lru_cache(maxsize=64)
def _names_gzip(accepted: str) -> bool:
    """Whether gzip is named, and not as what is unwelcome (``q=0``). What is no number is no consent."""
    for item in accepted.split(","):
        coding, _, parameters = item.partition(";")
        if coding.strip().lower() != "gzip":
            continue
        weight = parameters.strip().lower()
        return not weight or (_WEIGHT.fullmatch(weight) is not None and weight.strip("q=0. \t") != "")
    return False


def _is_packed(response: Response) -> bool:
    return "Content-Encoding" in response.headers


def _use(response: Response, compressed: bytes) -> None:
    response.body = compressed
    response.headers = {**response.headers, "Content-Encoding": "gzip", "Vary": "Accept-Encoding"}


def _anonymous(request: Request) -> Request:
    """The same request without what came from outside and goes into the head of its answer."""
    request.audit_id = ""
    request.warnings = []
    return request


__all__ = ["Answering"]
