"""Calls to the members of one etcd cluster: one after the other until one answers, within a bound of time.

The only module here that speaks gRPC. Knows what can be repeated (everything that this package asks), what the errors
mean (``errors``), and which member answered last: all calls go there until it fails. Runs on the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

# Programs are started by fork and exec here; gRPC's handlers for a fork that goes on in Python only warn about it.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc  # reads its environment when imported
import grpc.aio

from sampan.store.etcd import methods, numbering
from sampan.store.etcd.errors import Again, BadToken, judge
from sampan.store.etcd.pb import etcd_pb2 as pb
from sampan.store.etcd.settings import EtcdSettings
from sampan.store.protocol import StoreError, StoreUnavailable

log = logging.getLogger(__name__)

_OPTIONS: Final = [
    ("grpc.max_receive_message_length", -1),  # pages are bounded by what is asked for
    ("grpc.max_send_message_length", 16 << 20),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 3_000),  # how long a handshake may take
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.keepalive_time_ms", 10_000),  # etcd refuses less than five seconds
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.keepalive_permit_without_calls", 0),  # and any where nothing is asked
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
]
#: how long one member is waited for, the first time, the second, …: an election takes a second or two, and a call that
#: its end overtakes is lost. A slow disk gets its time in the end.
_PATIENCE_SECONDS: Final = (1.0, 1.5, 2.0, 3.0, 5.0)
#: the same for a member that has not answered since calls go there: it may be the one whose machine is gone, which
#: refuses nothing, and everybody would wait for it
_UNPROVEN_SECONDS: Final = (0.4, 0.6, 1.0, 2.0, 5.0)
#: between two rounds of all members
_PAUSES_SECONDS: Final = (0.02, 0.05, 0.1, 0.2, 0.3)
_RANGE: Final = "/etcdserverpb.KV/Range"
#: a stream from a member that has lost its leader ends with an error
_WITH_LEADER: Final = (("hasleader", "true"),)


class NoAnswer(StoreUnavailable):
    """Nobody answered in time: what was asked for may have been done, or may yet be."""


class Stream:
    """A watch: many messages each way. ``read`` raises Again when it is over, whoever ended it."""

    def __init__(self, call: Any, member: str, offset: int) -> None:
        self._call = call
        self._offset = offset
        self.member = member

    async def send(self, message: Any) -> None:
        with _translated():
            await self._call.write(numbering.outgoing(message, self._offset) if self._offset else message)

    async def read(self) -> Any:
        with _translated():
            message = await self._call.read()
            if not isinstance(message, pb.WatchResponse):  # gRPC's mark of the end
                raise judge((await self._call.code()).name, await self._call.details() or "the stream ended")
            return numbering.incoming(message, self._offset) if self._offset else message


class Client:
    """``close`` ends what is under way with Again or StoreUnavailable. Whoever calls speaks of the store's revisions,
    which are etcd's and ``offset``."""

    def __init__(self, settings: EtcdSettings) -> None:
        self.settings = settings
        self.offset = 0
        self._at = 0
        self._proven = True
        self._channels: dict[str, Any] = {}
        self._stubs: dict[tuple[str, str], Any] = {}
        self._files = self._file_times()
        self._token: str | None = None
        self._closed = False

    # -- calls ---------------------------------------------------------------------------------------------------

    async def call(self, path: str, request: Any, *, seconds: float | None = None, member: str | None = None) -> Any:
        """The answer of whichever member gives one; ``member``: of that one. Raises StoreUnavailable after ``seconds``
        (the settings' own; NoAnswer), and what the answer was otherwise."""
        return await self.repeat(path, lambda repeated: request, seconds=seconds, member=member)

    async def repeat(
        self,
        path: str,
        request_of: Callable[[bool], Any],
        *,
        seconds: float | None = None,
        member: str | None = None,
    ) -> Any:
        """The same for requests that differ when they have been sent before."""
        loop = asyncio.get_running_loop()
        seconds = seconds or self.settings.call_seconds
        deadline = loop.time() + seconds
        request, attempt, renewed = request_of(False), 0, False
        while True:
            at = self._at  # of the endpoints as they are now
            target = member or self.settings.endpoints[at]
            proven = self._proven or member is not None or len(self.settings.endpoints) == 1
            patience = (_PATIENCE_SECONDS if proven else _UNPROVEN_SECONDS)[min(attempt, len(_PATIENCE_SECONDS) - 1)]
            try:
                answer = await self._once(target, path, request, max(min(patience, deadline - loop.time()), 0.05))
                if at == self._at and member is None:
                    self._proven = True
                return answer
            except BadToken as error:
                self._token = None
                if renewed:
                    raise StoreUnavailable(f"etcd refuses this server: {error}") from None
                renewed = True
                continue
            except Again as error:
                if self._closed:
                    raise StoreUnavailable("the store is closed") from None
                attempt += 1
                self._failed(at)
                if loop.time() >= deadline:
                    raise NoAnswer(
                        f"etcd at {', '.join(self.settings.endpoints)} gave no answer for {seconds:g} s: "
                        f"{error}; look at its members' logs"
                    ) from None
                request = request_of(True)
                await asyncio.sleep(self._pause(attempt))

    def _pause(self, attempt: int) -> float:
        rounds, rest = divmod(attempt, len(self.settings.endpoints))
        return _PAUSES_SECONDS[0] if rest else _PAUSES_SECONDS[min(rounds, len(_PAUSES_SECONDS) - 1)]

    async def _once(self, member: str, path: str, request: Any, seconds: float) -> Any:
        stub = self._stubs.get((member, path))
        if stub is None:
            answer = methods.METHODS[path][1]
            stub = self._channel(member).unary_unary(path, type(request).SerializeToString, answer.FromString)
            self._stubs[member, path] = stub
        metadata = await self._metadata(member) if self.settings.username else ()
        if self.offset:
            request = numbering.outgoing(request, self.offset)
        with _translated():
            answer = await stub(request, timeout=seconds, metadata=metadata)
        return numbering.incoming(answer, self.offset) if self.offset else answer

    async def read_offset(self, key: bytes, *, seconds: float | None = None) -> None:
        """Whoever speaks of revisions does so first. Raises StoreUnavailable."""
        found = await self.call(_RANGE, pb.RangeRequest(key=key), seconds=seconds)
        self.offset = numbering.parse_offset(key, found.kvs[0].value if found.kvs else None)

    async def _metadata(self, member: str) -> tuple[tuple[str, str], ...]:
        if self._token is None:
            ask = pb.AuthenticateRequest(name=self.settings.username, password=self.settings.password)
            stub = self._channel(member).unary_unary(
                "/etcdserverpb.Auth/Authenticate",
                pb.AuthenticateRequest.SerializeToString,
                pb.AuthenticateResponse.FromString,
            )
            with _translated():
                self._token = (await stub(ask, timeout=5.0)).token
        return (("token", self._token or ""),)

    # -- streams -------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def watch(self, *, member: str | None = None) -> AsyncIterator[Stream]:
        """Of the member that calls go to. Whoever finds it bad says ``distrust``."""
        ask, answer = pb.WatchRequest, pb.WatchResponse
        target = member or self.settings.endpoints[self._at]
        metadata = await self._metadata(target) if self.settings.username else ()
        stub = self._channel(target).stream_stream(methods.WATCH, ask.SerializeToString, answer.FromString)
        call = stub(metadata=(*_WITH_LEADER, *metadata))
        try:
            yield Stream(call, target, self.offset)
        finally:
            call.cancel()

    def use_endpoints(self, endpoints: Sequence[str]) -> None:
        """Members have come or gone. The one that is spoken to stays, if it is still one."""
        now = self.settings.endpoints[self._at]
        self.settings = replace(self.settings, endpoints=tuple(endpoints))
        self._at = self.settings.endpoints.index(now) if now in endpoints else 0

    def distrust(self, member: str) -> None:
        """Calls go to another member from now on."""
        if self.settings.endpoints[self._at] == member:
            self._failed(self._at)

    # -- connections ---------------------------------------------------------------------------------------------

    def _failed(self, at: int) -> None:
        if self._at == at < len(self.settings.endpoints):  # else another call has found out before
            self._at, self._proven = (at + 1) % len(self.settings.endpoints), False
        times = self._file_times()
        if times != self._files:  # a connection made anew shows the certificate of now
            self._files = times
            self._drop_channels()

    def _drop_channels(self) -> None:
        dropped, self._channels = list(self._channels.values()), {}
        self._stubs.clear()
        for channel in dropped:
            asyncio.ensure_future(channel.close(None))

    def _channel(self, member: str) -> Any:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        found = self._channels.get(member)
        if found is None:
            found = self._channels[member] = self._connect(member)
        return found

    def _connect(self, member: str) -> Any:
        settings = self.settings
        if settings.ca is None:
            return grpc.aio.insecure_channel(member, options=_OPTIONS)
        try:
            ca, cert, key = (path.read_bytes() if path else None for path in (settings.ca, settings.cert, settings.key))
        except OSError as error:
            raise StoreUnavailable(f"the certificates for etcd cannot be read: {error}") from error
        return grpc.aio.secure_channel(member, grpc.ssl_channel_credentials(ca, key, cert), options=_OPTIONS)

    def _file_times(self) -> list[int]:
        return [_time_of(path) for path in (self.settings.ca, self.settings.cert, self.settings.key) if path]

    async def close(self) -> None:
        self._closed = True
        channels, self._channels = list(self._channels.values()), {}
        for channel in channels:
            await channel.close(None)


def _time_of(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


class _translated:  # noqa: N801  # reads as a statement; a generator's would cost every call a microsecond or two
    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, StoreError):
            return
        if isinstance(error, grpc.aio.AioRpcError):
            raise judge(error.code().name, error.details() or "") from error
        if isinstance(error, grpc.aio.UsageError):
            raise Again("the connection is closed") from error
        if isinstance(error, asyncio.CancelledError):
            # A channel that is closed tells whoever waits as if he had been cancelled.
            task = asyncio.current_task()
            if task is None or not task.cancelling():
                raise Again("the connection is closed") from error
