"""nftables without the program where that is possible: the same contract, by netlink in this process.

The ``nft`` program asks the kernel for all chains and sets of the table before it changes one of them, so a change
costs the more the more Services there are (``docs/benchmarks.md``). A message of our own costs what is in it. What has
no message (``messages``) is done by the program, and so is everything where this process may not open such a socket.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Callable, Sequence

from sampan.network.proxy.nftables import messages
from sampan.network.proxy.nftables.nft import Names, Nft
from sampan.network.proxy.rules.values import Collection, NftBusy, NftError, NftExists, NftMissing, NftUnavailable, Op

_NETFILTER = 12
#: More than this in one transaction is written by the program, which has room for any.
_MOST_BYTES = 96 * 1024
_MOST_OPS = 1000
#: More than this is encoded by a thread: it takes milliseconds.
_LONG_OPS = 100
_ANSWER_BYTES = 65536
_ERROR_MESSAGE = 2
_ERRORS: dict[int, type[NftError]] = {
    errno.ENOENT: NftMissing,
    errno.EEXIST: NftExists,
    errno.EBUSY: NftBusy,
    errno.EPERM: NftUnavailable,
}


def connect() -> socket.socket:
    """In the network namespace of the calling thread, where it stays. Raises OSError."""
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)
    made.bind((0, 0))
    made.setblocking(False)
    return made


class NftNetlink:
    """``program`` does the rest. One call at a time, as all of the contract."""

    def __init__(self, table: str, program: Nft, connect: Callable[[], socket.socket] = connect) -> None:
        self._table = table
        self._program = program
        self._connect = connect
        self._socket: socket.socket | None = None

    async def apply(self, transaction: Sequence[Op]) -> None:
        if not transaction:
            return
        long = len(transaction) > _LONG_OPS
        batch = await asyncio.to_thread(self._batch, transaction) if long else self._batch(transaction)
        kernel = self._opened() if batch else None
        if kernel is None:
            await self._program.apply(transaction)
        else:
            try:
                await self._asked(kernel, batch)
            except _TooLong:
                await self._program.apply(transaction)

    async def check(self, transaction: Sequence[Op]) -> None:
        await self._program.check(transaction)

    async def exists(self) -> bool:
        kernel = self._opened()
        if kernel is None:
            return await self._program.exists()
        try:
            await self._asked(kernel, messages.table_question(self._table))
        except NftMissing:
            return False
        return True

    async def names(self) -> Names:
        return await self._program.names()

    async def elements(self, collection: Collection) -> dict[str, str]:
        return await self._program.elements(collection)

    def close(self) -> None:
        """May be used again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @staticmethod
    async def _asked(kernel: socket.socket, sent: bytes) -> None:
        """In a thread: the kernel may wait for readers on other processors. Whoever is cancelled waits for its end: a
        socket is not closed under it, and nothing is changed once the caller has gone on."""
        work = asyncio.ensure_future(asyncio.to_thread(_transact, kernel, sent))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait([work])
            if not work.cancelled():
                work.exception()  # nobody asks any more
            raise

    def _batch(self, transaction: Sequence[Op]) -> bytes:
        """b"" for what the program has to do."""
        if len(transaction) > _MOST_OPS:
            return b""
        try:
            batch = messages.batch(self._table, transaction)
        except (messages.Unencodable, ValueError, struct.error):
            return b""  # a value that is none is named by the program in its own words
        return batch if len(batch) <= _MOST_BYTES else b""

    def _opened(self) -> socket.socket | None:
        if self._socket is None:
            try:
                self._socket = self._connect()
            except OSError:
                return None
        return self._socket


class _TooLong(Exception):
    """More than this machine's sockets take at once (net.core.wmem_default)."""


def _transact(kernel: socket.socket, sent: bytes) -> None:
    """The kernel has done all of it, and has answered, when ``send`` returns. Raises NftError, and _TooLong."""
    _drain(kernel)
    try:
        kernel.send(sent)
    except OSError as error:
        if error.errno == errno.EMSGSIZE:
            raise _TooLong from error
        raise NftUnavailable(f"nf_tables cannot be asked: {os.strerror(error.errno or 0)}") from error
    for number in _drain(kernel):
        kind = _ERRORS.get(number, NftError)
        raise kind(f"Error: {os.strerror(number)}")


def _drain(kernel: socket.socket) -> list[int]:
    """The numbers of errors that wait to be read; acknowledgements are none."""
    found: list[int] = []
    while True:
        try:
            answer = kernel.recv(_ANSWER_BYTES)
        except BlockingIOError:
            return found
        except OSError as error:
            found.append(error.errno or errno.EIO)
            if error.errno == errno.ENOBUFS:  # more errors than the socket could hold
                continue
            return found
        at = 0
        while at + 20 <= len(answer):
            length, kind = struct.unpack_from("=IH", answer, at)
            if kind == _ERROR_MESSAGE and (number := struct.unpack_from("=i", answer, at + 16)[0]):
                found.append(-number)
            at += max(length + (-length % 4), 16)
