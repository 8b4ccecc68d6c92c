"""One client's connection: HTTP/1.1 (and 1.0) over an asyncio transport.

Heads come in, ``Request`` objects go to the handler, answers go out in order, one request at a time. A cached read is
answered inside ``data_received``; everything else has one task. A client that goes away cancels its handler. Every
bound is in ``limits``; times are looked at once a tick by the server (``expire``), so that a connection has no timers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from sampan.server.http import answers
from sampan.server.http.answering import Answering
from sampan.server.http.bodies import Body, TooManyChunks, incomplete, no_body, too_slow
from sampan.server.http.heads import Head, Refused
from sampan.server.http.phases import BUSY, CLOSED, DRAIN, HEAD, IDLE, LINGER, NEVER, UPGRADED
from sampan.server.http.streams import UpgradedConnection
from sampan.server.request import Connection, ConnectionState, Request

if TYPE_CHECKING:
    from sampan.server.http.server import HttpServer

log = logging.getLogger(__name__)


class HttpConnection(Answering):
    """Invariants: ``_task``, ``_view`` and ``stream`` are set only while BUSY (``_task`` also while UPGRADED);
    ``_input`` holds what came and was not taken, or is None; ``deadline`` is that
    of the present phase, ``NEVER`` where there is none.
    """

    __slots__ = (
        "_head", "_input", "_linger_left", "_over_budget", "_scanned", "_state", "_upgraded", "_write_deadline",
        "_write_left", "deadline", "used",
    )  # fmt: skip

    def __init__(self, server: HttpServer) -> None:
        super().__init__(server)
        self.deadline = NEVER
        #: when its last request was done, as of the server's tick; before that, nothing
        self.used: float | None = None
        self._state = ConnectionState()
        self._input: bytearray | None = None
        #: so much of ``_input`` was searched for the end of a head
        self._scanned = 0
        self._over_budget = 0
        self._head: Head | None = None
        self._upgraded: UpgradedConnection | None = None
        self._write_deadline = NEVER
        #: bytes that were unread when last looked at
        self._write_left = 0
        #: bytes that are still dropped while lingering
        self._linger_left = 0

    # -- asyncio.Protocol ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.deadline = self.server.now + self.limits.head_seconds
        self.server.joined(self)

    def data_received(self, data: bytes) -> None:
        if self.phase is IDLE and self.writable:
            server = self.server
            size = len(data)
            end = size if data.endswith(b"\r\n\r\n") else data.find(b"\r\n\r\n", 0, server.limits.head_bytes) + 4
            head = server.memo.get(data if end == size else data[:end])
            if head is not None:
                if head.is_ordinary_read and end == size:
                    self._read_now(server, head)
                    return
                if size - end <= head.length:  # nothing but this request, or the beginning of it
                    self._begin(head, data[end:])
                    return
        self._receive(data)

    def _read_now(self, server: HttpServer, head: Head) -> None:
        """The path that most requests take: a GET whose answer is at hand, written before anything else is done."""
        request = self._request(head)
        response = server.answer_now(request)
        if response is None:
            self.phase = BUSY
            self.deadline = NEVER
            self._task = self._loop.create_task(self._serve(request, head), name="request")
            return
        text = answers.ordinary(server.date, request, response)
        if text is None or server.draining:
            self.phase = BUSY
            self._answer(request, head, response)
        elif self.write_now(text):
            self.deadline = server.now + self.limits.idle_seconds
            if self.used != server.now:
                server.served(self)

    def eof_received(self) -> bool:
        """Half-close is for upgraded connections. A client that only waits cannot be told from one that has gone."""
        self._ended = True
        if self.phase is UPGRADED and self._upgraded is not None:
            self._upgraded.feed_eof()
            return not self.is_tls()  # TLS transports know no half-close
        if self.phase is BUSY and self._view is not None and self._task is None:
            # The answer is complete and on its way: a client may end its side behind its last request.
            self._closing = True
            return not self.is_tls()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        task, self._task = self._task, None
        stream, self.stream = self.stream, None
        self.phase = CLOSED
        self.deadline = self._write_deadline = NEVER
        self._release_input()
        self._view = self._head = self._body = None
        self.server.left(self)
        self.wake_drainers()
        self._transport = None
        if task is not None:
            task.cancel()
        if self._upgraded is not None:
            self._upgraded.lost()
        if stream is not None:
            stream.lost()

    def pause_writing(self) -> None:
        self.writable = False
        if self.phase is not UPGRADED:
            self._write_left = self.unread
            self._write_deadline = self.server.now + self.limits.unread_seconds

    def resume_writing(self) -> None:
        self.writable = True
        self._write_deadline = NEVER
        self.wake_drainers()
        if self._view is not None:
            self._pump()
        elif self.stream is not None:
            self.stream.flush()
        elif self._input and self.phase is HEAD:
            self._take_heads()

    # -- what comes in -------------------------------------------------------------------------------------------

    def _receive(self, data: bytes) -> None:
        phase = self.phase
        if phase is BUSY or phase is DRAIN:
            body = self._body
            if body is not None and not body.complete:
                if self._input:  # chunks that wait for their turn
                    self._input += data
                    return
                self._feed_body(body, data)
                return
            self._keep(data)
            self._balance_reading()
        elif phase is IDLE or phase is HEAD:
            self._keep(data)
            if phase is IDLE:
                self.phase = HEAD
                self.deadline = self.server.now + self.limits.head_seconds
            self._take_heads()
        elif phase is UPGRADED:
            if self._upgraded is not None:
                self._upgraded.feed(data)
        elif phase is LINGER:
            self._linger_left -= len(data)
            if self._linger_left < 0:
                self.abort()

    def _keep(self, data: bytes) -> None:
        if self._input is None:
            self._input = bytearray(data)
        else:
            self._input += data

    def _take_heads(self) -> None:
        """Begins the requests whose heads have come, until one takes longer; then looks whether more may come."""
        for _ in range(self.limits.answers_at_once):
            given = self._input
            if self.phase is not HEAD or not given or not self.writable:
                break
            if not self._scanned and given[:2] == b"\r\n":  # tolerated behind the body of an old client's POST
                del given[:2]
            end = given.find(b"\r\n\r\n", max(0, self._scanned - 3))
            if end < 0:
                self._check_partial(given)
                return
            size = end + 4
            if size == len(given):
                raw = bytes(given)
                self._release_input()
            else:
                raw = bytes(memoryview(given)[:size])
                del given[:size]
                self._scanned = 0
            self._take_head(raw)
        if self.phase is HEAD and self._input and self.writable:
            self._loop.call_soon(self._take_more_heads)
        self._balance_reading()

    def _take_more_heads(self) -> None:
        if self.phase is HEAD:
            self._take_heads()

    def _balance_reading(self) -> None:
        """Who sends requests faster than they are answered, or reads no answers, is paused."""
        if self._input is not None and len(self._input) > self.limits.pipelined_bytes:
            self.pause_reading()
        elif self.phase is HEAD or self.phase is IDLE:
            self.resume_reading()

    def _check_partial(self, begun: bytearray) -> None:
        if not begun:
            return
        try:
            self.server.parser.check_partial(begun, self._scanned)
        except Refused as refused:
            self._refuse(refused)
            return
        self._scanned = len(begun)
        self.resume_reading()
        over = len(begun) - self.limits.small_head_bytes
        if over > self._over_budget:
            self.server.large_head_bytes += over - self._over_budget
            self._over_budget = over
            if self.server.large_head_bytes > self.limits.all_large_heads_bytes:
                self._refuse(Refused(431))

    def _take_head(self, raw: bytes) -> None:
        server = self.server
        head = server.memo.get(raw)
        if head is None:
            try:
                if len(raw) > self.limits.head_bytes:
                    raise Refused(431)
                head = server.parser.parse(raw)
            except Refused as refused:
                self._refuse(refused)
                return
            server.memo.add(raw, head)
        self._begin(head)

    def _release_input(self) -> None:
        self._input = None
        self._scanned = 0
        if self._over_budget:
            self.server.large_head_bytes -= self._over_budget
            self._over_budget = 0

    def _feed_body(self, body: Body, data: bytes) -> None:
        try:
            rest = body.feed(data)
        except TooManyChunks as more:
            self._keep(more.rest)
            self.pause_reading()
            self._loop.call_soon(self._feed_more, body)
            return
        except Refused:
            self._closing = True
            body.fail(incomplete())
            if self.phase is DRAIN:
                self._linger()
            return
        if rest:
            self._keep(rest)
        if self.phase is DRAIN:
            if body.complete:
                self._next()
            return
        self.deadline = NEVER
        if body.kept > self.limits.body_ahead_bytes and not body.awaited:
            self.pause_reading()

    def _feed_more(self, body: Body) -> None:
        if self._body is body and self._input is not None and self.phase in (BUSY, DRAIN):
            data = bytes(self._input)
            self._input = None
            self.resume_reading()
            self._feed_body(body, data)

    # -- one request ---------------------------------------------------------------------------------------------

    def _begin(self, head: Head, early: bytes = b"") -> None:
        """``early``: what has come of its body, besides ``_input``."""
        self.phase = BUSY
        self.deadline = NEVER
        self._head = head
        server = self.server
        if head.length == 0:
            if (head.method == "GET" or head.method == "HEAD") and head.fault is None:
                request = self._request(head)
                response = server.answer_now(request)
                if response is not None:
                    self._answer(request, head, response)
                    return
                self._task = self._loop.create_task(self._serve(request, head), name="request")
                return
        else:
            self._continue = head.expects_continue
            body = self._body = Body(head, self, self.limits)
            if self._input:
                early = bytes(self._input)
                self._input = None
                self._scanned = 0
            if early:
                self._feed_body(body, early)
                if self._closing and not body.complete:
                    self._refuse(Refused(400))
                    return
        self._task = self._loop.create_task(self._serve(self._request(head), head), name="request")

    def _request(self, head: Head) -> Request:
        body = self._body
        address = self._address
        if address is None:
            address = self.find_peer()
        request = Request(
            head.method,
            head.path,
            head.query,
            head.headers,
            query_lists=head.query_lists,
            raw_query=head.raw_query,
            header_lists=head.header_lists,
            peer_certificate=self._certificate,
            remote_address=address,
            hijack=self._hijack,
            stream=no_body if body is None else body.iterate,
            connection_state=self._state,
        )
        if body is None:
            request.template = head
        else:
            request.read_body = body.read
        return request

    def _answered(self) -> None:
        """The answer is written: what next?"""
        body = self._body
        if self._closing:
            if body is not None and not body.complete:
                self._linger()
            else:
                self.close()
        elif body is not None and not body.complete:
            body.discard()
            self.phase = DRAIN
            self.deadline = self.server.now + self.limits.linger_seconds
            self.resume_reading()
        else:
            self._next()

    def _next(self) -> None:
        self._head = self._body = None
        self._continue = False
        if self._transport is None or self.phase is CLOSED:
            return
        if self.used != self.server.now:
            self.server.served(self)
        if self._input:
            self.phase = HEAD
            self.deadline = self.server.now + self.limits.head_seconds
            self._loop.call_soon(self._take_more_heads)
        else:
            self.phase = IDLE
            self.deadline = self.server.now + self.limits.idle_seconds
            if self._read_paused:
                self.resume_reading()

    def _refuse(self, refused: Refused) -> None:
        log.debug("broken request from %s: %s", self._address or "a stranger", refused.text)
        self.write_now(answers.refusal(refused))
        self._linger()

    def _linger(self) -> None:
        """Ends the connection so that the peer gets to read the answer, even if it is still sending: a connection that
        is closed with input unread is reset, and the answer lost."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self._release_input()
        self._body = None
        self._begin_linger()
        self.resume_reading()
        if transport.can_write_eof():
            transport.write_eof()
        else:
            transport.close()  # a TLS transport says that it ends, and waits for its peer to do so

    # -- what bodies, streams and upgraded connections ask of their connection -----------------------------------

    def body_begun(self) -> None:
        if self._continue:
            self._continue = False
            self.write(answers.CONTINUE)

    def body_wanted(self) -> None:
        self.deadline = self.server.now + self.limits.body_idle_seconds
        if self._input is None:  # else chunks wait for their turn
            self.resume_reading()

    def body_taken(self) -> None:
        if self._read_paused and self._input is None:
            self.resume_reading()

    async def _hijack(self, status: int, headers: Mapping[str, str]) -> Connection:
        if self._transport is None or self._transport.is_closing() or self.phase is not BUSY:
            raise ConnectionResetError("the client has gone")
        text = answers.upgraded(status, headers)
        early = bytes(self._input or b"")
        self._release_input()
        self.phase = UPGRADED
        self.deadline = NEVER
        self.resume_reading()
        self._upgraded = UpgradedConnection(self, early)
        self.write_now(text)
        return self._upgraded

    # -- the end -------------------------------------------------------------------------------------------------

    def expire(self, now: float) -> None:
        """Called once a tick."""
        if self.deadline <= now:
            self._expire_phase(now)
        if self._write_deadline <= now:
            left = self.unread
            if left < self._write_left:
                self._write_left = left
                self._write_deadline = now + self.limits.unread_seconds
            elif self._view is not None or self.stream is not None or self.phase is HEAD:
                self.abort()  # other answers wait for as long as their reader likes, holding little

    def _expire_phase(self, now: float) -> None:
        if self.phase is BUSY:
            body = self._body
            self.deadline = NEVER
            if body is not None and body.awaited:
                self._closing = True
                body.fail(too_slow())
            return
        if self.phase is LINGER:
            left = self.unread
            if 0 < left < self._write_left:  # it still reads
                self._write_left = left
                self.deadline = now + self.limits.unread_seconds
                return
        self.abort()

    def is_between_requests(self) -> bool:
        return self.phase is IDLE or self.phase is HEAD

    def close(self) -> None:
        """What was written still goes out."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            self._begin_linger()
            transport.close()

    def _begin_linger(self) -> None:
        self.phase = LINGER
        self.deadline = self.server.now + self.limits.linger_seconds
        self._linger_left = self.limits.linger_bytes
        self._write_deadline = NEVER
        self._write_left = 1 << 62

    def cancel(self) -> None:
        """Cuts off whatever is going on."""
        if self._task is not None:
            self._task.cancel()
        self.abort()


__all__ = ["HttpConnection"]
