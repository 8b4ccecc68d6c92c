"""When entries end, and their end: each is deleted by a commit of its own, by the server that wrote it, or later by any
other.

Part of ``store``, which tells of every change. What is noted at etcd beside an entry is read once, at the start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from sampan.store.etcd import transactions
from sampan.store.etcd.client import Client
from sampan.store.etcd.events import read_end
from sampan.store.etcd.layout import Layout
from sampan.store.etcd.pb import etcd_pb2 as pb
from sampan.store.expiry import Expiries, ExpiryTimer
from sampan.store.protocol import RevisionConflict, StoreError

log = logging.getLogger(__name__)

_RANGE: Final = "/etcdserverpb.KV/Range"
_TXN: Final = "/etcdserverpb.KV/Txn"
_NOTES_PAGE: Final = 1000
_KEYS_PAGE: Final = 10_000
#: how long an entry of another server's may outlive its end: it is that one's to delete, unless it is gone
_OTHERS_MS: Final = 10_000


class Ends:
    """Invariant: ``_ending`` has each key of ``_expiries``, and the revision of what ends."""

    def __init__(
        self,
        client: Client,
        layout: Layout,
        identity: str,
        now_ms: Callable[[], int],
        send: Callable[[str, transactions.Write], Awaitable[int]],
    ) -> None:
        """``send`` carries out a commit, as the store does."""
        self._client = client
        self._layout = layout
        self._identity = identity
        self._send = send
        self._expiries = Expiries()
        self._ending: dict[str, int] = {}
        self._timer = ExpiryTimer(self._expiries, now_ms, self._expire)

    def __contains__(self, key: str) -> bool:
        return key in self._expiries

    def __iter__(self) -> Iterator[str]:
        return iter(self._ending)

    def close(self) -> None:
        self._timer.close()

    async def expire(self) -> None:
        """Deletes what has ended by now. The timer does so too."""
        await self._timer.run()

    def changed(self, key: str, revision: int, end: bytes | None) -> None:
        """The entry was written or deleted; ``end``: what was noted of its end with it, None: nothing."""
        if end or revision > self._ending.get(key, revision):
            self._note(key, revision, end or b"")

    def _note(self, key: str, revision: int, end: bytes) -> None:
        at_ms, identity = read_end(end)
        if not at_ms:
            self._expiries.set(key, 0)
            self._ending.pop(key, None)
            return
        self._ending[key] = revision
        self._expiries.set(key, at_ms if identity == self._identity else at_ms + _OTHERS_MS)
        self._timer.arm()

    async def load(self) -> None:
        """As they are by now, at no one revision, which might be compacted meanwhile: the watch tells what is newer."""
        start, end = self._layout.ends + b"/", self._layout.ends + b"0"
        while True:
            found = await self._client.call(_RANGE, pb.RangeRequest(key=start, range_end=end, limit=_NOTES_PAGE))
            for kv in found.kvs:
                key = self._layout.ended(kv.key)
                if key is not None:
                    self._note(key, kv.mod_revision, kv.value)
            if not found.more:
                return
            start = found.kvs[-1].key + b"\x00"
            await asyncio.sleep(0)

    async def limit(self, prefix: str, at_ms: int) -> None:
        """Entries below it that are without an end have this one, for as long as this is open."""
        start, end = self._layout.range_of(prefix)
        while True:
            ask = pb.RangeRequest(key=start, range_end=end, limit=_KEYS_PAGE, keys_only=True)
            found = await self._client.call(_RANGE, ask)
            for kv in found.kvs:
                key = self._layout.key(kv.key)
                if key is not None and key not in self._expiries:
                    self._ending[key] = kv.mod_revision
                    self._expiries.set(key, at_ms)
            self._timer.arm()
            if not found.more:
                return
            start = found.kvs[-1].key + b"\x00"
            await asyncio.sleep(0)

    async def _expire(self, keys: list[str]) -> list[str]:
        wanted = [(key, revision) for key in keys if (revision := self._ending.pop(key, None)) is not None]
        results = await asyncio.gather(*(self._end(key, at) for key, at in wanted), return_exceptions=True)
        failed: list[str] = []
        for (key, revision), result in zip(wanted, results, strict=True):
            if isinstance(result, StoreError) and not isinstance(result, RevisionConflict):
                log.warning("%s has ended and could not be deleted: %s", key, result)
                self._ending.setdefault(key, revision)
                failed.append(key)
        return failed

    async def _end(self, key: str, revision: int) -> None:
        layout = self._layout
        write = transactions.Write(layout.of(key), revision, None, layout.end_of(key), b"")
        try:
            await self._send(key, write)
        except RevisionConflict:  # written again, or deleted: a note that is left over from then goes
            stale = pb.Compare(
                result=pb.Compare.EQUAL, target=pb.Compare.MOD, key=layout.end_of(key), mod_revision=revision
            )
            drop = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=layout.end_of(key)))
            await self._client.call(_TXN, pb.TxnRequest(compare=[stale], success=[drop]))
