"""What was missed where history was compacted before the watch had told it: the state, read anew.

Used by ``store``, when a stream has broken and what comes next is gone: ``etcdctl compact`` to the newest revision does
that to whoever is a moment behind. What stands between two revisions is lost, as to whoever lists anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence, Set
from itertools import groupby
from typing import Any, Final

from sampan.records import dataclass
from sampan.store.etcd.client import Client
from sampan.store.etcd.layout import Layout
from sampan.store.etcd.pb import etcd_pb2 as pb

_RANGE: Final = "/etcdserverpb.KV/Range"
_PAGE: Final = 500
_KEYS_PAGE: Final = 2000
#: what is taken over in one turn of the loop; who has missed more begins anew
MOST_CHANGED: Final = 2000
MOST_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class Missed:
    """``revision``: of the state. ``changed``: the events of keys that were written since, by revision. ``keys``: those
    of all entries that are there."""

    revision: int
    changed: Mapping[int, Sequence[Any]]
    keys: Set[str]


async def read_missed(client: Client, layout: Layout, told: int) -> Missed | None:
    """What was written after ``told``; None: too much. Raises StoreUnavailable, PastRevision."""
    found: list[Any] = []
    start, revision, held = layout.follow, 0, 0
    while True:
        ask = pb.RangeRequest(key=start, range_end=layout.follow_end, min_mod_revision=told + 1, limit=_PAGE)
        ask.revision = revision
        page = await client.call(_RANGE, ask)
        revision = revision or page.header.revision
        found.extend(page.kvs)
        held += page.ByteSize()
        if len(found) > MOST_CHANGED or held > MOST_BYTES:
            return None
        if not page.more:
            break
        start = page.kvs[-1].key + b"\x00"
    found.sort(key=_revision_of)
    changed = {at: [pb.Event(type=pb.Event.PUT, kv=kv) for kv in kvs] for at, kvs in groupby(found, key=_revision_of)}
    return Missed(revision, changed, await _keys(client, layout, revision))


async def _keys(client: Client, layout: Layout, revision: int) -> Set[str]:
    keys: set[str] = set()
    start = layout.follow
    while True:
        ask = pb.RangeRequest(
            key=start, range_end=layout.follow_end, keys_only=True, limit=_KEYS_PAGE, revision=revision
        )
        page = await client.call(_RANGE, ask)
        keys.update(key for kv in page.kvs if (key := layout.key(kv.key)) is not None)
        if not page.more:
            return keys
        start = page.kvs[-1].key + b"\x00"
        await asyncio.sleep(0)


def _revision_of(kv: Any) -> int:
    revision: int = kv.mod_revision
    return revision
