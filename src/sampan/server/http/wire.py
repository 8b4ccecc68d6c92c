"""A connection below HTTP: its transport, flow control both ways, and who is at the other end."""

from __future__ import annotations

import asyncio
import ssl
from typing import cast


class Wire(asyncio.BufferedProtocol):
    """Invariant: ``_read_paused`` is what the transport was told last; ``_drainers`` wait for ``writable``."""

    __slots__ = (
        "_address",
        "_certificate",
        "_drainers",
        "_loop",
        "_read_buffer",
        "_read_paused",
        "_transport",
        "writable",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, read_buffer: memoryview) -> None:
        #: the peer keeps up, as far as is known
        self.writable = True
        self._loop = loop
        #: shared with all connections of the same event loop
        self._read_buffer = read_buffer
        self._transport: asyncio.Transport | None = None
        self._address: str | None = None
        self._certificate: bytes | None = None
        self._drainers: list[asyncio.Future[None]] | None = None
        self._read_paused = False

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self._read_buffer[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """What has come, to be taken at once. Connections override it: there is none without a protocol."""
        raise NotImplementedError

    def find_peer(self) -> str:
        """The peer's address; its certificate as well, both found once a connection."""
        transport = self._transport
        peer = transport.get_extra_info("peername") if transport is not None else None
        self._address = str(peer[0]) if peer else ""
        tls = transport.get_extra_info("ssl_object") if transport is not None else None
        if tls is not None:
            self._certificate = cast(ssl.SSLObject, tls).getpeercert(binary_form=True)
        return self._address

    @property
    def unread(self) -> int:
        """Bytes that were written and that the peer has not taken."""
        transport = self._transport
        return transport.get_write_buffer_size() if transport is not None else 0

    def write(self, data: bytes) -> None:
        """Raises ConnectionResetError."""
        if not self.write_now(data):
            raise ConnectionResetError("the client has gone")

    def write_now(self, data: bytes | memoryview) -> bool:
        """False: the peer has gone."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        transport.write(data)
        return True

    async def drain(self) -> None:
        """Raises ConnectionResetError."""
        if not self.writable:
            waiter = self._loop.create_future()
            if self._drainers is None:
                self._drainers = []
            self._drainers.append(waiter)
            await waiter
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("the client has gone")

    def wake_drainers(self) -> None:
        drainers, self._drainers = self._drainers, None
        for waiter in drainers or ():
            if not waiter.done():
                waiter.set_result(None)

    def is_tls(self) -> bool:
        return self._transport is not None and self._transport.get_extra_info("ssl_object") is not None

    def pause_reading(self) -> None:
        if not self._read_paused and self._transport is not None and not self._transport.is_closing():
            self._read_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._read_paused and self._transport is not None and not self._transport.is_closing():
            self._read_paused = False
            self._transport.resume_reading()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


__all__ = ["Wire"]
