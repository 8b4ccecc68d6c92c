"""Where etcd's history begins: it has no call that says so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from sampan.store.etcd.client import Client
from sampan.store.etcd.errors import LaterRevision, PastRevision
from sampan.store.etcd.layout import Layout
from sampan.store.etcd.pb import etcd_pb2 as pb

_RANGE: Final = "/etcdserverpb.KV/Range"


async def find_oldest(client: Client, layout: Layout, low: int, high: int) -> int:
    """etcd does not say it: the least revision that can be read is looked for. ``high``: one that could be a moment
    ago."""

    async def readable(revision: int) -> bool:
        try:
            await client.call(_RANGE, pb.RangeRequest(key=layout.time, revision=revision, count_only=True))
        except PastRevision:
            return False
        except LaterRevision:
            return True
        return True

    if await readable(low):
        return low
    while not await readable(high):  # compacted meanwhile
        low, high = high, high + max(1, high - low)
    return await first_of(readable, low + 1, high)


async def first_of(holds: Callable[[int], Awaitable[bool]], low: int, high: int) -> int:
    """The first number from ``low`` on for which it holds, as it does for all after it: ``high`` at the latest."""
    while low < high:
        middle = (low + high) // 2
        if await holds(middle):
            high = middle
        else:
            low = middle + 1
    return high
