"""Looks now and then at how much history etcd keeps, and clears away what nobody needs. Part of ``store``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

from sampan.store.etcd.client import Client
from sampan.store.etcd.layout import Layout
from sampan.store.etcd.pb import etcd_pb2 as pb
from sampan.store.etcd.retention import Retention, plan_compaction
from sampan.store.protocol import Compacted, StoreError

log = logging.getLogger(__name__)

_RANGE: Final = "/etcdserverpb.KV/Range"
_TXN: Final = "/etcdserverpb.KV/Txn"
_STATUS: Final = "/etcdserverpb.Maintenance/Status"


class Kept(Protocol):
    """The store, as far as its history is concerned."""

    @property
    def revision(self) -> int: ...

    @property
    def oldest(self) -> int: ...

    async def revision_at(self, moment: datetime) -> int: ...

    async def compact(self, revision: int) -> None: ...


class Compacting:
    def __init__(
        self, store: Kept, client: Client, layout: Layout, retention: Retention, now_ms: Callable[[], int]
    ) -> None:
        self._store = store
        self._client = client
        self._layout = layout
        self._retention = retention
        self._now_ms = now_ms
        #: the newest revision when it was looked last
        self._checked = 0

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._retention.check_every_seconds)
            try:
                await self.check()
            except StoreError as error:
                log.warning("retention could not be checked: %s", error)

    async def check(self) -> None:
        """Compacts what need not be kept. Raises StoreError."""
        store = self._store
        used = await self._client.call(_STATUS, pb.StatusRequest())
        keep_ms = int(self._retention.seconds * 1000)
        try:
            by_time = await store.revision_at(datetime.fromtimestamp((self._now_ms() - keep_ms) / 1000).astimezone())
        except Compacted:
            by_time = None
        floor = plan_compaction(store.oldest, store.revision, by_time, used.dbSizeInUse, self._retention)
        if floor:
            await store.compact(floor)
        before, self._checked = self._checked, store.revision
        if before:
            await self.sweep(min(before, store.oldest))

    async def sweep(self, revision: int) -> None:
        """Slots of processes that are gone: nobody has used them since this revision. It has to be older than any write
        that is under way, for one whose slot is gone is sent anew, whether it has happened or not."""
        start, end = self._layout.clients, self._layout.clients[:-1] + b"0"
        ask = pb.RangeRequest(key=start, range_end=end, keys_only=True, max_mod_revision=revision, limit=100)
        while (found := await self._client.call(_RANGE, ask)).kvs:
            for kv in found.kvs:
                unused = pb.Compare(
                    result=pb.Compare.EQUAL, target=pb.Compare.MOD, key=kv.key, mod_revision=kv.mod_revision
                )
                drop = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=kv.key))
                await self._client.call(_TXN, pb.TxnRequest(compare=[unused], success=[drop]))
