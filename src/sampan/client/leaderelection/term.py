"""How long a leader may act, and the transport that lets nobody act for longer.

The elector makes a term when its candidate wins and moves its end with each renewal. Whoever acts as the leader writes
through ``FencedTransport``, which asks the term at each write. Two things end the right to act before the lease can be
somebody else's: the time, and the server, which is told with each write who leads by which lease and refuses what comes
from a leader of the past (``sampan.server.fencing``; other servers take no notice). The first fails if this process
stands still between looking at its clock and sending; the second does not.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any, Final

from sampan.api.errors import ServiceUnavailable
from sampan.api.resources import Resource
from sampan.api.transport import CacheView, Call, Transport, WatchEvent
from sampan.client.client import Client

_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Term:
    """Invariant: once ``ended``, it never allows anything again."""

    def __init__(self, leader: str, now: Callable[[], float], until: float = math.inf) -> None:
        """``leader`` as ``Call.leader``; ``now`` goes on while this process stands still."""
        self.leader = leader
        self._now = now
        self._until = until
        self.ended = False

    def extend(self, until: float) -> None:
        self._until = until

    def end(self) -> None:
        self.ended = True

    @property
    def may_act(self) -> bool:
        return not self.ended and self._now() < self._until


class FencedTransport:
    """A transport whose writes end with a term. Reading is nobody's privilege. It does not close ``transport``."""

    def __init__(self, transport: Transport, term: Term) -> None:
        self._transport = transport
        self._term = term

    async def call(self, call: Call) -> Any:
        """Raises ServiceUnavailable when the term is over, and nothing has been sent then."""
        if call.method in _READS:
            return await self._transport.call(call)
        if not self._term.may_act:
            raise ServiceUnavailable(f"{call.method} {call.path}: this process is no longer the leader")
        return await self._transport.call(replace(call, leader=self._term.leader))

    def watch(self, call: Call) -> AbstractAsyncContextManager[AsyncIterator[WatchEvent]]:
        return self._transport.watch(call)

    def cache_view(self, resource: Resource) -> CacheView | None:
        return self._transport.cache_view(resource)

    async def close(self) -> None:
        """Nothing to release: who made the transport owns it."""


def fenced(client: Client, term: Term) -> Client:
    """The same client for whoever acts during this term, and no longer."""
    return Client(FencedTransport(client.transport, term))
